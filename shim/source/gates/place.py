"""Where in a file an expression stands: its function, its statement, what surrounds it."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shim.source.gates.names import TUNING, Role, role_of_name

_CAPABILITY_WORD: Final = re.compile(
    r"capab|compute_cap|^sm_?\d|_sm_?\d|^major$|^minor$|hopper|blackwell|ampere", re.IGNORECASE
)
_ONE_SHAPE: Final = 3

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(slots=True)
class Place:
    """A file with the way up from each node, and the places where names are read (".name" for attributes)."""

    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    loads: dict[str, list[ast.expr]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.loads.setdefault(node.id, []).append(node)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                self.loads.setdefault(f".{node.attr}", []).append(node)

    def function_of(self, node: ast.AST) -> Function | None:
        """The function a node stands in."""
        current = self.parents.get(node)
        while current is not None and not isinstance(current, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            current = self.parents.get(current)
        return current if isinstance(current, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) else None

    def statement_of(self, node: ast.AST) -> ast.stmt | None:
        """The statement a node stands in."""
        current: ast.AST | None = node
        while current is not None and not isinstance(current, ast.stmt):
            current = self.parents.get(current)
        return current

    def following(self, node: ast.stmt) -> Sequence[ast.stmt]:
        parent = self.parents.get(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and node in block:
                return block[block.index(node) + 1 :]
        return ()

    def within(self, node: ast.AST, outer: ast.AST) -> bool:
        current: ast.AST | None = node
        while current is not None and current is not outer:
            current = self.parents.get(current)
        return current is outer

    def is_conditional(self, node: ast.expr) -> bool:
        """Whether something else than the device decides too: `and` with other tests, or an if around it."""
        current: ast.AST = node
        while (parent := self.parents.get(current)) is not None and not isinstance(parent, ast.stmt):
            if isinstance(parent, ast.BoolOp) and any(
                part is not current and not asks_capability(part) for part in parent.values
            ):
                return True
            current = parent
        statement = parent if isinstance(parent, ast.stmt) else None
        while statement is not None:
            outer = self.parents.get(statement)
            if isinstance(outer, ast.If) and not asks_capability(outer.test) and statement in outer.body:
                return True
            statement = outer if isinstance(outer, (ast.If, ast.Try, ast.With)) else None
        return False

    def ladder(self, node: ast.expr) -> tuple[bool, bool]:
        """Whether the test is an elif after a test of the capability, and whether such an elif follows it."""
        statement = self.statement_of(node)
        outer = self.parents.get(statement) if statement is not None else None
        if not isinstance(statement, ast.If):
            return False, False
        after = isinstance(outer, ast.If) and outer.orelse == [statement] and asks_capability(outer.test)
        following = statement.orelse[:1] if statement.orelse else self.following(statement)[:1]
        before = bool(following) and isinstance(following[0], ast.If) and asks_capability(following[0].test)
        return after, before

    def fits_one_shape(self, node: ast.expr) -> bool:
        """Whether the test stands beside several tests for exact numbers: a path tuned for one model."""
        current: ast.AST = node
        while isinstance(parent := self.parents.get(current), ast.expr):
            if isinstance(parent, ast.BoolOp) and sum(map(_is_exact_number, parent.values)) >= _ONE_SHAPE:
                return True
            current = parent
        return False

    def is_numbers(self, node: ast.expr) -> bool:
        """Whether a table, or the table of that name in this file, holds numbers only."""
        if isinstance(node, ast.Name):
            for use in self.tree.body:
                targets = (
                    use.targets
                    if isinstance(use, ast.Assign)
                    else [use.target]
                    if isinstance(use, ast.AnnAssign)
                    else []
                )
                if any(isinstance(target, ast.Name) and target.id == node.id for target in targets):
                    value = use.value if isinstance(use, (ast.Assign, ast.AnnAssign)) else None
                    return value is not None and self.is_numbers(value)
        if isinstance(node, ast.Dict):
            return all(self.is_numbers(value) for value in node.values)
        if isinstance(node, (ast.Tuple, ast.List)):
            return all(self.is_numbers(value) for value in node.elts)
        if isinstance(node, ast.BinOp):
            return self.is_numbers(node.left) and self.is_numbers(node.right)
        if isinstance(node, ast.Call):
            return TUNING.search(last_name(node)) is not None
        return isinstance(node, ast.Constant) and isinstance(node.value, (int, float))


def asks_capability(node: ast.expr) -> bool:
    for part in ast.walk(node):
        name = part.attr if isinstance(part, ast.Attribute) else part.id if isinstance(part, ast.Name) else ""
        if name and (_CAPABILITY_WORD.search(name) or role_of_name(name) in (Role.CAPABILITY, Role.MAJOR, Role.MINOR)):
            return True
    return False


def _is_exact_number(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Compare)
        and len(node.ops) == 1
        and isinstance(node.ops[0], ast.Eq)
        and isinstance(node.comparators[0], ast.Constant)
        and isinstance(node.comparators[0].value, int)
    )


def last_name(node: ast.AST) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Call():
            return last_name(node.func)
        case ast.Subscript():
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                return node.slice.value
            return last_name(node.value)
        case _:
            return ""
