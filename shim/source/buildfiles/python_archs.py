"""Architectures that a Python file names: in nvcc's options, in lists, and as defaults of environment variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from shim.source.buildfiles.archs import GENCODE, NVCC_ARCH, Named, read_gencode, read_list
from shim.source.buildfiles.conditions import env_read, words
from shim.source.buildfiles.model import ArchMention, MentionKind
from shim.source.buildfiles.python_walk import Place, expression, mention, strings
from shim.source.buildfiles.spans import Text
from shim.source.buildfiles.variables import names_archs, role_of

_CMAKE_ARCHS: Final = re.compile(rb"-DCMAKE_CUDA_ARCHITECTURES(?::\w+)?=(?P<value>[0-9][0-9af;, a-z-]*)")


def arch_mentions(found: list[Place], text: Text, path: str) -> Iterator[ArchMention]:
    """Mentions of one file: of nvcc's options, and of lists and variables for architectures."""
    nvcc = (MentionKind.GENCODE, GENCODE), (MentionKind.NVCC_ARCH, NVCC_ARCH), (MentionKind.CMAKE, _CMAKE_ARCHS)
    for place in strings(found):
        start, end = text.span(expression(place.node))
        for kind, pattern in nvcc:
            for match in pattern.finditer(text.source, start, end):
                yield _in_string(kind, match, place, text, path)
    for position, place in enumerate(found):
        node = place.node
        if isinstance(node, ast.Constant) and node.value in ("-arch", "--gpu-architecture"):
            yield from _next_string(found, position, text, path)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            yield from _assigned(place, node, text, path)
        elif isinstance(node, ast.Call):
            yield from _defaults(place, node, text, path)
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            yield from _last_resort(place, node, text, path)


def _in_string(kind: MentionKind, match: re.Match[bytes], place: Place, text: Text, path: str) -> ArchMention:
    if kind is MentionKind.GENCODE:
        start, end = match.span()
        named: Named | None = read_gencode(match["code"].decode())
        computed = named is None or b"{" in match[0] or b"%" in match[0] or b"$" in match[0]
    else:
        start, end = match.span("value")
        value = match["value"].decode().rstrip(" ;,-")
        end = start + len(value)
        named = read_list(value, bare_is_both=kind is MentionKind.CMAKE or value.startswith("sm_"))
        computed = named is None
    return _arch(kind, named, place, text, path, start, end, computed=computed)


def _next_string(found: list[Place], position: int, text: Text, path: str) -> Iterator[ArchMention]:
    """`"-arch", "sm_60"`: the string behind it in the same list."""
    parent = found[position].parent
    if isinstance(parent, ast.List | ast.Tuple):
        items = parent.elts
        index = next(i for i, item in enumerate(items) if item is found[position].node)
        following = items[index + 1] if index + 1 < len(items) else None
        if isinstance(following, ast.Constant) and (span := text.literal(following)):
            named = read_list(str(following.value), bare_is_both=True)
            if named is not None:
                yield _arch(MentionKind.NVCC_ARCH, named, found[position], text, path, *span)


def _assigned(
    place: Place, node: ast.Assign | ast.AugAssign | ast.AnnAssign, text: Text, path: str
) -> Iterator[ArchMention]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        variable, kind = _target(target)
        if node.value is None or not variable:
            continue
        values = _list_items(node.value)
        if kind is MentionKind.LIST and len(values) > 1 and not all(_is_arch(item) for item in values):
            continue
        for item in values:
            span = text.literal(item)
            named = read_list(str(item.value))
            if span and (named is not None or (kind is MentionKind.ENV and item.value == "")):
                yield _arch(kind, named, place, text, path, *span, variable=variable)


def _target(target: ast.expr) -> tuple[str, MentionKind]:
    match target:
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name))) if ast.unparse(value).endswith("environ"):
            return (name if role_of(name) == "archs" else ""), MentionKind.ENV
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return (name if names_archs(name) else ""), MentionKind.LIST
    return "", MentionKind.LIST


def _list_items(value: ast.expr) -> list[ast.Constant]:
    """Strings of a list, tuple or set, or the one string; [] for anything else."""
    match value:
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [item for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        case ast.Constant(value=str()):
            return [value]
        case ast.Call(func=ast.Name(id="set" | "list" | "tuple" | "frozenset"), args=[inner]):
            return _list_items(inner)
        case ast.Call(func=ast.Attribute(value=inner, attr="split")):
            return _list_items(inner)
    return []


def _is_arch(item: ast.Constant) -> bool:
    return read_list(str(item.value)) is not None


def _defaults(place: Place, node: ast.Call, text: Text, path: str) -> Iterator[ArchMention]:
    """`os.getenv("X_CUDA_ARCHS", "80;90")` and `os.environ.setdefault(...)`."""
    read = env_read(node)
    if read is None or role_of(read[0]) != "archs" or len(node.args) < 2:
        return
    default = node.args[1]
    if isinstance(default, ast.Constant) and isinstance(default.value, str) and (span := text.literal(default)):
        named = read_list(default.value)
        if named is not None:
            yield _arch(MentionKind.ENV, named, place, text, path, *span, variable=read[0], overridable=True)


def _last_resort(place: Place, node: ast.BoolOp, text: Text, path: str) -> Iterator[ArchMention]:
    """`os.environ.get("X_CUDA_ARCHS") or "80"`."""
    reads = [read[0] for value in node.values if (read := env_read(value)) and role_of(read[0]) == "archs"]
    last = node.values[-1]
    if reads and isinstance(last, ast.Constant) and isinstance(last.value, str) and (span := text.literal(last)):
        named = read_list(last.value)
        if named is not None:
            yield _arch(MentionKind.ENV, named, place, text, path, *span, variable=reads[0], overridable=True)


def _arch(
    kind: MentionKind,
    named: Named | None,
    place: Place,
    text: Text,
    path: str,
    start: int,
    end: int,
    *,
    variable: str = "",
    overridable: bool = False,
    computed: bool = False,
) -> ArchMention:
    # An assignment under "not set" is a default that a user can replace.
    guarded = kind is MentionKind.ENV and variable in words(place.conditions)
    return ArchMention(
        **mention(place, text, path, start, end),
        kind=kind,
        archs=named.archs if named else (),
        sass=named.sass if named else (),
        virtual=named.virtual if named else (),
        variable=variable,
        overridable=overridable or guarded,
        computed=computed,
    )
