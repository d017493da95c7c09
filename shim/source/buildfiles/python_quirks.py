"""Ways in which Python build scripts mishandle architectures that are newer than they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Final

from shim.source.buildfiles.archs import read_list
from shim.source.buildfiles.conditions import CUDA, env_read
from shim.source.buildfiles.model import Quirk
from shim.source.buildfiles.python_walk import Place, mention
from shim.source.buildfiles.spans import Text
from shim.source.buildfiles.variables import role_of

DROPS_MINOR: Final = "arch-parser-drops-minor"
BY_NAME: Final = "arch-by-name"
CLEARED: Final = "arch-list-cleared"
CUDA_MAJORS: Final = "cuda-major-table"
_SPLIT: Final = re.compile(r"split\(['\"]\.['\"]\)")


def quirks(found: Sequence[Place], text: Text, path: str) -> Iterator[Quirk]:
    """Quirks of one file, in its order."""
    branches = [place for place in found if _tests_arch_name(place)]
    for place in found:
        form = _form(place)
        if form:
            yield _quirk(form, place, text, path)
    yield from _cuda_majors(found, text, path)
    # One test alone may be about anything; a ladder of them is a list of the architectures that are known.
    named = {str(value) for place in branches for value in _constants(place.node)}
    if len(named) > 1 and branches:
        archs = {name for known in named if (read := read_list(known)) for name in read.archs}
        yield _quirk(
            BY_NAME, branches[-1], text, path, ";".join(sorted(archs, key=lambda name: int(name.rstrip("af"))))
        )


def _cuda_majors(found: Sequence[Place], text: Text, path: str) -> Iterator[Quirk]:
    """A table by CUDA majors that ends before CUDA 13, and a test of membership in it."""
    tested = {
        ast.unparse(node.comparators[0])
        for place in found
        if isinstance(node := place.node, ast.Compare) and isinstance(node.ops[0], ast.In)
    }
    for place in found:
        match place.node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys)) if "cuda" in name.lower():
                majors = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, int)]
                if len(majors) == len(keys) > 1 and min(majors) >= 9 and max(majors) < CUDA[0] and name in tested:
                    yield _quirk(CUDA_MAJORS, place, text, path, ";".join(map(str, majors)))


def _quirk(form: str, place: Place, text: Text, path: str, detail: str = "") -> Quirk:
    node = place.node
    assert isinstance(node, ast.expr | ast.stmt)
    start, end = text.span(node)
    return Quirk(**mention(place, text, path, start, end), form=form, detail=detail)


def _form(place: Place) -> str:
    match place.node:
        case ast.BinOp(op=ast.Add(), right=ast.Constant(value="0")) if _SPLIT.search(_function(place)):
            return DROPS_MINOR
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value="0")]) if _SPLIT.search(_function(place)):
            return DROPS_MINOR
        case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=str(name)))], value=ast.Constant(value="")):
            return CLEARED if role_of(name) == "archs" else ""
        case ast.Call(func=ast.Attribute(attr="pop"), args=[ast.Constant(value=str(name)), *_]) if (
            "environ" in ast.unparse(place.node)
        ):
            # Taken away for a moment and put back is no quirk: then the function sets it, too.
            return CLEARED if role_of(name) == "archs" and f"environ['{name}']" not in _function(place) else ""
    return ""


def _function(place: Place) -> str:
    """Source of the innermost function around a place; "" at module level."""
    for parent in reversed(place.parents):
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
            return ast.unparse(parent)
    return ""


def _tests_arch_name(place: Place) -> bool:
    """`"120" in cuda_archs()` or `arch == "sm_90"`, deciding what is compiled."""
    node = place.node
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or not isinstance(node.ops[0], ast.In | ast.Eq):
        return False
    if not _constants(node):
        return False
    other = node.comparators[0] if isinstance(node.left, ast.Constant) else node.left
    text = ast.unparse(other)
    read = env_read(other)
    named = re.search(r"arch|compute_cap", text, re.IGNORECASE) is not None
    return named or (read is not None and role_of(read[0]) == "archs")


def _constants(node: ast.AST) -> list[str]:
    sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
    values = [side.value for side in sides if isinstance(side, ast.Constant) and isinstance(side.value, str)]
    return [
        value for value in values if re.fullmatch(r"(sm_?)?\d{2,3}[af]?|\d{1,2}\.\d[af]?", value) and read_list(value)
    ]
