"""Stage ``convert``: from a trained QKeras model to the integer Graph, through hls4ml.

In: a trained model's folder (or any QKeras model). Out: a Graph, the hls4ml types that give the
same integers, hls4ml's own C simulation as the independent check (``oracle``), and the Graph's
differentiable twin (``twin``). Importing this package imports neither TensorFlow nor hls4ml.
"""
