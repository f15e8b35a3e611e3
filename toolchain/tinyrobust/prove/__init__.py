"""Stage ``prove``: the same integers everywhere, and how different features are.

In: a model, a board and inputs. Out: how many integers of each layer differ between the
interpreter, the trainer's own simulation, the host build and the (virtual) board: ``verify``;
``inputs`` are the images or made-up ones; ``feature_difference`` compares two ways to features.
"""
