"""Walks a Python build script: every expression with its function, the conditions it hangs on, and its parents."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from shim.source.buildfiles.conditions import Condition, holds, words
from shim.source.buildfiles.spans import Text

_JUMPS = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True, slots=True)
class Place:
    """A node and where it stands."""

    node: ast.AST
    scope: str
    conditions: tuple[Condition, ...]
    parents: tuple[ast.AST, ...] = field(repr=False)

    @property
    def parent(self) -> ast.AST | None:
        """The node right around it."""
        return self.parents[-1] if self.parents else None


def places(tree: ast.Module) -> Iterator[Place]:
    """Every statement and expression but docstrings, in the order of the file. Raises RecursionError."""
    yield from _block(tree.body, "", (), (tree,))


def _block(
    body: Sequence[ast.stmt], scope: str, conditions: tuple[Condition, ...], parents: tuple[ast.AST, ...]
) -> Iterator[Place]:
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        yield from _statement(statement, scope, conditions, parents)
        if isinstance(statement, ast.If) and not statement.orelse and leaves(statement.body):
            conditions = (*conditions, (statement.test, False))


def leaves(body: Sequence[ast.stmt]) -> bool:
    """Whether a block ends by leaving the function, the loop or the program."""
    last = body[-1]
    return isinstance(last, _JUMPS) or (
        isinstance(last, ast.Expr) and ast.unparse(last).startswith(("sys.exit(", "exit("))
    )


def _statement(
    node: ast.stmt, scope: str, conditions: tuple[Condition, ...], parents: tuple[ast.AST, ...]
) -> Iterator[Place]:
    yield Place(node, scope, conditions, parents)
    inner = (*parents, node)
    match node:
        case (
            ast.FunctionDef(name=name, body=body)
            | ast.AsyncFunctionDef(name=name, body=body)
            | ast.ClassDef(name=name, body=body)
        ):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr | ast.arguments):
                    yield from _expression(child, scope, conditions, inner)
            yield from _block(body, f"{scope}.{name}" if scope else name, conditions, inner)
        case ast.If(test=test, body=body, orelse=orelse):
            yield from _expression(test, scope, conditions, inner)
            yield from _block(body, scope, (*conditions, (test, True)), inner)
            yield from _block(orelse, scope, (*conditions, (test, False)), inner)
        case _:
            for name, value in ast.iter_fields(node):
                if name in ("body", "orelse", "finalbody") and isinstance(value, list):
                    yield from _block(value, scope, conditions, inner)
                    continue
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.ExceptHandler | ast.match_case):
                        yield from _block(child.body, scope, conditions, (*inner, child))
                    elif isinstance(child, ast.AST):
                        yield from _expression(child, scope, conditions, inner)


def _expression(
    node: ast.AST, scope: str, conditions: tuple[Condition, ...], parents: tuple[ast.AST, ...]
) -> Iterator[Place]:
    yield Place(node, scope, conditions, parents)
    inner = (*parents, node)
    if isinstance(node, ast.IfExp):
        yield from _expression(node.test, scope, conditions, inner)
        yield from _expression(node.body, scope, (*conditions, (node.test, True)), inner)
        yield from _expression(node.orelse, scope, (*conditions, (node.test, False)), inner)
        return
    for child in ast.iter_child_nodes(node):
        yield from _expression(child, scope, conditions, inner)


def mention(place: Place, text: Text, path: str, start: int, end: int) -> dict[str, Any]:
    """The fields that every mention has."""
    return {
        "path": path,
        "line": text.line(start),
        "start": start,
        "end": end,
        "text": text.decode(start, end),
        "scope": place.scope,
        "condition": words(place.conditions),
        "reached": holds(place.conditions),
    }


def strings(found: Sequence[Place]) -> Iterator[Place]:
    """String literals, f-strings as a whole."""
    for place in found:
        node = place.node
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if (text or isinstance(node, ast.JoinedStr)) and not isinstance(
            place.parent, ast.JoinedStr | ast.FormattedValue
        ):
            yield place


def expression(node: ast.AST) -> ast.expr:
    """The node, of which the caller knows that it is an expression."""
    assert isinstance(node, ast.expr)
    return node
