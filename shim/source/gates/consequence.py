"""What hangs on a test: the kind of what runs when it is true, and when it is false."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from shim.source.gates.predicates import is_membership_check
from shim.source.gates.names import SWITCH_OFF, TUNING, Role, role_of_name

_REASON: Final = re.compile(r"support|requir|only|unsupp|not |need|incompat", re.IGNORECASE)
_PREDICATE: Final = re.compile(r"^_*(is|can|has|should|use|uses|supports?|enable|allow|check|valid|eligible|want)|support|available|eligible|capable|allowed|enabled|compatible", re.IGNORECASE)
_LOG: Final = re.compile(r"log|warn|print|debug|info", re.IGNORECASE)
_EXITS: Final = frozenset({"exit", "_exit", "skip", "fail", "abort", "skipTest"})
_CAPABILITY_WORD: Final = re.compile(r"capab|compute_cap|^sm_?\d|_sm_?\d|^major$|^minor$|hopper|blackwell|ampere", re.IGNORECASE)
_DEEPEST: Final = 4
_ONE_SHAPE: Final = 3


class Kind(IntEnum):
    """What a branch does; when several things happen, the greatest counts."""

    EMPTY = 0
    LOG = 1
    TUNE = 2
    FEATURE = 3
    DISABLE = 4
    REFUSE = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """Kind of what happens when a test is true, and when it is false."""

    true: Kind
    false: Kind

    def swapped(self) -> Pair:
        return Pair(self.false, self.true)

    def of(self, outcome: bool) -> Kind:
        return self.true if outcome else self.false


_UNCLEAR: Final = Pair(Kind.FEATURE, Kind.EMPTY)


@dataclass(slots=True)
class Consequences:
    """Looks from a test outwards. `tree` is the whole file."""

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

    def of(self, node: ast.expr, depth: int = 0) -> Pair:
        """Kinds for a test that is a part of a larger expression or statement."""
        parent = self.parents.get(node)
        match parent:
            case ast.UnaryOp():
                return self.of(parent, depth).swapped() if isinstance(parent.op, ast.Not) else self.of(parent, depth)
            case ast.BoolOp() | ast.NamedExpr() | ast.Await() | ast.Starred():
                return self.of(parent, depth)
            case ast.Compare():
                return self._compared(node, parent, depth)
            case ast.If() | ast.While() if parent.test is node:
                return Pair(self.block(parent.body), self._otherwise(parent))
            case ast.IfExp():
                if parent.test is node:
                    return self._chosen(parent)
                return self.of(parent, depth)
            case ast.Assert():
                return Pair(Kind.EMPTY, Kind.REFUSE)
            case ast.Return():
                return self._returned(parent, depth)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                return self._assigned(parent, depth)
            case ast.Tuple() if parent.elts and parent.elts[0] is node:
                return self.of(parent, depth)
            case ast.GeneratorExp() if parent.elt is node:
                return self.of(parent, depth)
            case ast.comprehension():
                return Pair(Kind.FEATURE, Kind.DISABLE)
            case ast.keyword():
                return self._flag(parent.arg or "")
            case ast.Dict():
                return self._dict_value(node, parent)
            case ast.Call():
                return self._argument(node, parent, depth)
            case ast.Expr():
                raises = isinstance(node, ast.Call) and is_membership_check(_last_name(node))
                return Pair(Kind.EMPTY, Kind.REFUSE if raises else Kind.EMPTY)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return Pair(Kind.FEATURE, Kind.REFUSE)  # a decorator that lists architectures
            case _:
                return _UNCLEAR

    def block(self, body: Sequence[ast.stmt]) -> Kind:
        """Kind of a list of statements."""
        kinds: set[Kind] = set()
        for statement in body:
            kind = self._statement(statement)
            if kind is Kind.REFUSE and isinstance(statement, (ast.Raise, ast.Return, ast.Expr, ast.Assert)):
                return Kind.REFUSE
            kinds.add(kind)
        return _strongest(kinds)

    def value(self, node: ast.expr | None, name: str = "") -> Kind:
        """Kind of choosing a value for something called `name`."""
        if name and TUNING.search(name):
            return Kind.TUNE
        match node:
            case None:
                return Kind.DISABLE
            case ast.Constant():
                return _constant(node.value)
            case ast.Tuple() | ast.List() | ast.Set():
                return _elements([self.value(part) for part in node.elts], node.elts)
            case ast.Dict():
                return _elements([self.value(part) for part in node.values], node.values)
            case ast.BinOp():
                return Kind.FEATURE if isinstance(node.op, (ast.BitOr, ast.MatMult)) or _is_text(node) else Kind.TUNE
            case ast.UnaryOp():
                return self.value(node.operand)
            case ast.Call() | ast.Name() | ast.Attribute() | ast.Subscript():
                return Kind.TUNE if TUNING.search(_last_name(node)) else Kind.FEATURE
            case ast.IfExp():
                return max(self.value(node.body), self.value(node.orelse))
            case ast.Compare():
                return Kind.TUNE if any(self.value(part) is Kind.TUNE for part in node.comparators) else Kind.FEATURE
            case ast.BoolOp():
                return min(self.value(part) for part in node.values)
            case ast.JoinedStr():
                return Kind.REFUSE if any(isinstance(p, ast.Constant) and _REASON.search(str(p.value)) for p in node.values) else Kind.FEATURE
            case _:
                return Kind.FEATURE

    def function_of(self, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None:
        """The function a node stands in."""
        current = self.parents.get(node)
        while current is not None and not isinstance(current, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            current = self.parents.get(current)
        return current if isinstance(current, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) else None

    def _statement(self, node: ast.stmt) -> Kind:
        match node:
            case ast.Raise():
                return Kind.REFUSE
            case ast.Return():
                return self._returns(node)
            case ast.Continue():
                return Kind.DISABLE
            case ast.Pass() | ast.Break() | ast.Import() | ast.ImportFrom() | ast.Global() | ast.Nonlocal() | ast.Assert():
                return Kind.FEATURE if isinstance(node, (ast.Import, ast.ImportFrom)) else Kind.EMPTY
            case ast.Expr():
                return _call_kind(node.value)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                return self._sets(node)
            case ast.If():
                return _strongest({self.block(node.body), self.block(node.orelse)})
            case ast.For() | ast.While() | ast.With() | ast.AsyncWith() | ast.AsyncFor():
                return self.block(node.body)
            case ast.Try():
                return self.block([*node.body, *node.orelse])
            case _:
                return Kind.FEATURE

    def _sets(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Kind:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [_last_name(part) for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
        if names and all(TUNING.search(name) for name in names):
            return Kind.TUNE
        kind = self.value(node.value)
        if names and SWITCH_OFF.search(names[0]) and kind in (Kind.DISABLE, Kind.FEATURE):
            return Kind.FEATURE if kind is Kind.DISABLE else Kind.DISABLE
        return Kind.TUNE if kind is Kind.REFUSE else kind

    def _returns(self, node: ast.Return) -> Kind:
        function = self.function_of(node)
        name = getattr(function, "name", "")
        if TUNING.search(name) and not _PREDICATE.search(name):
            return Kind.TUNE
        value = node.value
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            return Kind.DISABLE
        if isinstance(value, ast.Constant) and value.value is False:
            return Kind.FEATURE if SWITCH_OFF.search(name) else Kind.REFUSE
        if isinstance(value, ast.Constant) and value.value is True and SWITCH_OFF.search(name):
            return Kind.DISABLE
        if isinstance(value, ast.Tuple) and value.elts and isinstance(value.elts[0], ast.Constant) and value.elts[0].value is False:
            return Kind.REFUSE
        return self.value(value)

    def _otherwise(self, node: ast.If | ast.While) -> Kind:
        if node.orelse:
            return self.block(node.orelse)
        if not node.body or not isinstance(node.body[-1], (ast.Return, ast.Raise, ast.Continue)):
            return Kind.EMPTY
        return self.rest(node)

    def rest(self, node: ast.stmt) -> Kind:
        """Kind of what follows a statement in its block, for a device that was not sent away by it."""
        following = self._following(node)
        for statement in following:
            if isinstance(statement, (ast.Raise, ast.Return)):
                return self._statement(statement)
            if isinstance(statement, ast.If):
                if _asks_capability(statement.test) or self.block(statement.body) in (Kind.REFUSE, Kind.DISABLE):
                    continue
                return Kind.FEATURE
            if self._statement(statement) is Kind.FEATURE and not isinstance(statement, (ast.Assign, ast.AnnAssign)):
                return Kind.FEATURE
        return Kind.FEATURE if following else Kind.EMPTY

    def statement_of(self, node: ast.AST) -> ast.stmt | None:
        """The statement a node stands in."""
        current: ast.AST | None = node
        while current is not None and not isinstance(current, ast.stmt):
            current = self.parents.get(current)
        return current

    def is_numbers(self, node: ast.expr) -> bool:
        """Whether a table, or the table of that name in this file, holds numbers only."""
        if isinstance(node, ast.Name):
            for use in self.tree.body:
                targets = use.targets if isinstance(use, ast.Assign) else [use.target] if isinstance(use, ast.AnnAssign) else []
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
            return TUNING.search(_last_name(node)) is not None
        return isinstance(node, ast.Constant) and isinstance(node.value, (int, float))

    def is_conditional(self, node: ast.expr) -> bool:
        """Whether something else than the device decides too: `and` with other tests, or an if around it."""
        current: ast.AST = node
        while (parent := self.parents.get(current)) is not None and not isinstance(parent, ast.stmt):
            if isinstance(parent, ast.BoolOp) and any(
                part is not current and not _asks_capability(part) for part in parent.values
            ):
                return True
            current = parent
        statement = parent if isinstance(parent, ast.stmt) else None
        while statement is not None:
            outer = self.parents.get(statement)
            if isinstance(outer, ast.If) and not _asks_capability(outer.test) and statement in outer.body:
                return True
            statement = outer if isinstance(outer, (ast.If, ast.Try, ast.With)) else None
        return False

    def ladder(self, node: ast.expr) -> tuple[bool, bool]:
        """Whether the test is an elif after a test of the capability, and whether such an elif follows it."""
        statement = self.statement_of(node)
        outer = self.parents.get(statement) if statement is not None else None
        if not isinstance(statement, ast.If):
            return False, False
        after = isinstance(outer, ast.If) and outer.orelse == [statement] and _asks_capability(outer.test)
        following = statement.orelse[:1] if statement.orelse else self._following(statement)[:1]
        before = bool(following) and isinstance(following[0], ast.If) and _asks_capability(following[0].test)
        return after, before

    def fits_one_shape(self, node: ast.expr) -> bool:
        """Whether the test stands beside several tests for exact numbers: a path tuned for one model."""
        current: ast.AST = node
        while isinstance(parent := self.parents.get(current), ast.expr):
            if isinstance(parent, ast.BoolOp) and sum(map(_is_exact_number, parent.values)) >= _ONE_SHAPE:
                return True
            current = parent
        return False

    def _following(self, node: ast.stmt) -> Sequence[ast.stmt]:
        parent = self.parents.get(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and node in block:
                return block[block.index(node) + 1 :]
        return ()

    def _chosen(self, node: ast.IfExp) -> Pair:
        name = ""
        parent = self.parents.get(node)
        if isinstance(parent, (ast.Assign, ast.AnnAssign)):
            name = _last_name(parent.targets[0] if isinstance(parent, ast.Assign) else parent.target)
        elif isinstance(parent, ast.keyword):
            name = parent.arg or ""
        elif isinstance(parent, ast.Return):
            name = getattr(self.function_of(node), "name", "")
        return Pair(self.value(node.body, name), self.value(node.orelse, name))

    def _compared(self, node: ast.expr, parent: ast.Compare, depth: int) -> Pair:
        other = parent.comparators[0] if parent.left is node else parent.left
        pair = self.of(parent, depth)
        negative = isinstance(other, ast.Constant) and other.value in (False, None)
        differs = isinstance(parent.ops[0], (ast.NotEq, ast.IsNot))
        return pair.swapped() if negative != differs else pair

    def _returned(self, node: ast.Return, depth: int) -> Pair:
        function = self.function_of(node)
        if function is None or isinstance(function, ast.Lambda) or depth >= _DEEPEST:
            return _UNCLEAR
        uses = [*self.loads.get(function.name, ()), *self.loads.get(f".{function.name}", ())]
        found = []
        for use in uses:
            parent = self.parents.get(use)
            call = parent if isinstance(parent, ast.Call) and parent.func is use else use
            if self.function_of(use) is not function and isinstance(call, ast.expr):
                found.append(self.of(call, depth + 1))
        if not found or (TUNING.search(function.name) and not _PREDICATE.search(function.name)):
            return self._flag(function.name)
        return _union(found)

    def _assigned(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, depth: int) -> Pair:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if depth >= _DEEPEST:
            return _UNCLEAR
        if isinstance(target, ast.Attribute):
            uses = [use for use in self.loads.get(f".{target.attr}", ()) if use is not target]
            name = target.attr
        elif isinstance(target, ast.Name):
            name = target.id
            inside = self.function_of(node)
            uses = [use for use in self.loads.get(name, ()) if inside is None or self._within(use, inside)]
        else:
            return self._flag(_last_name(target))
        found = [self.of(use, depth + 1) for use in uses if not self._within(use, node)]
        if not found or TUNING.search(name):
            return self._flag(name)
        return _union(found)

    def _within(self, node: ast.AST, outer: ast.AST) -> bool:
        current: ast.AST | None = node
        while current is not None and current is not outer:
            current = self.parents.get(current)
        return current is outer

    def _dict_value(self, node: ast.expr, parent: ast.Dict) -> Pair:
        for key, value in zip(parent.keys, parent.values, strict=True):
            if value is node and isinstance(key, ast.Constant):
                return self._flag(str(key.value))
        return _UNCLEAR

    def _argument(self, node: ast.expr, call: ast.Call, depth: int) -> Pair:
        name = _last_name(call.func)
        if name in ("bool", "any", "all", "int", "constexpr", "const_expr"):
            return self.of(call, depth)
        if name in ("static_assert", "check", "torch_check", "assert_"):
            return Pair(Kind.EMPTY, Kind.REFUSE)
        if name in ("skipif", "skipIf", "skip_if"):
            return Pair(Kind.DISABLE, Kind.FEATURE)
        if name in ("skipUnless", "skip_unless"):
            return Pair(Kind.FEATURE, Kind.DISABLE)
        if _LOG.search(name):
            return Pair(Kind.LOG, Kind.LOG)
        return _UNCLEAR

    def _flag(self, name: str) -> Pair:
        if TUNING.search(name) and not _PREDICATE.search(name):
            return Pair(Kind.TUNE, Kind.TUNE)
        if SWITCH_OFF.search(name):
            return Pair(Kind.DISABLE, Kind.FEATURE)
        return Pair(Kind.FEATURE, Kind.DISABLE)


def _asks_capability(node: ast.expr) -> bool:
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


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
               for part in ast.walk(node))


def _last_name(node: ast.AST) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Call():
            return _last_name(node.func)
        case ast.Subscript():
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                return node.slice.value
            return _last_name(node.value)
        case _:
            return ""


def _constant(value: object) -> Kind:
    if value is None or value is False:
        return Kind.DISABLE
    if value is True:
        return Kind.FEATURE
    if isinstance(value, (int, float)):
        return Kind.TUNE
    return Kind.REFUSE if isinstance(value, str) and " " in value and _REASON.search(value) else Kind.FEATURE


def _elements(kinds: Sequence[Kind], nodes: Sequence[ast.expr | None]) -> Kind:
    if not nodes:
        return Kind.DISABLE
    first = nodes[0]
    if isinstance(first, ast.Constant) and first.value is False:
        return Kind.REFUSE
    return Kind.TUNE if set(kinds) <= {Kind.TUNE, Kind.EMPTY} or kinds.count(Kind.TUNE) * 2 > len(kinds) else Kind.FEATURE


def _call_kind(node: ast.expr) -> Kind:
    if isinstance(node, ast.Constant):
        return Kind.EMPTY
    name = _last_name(node)
    if name in _EXITS:
        return Kind.REFUSE
    if isinstance(node, ast.Call) and re.match(r"_*(remove|discard|pop|drop|clear|disable)", name):
        return Kind.DISABLE
    if isinstance(node, ast.Call) and name == "append" and node.args and isinstance(node.args[0], (ast.Constant, ast.JoinedStr)):
        owner = _last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        return Kind.REFUSE if re.search(r"reason|error|invalid|unsupport|fail", owner) else Kind.FEATURE
    owner = _last_name(node.func.value) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    return Kind.LOG if _LOG.search(name) or _LOG.search(owner) else Kind.FEATURE


def _strongest(kinds: Iterable[Kind]) -> Kind:
    found = set(kinds) - {Kind.EMPTY, Kind.LOG}
    if not found:
        return max(kinds, default=Kind.EMPTY)
    if found <= {Kind.DISABLE, Kind.REFUSE}:
        return max(found)
    if Kind.DISABLE in found and Kind.FEATURE not in found:
        return Kind.DISABLE
    return Kind.TUNE if found == {Kind.TUNE} else Kind.FEATURE if Kind.FEATURE in found else max(found)


def _union(pairs: Sequence[Pair]) -> Pair:
    return Pair(max(pair.true for pair in pairs), max(pair.false for pair in pairs))
