"""Walks a Python file and yields every test of the capability with its outcome on each device that gets there.

Names, tuple unpacking, attributes of self, and functions of the same file are followed. A branch that a device
cannot take (`if major == 8:` for 12.1) is not looked at for it, and neither is what comes after a return.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from shim.arch import ComputeCapability
from shim.source.gates.evaluate import Evaluator, dotted
from shim.source.gates.names import Role
from shim.source.gates.narrowing import Live, either, joined, where
from shim.source.gates.panel import UNKNOWN
from shim.source.gates.prefilter import lines_with
from shim.source.gates.questions import may_test, outcome, with_literal_default
from shim.source.gates.values import PerDevice

Function = ast.FunctionDef | ast.AsyncFunctionDef

_SHORT: Final = 30  # lines of a helper that is worth following
_MOST_CALLS: Final = 4  # depth of functions of the file that are followed


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
        source: the file.
    """

    tree: ast.Module
    devices: Sequence[ComputeCapability]
    telling: list[int]
    source: bytes
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
        helpers = [name for name, node in self.functions.items() if self._tells(node) and _is_short(node)]
        self._also_tell([*helpers, *(name for name, value in self.globals.items() if isinstance(value, PerDevice))])
        for inner in walk.postponed:
            yield from self._scope(inner, evaluator, ())

    def _also_tell(self, names: Sequence[str]) -> None:
        """Lines that use helpers and values of the device tell too."""
        if not names:
            return
        pattern = re.compile(rb"(?<![\w.])(?:%s)(?!\w)" % b"|".join(re.escape(name.encode()) for name in names))
        self.telling += lines_with(pattern, self.source)
        self.telling.sort()

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
                    before = set(evaluator.names)
                    for _ in self._body(inner, evaluator, everyone):
                        pass
                    found = [name for name in evaluator.names if name not in before]
                    self._also_tell([name for name in found if isinstance(evaluator.names[name], PerDevice)])
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
        for name in with_literal_default(node.args):
            evaluator.names[name] = ...  # `arch: int = 80` is a choice of the caller, no device
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


def _is_short(node: Function) -> bool:
    return (node.end_lineno or node.lineno) - node.lineno <= _SHORT


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
                    after = either(after, self.live)
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
                self.live = where(evaluator(node.test), live, wanted=True)
            case ast.Expr():
                yield from self._expression(node.value, evaluator, live)
            case _:
                pass

    def _branches(
        self, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt], test: object, evaluator: Evaluator, live: Live
    ) -> Iterator[Site]:
        before = dict(evaluator.names)
        yield from self.block(body, evaluator, where(test, live, wanted=True))
        after, changed = self.live, evaluator.names
        evaluator.names = before
        yield from self.block(orelse, evaluator, where(test, live, wanted=False))
        self.live = either(after, self.live)
        evaluator.names = joined(changed, evaluator.names, test)

    def _assign(
        self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, evaluator: Evaluator, live: Live
    ) -> Iterator[Site]:
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
                        say = where(other, say, wanted=isinstance(node.op, ast.And))
                    yield from self._expression(part, evaluator, say)
                return
            case ast.IfExp():
                test = evaluator(node.test)
                yield from self._expression(node.test, evaluator, live)
                yield from self._expression(node.body, evaluator, where(test, live, wanted=True))
                yield from self._expression(node.orelse, evaluator, where(test, live, wanted=False))
                return
            case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                yield from self._comprehension(node, evaluator, live)
                return
            case ast.Lambda():
                yield from self._expression(node.body, evaluator.child(), live)
                return
        if may_test(node) and (not isinstance(node, ast.Subscript) or isinstance(evaluator(node.value), dict)):
            value = outcome(node, evaluator)
            if isinstance(value, PerDevice):
                yield Site(node, value.values, live, self.scope)
        for child in ast.iter_child_nodes(node):
            inner = child.value if isinstance(child, ast.keyword) else child
            if isinstance(inner, ast.expr):
                yield from self._expression(inner, evaluator, live)

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
