"""Signs that an attack's failure is the attack's, not the model's strength.

In: the figures of each series, and what ``probe.py`` measured. Out: Checks, each a sign, no sign,
or not measured, in plain words. Athalye, Carlini, Wagner, "Obfuscated gradients give a false sense
of security", ICML 2018 (arXiv:1802.00420), section 3.1; Carlini et al., "On Evaluating Adversarial
Robustness", 2019 (arXiv:1902.06705), sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SIGN, NONE, UNKNOWN = "sign", "no sign", "not measured"

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One question: ``status`` is SIGN, NONE or UNKNOWN; ``texts`` say what was seen."""

    name: str
    status: str
    texts: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"texts": list(self.texts)}


def checks(
    attacked: Sequence[Figures], probed: Figures | None = None, survivors: Sequence[Figures] = ()
) -> list[Check]:
    """Every check, in a fixed order.

    ``survivors``: per size, how many images the strong white-box attacks left (``tried``) and how
    many of these a stronger one, ``title``, broke (``broken``); see ``survivors_of``.

    ``attacked``: series, each with ``attack``, ``kind``, ``eps_255``, ``correct``, ``samples``,
    ``title``, and, where known, ``norm``, ``targeted``, ``iterative``, ``strong``, ``log``.
    A difference between series counts when it is at least two images and one in 100. Other attacks
    are held against the best of the strong white-box attacks of their norm and size.
    """
    plain = [a for a in attacked if not a.get("targeted")]
    best = _best(plain)
    return [
        _pairs("black-box attacks are not stronger than white-box ones", best, _black_box),
        _pairs("one step is not stronger than many", best, _one_step),
        _pairs("transferred images are not stronger than white-box attacks", best, _transfer),
        _pairs("attacks are stronger than noise", plain, _below_floor),
        _pairs("larger changes do more harm", plain, _rises),
        _temperatures(plain),
        _survivors(survivors),
        *_probed(probed),
    ]


def warnings(
    attacked: Sequence[Figures], probed: Figures | None = None, survivors: Sequence[Figures] = ()
) -> list[str]:
    """The texts of all signs."""
    return [t for c in checks(attacked, probed, survivors) if c.status == SIGN for t in c.texts]


# -- series against series -------------------------------------------------------------------

_Judge = Callable[[Figures, Figures], "str | bool | None"]


def _pairs(name: str, attacked: Sequence[Figures], judge: _Judge) -> Check:
    """``judge(a, b)``: None: not a pair to compare; False: no sign; else the sign in words."""
    found = [
        judge(a, b) for a in attacked for b in attacked
        if a is not b and a.get("norm", "linf") == b.get("norm", "linf")
    ]  # fmt: skip
    seen = [verdict for verdict in found if verdict is not None]
    signs = tuple(str(verdict) for verdict in seen if verdict)
    return Check(name, SIGN if signs else NONE if seen else UNKNOWN, signs)


def _best(attacked: Sequence[Figures]) -> list[Figures]:
    """All series, but of the strong white-box ones of a norm and size the best alone."""
    found: dict[tuple[str, float], Figures] = {}
    for a in attacked:
        place = (a.get("norm", "linf"), a["eps_255"])
        if _strong(a) and (place not in found or a["correct"] < found[place]["correct"]):
            found[place] = a
    kept = [id(a) for a in found.values()]
    return [a for a in attacked if not _strong(a) or id(a) in kept]


def _more(a: Figures, b: Figures) -> bool:
    """Whether ``a`` leaves more images correct than ``b`` does, by more than a trifle."""
    return bool(a["correct"] >= b["correct"] + max(2, int(a["samples"]) // 100))


def _same_size(a: Figures, b: Figures) -> bool:
    return bool(a["eps_255"] == b["eps_255"])


def _strong(a: Figures) -> bool:
    return bool(a["kind"] == "white-box" and a.get("strong"))


def _black_box(a: Figures, b: Figures) -> str | bool | None:
    if not (_same_size(a, b) and _strong(a) and b["kind"] == "black-box"):
        return None
    return _more(a, b) and (
        f"{_name(a)} (white-box) leaves {_share(a)} correct, {_name(b)} (black-box) "
        f"only {_share(b)}: the gradients may be masked"
    )


def _one_step(a: Figures, b: Figures) -> str | bool | None:
    single = b["kind"] == "white-box" and b.get("iterative") is False
    if not (_same_size(a, b) and _strong(a) and single):
        return None
    return _more(a, b) and (
        f"{_name(a)} leaves {_share(a)} correct, {_name(b)}, a single step, only {_share(b)}: "
        "the gradients may be masked"
    )


def _transfer(a: Figures, b: Figures) -> str | bool | None:
    if not (_same_size(a, b) and _strong(a) and b["kind"] == "transfer"):
        return None
    return _more(a, b) and (
        f"{_name(a)} (white-box) leaves {_share(a)} correct, {_name(b)} from another model "
        f"only {_share(b)}: the gradients may be masked"
    )


def _below_floor(a: Figures, b: Figures) -> str | bool | None:
    if not (_same_size(a, b) and a["kind"] != "floor" and b["kind"] == "floor"):
        return None
    return _more(a, b) and (
        f"{_name(a)} leaves {_share(a)} correct, {_name(b)} of the same size only "
        f"{_share(b)}: the attack is weaker than noise"
    )


def _rises(a: Figures, b: Figures) -> str | bool | None:
    if not (a["attack"] == b["attack"] and a["eps_255"] < b["eps_255"]):
        return None
    return _more(b, a) and (
        f"{_name(b)} leaves {_share(b)} correct, {_name(a)} only {_share(a)}: "
        "accuracy does not fall with the size"
    )


# -- within one series -----------------------------------------------------------------------


def _temperatures(attacked: Sequence[Figures]) -> Check:
    """Temperatures of at least 2 broke what 1 did not: 3 images, one in 100 of those tried and
    one in 10 of those left.

    What others broke is no sign: nothing was saturated there, their loss is just the better one,
    or a second start helped.
    """
    name = "the softmax does not hide the gradient (temperatures of the logits)"
    signs, tried = [], False
    for series in attacked:
        logged = [e for e in series.get("log", ()) if "temperature" in e]
        if len(logged) < 1:
            continue
        tried = True
        first = logged[0]
        others = [e for e in logged if e["temperature"] >= 2 * first["temperature"]]
        left = first["tried"] - first["broken"]
        more = sum(entry["broken"] for entry in others)
        if more >= max(3, first["tried"] / 100, left / 10):
            best = max(others, key=lambda entry: int(entry["broken"]))
            signs.append(
                f"{_name(series)} breaks {first['broken']} of {first['tried']} images at "
                f"temperature 1, and {more} more at higher ones (most at {best['temperature']:g}): "
                "the softmax saturates and hides the gradient; the figures are those that see "
                "through it"
            )
    return Check(name, SIGN if signs else NONE if tried else UNKNOWN, tuple(signs))


# -- what a stronger attack breaks of the survivors -------------------------------------------

_BROKEN_SHARE = 20  # one in so many


def _survivors(survivors: Sequence[Figures]) -> Check:
    """A sign when a stronger attack breaks more than one in 20 of what the others left, and at
    least two images: their figure then is far from the worst case."""
    signs = tuple(
        f"{_name(s)} breaks {s['broken']} of the {s['tried']} images that "
        f"{', '.join(s['others'])} leave: more such attacks would break more"
        for s in survivors
        if s["broken"] >= 2 and s["broken"] * _BROKEN_SHARE > s["tried"]
    )
    name = "a stronger attack breaks few of the survivors"
    return Check(name, SIGN if signs else NONE if survivors else UNKNOWN, signs)


def survivors_of(
    series: Sequence[Figures], right: Mapping[str, Any], clean: Any
) -> list[dict[str, Any]]:
    """``survivors`` for ``checks``, of ``series`` (figures with ``key``): what each attack that
    ``verifies`` broke of the images that all other strong white-box ones of its norm and size left.

    ``right``: by key, bool (n,) which images were classified correctly; ``clean``: without attack.
    """
    made = []
    for s in series:
        others = [
            o for o in series
            if _strong(o) and not o.get("verifies") and not o.get("targeted")
            and (o["norm"], o["eps_255"]) == (s["norm"], s["eps_255"])
        ]  # fmt: skip
        if not s.get("verifies") or s.get("targeted") or not others:
            continue
        count = min(len(right[o["key"]]) for o in (s, *others))
        left = np.asarray(clean[:count], bool)
        for o in others:
            left = left & right[o["key"]][:count]
        broken = left & ~right[s["key"]][:count]
        made.append({
            "title": s["title"], "norm": s["norm"], "eps_255": s["eps_255"],
            "others": [o["title"] for o in others], "tried": int(left.sum()),
            "broken": int(broken.sum()),
        })  # fmt: skip
    return made


# -- the probe -------------------------------------------------------------------------------


def _probed(probed: Figures | None) -> Iterable[Check]:
    """Of ``probe.probe``: a sign when more than one image in 20 (gradient, plateau, unbounded), or
    one in 4 (against random directions), shows it."""
    known = probed is not None and probed.get("images", 0) > 0
    p: Figures = probed if known and probed is not None else {}
    yield _part(p, "the loss has a gradient", ("zero_gradients",), 20, lambda p: (
        f"{p['zero_gradients']} of {p['images']} images have a gradient of exactly 0 at "
        "temperature 1: a gradient attack cannot begin"
    ))  # fmt: skip
    yield _part(p, "the loss is no plateau along random directions", ("flat",), 20, lambda p: (
        f"the loss of {p['flat']} of {p['images']} images is the same number in all "
        f"{p['directions']} random directions of {p['eps_255']:g}/255"
    ))  # fmt: skip
    yield _part(
        p, "a gradient step does more than random steps", ("beaten_by_random",), 4, lambda p: (
            f"for {p['beaten_by_random']} of {p['images']} images the best of {p['directions']} "
            f"random steps of {p['eps_255']:g}/255 does more than a step along the gradient"
        ),
    )  # fmt: skip
    yield _part(p, "unbounded changes break every image", ("unbounded",), 20, lambda p: (
        f"AutoPGD over the whole range of values leaves {p['unbounded']} of {p['images']} images "
        f"correct at temperature 1 ({p['unbounded_scaled']} at temperature {p['temperature']:g}"
        + (", which sees through it)" if p["unbounded_scaled"] * 20 <= p["images"] else ")")
        + ": the attack fails, not the change"
    ))  # fmt: skip


def _part(
    p: Figures, name: str, keys: tuple[str, ...], one_in: int, words: Callable[[Figures], str]
) -> Check:
    if not p or any(key not in p for key in keys):
        return Check(name, UNKNOWN, ())
    sign = any(p[key] * one_in > p["images"] for key in keys)
    return Check(name, SIGN if sign else NONE, (words(p),) if sign else ())


def _name(series: Figures) -> str:
    norm = " (L2)" if series.get("norm") == "l2" else ""
    return f"{series['title']} at {series['eps_255']:g}/255{norm}"


def _share(series: Figures) -> str:
    return f"{100 * int(series['correct']) / max(int(series['samples']), 1):.1f} %"
