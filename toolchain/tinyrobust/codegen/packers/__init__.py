"""Weight packers: one file per packing named in kernel.yaml, each with ``pack``.

``pack(weights) -> uint32 words``; ``weights`` int8 trits, (OC, KH, KW, IC) or (OUT, IN).
"""
