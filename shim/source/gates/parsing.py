"""Code that takes the text of an architecture apart and does not expect 12.1a, 121 or 121a."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Final

from shim.arch import ComputeCapability
from shim.model import Confidence
from shim.source.gates.model import Effect, Gate, Sign

_ARCH_NAME: Final = re.compile(
    r"_*(cuda_|compute_|gpu_|sm_|target_|nv_)*(arch(s|es)?|cc|ccs|cap|capability|capabilities|sm|compute_cap\w*|arch_?list|archstr|arch_str|arch_version|arch_name)",
    re.IGNORECASE,
)
_CUTS: Final = re.compile(r"(cap\w*|cc|arch\w*|sm)\[:2\]")
_CLEANING: Final = frozenset(
    {"strip", "rstrip", "replace", "removesuffix", "sub", "match", "fullmatch", "isdigit", "search", "findall"}
)
_ARCH_VARIABLES: Final = ("TORCH_CUDA_ARCH_LIST", "CUDA_ARCH", "NVCC_ARCH", "SM_LIST", "arch_list")


def parsing_gates(tree: ast.Module, path: str, lines: Sequence[str], target: ComputeCapability) -> Iterator[Gate]:
    """`int()` of a minor that may be "1a", and slices that expect two digits."""
    text = "\n".join(lines)
    if not any(name in text for name in _ARCH_VARIABLES) and not (_CUTS.search(text) and "arch" in text.lower()):
        return
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)):
            yield from _in_scope(function, path, lines, target)


def _in_scope(
    scope: ast.FunctionDef | ast.AsyncFunctionDef | ast.Module,
    path: str,
    lines: Sequence[str],
    target: ComputeCapability,
) -> Iterator[Gate]:
    nodes = list(_own(scope))
    parts = _split_parts(nodes)
    cleaned = {
        _name(node.func.value)
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CLEANING
    }
    guarded = any(isinstance(node, ast.Try) for node in nodes)
    for node in nodes:
        if not isinstance(node, ast.Call) or _name(node.func) != "int" or len(node.args) != 1:
            continue
        argument = node.args[0]
        name = _name(argument)
        if (name in parts and name not in cleaned and not guarded) or (_without_ptx(argument) and not guarded):
            yield _gate(
                node, scope, path, lines, "parse-minor", f'reads the minor as a number, and "{target}a" has none'
            )
        elif _two_digits(argument):
            yield _gate(
                node, scope, path, lines, "parse-two-digits", f"takes two digits of {target.sm}, which has three"
            )
    keys = {_name(node.targets[0]): node for node in nodes if isinstance(node, ast.Assign) and _two_digits(node.value)}
    for node in nodes:
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)) and _name(node.left) in keys:
            cut = keys[_name(node.left)]
            yield _gate(
                cut, scope, path, lines, "parse-two-digits", f"takes two digits of {target.sm}, which has three"
            )
    for node in nodes:
        if _maps_int(node) and not guarded:
            yield _gate(
                node, scope, path, lines, "parse-minor", f'reads the minor as a number, and "{target}a" has none'
            )


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child
            yield from _own(child)


def _split_parts(nodes: Sequence[ast.AST]) -> set[str]:
    """Names of the second part of `arch.split(".")`."""
    parts = set()
    for node in nodes:
        if isinstance(node, ast.Assign) and _is_arch_split(node.value) and isinstance(node.targets[0], ast.Tuple):
            elements = node.targets[0].elts
            if len(elements) == 2:
                parts.add(_name(elements[1]))
    return parts - {""}


def _is_arch_split(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "split"
        and len(node.args) == 1
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == "."
        and _ARCH_NAME.fullmatch(_name(node.func.value)) is not None
    )


def _without_ptx(node: ast.expr) -> bool:
    """`part.split("+")[0]`: what is left of "1a+PTX" is still no number."""
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr == "split"
        and len(node.value.args) == 1
        and isinstance(node.value.args[0], ast.Constant)
        and node.value.args[0].value == "+"
    )


def _maps_int(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and _name(node.func) == "map"
        and len(node.args) == 2
        and _name(node.args[0]) == "int"
        and _is_arch_split(node.args[1])
    )


def _two_digits(node: ast.expr) -> bool:
    """`arch[:2]`, or `"sm_90a"[3:5]`."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice):
        return False
    low, high = node.slice.lower, node.slice.upper
    bounds = tuple(part.value if isinstance(part, ast.Constant) else None for part in (low, high))
    return _ARCH_NAME.fullmatch(_name(node.value)) is not None and (
        bounds in ((None, 2), (0, 2), (3, 5)) and high is not None
    )


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _gate(node: ast.expr | ast.AST, scope: ast.AST, path: str, lines: Sequence[str], form: str, words: str) -> Gate:
    line = getattr(node, "lineno", 0)
    return Gate(
        path=path,
        line=line,
        scope=getattr(scope, "name", ""),
        form=form,
        sign=Sign.POSITIVE,
        effect=Effect.BREAKS_BUILD,
        confidence=Confidence.MEDIUM,
        text=lines[line - 1].strip()[:200] if 0 < line <= len(lines) else "",
        words=words,
    )
