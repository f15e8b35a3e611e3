"""Stage ``convert``: from a trained QKeras model, or any int8 ``.tflite`` file, to a Graph.

A QKeras model goes through hls4ml. In: a trained model's folder (or any QKeras model). Out: a
Graph, the hls4ml types that give the same integers, hls4ml's own C simulation as the independent
check (``oracle``), and the Graph's differentiable twin (``twin``).

A ``.tflite`` file: ``tflite_buffer`` checks its bytes, ``tflite_file`` reads it as plain data,
``tflite_shapes`` settles what an open batch left, and ``tflite`` walks its operators, each made a
node by ``tflite_operators`` and ``tflite_windows`` with the integers of ``tflite_arithmetic``.
``tflite_reference`` is TensorFlow Lite's own kernels, the independent check; ``twin_int8`` the
differentiable twin; ``export`` makes such a file of a QKeras model. ``models`` loads all kinds.

Importing this package imports neither TensorFlow nor hls4ml.
"""
