"""Python sources as libcst trees: parsed with care, compared without their formatting, walked with scopes.

libcst keeps every byte, so an edited tree differs from the file in the edited places only.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import libcst as cst

from shim.errors import RecipeError

_DEEPEST: Final = 500
"""Levels of nesting. libcst's parser overflows the stack (the process dies) somewhere above 1000."""

_LARGEST: Final = 16 << 20
_FRAMES: Final = 30_000
_FORMAT: Final = frozenset(
    (
        *("lpar", "rpar", "comma", "semicolon", "equal", "dot", "colon", "first_colon", "second_colon", "newline"),
        *("leading_lines", "lines_after_decorators", "header", "footer", "indent", "encoding", "default_indent"),
        *("default_newline", "has_trailing_newline", "lbracket", "rbracket", "lbrace", "rbrace"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node of a module: its parent, and the qualified name of the class or function around it ("" outside)."""

    node: cst.CSTNode
    parent: cst.CSTNode
    scope: str


def parse_source(source: bytes) -> cst.Module:
    """A module that renders to the same bytes.

    Raises:
        RecipeError: it is not Python, nested too deep, or its encoding would not survive.
    """
    if len(source) > _LARGEST:
        raise RecipeError(f"more than {_LARGEST} bytes of Python")
    check_depth(source)
    try:
        with deep_recursion():
            module = cst.parse_module(source)
            same_bytes = module.bytes == source
    except (cst.ParserSyntaxError, UnicodeError, LookupError, RecursionError) as error:
        raise RecipeError(f"not Python that can be edited: {_first_line(error)}") from error
    if not same_bytes:
        raise RecipeError("not Python that can be edited without changing other bytes (its encoding, most likely)")
    return module


def parse_code(text: str) -> cst.BaseExpression | tuple[cst.BaseStatement, ...]:
    """What a recipe looks for or writes: an expression if it is one, else statements.

    Raises:
        RecipeError: it is neither.
    """
    import textwrap

    text = textwrap.dedent(text).strip("\n")
    check_depth(text.encode())
    try:
        return cst.parse_expression(text.strip())
    except cst.ParserSyntaxError:
        pass
    try:
        return tuple(cst.parse_module(text + "\n").body)
    except cst.ParserSyntaxError as error:
        raise RecipeError(f"neither an expression nor statements: {text!r}: {_first_line(error)}") from error


def check_depth(source: bytes) -> None:
    """Refuse what is no Python of this interpreter, or nested so deep that other tools fall over it.

    Raises:
        RecipeError: see above.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, LookupError) as error:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise RecipeError(f"not Python that {version} reads: {_first_line(error)}") from error
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise RecipeError(f"Python nested more than {_DEEPEST} levels deep")


def same(one: cst.CSTNode, other: cst.CSTNode) -> bool:
    """Whether two nodes mean the same text of code, whatever their spaces, comments, parentheses and quotes."""
    if type(one) is not type(other):
        return False
    if isinstance(one, cst.SimpleString) and isinstance(other, cst.SimpleString):
        return one.raw_value == other.raw_value and one.prefix == other.prefix
    for field in dataclasses.fields(one):
        if field.name in _FORMAT:
            continue
        if "whitespace" in field.name:
            continue
        if not _same_values(getattr(one, field.name), getattr(other, field.name)):
            return False
    return True


def _same_values(one: object, other: object) -> bool:
    if isinstance(one, cst.CSTNode):
        return isinstance(other, cst.CSTNode) and same(one, other)
    if isinstance(one, Sequence) and not isinstance(one, str):
        return (
            isinstance(other, Sequence)
            and not isinstance(other, str)
            and len(one) == len(other)
            and all(_same_values(left, right) for left, right in zip(one, other, strict=True))
        )
    return one == other


def same_run(run: Sequence[cst.CSTNode], others: Sequence[cst.CSTNode]) -> bool:
    """Whether two runs of statements are the same, one by one."""
    return len(run) == len(others) and all(same(left, right) for left, right in zip(run, others, strict=True))


def children(node: cst.CSTNode, scope: str) -> Iterator[Place]:
    """The nodes directly below one; those of a class or function, decorators included, are in its scope."""
    if isinstance(node, cst.FunctionDef | cst.ClassDef):
        scope = f"{scope}.{node.name.value}" if scope else node.name.value
    for child in node.children:
        yield Place(node=child, parent=node, scope=scope)


def scopes(module: cst.Module) -> Iterator[str]:
    """Qualified names of all classes and functions."""
    stack = [Place(node=module, parent=module, scope="")]
    while stack:
        place = stack.pop()
        below = list(children(place.node, place.scope))
        if isinstance(place.node, cst.FunctionDef | cst.ClassDef) and below:
            yield below[0].scope
        stack += reversed(below)


def in_scope(scope: str, wanted: str) -> bool:
    """Whether a scope is the wanted one or lies within it; "" is the whole file."""
    return not wanted or scope == wanted or scope.startswith(f"{wanted}.")


def require_scope(module: cst.Module, wanted: str) -> None:
    """Raises RecipeError when no class or function has that qualified name."""
    if wanted and wanted not in (known := set(scopes(module))):
        import difflib

        near = difflib.get_close_matches(wanted, sorted(known), n=1)
        raise RecipeError(f"no scope {wanted!r}" + (f" (there is {near[0]!r})" if near else ""))


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Room for the recursion of libcst's visitors, several frames for each level of nesting."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
