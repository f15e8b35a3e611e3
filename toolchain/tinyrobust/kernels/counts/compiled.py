"""What the code of compiled weights does (``kernels/compiled.py``).

``word_work``: instructions for one word of the output, summed over the blocks (with DSP
instructions); ``word_pairs``, ``word_ones``, ``word_sums``: pairs, single inputs and additions to
outputs in the blocks, ``word_mixed`` and ``word_minus``: the pairs of both signs and of minus;
``block_bytes``: bytes of their code (with DSP instructions); ``blocks`` of four channels; ``lane``:
words in a row of the output; and ``class_lists.py``'s flags of what becomes of the sums, and
``direct``.
"""

from __future__ import annotations

from collections.abc import Mapping

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import compiled
from tinyrobust.kernels.counts import class_lists
from tinyrobust.kernels.layers import Layer

_SHARED = frozenset({"blocks", "lane", "masked", "kind", "scale", "direct"})
NAMES = _SHARED | {"word_work", "word_pairs", "word_ones", "word_sums", "word_mixed", "word_minus",
                   "block_bytes"}  # fmt: skip


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """Every name for a convolution."""
    found = class_lists.counts(layer, graph, {"share": compiled.SHARE})
    blocks = compiled.blocks(layer, graph)
    names = [name for block in blocks for name, _ in block.operations]
    return {
        **{name: found[name] for name in _SHARED},
        "word_work": sum(block.word_instructions for block in blocks),
        "word_pairs": sum(name in ("MIXED", "PLUS", "MINUS") for name in names),
        "word_ones": sum(name.endswith("_ONE") for name in names),
        "word_mixed": names.count("MIXED"),
        "word_minus": names.count("MINUS"),
        "word_sums": sum(name in ("ADD", "SUB") for name in names),
        "block_bytes": sum(block.code_bytes for block in blocks),
    }
