"""QONNX, as Brevitas and other trainers write it, to the integer Graph.

In: an ONNX file with Quant and BipolarQuant nodes (https://github.com/fastmachinelearning/qonnx).
Out: a Graph of family ``fixed``. ``reader`` walks the nodes, ``constants`` quantises weights,
``values`` says what a tensor of the file is on the way, ``executor`` runs qonnx's own executor.
"""
