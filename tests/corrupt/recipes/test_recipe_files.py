"""Recipe files with every kind of mistake: one error each, with the file and the key path, never a trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders.recipes import GOOD, write_recipe

from shim.errors import RecipeError
from shim.recipes.load import load_recipe, load_recipes

TWO = GOOD.replace("demo-gate", "demo-other")


def fault(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "demo-gate.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith(str(path))
    return caught.value.message.removeprefix(f"{path}: ")


MISTAKES = {
    "key misspelt": ("risk =", "rsik =", "rsik: unknown key"),
    "key missing": ('why = "The test is for 12.0 alone."\n', "", "why: is missing"),
    "schema of tomorrow": ("schema = 1", "schema = 2", "schema: expected 1, found 2"),
    "schema is text": ("schema = 1", 'schema = "1"', "schema: expected a whole number"),
    "schema is true": ("schema = 1", "schema = true", "schema: expected a whole number"),
    "id of another file": ('id = "demo-gate"', 'id = "demo-gates"', "id: expected the name of the file"),
    "id in capitals": ('id = "demo-gate"', 'id = "Demo"', "id: expected text that matches"),
    "package not normalised": (
        'package = "demo"',
        'package = "De_mo"',
        "package: expected a normalised name ('de-mo'?)",
    ),
    "package is a number": ('package = "demo"', "package = 3", "package: expected a list"),
    "versions": ('">=1.0,<2"', '"1.0-2"', "versions: not a version range"),
    "applies-to empty": ('["installed", "environment"]', "[]", "applies-to: expected at least one"),
    "applies-to unknown": ('["installed", "environment"]', '["wheels"]', "applies-to[0]: expected one of"),
    "applies-to twice": ('["installed", "environment"]', '["wheel", "wheel"]', "applies-to[1]: 'wheel' is there twice"),
    "targets": ('targets = ["12.1"]', 'targets = ["sm_121"]', "targets[0]: expected text that matches"),
    "risk": ('risk = "low"', 'risk = "lo"', "risk: expected one of low, medium, high, found 'lo'"),
    "opt-in": ('risk = "low"', 'risk = "low"\nopt-in = "yes"', "opt-in: expected true or false"),
    "no evidence": ('["source"]', "[]", "evidence: expected at least one entry"),
    "evidence is blank": ('["source"]', '[" "]', "evidence[0]: expected text"),
    "ends-when is text": ('{ version = ">=2" }', '">=2"', "ends-when: expected a table"),
    "ends-when is empty": ('{ version = ">=2" }', "{}", "ends-when: expected version or probe"),
    "ends-when version": ('{ version = ">=2" }', '{ version = "soon" }', "ends-when.version: not a version range"),
    "anchor without path": ('[[anchor]]\npath = "demo/gate.py"', "[[anchor]]", "anchor[0].path: is missing"),
    "anchor is a table": ("[[anchor]]", "[anchor]", "anchor: expected a list, found a table"),
    "anchor path up": (
        '[[anchor]]\npath = "demo',
        '[[anchor]]\npath = "../demo',
        "anchor[0].path: expected a relative path",
    ),
    "anchor path absolute": ('[[anchor]]\npath = "demo', '[[anchor]]\npath = "/demo', "anchor[0].path: expected"),
    "anchor path with backslash": ('path = "demo/gate.py"', "path = 'demo\\gate.py'", "anchor[0].path: expected"),
    "anchor count": (
        'contains = "(12, 0)"',
        'contains = "(12, 0)"\ncount = 0',
        "anchor[0].count: expected a number from 1",
    ),
    "anchor pattern": ('contains = "(12, 0)"', 'pattern = "(12"', "anchor[0].pattern: not a regular expression"),
    "anchor both": ('contains = "(12, 0)"', 'contains = "a"\npattern = "b"', "anchor[0].pattern: contains and pattern"),
    "anchor hash": ('contains = "(12, 0)"', 'sha256 = ["abc"]', "anchor[0].sha256[0]: expected text that matches"),
    "occurrences of nothing": ('contains = "(12, 0)"', "occurrences = 2", "anchor[0].occurrences: says nothing"),
    "no anchor": (GOOD[GOOD.index("[[anchor]]") : GOOD.index("[[superseded]]")], "", "anchor: expected at least one"),
    "superseded by nothing": ('contains = "(12, 1)"\n', "", "superseded[0].contains: is missing"),
    "proof kind": ('kind = "jit-arch-table"', 'kind = "belief"', "proof[0].kind: expected one of"),
    "proof key": ('contains = "12.1"', 'contains = "12.1"\nmember = "x"', "proof[0].member: unknown key"),
    "no proof": (
        GOOD[GOOD.index("[[proof]]") : GOOD.index("[[action]]")],
        "",
        "proof: an action opens a positive gate",
    ),
    "proof of nothing": (
        'kind = "jit-arch-table"\npath = "demo/table.py"\ncontains = "12.1"',
        'kind = "not-a-gate"\nwhy = "trust me"',
        "proof: an action opens a positive gate",
    ),
    "proof by rebuild where nothing is built": (
        'kind = "jit-arch-table"\npath = "demo/table.py"\ncontains = "12.1"',
        'kind = "source"\nwhy = "x"',
        "proof[0]: only a rebuild compiles",
    ),
    "dependency with no fact": (
        'kind = "jit-arch-table"\npath = "demo/table.py"\ncontains = "12.1"',
        'kind = "dependency"\ndistribution = "torch"',
        "proof[0]: expected versions, or library",
    ),
    "no action": (GOOD[GOOD.index("[[action]]") : GOOD.index("[test]")], "", "action: expected at least one"),
    "action unknown": ('do = "edit-python"', 'do = "edit"', "action[0].do: expected one of"),
    "action without do": ('do = "edit-python"\n', "", "action[0].do: is missing"),
    "action without gate": ('gate = "positive"\n', "", "action[0].gate: is missing"),
    "gate": ('gate = "positive"', 'gate = "open"', "action[0].gate: expected one of positive, negative, none"),
    "scope": ('scope = "supported"', 'scope = "a b"', "action[0].scope: expected text that matches"),
    "no effect": ('replace = "cap[0] == 12"', 'replace = "cap == (12, 0)"', "action[0].replace: equals find"),
    "negative gate removed": (
        'replace = "cap[0] == 12"\ngate = "positive"',
        'replace = "False"\ngate = "negative"',
        "action[0].replace: a negative gate is widened, never removed",
    ),
    "count of zero": ('gate = "positive"', 'gate = "positive"\ncount = 0', "action[0].count: expected a number from 1"),
    "action for a build": (
        'do = "edit-python"\npath = "demo/gate.py"\nscope = "supported"\nfind = "cap == (12, 0)"\n'
        'replace = "cap[0] == 12"\ngate = "positive"',
        'do = "build-env"\nset = { A = "1" }',
        "action[0]: such an action is for sdist",
    ),
    "variable": (
        "[test]",
        '[[action]]\ndo = "run-env"\nset = { "A-B" = "1" }\n[test]',
        "action[1].set.A-B: not the name of an environment variable",
    ),
    "variable is a number": (
        "[test]",
        '[[action]]\ndo = "run-env"\nset = { A = 1 }\n[test]',
        "action[1].set.A: expected text of one line",
    ),
    "refusal beside an edit": (
        "[test]",
        '[[action]]\ndo = "refuse"\nreason = "x"\nadvice = "y"\n[test]',
        "action: a refusal stands alone",
    ),
    "after itself": ('risk = "low"', 'risk = "low"\nafter = ["demo-gate"]', "after: a recipe cannot name itself"),
    "no test": (GOOD[GOOD.index("[test]") :], "", "test: is missing"),
    "nothing to try it on": ('published = ["1.5"]\n', "", "test.published: expected a version"),
    "published outside": ('published = ["1.5"]', 'published = ["2.5"]', "test.published[0]: 2.5 lies outside of"),
    "outside inside": ('outside = ["2.0"]', 'outside = ["1.9"]', "test.outside[0]: 1.9 lies within"),
    "published is no version": ('published = ["1.5"]', 'published = ["new"]', "test.published[0]: not a version"),
    "file name": ("[test]", '[test]\nfilename = "windows"', "test.filename: expected text that matches"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_by_its_key_path(tmp_path: Path, kind: str) -> None:
    old, new, expected = MISTAKES[kind]
    assert GOOD.count(old) >= 1
    assert expected in fault(tmp_path, GOOD.replace(old, new, 1))


def test_all_mistakes_of_a_file_come_together(tmp_path: Path) -> None:
    said = fault(tmp_path, GOOD.replace('risk = "low"', 'risk = "lo"').replace("do =", "dp ="))
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "schema: expected 1, found none"),
        (b"\xff\xfe" + GOOD.encode("utf-16-le"), "not UTF-8 at byte 0"),
        (b"schema = 1\nid = ", "not TOML"),
        (b"schema = 1\nschema = 1\n", "not TOML"),
        (b"x = " + b"[" * 100_000, "not TOML"),
        (b"schema = " + b"1" * 10_000 + b"\n", "not TOML"),
        (b"#" * (1 << 21), "more than 1048576 bytes"),
        (b"\0" * 64, "not TOML"),
    ],
    ids=["empty", "utf-16", "cut", "twice", "deep", "huge number", "huge", "zeros"],
)
def test_what_is_no_recipe_at_all(tmp_path: Path, content: bytes, expected: str) -> None:
    assert expected in fault(tmp_path, content)


def test_things_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()
    os.mkfifo(tmp_path / "b.toml")
    for name in ("a.toml", "b.toml", "missing.toml"):
        with pytest.raises(RecipeError):
            load_recipe(tmp_path / name)
    with pytest.raises(RecipeError, match="no such file or folder"):
        load_recipes([tmp_path / "missing"])


def test_two_files_of_one_id_in_a_folder(tmp_path: Path) -> None:
    write_recipe(tmp_path / "a")
    write_recipe(tmp_path / "b")
    with pytest.raises(RecipeError, match="is the id of"):
        load_recipes([tmp_path])


def test_every_bad_file_of_a_folder_is_named(tmp_path: Path) -> None:
    write_recipe(tmp_path, "x = 1", "one")
    write_recipe(tmp_path, "y = [", "two")
    with pytest.raises(RecipeError) as caught:
        load_recipes([tmp_path])
    assert "one.toml" in caught.value.message
    assert "two.toml" in caught.value.message


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ('after = ["nobody"]', "", "after[0]: no recipe has the id 'nobody'"),
        ('conflicts = ["nobody"]', "", "conflicts[0]: no recipe has the id 'nobody'"),
        ('after = ["demo-other"]', 'after = ["demo-gate"]', "the order of recipes is circular"),
        ('after = ["demo-other"]\nconflicts = ["demo-other"]', "", "is among the conflicts too"),
    ],
)
def test_references_between_recipes(tmp_path: Path, first: str, second: str, expected: str) -> None:
    write_recipe(tmp_path, GOOD.replace('risk = "low"', f'risk = "low"\n{first}'))
    write_recipe(tmp_path, TWO.replace('risk = "low"', f'risk = "low"\n{second}'), "demo-other")
    with pytest.raises(RecipeError) as caught:
        load_recipes([tmp_path])
    assert expected in caught.value.message
