"""Which environment variables build files ask for, with the default and the value they compare with."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shim.source.rules.files import build_files, parse_python, read_small
from shim.source.tree import SourceTree


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvRead:
    """`os.getenv("FORCE_CUDA", "0") == "1"`: name FORCE_CUDA, default "0", compared "1".

    default, compared: None where there is none, or none that is a literal string.
    """

    path: str
    name: str
    default: str | None
    compared: str | None


def env_reads(tree: SourceTree) -> tuple[EnvRead, ...]:
    """Every read in the Python build files, in order; a name may come several times."""
    found: list[EnvRead] = []
    for path in build_files(tree):
        if not path.endswith(".py"):
            continue
        source = read_small(tree, path)
        if b"environ" not in source and b"getenv" not in source:
            continue
        module = parse_python(source)
        if module is not None:
            found.extend(_reads(path, module))
    return tuple(found)


def _reads(path: str, module: ast.Module) -> Iterator[EnvRead]:
    compared = dict(_compared(module))
    for node in ast.walk(module):
        named = _name_and_default(node)
        if named is not None:
            yield EnvRead(path=path, name=named[0], default=named[1], compared=compared.get(id(node)))


def _name_and_default(node: ast.AST) -> tuple[str, str | None] | None:
    if isinstance(node, ast.Call) and _is_getter(node.func) and node.args:
        name = _text(node.args[0])
        default = _text(node.args[1]) if len(node.args) > 1 else None
        return None if name is None else (name, default)
    if isinstance(node, ast.Subscript) and _dotted(node.value) == "os.environ" and isinstance(node.ctx, ast.Load):
        name = _text(node.slice)
        return None if name is None else (name, None)
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In) and len(node.ops) == 1:
        name = _text(node.left)
        if name is not None and _dotted(node.comparators[0]) == "os.environ":
            return name, None
    return None


def _compared(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Node of a read -> the literal it is compared with, also through `.lower()`, `int()` and `in (...)`."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Compare) or len(node.ops) != 1:
            continue
        right = node.comparators[0]
        if isinstance(node.ops[0], ast.Eq):
            literal = _text(right)
        elif isinstance(node.ops[0], ast.In) and isinstance(right, (ast.Tuple, ast.List, ast.Set)) and right.elts:
            literal = _text(right.elts[0])
        else:
            continue
        if literal is not None:
            yield from ((id(inner), literal) for inner in ast.walk(node.left))


def _is_getter(function: ast.expr) -> bool:
    return _dotted(function) in ("os.getenv", "os.environ.get", "environ.get", "getenv")


def _dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int)) and not isinstance(node.value, bool):
        return str(node.value)
    return None


def first_of_each(reads: tuple[EnvRead, ...]) -> Mapping[str, EnvRead]:
    """One read a name: the first that knows what the value is compared with, else the first."""
    chosen: dict[str, EnvRead] = {}
    for read in reads:
        known = chosen.get(read.name)
        if known is None or (known.compared is None and read.compared is not None):
            chosen[read.name] = read
    return chosen
