"""Where a build script asks whether a GPU is in sight, and what happens when there is none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from shim.source.buildfiles.conditions import Surroundings, env_read, truth
from shim.source.buildfiles.model import GpuCheck
from shim.source.buildfiles.python_walk import Place, leaves, mention
from shim.source.buildfiles.spans import Text
from shim.source.buildfiles.variables import role_of

_AVAILABLE: Final = re.compile(r"cuda\.(is_available|device_count)\(\)$")
_CAPABILITY: Final = re.compile(r"cuda\.(get_device_capability|get_device_properties)$")
_CUDA_PARTS: Final = re.compile(r"CUDAExtension|\.cu\b|with_cuda|ext_modules|extensions? ?[+=(]", re.IGNORECASE)
_LEFT_OUT: Final = re.compile(r"print\(.{0,200}(without|cpu.only|skip|no cuda)", re.IGNORECASE | re.DOTALL)
_NOTHING: Final = re.compile(r"\[\]|None|False|\{\}|extensions = |ext_modules = |CppExtension")


def gpu_checks(found: Sequence[Place], text: Text, path: str) -> Iterator[GpuCheck]:
    """Checks of one file, in its order."""
    names = _kept_in(found)
    inlined = _from_environment(found)
    forced = [read[0] for place in found if (read := env_read(place.node)) and role_of(read[0]) == "force-cuda"]
    seen: set[int] = set()
    for place in found:
        outcome, node = _outcome(place, names, inlined)
        if not outcome or node is None or id(node) in seen:
            continue
        seen.add(id(node))
        start, end = text.span(node)
        yield GpuCheck(
            **mention(place, text, path, start, end),
            outcome=outcome,
            forced_by=tuple(dict.fromkeys([*forced, *_asked_before(place, inlined)])),
        )


def _kept_in(found: Sequence[Place]) -> frozenset[str]:
    """Names that hold the answer: `HAS_CUDA = torch.cuda.is_available()`."""
    return frozenset(
        ast.unparse(target)
        for place in found
        if isinstance(place.node, ast.Assign) and _AVAILABLE.search(ast.unparse(place.node.value))
        for target in place.node.targets
        if isinstance(target, ast.Name) and isinstance(place.node.value, ast.Call)
    )


def _from_environment(found: Sequence[Place]) -> Mapping[str, ast.expr]:
    """Names whose first value comes from a variable: `force_cuda = os.getenv("FORCE_CUDA", "0") == "1"`."""
    values: dict[str, list[ast.expr]] = {}
    for place in found:
        if isinstance(place.node, ast.Assign) and isinstance(place.node.targets[0], ast.Name):
            values.setdefault(place.node.targets[0].id, []).append(place.node.value)
    single = {name: assigned[0] for name, assigned in values.items() if assigned}
    known = {name: value for name, value in single.items() if any(env_read(node) for node in ast.walk(value))}
    derived = {
        name: value
        for name, value in single.items()
        if any(isinstance(node, ast.Name) and node.id in known for node in ast.walk(value))
    }
    return {**derived, **known}


def _asked_before(place: Place, inlined: Mapping[str, ast.expr]) -> Iterator[str]:
    """Variables for architectures whose absence leads to the check."""
    for test, _ in place.conditions:
        rest, seen = [test], set[str]()
        while rest:
            for node in ast.walk(rest.pop()):
                read = env_read(node)
                if read is not None and role_of(read[0]) == "archs":
                    yield read[0]
                if isinstance(node, ast.Name) and node.id in inlined and node.id not in seen:
                    seen.add(node.id)
                    rest.append(inlined[node.id])


def _outcome(place: Place, names: frozenset[str], inlined: Mapping[str, ast.expr]) -> tuple[str, ast.expr | None]:
    node = place.node
    if isinstance(node, ast.If) and _asks(node.test, names):
        return _of_branches(node, place, names, inlined), node.test
    if isinstance(node, ast.IfExp) and _asks(node.test, names) and _CUDA_PARTS.search(ast.unparse(node)):
        return "cpu-only", node.test
    if isinstance(node, ast.Call) and _CAPABILITY.search(ast.unparse(node.func)):
        return "archs", node
    return "", None


def _asks(test: ast.expr, names: frozenset[str]) -> bool:
    return any(
        _is_answer(node, names) for node in ast.walk(test) if isinstance(node, ast.Call | ast.Name | ast.Attribute)
    )


def _is_answer(node: ast.expr, names: frozenset[str]) -> bool:
    text = ast.unparse(node)
    return text in names or _AVAILABLE.search(text) is not None


def _of_branches(node: ast.If, place: Place, names: frozenset[str], inlined: Mapping[str, ast.expr]) -> str:
    without = _without_gpu(node.test, names, inlined)
    if without is None:
        return ""
    taken, other = (node.body, node.orelse) if without else (node.orelse, node.body)
    if any(_raises(statement) for statement in taken):
        return "raises"
    said = "\n".join(ast.unparse(statement) for statement in other)
    given = "\n".join(ast.unparse(statement) for statement in taken)
    if without and not node.orelse and leaves(node.body):
        # "if no GPU: return nothing": what follows is for the GPU.
        return "cpu-only" if _returns_nothing(node.body[-1]) and _in_builder(place) else ""
    if _CUDA_PARTS.search(said) and (not taken or _NOTHING.search(given)):
        return "cpu-only"
    return "cpu-only" if _LEFT_OUT.search(given) else ""


def _without_gpu(test: ast.expr, names: frozenset[str], inlined: Mapping[str, ast.expr]) -> bool | None:
    """The outcome of a test where no GPU is visible and no variable is set."""

    class Answer(ast.NodeTransformer):
        def generic_visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.Name) and node.id in inlined:
                return inlined[node.id]
            if isinstance(node, ast.Call | ast.Name | ast.Attribute) and _is_answer(node, names):
                return ast.copy_location(ast.Constant(value=False), node)
            return super().generic_visit(node)

    copied = ast.parse(ast.unparse(test), mode="eval").body
    return truth(Answer().visit(copied), Surroundings(gpu=False, unset=True))


def _raises(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return ast.unparse(statement).startswith(("sys.exit(", "exit("))
    return isinstance(statement, ast.Raise | ast.Assert)


def _returns_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Return) and (
        statement.value is None or ast.unparse(statement.value) in ("[]", "None", "{}", "False", "()")
    )


def _in_builder(place: Place) -> bool:
    """The function around it makes extensions: it names their class, or is called so."""
    for parent in reversed(place.parents):
        if isinstance(parent, ast.FunctionDef):
            return re.search(r"CUDAExtension|Extension\(", ast.unparse(parent)) is not None
    return False
