"""Stage ``tflite``: from any int8 ``.tflite`` file to a Graph.

In: the file's bytes. Out: a Graph. ``buffer`` checks the bytes, ``file`` reads them as plain data,
``shapes`` settles what an open batch left, and ``importer`` walks the operators, each made a node
by ``operators`` and ``windows`` with the integers of ``arithmetic``; ``context`` is what they
share. ``reference`` is TensorFlow Lite's own kernels, the independent check. The file is data
from strangers: nothing in it is trusted before ``buffer`` and ``file`` have looked at it.
"""
