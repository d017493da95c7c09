"""Adds elements to list, tuple, set and dict literals of Python files, in the layout that is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import libcst as cst

from shim.errors import RecipeError
from shim.source.edits import Edited
from shim.source.python_edit import check_result
from shim.source.python_tree import (
    Place,
    check_depth,
    children,
    deep_recursion,
    in_scope,
    parse_source,
    require_scope,
    same,
)

_Literal = cst.List | cst.Tuple | cst.Set | cst.Dict
_Item = cst.BaseElement | cst.BaseDictElement
_WRAPPERS: Final = frozenset({"frozenset", "set", "list", "tuple", "dict"})


def append_items(source: bytes, *, target: str, add: str, scope: str = "") -> Edited:
    """Add elements at the end of every literal that is assigned to `target`.

    Args:
        target: a name or attribute, such as "ARCHS" or "self.archs".
        add: elements as they would stand in the literal: "'12.1'", or "'12.1': 3" for a dict.
        scope: qualified name of the class or function to stay in.

    Returns:
        The file with count 0 when nothing is assigned to that name.

    Raises:
        RecipeError: what is assigned is no literal, or has one of the elements already; or as `replace_code`.
    """
    module = parse_source(source)
    with deep_recursion():
        require_scope(module, scope)
        name = cst.parse_expression(target)
        found = {id(literal): literal for literal in _literals(module, name, scope)}
        if not found:
            return Edited(content=source, count=0)
        edited = module.visit(_Append({key: _parse_items(literal, add) for key, literal in found.items()}))
        content = edited.bytes
        check_result(edited, content)
    return Edited(content=content, count=len(found))


def has_items(source: bytes, *, target: str, add: str, scope: str = "") -> int:
    """How many literals assigned to `target` have all of the elements. Raises RecipeError as `append_items`."""
    module = parse_source(source)
    with deep_recursion():
        require_scope(module, scope)
        found = _literals(module, cst.parse_expression(target), scope)
        return sum(
            all(any(_is_there(item, other) for other in literal.elements) for item in _elements(literal, add))
            for literal in found
        )


def _literals(module: cst.Module, name: cst.BaseExpression, scope: str) -> list[_Literal]:
    found = []
    stack = [Place(node=module, parent=module, scope="")]
    while stack:
        place = stack.pop()
        if in_scope(place.scope, scope) and (value := _assigned(place.node, name)) is not None:
            found.append(_literal(value))
        stack += reversed(list(children(place.node, place.scope)))
    return found


def _assigned(node: cst.CSTNode, name: cst.BaseExpression) -> cst.BaseExpression | None:
    if isinstance(node, cst.Assign) and any(same(target.target, name) for target in node.targets):
        return node.value
    if isinstance(node, cst.AnnAssign) and same(node.target, name):
        return node.value
    return None


def _literal(value: cst.BaseExpression) -> _Literal:
    if isinstance(value, cst.Call) and isinstance(value.func, cst.Name) and value.func.value in _WRAPPERS:
        if len(value.args) == 1 and value.args[0].keyword is None and not value.args[0].star:
            return _literal(value.args[0].value)
    elif isinstance(value, cst.List | cst.Tuple | cst.Set | cst.Dict):
        return value
    raise RecipeError(f"what is assigned is no literal but {type(value).__name__}")


def _parse_items(literal: _Literal, add: str) -> tuple[_Item, ...]:
    items = _elements(literal, add)
    there: Sequence[_Item] = literal.elements
    if any(_is_there(item, other) for item in items for other in there):
        raise RecipeError(f"{add!r} has no effect: it is there already")
    return items


def _elements(literal: _Literal, add: str) -> tuple[_Item, ...]:
    left, right = "{}" if isinstance(literal, cst.Set | cst.Dict) else "[]"
    text = f"{left}{add}{right}"
    try:
        check_depth(text.encode())
        parsed = cst.parse_expression(text)
    except (RecipeError, cst.ParserSyntaxError) as error:
        raise RecipeError(f"not elements of a {type(literal).__name__.lower()}: {add!r}") from error
    wanted = type(literal) if isinstance(literal, cst.Set | cst.Dict) else cst.List
    if not isinstance(parsed, wanted) or not parsed.elements:
        raise RecipeError(f"not elements of a {type(literal).__name__.lower()}: {add!r}")
    return tuple(parsed.elements)


def _is_there(item: _Item, other: _Item) -> bool:
    if isinstance(item, cst.DictElement) and isinstance(other, cst.DictElement):
        return same(item.key, other.key)
    return same(item, other)


class _Append(cst.CSTTransformer):
    def __init__(self, wanted: dict[int, tuple[_Item, ...]]) -> None:
        super().__init__()
        self._wanted = wanted

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        items = self._wanted.get(id(original_node))
        if items is not None and isinstance(updated_node, cst.List | cst.Tuple | cst.Set | cst.Dict):
            return _appended(updated_node, items)  # type: ignore[return-value]
        return updated_node


def _appended(literal: _Literal, items: tuple[_Item, ...]) -> _Literal:
    """The literal with more elements. A comment behind the last old element stays behind it."""
    old: Sequence[_Item] = literal.elements
    single = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if not old:
        fresh = [item.with_changes(comma=single) for item in items[:-1]]
        last_comma = cst.Comma() if isinstance(literal, cst.Tuple) else cst.MaybeSentinel.DEFAULT
        return literal.with_changes(elements=[*fresh, items[-1].with_changes(comma=last_comma)])
    close = _closing(literal)
    between = _between(literal, single)
    behind = close.whitespace_before if close is not None else cst.SimpleWhitespace("")
    first = between
    if isinstance(behind, cst.ParenthesizedWhitespace) and isinstance(
        between.whitespace_after, cst.ParenthesizedWhitespace
    ):
        # The rest of the last old line, with its comment, ends that line; the closing bracket starts a fresh one.
        first = between.with_changes(
            whitespace_after=between.whitespace_after.with_changes(first_line=behind.first_line)
        )
        behind = behind.with_changes(first_line=cst.TrailingWhitespace())
    trailing = old[-1].comma
    body = [*old[:-1], old[-1].with_changes(comma=first)]
    body += [item.with_changes(comma=between) for item in items[:-1]]
    body.append(items[-1].with_changes(comma=trailing if len(old) > 1 else _after_single(literal, trailing)))
    changed = literal.with_changes(elements=body)
    if close is None:
        return changed
    return _with_closing(changed, close.with_changes(whitespace_before=behind))


def _after_single(literal: _Literal, trailing: cst.Comma | cst.MaybeSentinel) -> cst.Comma | cst.MaybeSentinel:
    """(120,) becomes (120, 121): its comma was there to make it a tuple. One over several lines keeps it."""
    close = _closing(literal)
    on_one_line = close is None or not isinstance(close.whitespace_before, cst.ParenthesizedWhitespace)
    return cst.MaybeSentinel.DEFAULT if isinstance(literal, cst.Tuple) and on_one_line else trailing


_Bracket = cst.RightSquareBracket | cst.RightCurlyBrace | cst.RightParen


def _closing(literal: _Literal) -> _Bracket | None:
    match literal:
        case cst.List():
            return literal.rbracket
        case cst.Tuple():
            return literal.rpar[0] if literal.rpar else None
        case _:
            return literal.rbrace


def _with_closing(literal: _Literal, close: _Bracket) -> _Literal:
    match literal:
        case cst.List():
            return literal.with_changes(rbracket=close)
        case cst.Tuple():
            return literal.with_changes(rpar=[close, *literal.rpar[1:]])
        case _:
            return literal.with_changes(rbrace=close)


def _between(literal: _Literal, single: cst.Comma) -> cst.Comma:
    """The comma that separates elements here: as between the last two, else a new line where elements have one."""
    old: Sequence[_Item] = literal.elements
    if len(old) > 1 and isinstance(old[-2].comma, cst.Comma):
        comma = old[-2].comma
        after = comma.whitespace_after
        if isinstance(after, cst.ParenthesizedWhitespace):
            return comma.with_changes(
                whitespace_after=after.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[])
            )
        return comma
    opening = _opening_whitespace(literal)
    if isinstance(opening, cst.ParenthesizedWhitespace):
        return cst.Comma(whitespace_after=opening.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[]))
    return single


def _opening_whitespace(literal: _Literal) -> cst.BaseParenthesizableWhitespace | None:
    match literal:
        case cst.List():
            return literal.lbracket.whitespace_after
        case cst.Tuple():
            return literal.lpar[0].whitespace_after if literal.lpar else None
        case _:
            return literal.lbrace.whitespace_after
