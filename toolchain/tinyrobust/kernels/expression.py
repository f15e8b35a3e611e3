"""Arithmetic expressions in kernel.yaml: parsed once, checked, never passed to ``eval``.

In: text such as ``"8 * k_padded + 16"`` and named numbers. Out: a number. Allowed: numbers,
names, ``+ - * / // % **``, comparisons (1 or 0), ``and or not``, ``a if c else b``, and the
functions ``ceil floor min max``.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ceil": math.ceil, "floor": math.floor, "min": min, "max": max,
}  # fmt: skip


_KEPT = 4096  # texts; all the kernels together have about 1,700


@lru_cache(maxsize=_KEPT)
def _parse(text: str) -> ast.expr:
    try:
        body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"'{text}' is not an arithmetic expression") from error
    for node in ast.walk(body):
        _check(node, text)
    return body


def _check(node: ast.AST, text: str) -> None:
    if isinstance(node, (ast.operator, ast.unaryop, ast.cmpop)):
        allowed = type(node) in _BINARY or isinstance(node, (ast.USub, ast.Not))
    elif isinstance(node, ast.Constant):
        allowed = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
    elif isinstance(node, ast.Call):
        allowed = (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
                   and not node.keywords)  # fmt: skip
    else:
        allowed = isinstance(
            node,
            (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Name, ast.Load,
             ast.And, ast.Or),
        )  # fmt: skip
    if not allowed:
        raise ValueError(f"'{text}': {type(node).__name__} is not allowed in an expression")


@lru_cache(maxsize=_KEPT)
def names(text: str) -> frozenset[str]:
    """Variables that ``text`` uses. Raises ValueError when it is not an allowed expression."""
    found = frozenset(node.id for node in ast.walk(_parse(text)) if isinstance(node, ast.Name))
    return found - frozenset(_FUNCTIONS)


Value = Callable[[Mapping[str, float]], Any]  # an expression's value, its variables given


def evaluate(text: str, variables: Mapping[str, float]) -> float:
    """Value of ``text``. Raises ValueError for anything not allowed, KeyError for an unknown
    name."""
    return float(_made(text)(variables))


@lru_cache(maxsize=_KEPT)
def _made(text: str) -> Value:
    return _value(_parse(text))


def _value(node: ast.expr) -> Value:
    """``node`` as functions of functions, so that the tree is walked once only."""
    match node:
        case ast.Constant(value=value):
            return lambda _: value
        case ast.Name(id=name):
            return lambda variables: variables[name]
        case ast.BinOp(left=left, op=op, right=right):
            work, a, b = _BINARY[type(op)], _value(left), _value(right)
            return lambda variables: work(a(variables), b(variables))
        case ast.UnaryOp(op=op, operand=operand):
            a, negative = _value(operand), isinstance(op, ast.USub)
            return lambda variables: -a(variables) if negative else int(not a(variables))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _comparison([_value(v) for v in (left, *comparators)], ops)
        case ast.BoolOp(op=op, values=parts):
            made, test = [_value(part) for part in parts], all if isinstance(op, ast.And) else any
            return lambda variables: int(test(bool(part(variables)) for part in made))
        case ast.IfExp(test=condition, body=body, orelse=other):
            which, a, b = _value(condition), _value(body), _value(other)
            return lambda variables: a(variables) if which(variables) else b(variables)
        case ast.Call(func=ast.Name(id=name), args=args):
            function, made = _FUNCTIONS[name], [_value(arg) for arg in args]
            return lambda variables: function(*[arg(variables) for arg in made])
    raise ValueError(f"{type(node).__name__} is not allowed in an expression")


def _comparison(values: list[Value], ops: list[ast.cmpop]) -> Value:
    works = [_BINARY[type(op)] for op in ops]
    if len(works) == 1:
        work, (a, b) = works[0], values
        return lambda variables: int(work(a(variables), b(variables)))

    def chain(variables: Mapping[str, float]) -> int:
        found = [value(variables) for value in values]
        pairs = zip(works, found, found[1:], strict=False)
        return int(all(work(a, b) for work, a, b in pairs))

    return chain
