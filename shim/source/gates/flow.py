"""Walks a Python file and yields every test of the capability with its outcome on each device that gets there.

Names, tuple unpacking, attributes of self, and functions of the same file are followed. A branch that a device
cannot take (`if major == 8:` for 12.1) is not looked at for it, and neither is what comes after a return.
"""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from shim.arch import ComputeCapability
from shim.source.gates.evaluate import Evaluator, dotted
from shim.source.gates.names import Role
from shim.source.gates.panel import UNKNOWN, capability_in
from shim.source.gates.predicates import is_predicate
from shim.source.gates.values import PerDevice, compare, lift, truth

Function = ast.FunctionDef | ast.AsyncFunctionDef
Live = tuple[bool, ...]

_MOST_CALLS: Final = 4  # depth of functions of the file that are followed
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Site:
    """A test of the capability.

    Attributes:
        outcomes: its value on each device of the panel, UNKNOWN where it cannot be told.
        live: devices that get there, and for which the rest of the condition leaves it a say.
        scope: enclosing classes and functions, outermost first.
    """

    node: ast.expr
    outcomes: tuple[object, ...]
    live: Live
    scope: tuple[ast.AST, ...]


@dataclass(slots=True)
class Flow:
    """One pass over one file.

    Attributes:
        telling: numbers of the lines that hold a word of the trade, in order; functions without one are passed over.
    """

    tree: ast.Module
    devices: Sequence[ComputeCapability]
    telling: Sequence[int]
    trusts_names: bool = True
    functions: dict[str, Function] = field(default_factory=dict)
    globals: dict[str, object] = field(default_factory=dict)
    _summaries: dict[tuple[str, str], object] = field(default_factory=dict)
    _calling: list[str] = field(default_factory=list)

    def sites(self) -> Iterator[Site]:
        """Every test, in the order of the file as far as scopes allow."""
        self._collect(self.tree.body)
        everyone = tuple(True for _ in self.devices)
        evaluator = Evaluator(self.devices, self._summary, trusts_names=self.trusts_names)
        evaluator.names = self.globals
        walk = _Walk(self, ())
        yield from walk.block(self.tree.body, evaluator, everyone)
        for inner in walk.postponed:
            yield from self._scope(inner, evaluator, ())

    def _collect(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.functions.setdefault(node.name, node)
            for name in ("body", "orelse"):
                self._collect(getattr(node, name, ()))

    def _tells(self, node: ast.AST) -> bool:
        first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
        index = bisect_left(self.telling, first)
        return index < len(self.telling) and self.telling[index] <= last

    def _scope(self, node: ast.AST, outer: Evaluator, scope: tuple[ast.AST, ...]) -> Iterator[Site]:
        if not self._tells(node):
            return
        everyone = tuple(True for _ in self.devices)
        evaluator = outer.child()
        walk = _Walk(self, (*scope, node))
        if isinstance(node, ast.ClassDef):
            yield from walk.block(node.body, evaluator, everyone)
            for target in [name for name in evaluator.names if "." not in name and name not in outer.names]:
                evaluator.names[f"self.{target}"] = evaluator.names[f"cls.{target}"] = evaluator.names[target]
            for inner in sorted(walk.postponed, key=lambda one: getattr(one, "name", "") != "__init__"):
                if getattr(inner, "name", "") == "__init__":
                    for _ in self._body(inner, evaluator, everyone):
                        pass
                yield from self._scope(inner, evaluator, walk.scope)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.enter(node, evaluator)
            yield from walk.block(node.body, evaluator, everyone)
            for inner in walk.postponed:
                yield from self._scope(inner, evaluator, walk.scope)

    def _body(self, node: ast.AST, evaluator: Evaluator, live: Live) -> Iterator[Site]:
        """Run __init__ once in the scope of the class, so that what it puts on self is known to the methods."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = evaluator.child()
            self.enter(node, inner)
            yield from _Walk(self, ()).block(node.body, inner, live)
            evaluator.names.update({name: value for name, value in inner.names.items() if name.startswith("self.")})

    def enter(self, node: Function, evaluator: Evaluator) -> None:
        """Forget what the parameters hide; a pair (major, minor) of parameters is a capability."""
        parameters = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for name in parameters:
            evaluator.names.pop(name, None)
        if {"major", "minor"} <= set(parameters) and "version" not in node.name and "ptx" not in node.name:
            evaluator.names["major"] = evaluator.of_role(Role.MAJOR)
            evaluator.names["minor"] = evaluator.of_role(Role.MINOR)

    def _summary(self, call: ast.Call, caller: Evaluator) -> object:
        name = dotted(call.func)
        if name is None:
            return UNKNOWN
        owner, _, last = name.rpartition(".")
        function = self.functions.get(last) if owner in ("", "self", "cls") else None
        if function is None or last in self._calling or len(self._calling) >= _MOST_CALLS:
            return UNKNOWN
        arguments = [caller(argument) for argument in call.args if not isinstance(argument, ast.Starred)]
        key = (last, repr(arguments))
        if key not in self._summaries:
            self._calling.append(last)
            try:
                self._summaries[key] = self._returned(function, arguments, is_method=owner != "")
            finally:
                self._calling.pop()
        return self._summaries[key]

    def _returned(self, function: Function, arguments: Sequence[object], *, is_method: bool) -> object:
        evaluator = Evaluator(self.devices, self._summary, dict(self.globals), trusts_names=self.trusts_names)
        self.enter(function, evaluator)
        parameters = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        for parameter, value in zip(parameters[1:] if is_method else parameters, arguments, strict=False):
            if value is not UNKNOWN:
                evaluator.names[parameter] = value
        walk = _Walk(self, (function,))
        for _ in walk.block(function.body, evaluator, tuple(True for _ in self.devices)):
            pass
        if not any(isinstance(value, PerDevice) for value, _ in walk.returned):
            return UNKNOWN
        return PerDevice(tuple(self._on_device(walk.returned, index) for index in range(len(self.devices))))

    def _on_device(self, returned: Sequence[tuple[object, Live]], index: int) -> object:
        found: list[object] = []
        for value, live in returned:
            one = value.values[index] if isinstance(value, PerDevice) else value
            if live[index] and (one is UNKNOWN or not any(one == other for other in found)):
                found.append(one)
        telling = [one for one in found if one is not UNKNOWN and one is not None]
        if len(telling) == 2 and telling[0] is False:
            return telling[1]  # `if not torch.cuda.is_available(): return False`
        return telling[0] if len(telling) == 1 else UNKNOWN


@dataclass(slots=True)
class _Walk:
    """The statements of one scope."""

    flow: Flow
    scope: tuple[ast.AST, ...]
    postponed: list[ast.AST] = field(default_factory=list)
    returned: list[tuple[object, Live]] = field(default_factory=list)
    live: Live = ()

    def block(self, body: Sequence[ast.stmt], evaluator: Evaluator, live: Live) -> Iterator[Site]:
        """Walk statements; `self.live` is then the devices that come out at the end."""
        for statement in body:
            yield from self._statement(statement, evaluator, live)
            live = self.live
            if not any(live):
                live = tuple(False for _ in live)
        self.live = live

    def _statement(self, node: ast.stmt, evaluator: Evaluator, live: Live) -> Iterator[Site]:
        self.live = live
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                for decorator in node.decorator_list:
                    yield from self._expression(decorator, evaluator, live)
                self.postponed.append(node)
            case ast.If():
                yield from self._expression(node.test, evaluator, live)
                test = evaluator(node.test)
                yield from self._branches(node.body, node.orelse, test, evaluator, live)
            case ast.While() | ast.For() | ast.AsyncFor():
                head = node.test if isinstance(node, ast.While) else node.iter
                yield from self._expression(head, evaluator, live)
                if not isinstance(node, ast.While):
                    evaluator.assign(node.target, UNKNOWN)
                for part in (node.body, node.orelse):
                    yield from self.block(part, evaluator, live)
                self.live = live
            case ast.Try() | ast.TryStar():
                yield from self.block(node.body, evaluator, live)
                after = self.live
                for handler in node.handlers:
                    yield from self.block(handler.body, evaluator, live)
                    after = _either(after, self.live)
                yield from self.block(node.orelse, evaluator, live)
                yield from self.block(node.finalbody, evaluator, live)
                self.live = after
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    yield from self._expression(item.context_expr, evaluator, live)
                yield from self.block(node.body, evaluator, live)
            case ast.Match():
                yield from self._expression(node.subject, evaluator, live)
                for case in node.cases:
                    yield from self.block(case.body, evaluator, live)
                self.live = live
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                yield from self._assign(node, evaluator, live)
            case ast.Return():
                yield from self._expression(node.value, evaluator, live)
                self.returned.append((evaluator(node.value) if node.value else None, live))
                self.live = tuple(False for _ in live)
            case ast.Raise() | ast.Continue() | ast.Break():
                self.live = tuple(False for _ in live)
            case ast.Assert():
                yield from self._expression(node.test, evaluator, live)
                self.live = _where(evaluator(node.test), live, wanted=True)
            case ast.Expr():
                yield from self._expression(node.value, evaluator, live)
            case _:
                pass

    def _branches(
        self, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt], test: object, evaluator: Evaluator, live: Live
    ) -> Iterator[Site]:
        before = dict(evaluator.names)
        yield from self.block(body, evaluator, _where(test, live, wanted=True))
        after, changed = self.live, evaluator.names
        evaluator.names = before
        yield from self.block(orelse, evaluator, _where(test, live, wanted=False))
        self.live = _either(after, self.live)
        evaluator.names = _joined(changed, evaluator.names, test)

    def _assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, evaluator: Evaluator, live: Live) -> Iterator[Site]:
        if node.value is None:
            return
        yield from self._expression(node.value, evaluator, live)
        value = evaluator(node.value) if not isinstance(node, ast.AugAssign) else UNKNOWN
        for target in node.targets if isinstance(node, ast.Assign) else (node.target,):
            evaluator.assign(target, value)

    def _expression(self, node: ast.expr | None, evaluator: Evaluator, live: Live) -> Iterator[Site]:
        match node:
            case None | ast.Constant() | ast.Name():
                return
            case ast.BoolOp():
                known = [evaluator(part) for part in node.values]
                for index, part in enumerate(node.values):
                    others = [value for other, value in enumerate(known) if other != index]
                    say = live
                    for other in others:
                        say = _where(other, say, wanted=isinstance(node.op, ast.And))
                    yield from self._expression(part, evaluator, say)
                return
            case ast.IfExp():
                test = evaluator(node.test)
                yield from self._expression(node.test, evaluator, live)
                yield from self._expression(node.body, evaluator, _where(test, live, wanted=True))
                yield from self._expression(node.orelse, evaluator, _where(test, live, wanted=False))
                return
            case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                yield from self._comprehension(node, evaluator, live)
                return
            case ast.Lambda():
                yield from self._expression(node.body, evaluator.child(), live)
                return
        if _may_test(node) and (not isinstance(node, ast.Subscript) or isinstance(evaluator(node.value), dict)):
            value = _asked(node, evaluator)
            if isinstance(value, PerDevice):
                yield Site(node, value.values, live, self.scope)
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                yield from self._expression(part, evaluator, live)
            elif isinstance(part, ast.keyword):
                yield from self._expression(part.value, evaluator, live)

    def _comprehension(
        self, node: ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp, evaluator: Evaluator, live: Live
    ) -> Iterator[Site]:
        inner = evaluator.child()
        for generator in node.generators:
            yield from self._expression(generator.iter, evaluator, live)
            inner.assign(generator.target, UNKNOWN)
            for test in generator.ifs:
                yield from self._expression(test, inner, live)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            yield from self._expression(part, inner, live)


def _asked(node: ast.expr, evaluator: Evaluator) -> object:
    """The outcome of a test; for a look-up, whether the device is in the table."""
    table, key = lookup_parts(node)
    if table is not None and key is not None:
        held = evaluator(table)
        return lift(lambda one, two: compare("In", one, two), evaluator(key), held) if isinstance(held, dict) else UNKNOWN
    return evaluator(node)


def lookup_parts(node: ast.expr) -> tuple[ast.expr | None, ast.expr | None]:
    """Table and key of `table[key]` or `table.get(key)`."""
    if isinstance(node, ast.Subscript):
        return node.value, node.slice
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        return node.func.value, node.args[0]
    return None, None


def _may_test(node: ast.expr) -> bool:
    """Whether the expression itself compares: a use of a flag that was computed elsewhere does not."""
    if isinstance(node, ast.Compare):
        sides = (node.left, *node.comparators)
        return not any(isinstance(side, ast.Constant) and (side.value is None or isinstance(side.value, bool)) for side in sides)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return name in ("startswith", "get") or is_predicate(name) or any(map(_is_literal_capability, node.args))
    return isinstance(node, ast.Subscript)


def _is_literal_capability(node: ast.expr) -> bool:
    """An argument such as 120 or ["120", "121"], which a helper of the file compares with."""
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)) and node.elts:
        return all(map(_is_literal_capability, node.elts)) or capability_in(_constants(node)) is not None
    return isinstance(node, ast.Constant) and capability_in(node.value) is not None


def _constants(node: ast.List | ast.Tuple | ast.Set) -> object:
    return tuple(part.value if isinstance(part, ast.Constant) else None for part in node.elts)


def _where(test: object, live: Live, *, wanted: bool) -> Live:
    """The devices for which the test may come out as wanted."""
    if isinstance(test, PerDevice):
        return tuple(alive and truth(value) is not (not wanted) for alive, value in zip(live, test.values, strict=True))
    return live if truth(test) is not (not wanted) else tuple(False for _ in live)


def _either(one: Live, other: Live) -> Live:
    return tuple(a or b for a, b in zip(one, other, strict=True))


def _joined(one: dict[str, object], other: dict[str, object], test: object) -> dict[str, object]:
    """Names after an if. What depends on the device wins: that is what the reader is after."""
    joined = dict(other)
    for name, value in one.items():
        rest = other.get(name, UNKNOWN)
        if value is rest:
            continue
        if isinstance(test, PerDevice):
            joined[name] = _merged(test, value, rest)
        elif isinstance(value, PerDevice) or truth(test) is True:
            joined[name] = value
        elif isinstance(rest, PerDevice) or truth(test) is False:
            joined[name] = rest
        else:
            joined[name] = UNKNOWN
    return joined


def _merged(test: PerDevice, body: object, orelse: object) -> object:
    width = len(test.values)
    left = body.values if isinstance(body, PerDevice) else (body,) * width
    right = orelse.values if isinstance(orelse, PerDevice) else (orelse,) * width
    values = []
    for known, one, other in zip((truth(value) for value in test.values), left, right, strict=True):
        values.append(one if known else other if known is False else UNKNOWN)
    return PerDevice(tuple(values))
