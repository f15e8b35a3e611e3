"""A model's card: the measured figures, for programs (card.json) and for people (card.md).

In: the figures that ``zoo`` gathered. Out: Markdown, and the weaknesses that follow from a recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyrobust import artefact, escaping
from tinyrobust.errors import GraphError
from tinyrobust.escaping import every
from tinyrobust.reading import MAX_JSON_BYTES, bounded, document, guarded, typed
from tinyrobust.units import count
from tinyrobust.zoo import card_attacks

SCHEMA = "tinyrobust.card/1"


def weaknesses(recipe: Any, *, input_bits: int = 7) -> list[str]:
    """What a user must expect of a model of this recipe, in plain words."""
    found = []
    if recipe.jacobian.strength > 0 or any(block.jacobian for block in recipe.network.blocks):
        found.append(
            f"Jacobian regularisation (strength {recipe.jacobian.strength:g}) makes small changes "
            "of the input less harmful; it guarantees nothing, and large ones still succeed."
        )
    attack = recipe.adversarial
    if attack.method != "none":
        found.append(
            f"Adversarial training ({attack.method}, Linf {attack.eps_255:g} of 255) helps "
            "against changes of that kind and size; for larger ones, and those bounded otherwise "
            "(L2, patches), it was not trained. Clean accuracy is lower for it."
        )
    if not found:
        found.append("Trained without any defence: small adversarial changes fool it.")
    found.append(
        "Robustness is measured by attacks (Linf, of the uint8 image); a stronger attack may do "
        "better, and other changes (rotation, noise, weather) were not measured."
    )
    if input_bits == 7:
        found.append("The lowest bit of each input value is dropped (q = x >> 1).")
    return found


def markdown(card: dict[str, Any]) -> str:
    """``card.md``."""
    accuracy, qkeras, checked = card["accuracy"], card["qkeras"], card["hls4ml_simulation"]
    zeros = card["zero_weights"] / max(1, card["weights"])
    rows = [
        ("Task", card["task"]),
        ("Data", card["data"]),
        ("Weights", f"{card['weights']:,} trits, {zeros:.0%} zero; "
                    f"{card['weight_bytes']:,} bytes at 2 bits"),
        ("Multiply-accumulates", count(card["macs"])),
        ("Clean accuracy, integers", f"{accuracy['integer']:.2%} of {accuracy['samples']:,} "
                                     "test images"),
        ("Clean accuracy, QKeras float", _before_after(accuracy)),
        ("Same class, QKeras and integers", f"{qkeras['agreement']:.2%} of "
                                            f"{qkeras['samples']:,}"),
        ("hls4ml C simulation", "not run" if checked is None else
         f"{checked['differing_integers']} of {checked['compared_integers']:,} integers "
         f"differ, every layer, {checked['images']} images"),
    ]  # fmt: skip
    twin = card.get("int8_twin")
    if twin is not None:
        rows.append(("int8 twin", f"`{twin['file']}`, {twin['weight_bytes']:,} bytes of weights; "
                                  f"{twin['accuracy']:.2%} of {twin['samples']:,}"))  # fmt: skip
    lines = _heading(card, [*rows, *_last_rows(card)])
    lines += ["", "## QKeras's float forward minus the integers, in steps", ""]
    lines += histogram_lines(qkeras["differences"])
    lines += ["", "The step of a tensor is its own; of the scores (last row) it is 1/8."]
    return "\n".join([*lines, *_weaknesses(card)]) + "\n"


def page(card: dict[str, Any]) -> str:
    """``card.md`` of either kind of model; every text in the card escaped."""
    card = every(card, escaping.markdown)
    return markdown_int8(card) if "keras" in card else markdown(card)


def add_attacks(folder: Path, name: str, found: dict[str, Any]) -> str | None:
    """Put what attacks found of the model ``name`` (the network or its twin) into the card of
    ``folder``; returns why not, or None. Raises GraphError for a card that cannot be read."""
    path = folder / "card.json"
    if not path.is_file():
        return f"no card in {folder}"
    hint = "restore it from the release"
    card = typed(dict[str, Any], document(bounded(path, MAX_JSON_BYTES, GraphError, hint), path,
                                          GraphError, hint), path, GraphError, hint)  # fmt: skip

    def changed() -> str | None:
        old = card.get("attacks", {}).get(name)
        if old is not None and card_attacks.says_more(old, found):
            return f"{path} stays: it has figures of more attacks or images (suite {old['suite']})"
        card["attacks"] = {**card.get("attacks", {}), name: found}
        page(card)
        return None

    stays = guarded(changed, path, GraphError, hint)
    if stays is not None:
        return stays
    artefact.write_json(path, card)
    artefact.write_text(folder / "card.md", page(card))
    return None


def markdown_int8(card: dict[str, Any]) -> str:
    """``card.md`` of a model whose device form is a ``.tflite`` file."""
    accuracy, keras = card["accuracy"], card["keras"]
    rows = [
        ("Task", card["task"]),
        ("Data", card["data"]),
        ("Weights", f"{card['weights']:,} of 8 bits; the file has {card['file_bytes']:,} bytes"),
        ("Multiply-accumulates", count(card["macs"])),
        ("Clean accuracy, int8", f"{accuracy['integer']:.2%} of {accuracy['samples']:,} "
                                 "test images"),
        ("Clean accuracy, float", f"{keras['accuracy']:.2%} of the same"),
        ("Same class, float and int8", f"{keras['agreement']:.2%}"),
        *((f"{r['name']} {r['version']}", f"reference kernels: {r['differing']:,} of "
           f"{r['integers']:,} outputs differ") for r in card["runtimes"]),
    ]  # fmt: skip
    return "\n".join([*_heading(card, [*rows, *_last_rows(card)]), *_weaknesses(card)]) + "\n"


def _heading(card: dict[str, Any], rows: list[tuple[str, str]]) -> list[str]:
    lines = [f"# {card['name']}", "", card["description"], "", "| | |", "|---|---|"]
    return lines + [f"| {key} | {value} |" for key, value in rows]


def _last_rows(card: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Training", f"seed {card['seed']}, {card['training_seconds']} s"),
        ("Graph SHA-256", f"`{card['graph_sha256']}`"),
    ]


def _weaknesses(card: dict[str, Any]) -> list[str]:
    lines = [f"- {line}" for line in card["known_weaknesses"]]
    attacked = card_attacks.section(card.get("attacks", {}))
    return [*attacked, "", "## Known weaknesses", "", *lines]


def histogram_lines(differences: dict[str, dict[str, int]]) -> list[str]:
    """The histogram as a Markdown table: one row per tensor, one column per difference."""
    columns = sorted({int(d) for row in differences.values() for d in row})
    lines = ["| tensor | " + " | ".join(f"{d:+d}" if d else "0" for d in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name, row in differences.items():
        name = escaping.markdown(name)
        cells = " | ".join(f"{row.get(str(d), 0):,}" for d in columns)
        lines.append(f"| {name} | {cells} |")
    return lines


def _before_after(accuracy: dict[str, Any]) -> str:
    before, after = accuracy["float_before_batch_norm"], accuracy["float_after_batch_norm"]
    if before is None or after is None:
        return "not recorded"
    return f"{before:.2%} before, {after:.2%} after batch-norm re-estimation"
