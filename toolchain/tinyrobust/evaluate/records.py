"""What a record of ``records.jsonl`` may hold (``journal.py`` says what it means).

In: a parsed line. Out: nothing, or the first field that is wrong. Fields that no reader here knows
are left alone, so that a newer version's records can be read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

_LARGE = 1 << 53
Text = Annotated[str, Field(max_length=100_000)]
Count = Annotated[int, Field(strict=True, ge=0, le=_LARGE)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]
Seconds = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e12)]
Flag = Annotated[bool, Field(strict=True)]
Class = Annotated[int, Field(strict=True, ge=-1, le=1 << 31)]
Plain = Flag | Count | Number | Text | None


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Config(_Record):
    board: Text
    model: Text
    task: Text
    samples: Count
    seed: Annotated[int, Field(strict=True, ge=-_LARGE, le=_LARGE)]
    attacks: list[Text]
    parameters: dict[Text, dict[Text, Any]]
    graph_sha256: Text
    image_sha256: Text
    data_sha256: Text
    adversarial_sha256: Text | None


class Header(_Record):
    """The first record."""

    type: Literal["header"]
    schema_: Literal["tinyrobust.records/1"] = Field(alias="schema")
    config_sha256: Text
    config: _Config
    started: Text | None = None
    command: Text = ""
    versions: dict[Text, Text | None] = {}
    about: dict[Text, Plain | list[Plain]] = {}


class _Counter(_Record):
    unit: Literal["instructions", "cycles"] | None
    per_count: Count


class Device(_Record):
    """The board of a session."""

    type: Literal["device"]
    clock_hz: Count
    is_virtual: Flag
    counter: _Counter


class _Cycles(_Record):
    min: Count
    max: Count
    sum: Count


class _Oracle(_Record):
    name: Text
    asked: Count
    s: Seconds
    retried: Count = 0


class _Norms(_Record):
    linf: list[Number | None]
    l2: list[Number | None]


_CRAFTED = ("skipped", "success", "moved", "norms", "targets", "log", "oracle")


class Batch(_Record):
    """One batch of one series: everything in it is of the same images."""

    type: Literal["batch"]
    series: Text
    first: Count
    labels: Annotated[list[Class], Field(min_length=1)]
    predicted: list[Class]
    expected: list[Class]
    score_differences: Count
    cycles: _Cycles
    device_s: Seconds
    distance_255: Number | None = None
    distance_l2: Number | None = None
    queries: Count | None = None
    queries_each: list[Count] | None = None
    craft_s: Seconds | None = None
    skipped: list[Flag] | None = None
    success: list[Flag] | None = None
    moved: list[Flag] | None = None
    norms: _Norms | None = None
    targets: list[Class] | None = None
    log: list[dict[Text, Plain]] | None = None
    oracle: _Oracle | None = None
    after: dict[Annotated[str, Field(pattern=r"^\d{1,12}$")], list[Number | None]] = {}

    @model_validator(mode="after")
    def _fits(self) -> Batch:
        if self.series != "clean":
            self._check_attack()
        lists = {"predicted": self.predicted, "expected": self.expected,
                 "queries_each": self.queries_each, "skipped": self.skipped,
                 "success": self.success, "moved": self.moved, "targets": self.targets,
                 **{f"norms.{n}": getattr(self.norms, n) for n in ("linf", "l2") if self.norms},
                 **{f"after.{k}": v for k, v in self.after.items()}}  # fmt: skip
        for name, values in lists.items():
            if values is not None and len(values) != len(self.labels):
                raise ValueError(f"{name} has {len(values)} entries, labels {len(self.labels)}")
        for entry in self.log or ():
            counted = all(isinstance(entry.get(k), int) for k in ("tried", "broken"))
            scaled = isinstance(entry.get("temperature", 1.0), (int, float))
            if ("temperature" in entry or "part" in entry) and not (counted and scaled):
                raise ValueError("an entry of log has no count of tried and broken images")
        return self

    def _check_attack(self) -> None:
        given = self.model_fields_set
        if not {"queries", "craft_s", "distance_255"} <= given or self.distance_255 is None:
            raise ValueError("an attack's batch has queries, craft_s and distance_255")
        if "queries_each" in given:
            missing = [n for n in _CRAFTED if n not in given
                       or (n not in ("targets",) and getattr(self, n) is None)]  # fmt: skip
            if missing or self.queries_each is None:
                raise ValueError(f"queries_each is there, but not {', '.join(missing) or 'a list'}")


class _Probe(_Record):
    images: Count
    eps_255: Number
    directions: Count
    zero_gradients: Count = 0
    flat: Count = 0
    beaten_by_random: Count = 0
    unbounded: Count = 0
    unbounded_scaled: Count = 0
    temperature: Number = 1.0

    @model_validator(mode="after")
    def _whole(self) -> _Probe:
        given = self.model_fields_set
        if "unbounded" in given and not {"unbounded_scaled", "temperature"} <= given:
            raise ValueError("unbounded has unbounded_scaled and temperature beside it")
        return self


class Masking(_Record):
    """What ``probe.py`` measured."""

    type: Literal["masking"]
    probe: _Probe | None


class _Layer(_Record):
    name: Text
    kernel: Text
    macs: Count
    cycles: Count


class Layers(_Record):
    """One inference, layer by layer."""

    type: Literal["layers"]
    layers: list[_Layer]


class _Part(_Record):
    name: Text
    bytes: Count


class _Total(_Record):
    used_bytes: Count
    budget_bytes: Count | None
    parts: list[_Part]


class _Stack(_Record):
    reserved_bytes: Count
    bound_bytes: Count | None


class _Stored(_Record):
    name: Text
    weights_bytes: Count
    tables_bytes: Count


class _Image(_Record):
    flash: _Total
    ram: _Total
    stack: _Stack
    layers: list[_Stored] = []


class _Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Memory(_Record):
    """memory.json of the build, and the device's marks."""

    type: Literal["memory"]
    image: _Nothing | _Image
    marks: dict[Text, Count]


class Done(_Record):
    """The end of a run."""

    type: Literal["done"]
    seconds: Seconds
    finished: Text


class Other(_Record):
    """A record of a newer version."""

    type: Text


KINDS: dict[str, TypeAdapter[Any]] = {
    kind.model_fields["type"].annotation.__args__[0]: TypeAdapter(kind)  # type: ignore[union-attr]
    for kind in (Header, Device, Batch, Masking, Layers, Memory, Done)
}
OTHER: TypeAdapter[Any] = TypeAdapter(Other)
