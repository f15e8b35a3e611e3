"""Stage ``bench``: how fast and how large, counted.

In: models or random networks, boards. Out: instructions, estimated cycles, flash and RAM by layer:
``bench`` counts them, ``published`` holds others' figures beside ours, ``ratchet`` holds them
against ``benchmarks/ratchet.json``; ``random_network`` and ``random_recipe`` make networks of a
shape without training.
"""
