"""Weight packers: one file per packing named in kernel.yaml, each with one of these.

``pack(weights) -> uint32 words``; ``weights`` int8 trits, (OC, KH, KW, IC), (C, KH, KW) or
(OUT, IN). ``pack_layer(layer, graph, variant) -> uint32 words`` where the kernel's variant decides
about them. ``code(layer, graph, symbol) -> C++ text`` where weights become functions, listed in
``<symbol>_blocks``.
"""
