"""Stage ``convert``: from a trained QKeras model to a Graph, through hls4ml.

In: a trained model's folder (or any QKeras model). Out: a Graph, the hls4ml types that give the
same integers, and hls4ml's own C simulation as the independent check (``oracle``). ``export``
makes an int8 ``.tflite`` file of a QKeras model; ``models`` loads models of every kind by name.

Importing this package imports neither TensorFlow nor hls4ml.
"""
