"""Which expressions ask for the capability, and what they ask."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shim.source.gates.evaluate import Evaluator
from shim.source.gates.panel import UNKNOWN, capability_in
from shim.source.gates.predicates import is_predicate
from shim.source.gates.values import compare, lift


def with_literal_default(arguments: ast.arguments) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [
        *zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    for argument, default in pairs:
        if (
            isinstance(default, ast.Constant)
            and isinstance(default.value, int)
            and capability_in(default.value) is not None
        ):
            yield argument.arg


def outcome(node: ast.expr, evaluator: Evaluator) -> object:
    """The outcome of a test; for a look-up, whether the device is in the table."""
    table, key = lookup_parts(node)
    if table is not None and key is not None:
        held = evaluator(table)
        if not isinstance(held, dict):
            return UNKNOWN
        return lift(lambda one, two: compare("In", one, two), evaluator(key), held)
    return evaluator(node)


def lookup_parts(node: ast.expr) -> tuple[ast.expr | None, ast.expr | None]:
    """Table and key of `table[key]` or `table.get(key)`."""
    if isinstance(node, ast.Subscript):
        return node.value, node.slice
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        return node.func.value, node.args[0]
    return None, None


def may_test(node: ast.expr) -> bool:
    """Whether the expression itself compares: a use of a flag that was computed elsewhere does not."""
    if isinstance(node, ast.Compare):
        sides = (node.left, *node.comparators)
        return not any(
            isinstance(side, ast.Constant) and (side.value is None or isinstance(side.value, bool)) for side in sides
        )
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("any", "all") and node.args and isinstance(node.args[0], ast.GeneratorExp):
            return _is_literal_capability(node.args[0].generators[0].iter)
        return name in ("startswith", "get") or is_predicate(name) or any(map(_is_literal_capability, node.args))
    return isinstance(node, ast.Subscript)


def _is_literal_capability(node: ast.expr) -> bool:
    """An argument such as 120 or ["120", "121"], which a helper of the file compares with."""
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)) and node.elts:
        return all(map(_is_literal_capability, node.elts)) or capability_in(_constants(node)) is not None
    return isinstance(node, ast.Constant) and capability_in(node.value) is not None


def _constants(node: ast.List | ast.Tuple | ast.Set) -> object:
    return tuple(part.value if isinstance(part, ast.Constant) else None for part in node.elts)
