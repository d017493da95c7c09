"""Evaluates Python expressions for every device of the panel. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from shim.arch import ComputeCapability
from shim.source.gates import values
from shim.source.gates.folding import both, choose, convert, either, frozen, joined, quotient
from shim.source.gates.names import Role, is_of_device, role_of_call, role_of_name
from shim.source.gates.panel import UNKNOWN, Shapeless, capability_in
from shim.source.gates.predicates import is_membership_check, predicate
from shim.source.gates.values import DeviceName, PerDevice, Properties, lift, truth

_DEEPEST: Final = 40
_MOST_ELEMENTS: Final = 512
_CONVERSIONS: Final = frozenset(
    {"int", "str", "float", "tuple", "list", "bool", "set", "frozenset", "sorted", "max", "min"}
)

Summary = Callable[[ast.Call, "Evaluator"], object]


@dataclass(slots=True)
class Evaluator:
    """Values of names in one scope, and what follows from them.

    Attributes:
        names: values of the names (and dotted names such as self.arch) assigned so far.
        trusts_names: whether a bare parameter called `sm` or `arch` is the device's; not so in code generators.
        summary: what a function of the same file returns for a call of it; UNKNOWN for other functions.
    """

    devices: Sequence[ComputeCapability]
    summary: Summary
    names: dict[str, object] = field(default_factory=dict)
    depth: int = 0
    trusts_names: bool = True

    def __call__(self, node: ast.expr | None) -> object:
        """Value of an expression; UNKNOWN when it does not follow from the device or literals."""
        if node is None or self.depth > _DEEPEST:
            return UNKNOWN
        self.depth += 1
        try:
            return self._evaluate(node)
        finally:
            self.depth -= 1

    def child(self) -> Evaluator:
        """An evaluator for an inner scope."""
        return Evaluator(self.devices, self.summary, dict(self.names), self.depth, self.trusts_names)

    def of_role(self, role: Role | None) -> object:
        """The value that a name or call of that role has."""
        match role:
            case Role.CAPABILITY:
                return PerDevice(tuple(Shapeless(device) for device in self.devices))
            case Role.MAJOR:
                return PerDevice(tuple(device.major for device in self.devices))
            case Role.MINOR:
                return PerDevice(tuple(device.minor for device in self.devices))
            case Role.PROPERTIES:
                return PerDevice(tuple(Properties(device) for device in self.devices))
            case Role.DEVICE_NAME:
                return PerDevice(tuple(DeviceName(device) for device in self.devices))
            case Role.TRUE:
                return True
            case Role.FALSE:
                return False
            case None:
                return UNKNOWN

    def _evaluate(self, node: ast.expr) -> object:
        match node:
            case ast.Constant():
                return node.value if not isinstance(node.value, (bytes, complex)) and node.value is not ... else UNKNOWN
            case ast.Name():
                return self._name(node.id)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Tuple() | ast.List() | ast.Set():
                return self._sequence(node)
            case ast.Dict():
                return self._dict(node)
            case ast.Compare():
                return self._compare(node)
            case ast.BoolOp():
                parts = [self(value) for value in node.values]
                return lift(both if isinstance(node.op, ast.And) else either, *parts)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return lift(_bound(values.arithmetic, type(node.op).__name__), self(node.left), self(node.right))
            case ast.IfExp():
                return lift(choose, self(node.test), self(node.body), self(node.orelse))
            case ast.Subscript():
                return self._subscript(node)
            case ast.JoinedStr():
                return self._text(node)
            case ast.NamedExpr():
                value = self(node.value)
                self.assign(node.target, value)
                return value
            case ast.Call():
                return self._call(node)
            case ast.GeneratorExp() | ast.ListComp() | ast.SetComp():
                return self._comprehension(node)
            case _:
                return UNKNOWN

    def assign(self, target: ast.expr, value: object) -> None:
        """Bind a value to a name, a dotted name, or the parts of a tuple."""
        if isinstance(target, (ast.Tuple, ast.List)):
            for index, part in enumerate(target.elts):
                self.assign(part, lift(_bound(values.item), value, index) if value is not UNKNOWN else UNKNOWN)
        elif (name := dotted(target)) is not None:
            self.names[name] = value

    def _name(self, name: str) -> object:
        value = self.names.get(name, UNKNOWN)
        return self.of_role(self._role(name)) if value is UNKNOWN else value

    def _role(self, name: str) -> Role | None:
        role = role_of_name(name)
        return None if role is Role.CAPABILITY and not self.trusts_names and "cap" not in name.lower() else role

    def _attribute(self, node: ast.Attribute) -> object:
        name = dotted(node)
        if name is not None and self.names.get(name, UNKNOWN) is not UNKNOWN:
            return self.names[name]
        if name in ("torch.version.hip", "torch.version.xpu"):
            return None
        if capability_in(node.attr) is not None and node.attr.lower().startswith("sm"):
            return node.attr  # a member of an enumeration: Arch.sm_120a
        base = self(node.value)
        if base is not UNKNOWN and (found := lift(_bound(values.attribute), base, node.attr)) is not UNKNOWN:
            return found
        if node.attr in ("major", "minor"):
            return UNKNOWN
        if node.attr == "name":
            return UNKNOWN
        if name is not None and name.startswith(("cute.", "cutlass.", "sys.", "np.", "os.")):
            return UNKNOWN
        role = self._role(node.attr)
        owner = dotted(node.value) or ""
        if role is Role.CAPABILITY and not is_of_device(owner.rpartition(".")[2], node.attr):
            return UNKNOWN
        return self.of_role(role)

    def _sequence(self, node: ast.Tuple | ast.List | ast.Set) -> object:
        if len(node.elts) > _MOST_ELEMENTS:
            return UNKNOWN
        elements: list[object] = []
        for part in node.elts:
            if isinstance(part, ast.Starred):
                inner = self(part.value)
                elements += list(inner) if isinstance(inner, (tuple, list, set)) else [UNKNOWN]
            else:
                elements.append(self(part))
        make: Callable[[Sequence[object]], object] = tuple if isinstance(node, ast.Tuple) else list
        if any(isinstance(element, PerDevice) for element in elements):
            return lift(lambda *parts: make(parts), *elements)
        return make(elements)

    def _dict(self, node: ast.Dict) -> object:
        if len(node.keys) > _MOST_ELEMENTS:
            return UNKNOWN
        table: dict[object, object] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            known = self(key)
            if isinstance(known, PerDevice) or known is UNKNOWN:
                continue
            inner = self(value)
            table[frozen(known)] = UNKNOWN if isinstance(inner, PerDevice) else inner
        return table

    def _compare(self, node: ast.Compare) -> object:
        left = self(node.left)
        outcomes = []
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self(right_node)
            if isinstance(left, PerDevice) and isinstance(right, PerDevice):
                return UNKNOWN  # two devices, or two ways to one
            outcomes.append(lift(_bound(values.compare, type(op).__name__), left, right))
            left = right
        return outcomes[0] if len(outcomes) == 1 else lift(both, *outcomes)

    def _unary(self, node: ast.UnaryOp) -> object:
        value = self(node.operand)
        if isinstance(node.op, ast.Not):
            return lift(lambda one: UNKNOWN if truth(one) is None else not truth(one), value)
        if isinstance(node.op, ast.USub):
            return lift(lambda one: -one if isinstance(one, (int, float)) else UNKNOWN, value)
        return UNKNOWN

    def _subscript(self, node: ast.Subscript) -> object:
        base = self(node.value)
        if base is UNKNOWN:
            return UNKNOWN
        if isinstance(node.slice, ast.Slice):
            low, high = self(node.slice.lower), self(node.slice.upper)
            bounds = [
                None if part is None else value for part, value in ((node.slice.lower, low), (node.slice.upper, high))
            ]
            if any(value is UNKNOWN or isinstance(value, PerDevice) for value in bounds):
                return UNKNOWN
            return lift(_bound(values.item), base, slice(*bounds))
        return lift(_bound(values.item), base, self(node.slice))

    def _text(self, node: ast.JoinedStr) -> object:
        parts: list[object] = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(part.value)
            elif isinstance(part, ast.FormattedValue) and part.format_spec is None:
                parts.append(self(part.value))
            else:
                return UNKNOWN
        return lift(joined, *parts)

    def _call(self, node: ast.Call) -> object:
        name = dotted(node.func)
        last = (name or (node.func.attr if isinstance(node.func, ast.Attribute) else "")).rpartition(".")[2]
        if (
            last in ("any", "all")
            and len(node.args) == 1
            and isinstance(node.args[0], (ast.GeneratorExp, ast.ListComp))
        ):
            return self._any(node.args[0], every=last == "all")
        own = self.summary(node, self)
        if own is not UNKNOWN:
            return own
        arguments = [self(argument) for argument in node.args if not isinstance(argument, ast.Starred)]
        if is_membership_check(last) and len(arguments) >= 2:
            return lift(_bound(values.compare, "In"), *arguments[:2])
        if (found := predicate(last, arguments, self.devices)) is not UNKNOWN:
            return found
        if name in _CONVERSIONS:
            return lift(_bound(convert, name), *arguments) if len(arguments) == 1 else UNKNOWN
        if name == "divmod" and len(arguments) == 2:
            return lift(quotient, *arguments)
        if name is not None and name.endswith("DeviceCapability") and len(arguments) == 2:
            return lift(lambda major, minor: (major, minor), *arguments)
        if isinstance(node.func, ast.Attribute):
            base = self(node.func.value)
            if base is not UNKNOWN:
                found = (
                    lift(_bound(values.method), base, last, tuple(arguments))
                    if not _per_device(arguments)
                    else lift(lambda one, *rest: values.method(one, last, rest), base, *arguments)
                )
                if found is not UNKNOWN:
                    return found
        role = role_of_call(last)
        if role is Role.CAPABILITY and name is not None and name.startswith(("platform.", "os.", "config.")):
            return UNKNOWN
        return self.of_role(role)

    def _comprehension(self, node: ast.GeneratorExp | ast.ListComp | ast.SetComp) -> object:
        rows = self(node.generators[0].iter)
        if len(node.generators) != 1 or node.generators[0].ifs or not isinstance(rows, (tuple, list)):
            return UNKNOWN
        found = [self._bound_scope(node, row)(node.elt) for row in rows[:_MOST_ELEMENTS]]
        return UNKNOWN if _per_device(found) else found

    def _any(self, node: ast.GeneratorExp | ast.ListComp, *, every: bool) -> object:
        source = self(node.generators[0].iter)
        rows = source if isinstance(source, (tuple, list)) and len(source) <= 16 else (UNKNOWN,)
        outcomes = [self._bound_scope(node, row)(node.elt) for row in rows]
        if len(node.generators) > 1 or node.generators[0].ifs:
            return UNKNOWN
        return lift(both if every else either, *outcomes) if outcomes else UNKNOWN

    def _bound_scope(self, node: ast.GeneratorExp | ast.ListComp | ast.SetComp, row: object) -> Evaluator:
        inner = self.child()
        for generator in node.generators:
            inner.assign(generator.target, row)
        return inner


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` of a name or attribute; None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def _bound(function: Callable[..., object], *first: object) -> Callable[..., object]:
    return lambda *rest: function(*first, *rest)


def _per_device(arguments: Sequence[object]) -> bool:
    return any(isinstance(argument, PerDevice) for argument in arguments)
