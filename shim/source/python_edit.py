"""Replaces code in Python files by structure. Formatting, comments and all other code keep their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from shim.errors import RecipeError
from shim.source.edits import Edited
from shim.source.python_tree import (
    Place,
    children,
    deep_recursion,
    in_scope,
    parse_code,
    parse_source,
    require_scope,
    same,
    same_run,
)

Code = cst.BaseExpression | tuple[cst.BaseStatement, ...]


@dataclass(slots=True)
class _Found:
    """Matches: expressions by identity (with their parents), runs of statements by block and index."""

    expressions: dict[int, Place]
    runs: dict[int, list[int]]

    @property
    def count(self) -> int:
        return len(self.expressions) + sum(map(len, self.runs.values()))


def replace_code(source: bytes, *, find: str, replace: str, scope: str = "") -> Edited:
    """Replace every expression, or run of statements, that is `find` but for formatting.

    Code that is `replace` already is left alone, also when it contains `find`: a second run finds nothing.

    Args:
        find: an expression if it parses as one, else statements that stand one after the other in one block.
        replace: of the same kind; "" takes statements away.
        scope: qualified name of the class or function to stay in.

    Raises:
        RecipeError: the file cannot be edited, there is no such scope, or the result would not be what it says.
    """
    module, old, new = parse_source(source), parse_code(find), _parse_new(find, replace)
    with deep_recursion():
        require_scope(module, scope)
        found = _search(module, old, new, scope)
        if not found.count:
            return Edited(content=source, count=0)
        edited = module.visit(_Replace(found, old, new))
        if not isinstance(edited, cst.Module):
            raise RecipeError("the edit would replace the whole file")
        content = edited.bytes
        check_result(edited, content)
    return Edited(content=content, count=found.count)


def count_code(source: bytes, *, find: str, scope: str = "") -> int:
    """How often the code occurs. Raises RecipeError as `replace_code`."""
    module, code = parse_source(source), parse_code(find)
    with deep_recursion():
        require_scope(module, scope)
        return _search(module, code, None, scope).count


def check_result(expected: cst.Module, content: bytes) -> None:
    """Raises RecipeError when the bytes do not parse to the tree they were rendered from."""
    try:
        again = parse_source(content)
    except RecipeError as error:
        raise RecipeError(f"the edit would leave a file that does not parse: {error.message}") from error
    if not same(again, expected):
        raise RecipeError("the edit would change the meaning of the code around it (put parentheses around it)")


def _parse_new(find: str, replace: str) -> Code:
    if not replace.strip():
        if isinstance(parse_code(find), cst.BaseExpression):
            raise RecipeError("an expression cannot be replaced by nothing")
        return ()
    old, new = parse_code(find), parse_code(replace)
    if isinstance(old, cst.BaseExpression) and not isinstance(new, cst.BaseExpression):
        raise RecipeError("find is an expression and replace is not")
    if not isinstance(old, cst.BaseExpression) and isinstance(new, cst.BaseExpression):
        return (cst.SimpleStatementLine(body=[cst.Expr(value=new)]),)
    return new


def _search(module: cst.Module, old: Code, new: Code | None, scope: str) -> _Found:
    """Outermost matches in the order of the file. Code equal to `new` is not searched."""
    found = _Found({}, {})
    stack = [Place(node=module, parent=module, scope="")]
    while stack:
        place = stack.pop()
        node = place.node
        inside = in_scope(place.scope, scope)
        if inside and isinstance(new, cst.BaseExpression) and same(node, new):
            continue
        if inside and isinstance(old, cst.BaseExpression) and same(node, old) and _is_expression(place):
            found.expressions[id(node)] = place
            continue
        skipped: set[int] = set()
        if isinstance(old, tuple) and isinstance(node, cst.Module | cst.IndentedBlock) and inside:
            skipped = _search_block(node, old, new if isinstance(new, tuple) else (), found)
        below = [child for child in children(node, place.scope) if id(child.node) not in skipped]
        stack += reversed(below)
    return found


def _is_expression(place: Place) -> bool:
    """Whether a name stands for a value here: libcst has names of parameters, attributes and imports as names too."""
    match place.parent:
        case cst.Param(name=name) | cst.FunctionDef(name=name) | cst.ClassDef(name=name):
            return place.node is not name
        case cst.Attribute(attr=name) | cst.Arg(keyword=name):
            return place.node is not name
        case cst.ImportAlias() | cst.ImportFrom() | cst.AsName() | cst.NameItem():
            return False
    return True


def _search_block(
    block: cst.Module | cst.IndentedBlock, old: Sequence[cst.CSTNode], new: Sequence[cst.CSTNode], found: _Found
) -> set[int]:
    """Note the runs of one block; returns the statements that need not be searched."""
    body: Sequence[cst.CSTNode] = block.body
    done: set[int] = set()
    at = 0
    while at < len(body):
        if new and same_run(body[at : at + len(new)], new):
            done.update(map(id, body[at : at + len(new)]))
            at += len(new)
        elif same_run(body[at : at + len(old)], old):
            found.runs.setdefault(id(block), []).append(at)
            done.update(map(id, body[at : at + len(old)]))
            at += len(old)
        else:
            at += 1
    return done


class _Replace(cst.CSTTransformer):
    def __init__(self, found: _Found, old: Code, new: Code) -> None:
        super().__init__()
        self._found = found
        self._old = old
        self._new = new

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        place = self._found.expressions.get(id(original_node))
        if place is not None and isinstance(self._new, cst.BaseExpression):
            return _fitted(original_node, self._new, place.parent)  # type: ignore[return-value]
        starts = self._found.runs.get(id(original_node))
        if starts is not None and isinstance(self._old, tuple) and isinstance(self._new, tuple):
            return _spliced(updated_node, starts, len(self._old), self._new)  # type: ignore[return-value]
        return updated_node


def _fitted(old: cst.CSTNode, new: cst.BaseExpression, parent: cst.CSTNode) -> cst.BaseExpression:
    """The replacement in the parentheses it needs; those around the old expression are kept."""
    fresh = new.deep_clone()
    if fresh.lpar or not isinstance(old, cst.BaseExpression):
        return fresh
    if old.lpar and not isinstance(old, cst.Tuple | cst.GeneratorExp):
        return fresh.with_changes(lpar=old.lpar, rpar=old.rpar)
    if isinstance(fresh, _ATOMS) or isinstance(parent, _ROOMY) or _as_tight(old, fresh):
        return fresh
    return fresh.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


_ATOMS = (
    *(cst.Name, cst.Attribute, cst.Call, cst.Subscript, cst.List, cst.Set, cst.Dict, cst.ListComp, cst.SetComp),
    *(cst.DictComp, cst.SimpleString, cst.FormattedString, cst.Integer, cst.Float, cst.Ellipsis),
)
_ROOMY = (
    *(cst.If, cst.While, cst.Assert, cst.Return, cst.Assign, cst.AnnAssign, cst.AugAssign, cst.Arg, cst.Expr),
    *(cst.Element, cst.DictElement, cst.Param, cst.Index),
)
"""Parents around which any expression that needs no parentheses of its own can stand bare."""


def _as_tight(old: cst.BaseExpression, new: cst.BaseExpression) -> bool:
    if isinstance(old, cst.BooleanOperation) and isinstance(new, cst.BooleanOperation):
        return type(old.operator) is type(new.operator)
    return isinstance(old, cst.Comparison) and isinstance(new, cst.Comparison)


def _spliced(
    block: cst.CSTNode, starts: Sequence[int], length: int, new: tuple[cst.BaseStatement, ...]
) -> cst.Module | cst.IndentedBlock:
    assert isinstance(block, cst.Module | cst.IndentedBlock)
    body: list[cst.CSTNode] = list(block.body)
    for start in reversed(starts):
        body[start : start + length] = _dressed(body[start : start + length], new)
    if not body and isinstance(block, cst.IndentedBlock):
        body = [cst.SimpleStatementLine(body=[cst.Pass()])]
    return block.with_changes(body=body)


def _dressed(old: Sequence[cst.CSTNode], new: tuple[cst.BaseStatement, ...]) -> list[cst.CSTNode]:
    """New statements with the blank lines and comments above the old ones, and the comment behind them."""
    fresh: list[cst.CSTNode] = [statement.deep_clone() for statement in new]
    if not fresh:
        return fresh
    above = getattr(old[0], "leading_lines", ())
    fresh[0] = fresh[0].with_changes(leading_lines=[*above, *getattr(fresh[0], "leading_lines", ())])
    if isinstance(old[-1], cst.SimpleStatementLine) and isinstance(fresh[-1], cst.SimpleStatementLine):
        fresh[-1] = fresh[-1].with_changes(trailing_whitespace=old[-1].trailing_whitespace)
    return fresh
