"""Lists and limits of architectures that are only data in their own file: class constants, decorators."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Final

from shim.arch import ComputeCapability
from shim.model import Confidence
from shim.source.gates.model import Effect, Gate, Sign
from shim.source.gates.names import OTHER_HARDWARE
from shim.source.gates.panel import capability_in, is_generic, sibling

_MAXIMUM: Final = re.compile(
    r"(\w+_)?_*(cuda_)?max(imum)?_(supported_)?(cuda_)?(compute_)?(capability|cc|arch|sm)(?!s|_count)\w*|_*max_supported_\w*(capability|cc|arch|sm)",
    re.IGNORECASE,
)
_LISTS: Final = re.compile(
    r"\w*(admissible|supported|valid|allowed|known)_*\w*(arch|sm|cap|cc)\w*|_*(sm|arch)s?_supported", re.IGNORECASE
)
_DECORATORS: Final = frozenset({"supported_compute_capability"})


def table_gates(tree: ast.Module, path: str, lines: Sequence[str], target: ComputeCapability) -> Iterator[Gate]:
    """Gates in data."""
    for outer in _scopes(tree):
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Try, ast.If)):
            for node in outer.body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                    yield from _assigned(node, outer, path, lines, target)
        if isinstance(outer, (ast.ClassDef, ast.Module)):
            for node in outer.body:
                yield from _assigned(node, outer, path, lines, target)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in outer.decorator_list:
                yield from _decorated(decorator, outer, path, lines, target)


def _scopes(outer: ast.AST) -> Iterator[ast.AST]:
    yield outer
    for name in ("body", "orelse"):
        for node in getattr(outer, name, ()):
            if isinstance(node, ast.stmt) and hasattr(node, "body"):
                yield from _scopes(node)


def _assigned(
    node: ast.stmt, outer: ast.AST, path: str, lines: Sequence[str], target: ComputeCapability
) -> Iterator[Gate]:
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
        return
    name = _name(node.targets[0] if isinstance(node, ast.Assign) else node.target)
    if _MAXIMUM.fullmatch(name):
        limit = capability_in(_literal(node.value))
        if limit is not None and limit < target:
            around = f"{path} {getattr(outer, 'name', '')}"
            bound = OTHER_HARDWARE.search(around) is not None
            yield _gate(
                node,
                outer,
                path,
                lines,
                "class-maximum",
                refuses=not bound,
                words=f"an upper bound of {limit}; {target} is above it" + (", and so is the code" if bound else ""),
            )
    elif isinstance(outer, ast.ClassDef) and _LISTS.fullmatch(name):
        yield from _listed(node.value, outer, path, lines, target)


def _decorated(
    node: ast.expr, outer: ast.AST, path: str, lines: Sequence[str], target: ComputeCapability
) -> Iterator[Gate]:
    if isinstance(node, ast.Call) and _name(node.func) in _DECORATORS and node.args:
        yield from _listed(node.args[0], outer, path, lines, target, form="decorator")


def _listed(
    node: ast.expr, outer: ast.AST, path: str, lines: Sequence[str], target: ComputeCapability, form: str = "arch-list"
) -> Iterator[Gate]:
    if not isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return
    texts = [_literal(part) for part in node.elts]
    known = {capability for text in texts if (capability := capability_in(text)) is not None}
    if not known or target in known:
        return
    family = any(
        isinstance(text, str) and text.endswith("f") and capability_in(text) == sibling(target) for text in texts
    )
    if sibling(target) in known and not family:
        yield _gate(node, outer, path, lines, form, refuses=True, words=f"lists {sibling(target)} and not {target}")
    elif (
        any(is_generic(capability) for capability in known)
        and len({one.major for one in known}) > 1
        and max(known) < target
    ):
        bound = OTHER_HARDWARE.search(f"{path} {getattr(outer, 'name', '')}") is not None
        yield _gate(node, outer, path, lines, form, refuses=not bound, words=f"the list ends at {max(known)}")
    elif not any(is_generic(one) or one.major == target.major for one in known):
        yield _gate(node, outer, path, lines, form, refuses=False, words="lists other generations alone")


def _literal(node: ast.expr) -> object:
    if isinstance(node, ast.Attribute):
        return node.attr
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _gate(
    node: ast.stmt | ast.expr, outer: ast.AST, path: str, lines: Sequence[str], form: str, *, refuses: bool, words: str
) -> Gate:
    return Gate(
        path=path,
        line=node.lineno,
        scope=getattr(outer, "name", ""),
        form=form,
        sign=Sign.POSITIVE if refuses else Sign.EXACT,
        effect=Effect.REFUSES if refuses else Effect.NONE,
        confidence=Confidence.MEDIUM,
        text=lines[node.lineno - 1].strip()[:200] if node.lineno <= len(lines) else "",
        words=words,
    )
