"""YAML files checked by a pydantic model, with errors that name file, line and allowed values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tinyrobust import yamlcache
from tinyrobust.errors import TinyRobustError
from tinyrobust.registry import nearest

Model = TypeVar("Model", bound=BaseModel)
MAX_BYTES = 1 << 20
MAX_DEPTH = 64  # of mappings and sequences within one another
MAX_NODES = 20_000  # with every alias counted as what it stands for
MAX_PLAIN = 4096  # characters of a text without quotes, which may become a number
MAX_SHOWN = 80  # characters of a value in a message


def load(path: Path, model: type[Model], error: type[TinyRobustError]) -> Model:
    """Read ``path`` and validate it as ``model``; raises ``error`` naming the line at fault."""
    data = _read(path, error)
    plain = yamlcache.tree(data, lambda: _plain(_parse(data, path, error)))
    try:
        return model.model_validate(plain)
    except ValidationError as failure:
        raise _explain(failure, path, _parse(data, path, error), model, error) from failure


def _read(path: Path, error: type[TinyRobustError]) -> bytes:
    try:
        with path.open("rb") as file:  # a device may have no end
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as failure:
        raise error(f"no such file: {path}", "check the path") from failure
    except OSError as failure:
        raise error(f"cannot read {path}: {failure.strerror}", "check the path") from failure
    if len(data) > MAX_BYTES:
        raise error(
            f"{path} has more than {MAX_BYTES:,} bytes, the most of a YAML file here",
            "check that this is the file you mean",
        )
    return data


def _parse(data: bytes, path: Path, error: type[TinyRobustError]) -> Any:
    """The tree of ``data``, with the lines of its keys."""
    # late: reading what is kept needs no parser
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    from tinyrobust.yamlparser import Limits, parse

    try:
        tree = parse(data.decode(), Limits(MAX_DEPTH, MAX_NODES, MAX_PLAIN))
    except UnicodeDecodeError as failure:
        raise error(
            f"{path} is not UTF-8 text (byte {failure.start})", "save it as UTF-8"
        ) from failure
    except MarkedYAMLError as failure:
        line = failure.problem_mark.line + 1 if failure.problem_mark else 1
        raise error(
            f"{path}:{line}: not valid YAML: {failure.problem}",
            "correct that line; text with : # or quotes goes into quotes",
        ) from failure
    except (YAMLError, RecursionError, ValueError) as failure:
        raise error(
            f"{path}: not valid YAML: {' '.join(str(failure).split())}",
            "correct it; text with : # or quotes goes into quotes",
        ) from failure
    if not isinstance(tree, CommentedMap):
        raise error(
            f"{path}: expected a mapping of keys to values at the top",
            "begin its lines with KEY: VALUE",
        )
    return tree


def _plain(node: Any) -> Any:
    if isinstance(node, dict):  # CommentedMap and CommentedSeq are a dict and a list
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return node


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a YAML file. ``field`` is a path such as ``memories.0.length``."""

    line: int
    field: str
    message: str
    hint: str = ""


def problems(path: Path, model: type[BaseModel], error: type[TinyRobustError]) -> list[Problem]:
    """All that is wrong in ``path`` as ``model``, by line; raises ``error`` if it is no YAML."""
    tree = _parse(_read(path, error), path, error)
    try:
        model.model_validate(_plain(tree))
    except ValidationError as failure:
        found = [_problem(item, tree, model) for item in failure.errors()]
        return sorted(dict.fromkeys(found), key=lambda problem: problem.line)
    return []


def line_of(path: Path, where: Sequence[str | int], error: type[TinyRobustError]) -> int:
    """The line of the field at ``where``, or of the nearest one around it."""
    return _locate(_parse(_read(path, error), path, error), tuple(where))[0]


def _explain(
    failure: ValidationError,
    path: Path,
    tree: Any,
    model: type[BaseModel],
    error: type[TinyRobustError],
) -> TinyRobustError:
    # a misspelt key is both unknown and missing: say the unknown one
    first = min(failure.errors(), key=lambda item: item["type"] != "extra_forbidden")
    found = _problem(first, tree, model)
    message = found.message
    more = len(failure.errors()) - 1
    if more:
        message += f" (and {more} more)"
    return error(f"{path}:{found.line}: {message}", found.hint)


def _problem(item: Any, tree: Any, model: type[BaseModel]) -> Problem:
    raised = item.get("ctx", {}).get("error")  # a ValueError of a model's own check
    # such a check may name the field that it is about
    where = (*item["loc"], *getattr(raised, "where", ()))
    line, keys = _locate(tree, where)
    name = ".".join(str(part) for part in keys)
    hint = ""
    if item["type"] == "extra_forbidden":
        message = f"unknown key '{where[-1]}'"
        hint = nearest(str(where[-1]), _fields(model, where[:-1]))
    elif item["type"] == "missing":
        message = f"'{where[-1]}' is missing"
    else:
        message = f"{name or 'the file'}: {raised or item['msg']}"
        if len(where) > len(item["loc"]):
            message = str(raised)
        # a whole mapping tells nobody anything
        if raised is None and len(got := repr(item["input"])) <= MAX_SHOWN:
            message += f" (got {got})"
    return Problem(line, name, message, hint)


def _locate(tree: Any, where: tuple[Any, ...]) -> tuple[int, list[Any]]:
    line, keys = 1, []
    node: Any = tree
    for part in where:
        marked: Any = node  # CommentedMap and CommentedSeq know their lines
        if isinstance(node, dict) and part in node:
            line = marked.lc.key(part)[0] + 1
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            line = marked.lc.item(part)[0] + 1
        else:
            continue  # a union tag, or the missing key itself
        keys.append(part)
        node = node[part]
    return line, keys


def _fields(model: type[BaseModel], where: tuple[Any, ...]) -> list[str]:
    """Names allowed at ``where``, following plain nested models as far as they go."""
    current: Any = model
    for part in where:
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return []
        field = current.model_fields.get(str(part))
        if field is None:
            continue
        current = field.annotation
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [field.alias or name for name, field in current.model_fields.items()]
    return []
