"""Every reader of a file under mutated files: ``python -m tests.fuzz.readers_fuzzer [options]``.

In: for each reader one good file that this tool writes, and a seed. Out: a table of how many inputs
were read and how many refused by a TinyRobustError of one line; anything else (another exception,
more lines, longer than TIME_S) is a fault, printed with its seed and kept with ``--keep DIR``.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import pickle
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
import wave
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from tests.evaluation import GRAPH, MEMORY, FakeSession, config, samples
from tinyrobust import boards, evaluate, image, recipes, yamlfile
from tinyrobust.artefact import sha256, write_bytes, write_json
from tinyrobust.boards import Board
from tinyrobust.convert import order
from tinyrobust.errors import BoardError, TinyRobustError
from tinyrobust.evaluate import AdversarialSet, Series, journal
from tinyrobust.evaluate.adversarial import header_of
from tinyrobust.graph import file
from tinyrobust.image import budget
from tinyrobust.image.build import SCHEMA as IMAGE_SCHEMA
from tinyrobust.image.memory_report import LayerMemory, MemoryReport, Part, Region, Stack, Total
from tinyrobust.reading import guarded
from tinyrobust.recipes import Recipe
from tinyrobust.report import junit, markdown
from tinyrobust.tasks import _cifar_files, _clips, _mat
from tinyrobust.train import checkpoint
from tinyrobust.zoo import card

TIME_S = 20.0
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 255, 10**30, 1 << 63, -(1 << 63), 1.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "\x1b[31m", "clean", "pgd_eps8", [], {}, [1], [[1]], [None], {"a": 1},
    "a" * 300, [0] * 70,
)  # fmt: skip
WORDS = (
    b"[", b"{", b"]", b"&a", b"*a", b"<<:", b"!!omap", b"!!bool q", b"? ", b"- ", b": ", b"'", b'"',
    b"\n", b"\0", b"\xff", b"%", b"|", b">", b"@", b"#", b"\t", b"~", b".nan", b"0x", b"1e999",
    b"NaN", b"null", b"\xef\xbb\xbf", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """``good`` is a file that it reads; ``structured`` ones are JSON lines, mutated as such too."""

    name: str
    good: bytes
    read: Callable[[Path], object]
    structured: bool = False
    suffix: str = ""


def _bytes(draw: random.Random, good: bytes) -> bytes:
    data = bytearray(good)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at, kind = draw.randrange(len(data) + 1), draw.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] = draw.randrange(256)
        elif kind == 1 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 2:
            data[at:at] = draw.choice(WORDS) * draw.choice((1, 1, 2, 100))
        elif kind == 3:
            del data[at : at + draw.choice((1, 2, 4, 30))]
        elif kind == 4:
            data = data[:at]
        elif kind == 5:
            data[at : at + 4] = draw.getrandbits(32).to_bytes(4, draw.choice(("little", "big")))
        else:
            start = draw.randrange(len(data) + 1)
            data[at:at] = data[start : start + draw.choice((4, 40))]
    return bytes(data)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, (dict, list)):
            found += _places(value, (*path, key))
    return found


def _structure(draw: random.Random, good: bytes) -> bytes:
    lines = [json.loads(line) for line in good.splitlines()]
    for _ in range(draw.choice((1, 1, 2))):
        number = draw.randrange(len(lines))
        if draw.random() < 0.03:
            lines[number] = copy.deepcopy(draw.choice([*ODD, lines[0], lines[-1]]))
            continue
        if not isinstance(lines[number], dict):
            continue
        *where, last = draw.choice(_places(lines[number]) or [("x",)])
        node = lines[number]
        for key in where:
            node = node[key]
        if draw.random() < 0.2 and not isinstance(node, list):
            node.pop(last, None)
        elif isinstance(node, list) and draw.random() < 0.3:
            node.insert(last, copy.deepcopy(draw.choice(ODD)))
        else:
            node[last] = copy.deepcopy(draw.choice(ODD))
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def readers(work: Path) -> list[Reader]:
    """Each with a good file made now."""
    images, labels = samples(GRAPH)
    settings = config(GRAPH, attacks=(Series("noise", 8), Series("pgd", 8), Series("fgsm", 2)))
    evaluate.evaluate(settings, GRAPH, images, labels, FakeSession(GRAPH), work / "run",
                      memory=MEMORY, header={"command": "x", "versions": {"n": "1"}})  # fmt: skip
    records = (work / "run" / journal.FILE).read_bytes()
    crafted = dict.fromkeys(settings.attacks, images)
    adversarial = AdversarialSet(header_of(settings), images, labels, crafted).to_bytes()
    ordered = {"schema": order.SCHEMA, "graph_sha256": GRAPH.sha256, "trained_sha256": "0" * 64,
               "cost": {"before": 2, "after": 1},
               "orders": {(t := GRAPH.tensors[1]).name: [*range(t.shape[-1])]}}  # fmt: skip
    recipe = recipes.load("shapes-small")
    checkpoint.save(work, recipe, checkpoint.Checkpoint([np.zeros(4)], [{"loss": 1.0}], [1.0]))
    _clips.resample(np.zeros(64, np.int16), 8000)  # librosa compiles at its first call
    sound = io.BytesIO()
    with wave.open(sound, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(16000)
        made.writeframes(bytes(400))
    built = _built(work / "built")
    totals = {m: {"used_bytes": 5, "budget_bytes": 9} for m in ("flash", "RAM")}
    baseline = {"schema": budget.SCHEMA, "title": "t", "totals": totals,
                "regions": [{"name": "FLASH", "used_bytes": 5, "size_bytes": 9}],
                "owners": [{"memory": "flash", "kind": "layer", "owner": "c", "bytes": 5}],
                "symbols": [{"memory": "flash", "owner": "c", "symbol": "s", "section": ".text",
                             "region": "FLASH", "kind": "layer", "bytes": 5}]}  # fmt: skip
    _cifar_files.ROWS = 4  # ten thousand take long
    pixels = np.zeros((4, 3072), np.uint8)
    cifar = pickle.dumps({b"data": pixels, b"labels": [0, 1, 2, 3]}, protocol=2)
    board = Path(str(boards.__file__)).parents[3] / "boards" / "nucleo-h743.yaml"
    zoo = Path(str(boards.__file__)).parents[3] / "models" / "zoo" / "shapes-small"
    return [
        Reader("board YAML", board.read_bytes(),
               lambda path: yamlfile.load(path, Board, BoardError)),
        Reader("recipe YAML", recipes.dump(recipe).encode(),
               lambda path: yamlfile.load(path, Recipe, TinyRobustError)),
        Reader("records.jsonl", records, _report, True),
        *(Reader(name, (built / name).read_bytes().replace(b"\n", b" "),
                 partial(_in, built / name, image.load, built), True)
          for name in ("memory.json", "image.json")),
        Reader("budget baseline", json.dumps(baseline).encode(), budget.load_baseline, True),
        Reader("card.json", (zoo / "card.json").read_bytes().replace(b"\n", b" "), _card, True,
               "card.json"),
        Reader("order.json", json.dumps(ordered).encode(),
               lambda path: order.load(path.parent, GRAPH), True, order.FILE),
        Reader("Graph file", file.to_bytes(GRAPH), file.load),
        Reader("adversarial.npz", adversarial, AdversarialSet.load),
        Reader("checkpoint.npz", (work / checkpoint.NAME).read_bytes(),
               lambda path: checkpoint.load(path.parent, recipe), suffix=checkpoint.NAME),
        Reader("wav", sound.getvalue(), _clips.read),
        Reader("mat", _matrix(), lambda path: _values(_mat.read, path)),
        Reader("CIFAR batch", cifar, _cifar_files.read),
    ]  # fmt: skip


def _built(folder: Path) -> Path:
    """A build folder as ``image.load`` wants it; the program in it is none."""
    total = Total(used_bytes=4, budget_bytes=9, parts=[Part(name="code", bytes=4)])
    memory = MemoryReport(
        board="nucleo-h743", model="tiny", flash=total, ram=total,
        stack=Stack(reserved_bytes=8, bound_bytes=4), arena_bytes=4, scratch_bytes=0,
        regions=[Region(name="FLASH", used_bytes=4, size_bytes=9, parts=[])],
        layers=[LayerMemory(name="c", kernel="k", macs=1, weights_bytes=1, tables_bytes=1,
                            scratch_bytes=0, output_bytes=1)],
    )  # fmt: skip
    meta = {
        "schema": IMAGE_SCHEMA, "board": "nucleo-h743", "core": "cortex-m7",
        "model": "tiny", "task": "shapes", "graph_sha256": "0" * 64, "image_sha256": sha256(b"x"),
        "image_bytes": 1, "input_shape": [8, 8, 1], "classes": ["a"],
        "steps": [{"name": "c", "kernel": "k"}], "versions": {"python": "3"},
    }  # fmt: skip
    write_json(folder / "memory.json", memory.as_json())
    write_json(folder / "image.json", meta)
    for name in ("firmware.elf", "firmware.bin"):
        write_bytes(folder / name, b"x")
    image.load(folder)
    return folder


def _report(path: Path) -> None:
    found = journal.read(path)

    def made() -> None:
        figures = evaluate.summarise(found)
        markdown.render(figures)
        junit.render(figures)

    guarded(made, path)


def _in(there: Path, load: Callable[[Path], object], folder: Path, path: Path) -> None:
    good = there.read_bytes()
    there.write_bytes(path.read_bytes())
    try:
        load(folder)
    finally:
        there.write_bytes(good)


def _card(path: Path) -> None:
    found = {"suite": "s", "clean": {"accuracy": 0.5, "low": 0.4, "high": 0.6, "samples": 10},
             "attacks": [], "worst": [], "signs_of_masking": []}  # fmt: skip
    card.add_attacks(path.parent, "x", found)


def _values(read: Callable[[bytes], object], path: Path) -> None:
    """Its one caller makes an error of a ValueError."""
    try:
        read(path.read_bytes())
    except ValueError as error:
        raise TinyRobustError(str(error).replace("\n", " ")) from error


def _matrix() -> bytes:
    from tests.tasks.test_tasks_svhn import GOOD

    return bytes(GOOD)


class _Slow(BaseException):
    pass


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _Slow


def fuzz(
    reader: Reader, seed: int, seconds: float, most: int, work: Path, keep: Path | None
) -> Counter[str]:
    """Counts of ``read``, ``refused`` and ``fault``."""
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    path = work / (reader.suffix or "input")
    while counts.total() < most and time.monotonic() < end:
        draw = random.Random(f"{reader.name} {seed} {counts.total()}")
        mutate = _structure if reader.structured and draw.random() < 0.7 else _bytes
        data = mutate(draw, reader.good) if counts.total() else reader.good
        path.write_bytes(data)
        signal.setitimer(signal.ITIMER_REAL, TIME_S)
        try:
            reader.read(path)
            counts["read"] += 1
        except TinyRobustError as error:
            counts["refused" if "\n" not in str(error) else "fault"] += 1
            if "\n" in str(error):
                sys.stderr.write(f"{reader.name} {seed}: two lines: {str(error)[:300]!r}\n")
        except (Exception, _Slow) as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            counts["fault"] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            sys.stderr.write(f"{reader.name} {seed} {counts.total() - 1}: {error!r:.160} "
                             f"{Path(where.filename).name}:{where.lineno}\n")  # fmt: skip
            if keep is not None:
                (keep / f"{reader.name} {sha256(data)[:8]}".replace(" ", "-")).write_bytes(data)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="READER")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each reader")
    parser.add_argument("--inputs", type=int, default=1 << 60, help="at most, for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("ignore")
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.write(
            "| reader | inputs | read | refused | faults |\n|---|---:|---:|---:|---:|\n"
        )
        for reader in readers(Path(name)):
            if options.names and reader.name not in options.names:
                continue
            found = fuzz(
                reader, options.seed, options.seconds, options.inputs, Path(name), options.keep
            )
            faults += found["fault"]
            sys.stdout.write(f"| {reader.name} | {found.total():,} | {found['read']:,} | "
                             f"{found['refused']:,} | {found['fault']} |\n")  # fmt: skip
            sys.stdout.flush()
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
