"""Structural edits change what they say and nothing else, byte for byte, and never twice."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.errors import RecipeError
from shim.source.python_append import append_items
from shim.source.python_edit import count_code, replace_code

SOURCE = b'''\
"""Doc."""
import torch  # keep


def supported( cap ):
    # why
    if cap ==  ( 12,0 ) and not cap==(12, 0):  # both
        return not (cap == (12,0))
    return "cap == (12, 0)"


class Backend:
    def supported(self, cap):
        flags = [ cap == (12, 0) ,  1]
        a = 1   # one
        x( a )
        return flags

    @only(arch = (120,))
    def other(self): pass
'''


def edited(find: str, replace: str, scope: str = "", source: bytes = SOURCE) -> str:
    return replace_code(source, find=find, replace=replace, scope=scope).content.decode()


def lines(text: str) -> list[str]:
    """Lines that differ from SOURCE."""
    old = SOURCE.decode().splitlines()
    return [line for line in text.splitlines() if line not in old]


def test_formatting_of_what_is_found_does_not_matter_and_strings_are_not_code() -> None:
    result = replace_code(SOURCE, find="cap==(12,0)", replace="cap[0] == 12")
    assert result.count == 4
    assert lines(result.content.decode()) == [
        "    if cap[0] == 12 and not cap[0] == 12:  # both",
        "        return not (cap[0] == 12)",
        "        flags = [ cap[0] == 12 ,  1]",
    ]


@pytest.mark.parametrize(("scope", "count"), [("supported", 3), ("Backend", 1), ("Backend.supported", 1), ("", 4)])
def test_scope(scope: str, count: int) -> None:
    assert replace_code(SOURCE, find="cap == (12, 0)", replace="True", scope=scope).count == count


def test_a_scope_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match=r"no scope 'Backend\.suported' \(there is 'Backend\.supported'\)"):
        replace_code(SOURCE, find="cap", replace="c", scope="Backend.suported")


@pytest.mark.parametrize(
    ("source", "find", "replace", "expected"),
    [
        ("x = not a\n", "a", "b or c", "x = not (b or c)\n"),
        ("x = a and y\n", "a", "b or c", "x = (b or c) and y\n"),
        ("x = a\n", "a", "b or c", "x = b or c\n"),
        ("x = f(a)\n", "a", "b or c", "x = f(b or c)\n"),
        ("x = a.b\n", "a", "-c", "x = (-c).b\n"),
        ("x = a[0]\n", "a", "b if c else d", "x = (b if c else d)[0]\n"),
        ("x = (a)\n", "a", "b or c", "x = (b or c)\n"),
        ("x = a,\n", "a", "b or c", "x = b or c,\n"),
        ("if(a): pass\n", "a", "b", "if(b): pass\n"),
        ("x = a ** 2\n", "a", "-b", "x = (-b) ** 2\n"),
        ("x = [a for a in b]\n", "b", "c if d else e", "x = [a for a in (c if d else e)]\n"),
        ("x = f'{a}'\n", "a", "b", "x = f'{b}'\n"),
        ("x = '12.0'\n", '"12.0"', '"12.1"', 'x = "12.1"\n'),
        ("x = cap in (120,)\n", "cap in (120,)", "cap in (120, 121)", "x = cap in (120, 121)\n"),
        ("@d(a)\ndef f(): pass\n", "a", "b", "@d(b)\ndef f(): pass\n"),
        ("x: a = 1\n", "a", "b", "x: b = 1\n"),
    ],
)
def test_parentheses_where_they_are_needed(source: str, find: str, replace: str, expected: str) -> None:
    text = edited(find, replace, source=source.encode())
    assert text == expected


def test_names_that_are_no_values_are_not_found() -> None:
    source = (
        "import a\nfrom a import a\ndef f(a, *, b={0}):\n    global a\n"
        "    return x.a(a={0}) + {0}.a\nclass a({0}): pass\n"
    ).format
    result = replace_code(source("a").encode(), find="a", replace="z()")
    assert result.content.decode() == source("z()")


def test_statements_keep_the_comments_around_them() -> None:
    text = edited("a = 1\nx(a)", "if a:\n  y(a)", "Backend.supported")
    assert "        if a:\n            y(a)\n        return flags\n" in text
    assert lines(edited("return flags", "return 1")) == ["        return 1"]
    assert edited("import torch", "import numpy").splitlines()[1] == "import numpy  # keep"


def test_taking_statements_away_leaves_a_body() -> None:
    assert edited("a = 1", "", source=b"def f():\n    a = 1\n") == "def f():\n    pass\n"
    assert "return flags" not in edited("return flags", "")


def test_expressions_are_not_replaced_by_nothing_or_by_statements() -> None:
    with pytest.raises(RecipeError, match="replaced by nothing"):
        replace_code(SOURCE, find="cap", replace="")
    with pytest.raises(RecipeError, match="is an expression and replace is not"):
        replace_code(SOURCE, find="cap", replace="return 1")


@pytest.mark.parametrize(
    ("find", "replace"),
    [
        ("cap == (12, 0)", "cap == (12, 0) or cap == (12, 1)"),
        ("a = 1", "a = 1\nb = 2"),
        ("x(a)", "y(x(a))"),
        ("a = 1\nx(a)", "if c:\n    a = 1\n    x(a)"),
    ],
)
def test_a_second_time_finds_nothing(find: str, replace: str) -> None:
    once = replace_code(SOURCE, find=find, replace=replace)
    assert once.count
    assert replace_code(once.content, find=find, replace=replace).count == 0
    assert count_code(once.content, find=replace) >= 1


@pytest.mark.parametrize(
    "source",
    [
        b"def f(:\n",
        b"x = " + b"(" * 5000,
        b"x = " + b"-" * 5000 + b"1\n",
        b"x = " + b"a+" * 20000 + b"1\n",
        b"x = " + b"[" * 150 + b"]" * 150 + b"+" + b"-" * 700 + b"1\n",
        b"x = 1\0\n",
        b"\xff\n",
        b"# -*- coding: nonsense -*-\nx = 1\n",
    ],
)
def test_hostile_sources_are_one_clear_error(source: bytes) -> None:
    with pytest.raises(RecipeError, match="Python"):
        replace_code(source, find="a", replace="b")


@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbfx = a\r\ny = 1\r\n",
        "# -*- coding: latin-1 -*-\nx = a # \xe9\n".encode("latin-1"),
        b"x = a",
        b"if 1:\n\tx = a\n",
        b"x = a\n\n\n# end",
        b"x = \\\n  a\n",
        b"x = a;y = 2\n",
    ],
)
def test_bytes_around_the_edit_survive(source: bytes) -> None:
    assert replace_code(source, find="a", replace="b").content == source.replace(b"= a", b"= b").replace(
        b"  a\n", b"  b\n"
    )


def test_new_lines_follow_the_file() -> None:
    source = b"def f():\r\n    a()\r\n    b()\r\n"
    assert replace_code(source, find="a()", replace="c()").content == b"def f():\r\n    c()\r\n    b()\r\n"
    assert replace_code(source, find="x = 1", replace="y = 1").content == source
    result = replace_code(b"def f():\r\n    x = 1\r\n", find="x = 1", replace="if y:\n    x = 1").content
    assert result == b"def f():\r\n    if y:\r\n        x = 1\r\n"


NAMES = st.sampled_from(["cap", "alpha", "beta"])
ATOMS = st.one_of(NAMES, st.integers(0, 200).map(str), st.just("(12, 0)"), st.just("'12.0'"))
SPACE = st.sampled_from(["", " ", "  "])


@st.composite
def expressions(draw, depth: int = 3) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(ATOMS)
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    shape = draw(
        st.sampled_from(["({} == {})", "({} and {})", "({} + {})", "f({}, {})", "[{}, {}]", "({} if {} else 0)"])
    )
    spaced = shape.replace("(", "(" + draw(SPACE), 1) if shape.startswith("(") else shape
    return spaced.format(left, right)


@st.composite
def modules(draw) -> tuple[str, str]:
    """A module, and an expression that stands in it somewhere."""
    body, chosen = [], None
    for number in range(draw(st.integers(1, 5))):
        expression = draw(expressions())
        chosen = chosen or expression
        comment = draw(st.sampled_from(["", "  # a comment", "\n\n# above the next"]))
        body.append(f"x{number} ={draw(SPACE)}{expression}{comment}\n")
        if draw(st.booleans()):
            body.append(f"def f{number}( a,b ):\n  return  {expression}\n")
    return "".join(body), chosen or "1"


@given(modules())
def test_an_edit_is_what_the_syntax_tree_says(case: tuple[str, str]) -> None:
    """Python's own parser sees exactly the places replaced, and replacing back gives the same tree."""
    source, find = case
    marker = "unique_marker(1)"
    result = replace_code(source.encode(), find=find, replace=marker)
    assert result.content.decode().count(marker) == result.count > 0
    wanted = ast.dump(ast.parse(find, mode="eval").body)
    put = ast.dump(ast.parse(marker, mode="eval").body)

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.expr) and ast.dump(node) == wanted:
                return ast.parse(marker, mode="eval").body
            return self.generic_visit(node)

    expected = ast.dump(Swap().visit(ast.parse(source)))
    assert put in expected
    assert ast.dump(ast.parse(result.content)) == expected
    back = replace_code(result.content, find=marker, replace=find)
    assert ast.dump(ast.parse(back.content)) == ast.dump(ast.parse(source))


@given(modules())
def test_lines_without_a_match_keep_their_bytes(case: tuple[str, str]) -> None:
    source, find = case
    result = replace_code(source.encode(), find=find, replace="unique_marker(1)").content.decode()
    before, after = source.splitlines(keepends=True), result.splitlines(keepends=True)
    assert len(before) == len(after)
    assert all(old == new for old, new in zip(before, after, strict=True) if "unique_marker" not in new)


ARCHS = b"""\
A = ["9.0", "12.0"]
B = (120,)
C = {90, 100, }
D = {"9.0": 1,
     "12.0": 2}
E = frozenset({80})
F: list[str] = [
    "9.0",
    "12.0",  # Blackwell
]
G = [
  1
]
H = []
I = ()
class K:
    archs = tuple([  # first
        80,
        90
    ])
    def m(self):
        self.archs = [1]
N = 12
"""


@pytest.mark.parametrize(
    ("target", "add", "expected"),
    [
        ("A", "'12.1'", 'A = ["9.0", "12.0", \'12.1\']\n'),
        ("B", "121", "B = (120, 121)\n"),
        ("C", "121", "C = {90, 100, 121, }\n"),
        ("D", '"12.1": 3', '     "12.0": 2,\n     "12.1": 3}\n'),
        ("E", "120, 121", "E = frozenset({80, 120, 121})\n"),
        ("F", '"12.1"', '    "12.0",  # Blackwell\n    "12.1",\n]\n'),
        ("G", "2", "  1,\n  2\n]\n"),
        ("H", "1, 2", "H = [1, 2]\n"),
        ("I", "1", "I = (1,)\n"),
        ("archs", "121", "        90,\n        121\n    ])\n"),
        ("self.archs", "2", "        self.archs = [1, 2]\n"),
    ],
)
def test_append_follows_the_layout(target: str, add: str, expected: str) -> None:
    result = append_items(ARCHS, target=target, add=add)
    text = result.content.decode()
    assert result.count == 1
    assert expected in text
    changed = [line for line in text.splitlines() if line not in ARCHS.decode().splitlines()]
    assert len(changed) <= 2


@pytest.mark.parametrize(
    ("target", "add", "said"),
    [
        ("A", '"12.0"', "there already"),
        ("D", '"9.0": 7', "there already"),
        ("N", "1", "no literal"),
        ("A", "a: 1", "not elements"),
        ("D", "1", "not elements"),
        ("A", "1] + [2", "not elements"),
    ],
)
def test_append_says_why_not(target: str, add: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        append_items(ARCHS, target=target, add=add)


def test_append_to_nothing_is_counted_as_nothing() -> None:
    assert append_items(ARCHS, target="Z", add="1").count == 0
    assert append_items(ARCHS, target="archs", add="121", scope="K").count == 1
    with pytest.raises(RecipeError, match="no scope"):
        append_items(ARCHS, target="archs", add="121", scope="L")
