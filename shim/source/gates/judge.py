"""Judges a test of the capability: what it does on the target, from its outcomes and from what hangs on them.

**Would change behaviour on the target** means: an owner of the target gets other behaviour than the owner of its
sibling would (12.0 for 12.1), or is refused, or loses a feature, where the code is not bound to one older generation,
or is let into code that is for another generation. Not changes: tuning numbers; minimum requirements that the target
meets; tests for 9.x, 10.x or 11.x alone (their code uses wgmma or tcgen05, which the target does not have); tests that
name the target itself, unless they refuse it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shim.arch import ComputeCapability
from shim.model import Confidence
from shim.source.gates.branches import Kind
from shim.source.gates.consequence import Pair
from shim.source.gates.forms import form_of
from shim.source.gates.model import Effect, Sign
from shim.source.gates.names import OTHER_HARDWARE
from shim.source.gates.panel import is_generic, sibling
from shim.source.gates.predicates import asks_minimum
from shim.source.gates.values import truth

_OLDEST = ComputeCapability(8, 0)  # what older devices alone may do is no loss to anybody
_TENSOR_MEMORY = re.compile(r"tcgen05|tmem|umma", re.IGNORECASE)
_EQUALS = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)
_LEFT_OUT = (Kind.REFUSE, Kind.DISABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a gate does on the target."""

    sign: Sign
    effect: Effect
    confidence: Confidence
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test with all that is known about it.

    Attributes:
        outcomes: truth on each device of the panel, None where it is not told or the test is not reached.
        around: the names around the test: path, functions, classes, the line.
        knows_target: the function around it names the target elsewhere, or has a twin for it.
        conditional: something else than the device decides too.
        one_shape: it stands beside tests for exact sizes of one model.
        numbers: it is a look-up in a table of numbers.
        ladder: (it is an elif after another test of the capability, such an elif follows).
    """

    target: ComputeCapability
    devices: Sequence[ComputeCapability]
    outcomes: Sequence[bool | None]
    pair: Pair
    node: ast.expr
    around: str
    knows_target: bool = False
    conditional: bool = False
    one_shape: bool = False
    numbers: bool = False
    ladder: tuple[bool, bool] = (False, False)

    def on(self, device: ComputeCapability) -> bool | None:
        """The outcome on a device."""
        return self.outcomes[list(self.devices).index(device)] if device in self.devices else None


def judge(case: Case) -> Judgement | None:
    """What the test does on the target; None when it treats the target like every newer device."""
    mine = case.on(case.target)
    if mine is None:
        return None
    first = sibling(case.target)
    theirs = case.on(first) if first != case.target else None
    if theirs is not None and theirs != mine:
        return _differs(case, mine)
    return _shut_out(case, mine) or _let_in(case, mine)


def _differs(case: Case, mine: bool) -> Judgement:
    me, like = str(case.target), str(sibling(case.target))
    ours, theirs = case.pair.of(mine), case.pair.of(not mine)
    if _names_target(case, mine):
        if ours is Kind.REFUSE or (ours is Kind.DISABLE and (theirs is Kind.FEATURE or _is_name_test(case.node))):
            return _made(
                Sign.NEGATIVE,
                Effect.REFUSES if ours is Kind.REFUSE else Effect.DISABLES,
                Confidence.MEDIUM,
                f"names {me} and leaves it out",
            )
        return _made(Sign.EXACT, Effect.NONE, Confidence.HIGH, f"{me} has a branch of its own")
    if _TENSOR_MEMORY.search(case.around):
        return _made(Sign.EXACT, Effect.NONE, Confidence.MEDIUM, f"tensor memory, which neither {like} nor {me} has")
    if case.knows_target and ours is not Kind.REFUSE:
        return _made(Sign.EXACT, Effect.NONE, Confidence.MEDIUM, f"{me} is dealt with in the same place")
    if case.numbers:
        return _made(Sign.NEUTRAL, Effect.TUNES, Confidence.MEDIUM, f"a table of numbers that has {like} and not {me}")
    if case.one_shape:
        return _made(Sign.NEUTRAL, Effect.TUNES, Confidence.MEDIUM, f"a path tuned on {like} for one model's sizes")
    if ours is not Kind.REFUSE and (theirs is Kind.TUNE or {ours, theirs} == {Kind.TUNE, Kind.EMPTY}):
        return _made(Sign.NEUTRAL, Effect.TUNES, Confidence.MEDIUM, f"numbers tuned for {like} are not used on {me}")
    if ours is Kind.REFUSE:
        return _made(Sign.POSITIVE, Effect.REFUSES, Confidence.HIGH, f"allows {like} and refuses {me}")
    if theirs in _LEFT_OUT or (theirs is Kind.EMPTY and ours is not Kind.DISABLE):
        return _made(
            Sign.NEGATIVE, Effect.MISLEADS, Confidence.MEDIUM, f"keeps {like} off a path, and lets {me} take it"
        )
    if {ours, theirs} <= {Kind.LOG, Kind.EMPTY}:
        return _made(Sign.NEUTRAL, Effect.NONE, Confidence.MEDIUM, f"prints something else on {me} than on {like}")
    return _made(
        Sign.POSITIVE,
        Effect.DISABLES,
        Confidence.HIGH if ours is Kind.DISABLE else Confidence.MEDIUM,
        f"gives {like} a path that {me} does not get",
    )


def _shut_out(case: Case, mine: bool) -> Judgement | None:
    """The generation is left out, and something older is not."""
    ours, theirs = case.pair.of(mine), case.pair.of(not mine)
    first_generation = {device.major for device, outcome in _reached(case) if outcome == mine} == {case.target.major}
    if ours not in _LEFT_OUT or theirs in _LEFT_OUT or case.ladder[1] or (first_generation and mine):
        return None
    if _is_listed(case, mine):
        return None
    others = [device for device, outcome in _reached(case) if outcome is not None and outcome != mine]
    if case.ladder[0]:
        others += [device for device, outcome in zip(case.devices, case.outcomes, strict=True) if outcome is None]
    if not any(_OLDEST <= device < case.target for device in others):
        return None
    generic = [device for device in others if is_generic(device)]
    kept = [
        device
        for device, outcome in _reached(case)
        if outcome == mine and device.major in {one.major for one in generic}
    ]
    if any(device >= _OLDEST for device in kept) and not isinstance(case.node, ast.Call):
        return None  # 8.0 and not 8.6: a matter of that part's shared memory, or of where it was measured
    if not generic or OTHER_HARDWARE.search(case.around):
        return _other_generation(case, others)
    is_bound = not isinstance(case.node, ast.Compare) or (
        len(case.node.ops) == 1 and not isinstance(case.node.ops[0], _EQUALS)
    )
    if case.conditional or (ours is Kind.DISABLE and (is_bound or len({device.major for device in others}) < 2)):
        return None
    effect = Effect.REFUSES if ours is Kind.REFUSE else Effect.DISABLES
    return _made(
        Sign.POSITIVE,
        effect,
        Confidence.MEDIUM,
        f"open for {_named(others)}, closed for {case.target} and everything newer",
    )


def _other_generation(case: Case, others: Sequence[ComputeCapability]) -> Judgement:
    return _made(
        Sign.EXACT, Effect.NONE, Confidence.MEDIUM, f"code for {_named(others)} alone; {case.target} takes another path"
    )


def _let_in(case: Case, mine: bool) -> Judgement | None:
    """A lower bound at 10.0 that stands for tcgen05, which 12.x does not have."""
    alike = [device for device, outcome in _reached(case) if outcome == mine]
    others = [device for device, outcome in _reached(case) if outcome is not None and outcome != mine]
    if case.target.major < 12 or not others or min(alike, default=case.target).major != 10 or max(others).major >= 10:
        return None
    ours = case.pair.of(mine)
    if ours is not Kind.FEATURE or not OTHER_HARDWARE.search(case.around):
        return None
    return _made(
        Sign.TOO_WIDE,
        Effect.NONE,
        Confidence.LOW,
        f"a lower bound of 10.0 lets {case.target} in; right only if the code is not bound to tcgen05",
    )


def _names_target(case: Case, mine: bool) -> bool:
    """`== (12, 1)` and the like: the target is what the test asks for."""
    rest = {outcome for device, outcome in _reached(case) if device != case.target and outcome is not None}
    if rest != {not mine}:
        return False
    if isinstance(case.node, ast.Compare) and isinstance(case.node.ops[0], (ast.NotEq, ast.NotIn, ast.IsNot)):
        return not mine
    return mine


def _is_name_test(node: ast.expr) -> bool:
    """`"GB10" in name`: nobody tunes for a name."""
    return isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)


def _is_listed(case: Case, mine: bool) -> bool:
    """The target, or its major, is among what the test asks for."""
    if isinstance(case.node, ast.Call):
        return mine and form_of(case.node) in ("family-call", "capability-call") and not asks_minimum(case.node)
    if not isinstance(case.node, ast.Compare) or len(case.node.ops) != 1:
        return False
    op = case.node.ops[0]
    return mine if isinstance(op, (ast.Eq, ast.In)) else not mine and isinstance(op, (ast.NotEq, ast.NotIn))


def _reached(case: Case) -> list[tuple[ComputeCapability, bool | None]]:
    return [
        (device, outcome) for device, outcome in zip(case.devices, case.outcomes, strict=True) if outcome is not None
    ]


def _named(devices: Sequence[ComputeCapability]) -> str:
    majors = sorted({device.major for device in devices})
    return ", ".join(f"{major}.x" for major in majors)


def _made(sign: Sign, effect: Effect, confidence: Confidence, words: str) -> Judgement:
    return Judgement(sign=sign, effect=effect, confidence=confidence, words=words)


def outcomes_of(values: Sequence[object], live: Sequence[bool]) -> tuple[bool | None, ...]:
    """Truth on each device; None where the test is not reached or not told."""
    return tuple(truth(value) if alive else None for value, alive in zip(values, live, strict=True))
