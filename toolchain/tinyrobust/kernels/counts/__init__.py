"""What kernels do with the weights of a layer, counted before they do it.

One module per kind of kernel, named by ``counts`` in kernel.yaml. It has ``NAMES``, a frozenset of
the names it gives, and ``counts(layer, graph, variant) -> dict[str, float]`` with a value for each:
numbers for the formulas of kernel.yaml that no shape tells, such as how many pairs a list holds or
how many instructions a generator emits. They mirror the packer or the generator exactly.
"""
