"""`shim recipes` and `shim apply`: what they say and their exit codes."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from builders.recipes import FILES, GOOD, install, write_recipe
from click.testing import CliRunner

from shim.cli import group
from shim.errors import RecipeError, UsageError
from shim.model import Confidence
from shim.recipes.model import AppliesTo
from shim.recipes.scaffold import scaffold
from shim.source.gates.model import Effect, Gate, Sign
from shim.source.overlay import EditedTree
from shim.source.tree import FolderTree


def shim(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(group, [*map(str, arguments)], catch_exceptions=False, standalone_mode=False)
    return done.return_value or 0, done.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_recipe(tmp_path / "recipes")
    return tmp_path / "recipes"


def test_list_and_show(folder: Path) -> None:
    assert "demo-gate" in shim("recipes", "list", "--recipes", folder)[1]
    assert "demo-gate" not in shim("recipes", "list", "--recipes", folder, "--package", "other")[1]
    listed = json.loads(shim("recipes", "list", "--recipes", folder, "--package", "DEMO", "--format", "json")[1])
    assert [recipe["id"] for recipe in listed] == ["demo-gate"]
    shown = shim("recipes", "show", "demo-gate", "--recipes", folder)[1]
    for text in ("- cap == (12, 0)", "+ cap[0] == 12", "demo/table.py", "evidence", ">=2"):
        assert text in shown
    with pytest.raises(UsageError) as caught:
        shim("recipes", "show", "demo-gates", "--recipes", folder)
    assert caught.value.hint == "did you mean demo-gate?"


def test_check(folder: Path) -> None:
    code, said = shim("recipes", "check", folder)
    assert (code, "loaded, no fault found" in said) == (0, True)


@pytest.mark.parametrize(
    ("files", "arguments", "expected"),
    [
        (FILES, (), 0),
        ({**FILES, "demo/gate.py": "x = (12, 1)\n"}, (), 0),
        ({**FILES, "demo/gate.py": "x = 1\n"}, (), 4),
        ({**FILES, "demo/table.py": ""}, (), 5),
        ({**FILES, "demo-1.5.dist-info/direct_url.json": '{"dir_info": {"editable": true}}'}, (), 3),
    ],
    ids=["done", "superseded", "misfit", "unproven", "editable"],
)
def test_exit_codes_of_apply(tmp_path: Path, folder: Path, files, arguments, expected: int) -> None:
    install(tmp_path / "env", files)
    code, _ = shim("apply", "--env", tmp_path / "env", "--recipes", folder, *arguments)
    assert code == expected


def test_variables_are_printed_and_written(tmp_path: Path) -> None:
    text = GOOD.replace('["installed", "environment"]', '["run"]')
    actions = (
        '[[action]]\ndo = "run-env"\nset = { DEMO_OFF = "it\'s 1" }\n\n'
        '[[action]]\ndo = "toolchain"\ntool = "ptxas"\nversion = "12.9.86"\nvariable = "TRITON_PTXAS_PATH"\n\n[test]'
    )
    text = text[: text.index("[[action]]")] + actions + text[text.index("[test]") + 6 :]
    write_recipe(tmp_path / "r", text)
    install(tmp_path / "env")
    file = tmp_path / "shim.env"
    code, said = shim("apply", "--env", tmp_path / "env", "--recipes", tmp_path / "r", "--write-env", file)
    assert code == 0
    assert "demo 1.5: needs variables" in said
    done = subprocess.run(
        ["sh", "-c", f'. "{file}"; printf %s "$DEMO_OFF"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == "it's 1"
    assert "# TRITON_PTXAS_PATH: set it to the path of ptxas 12.9.86 (demo-gate)" in file.read_text()


def test_apply_json(tmp_path: Path, folder: Path) -> None:
    install(tmp_path / "env")
    document = json.loads(
        shim("apply", "--env", tmp_path / "env", "--recipes", folder, "--dry-run", "--format", "json")[1]
    )
    assert document["distributions"][0]["ending"] == "planned"
    assert document["distributions"][0]["edits"][0]["recipe"] == "demo-gate"


@pytest.mark.parametrize("arguments", [("apply",), ("undo",), ("undo", "x.whl", "--recipe", "y")])
def test_command_lines_that_make_no_sense(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        shim(*arguments)


def test_unknown_recipes_are_refused(tmp_path: Path, folder: Path) -> None:
    install(tmp_path / "env")
    with pytest.raises(UsageError, match="no recipe has the id 'x'"):
        shim("apply", "--env", tmp_path / "env", "--recipes", folder, "--recipe", "x")


def gate(text: str, sign: Sign = Sign.POSITIVE, effect: Effect = Effect.REFUSES) -> Gate:
    return Gate(
        path="demo/gate.py",
        line=3,
        scope="supported",
        form="compare-tuple",
        sign=sign,
        effect=effect,
        confidence=Confidence.HIGH,
        text=text,
        words='shuts "12.1" out',
    )


def test_a_scaffold_names_the_gates_and_loads_once_filled_in(tmp_path: Path) -> None:
    site = install(tmp_path)
    text = scaffold(
        "demo-new",
        package="demo",
        version="1.5",
        kind=AppliesTo.WHEEL,
        gates=(gate("cap == (12, 0)"), gate("tuned", effect=Effect.TUNES)),
        tree=EditedTree(FolderTree(site), {}),
    )
    data = tomllib.loads(text)
    assert [(action["find"], action["gate"]) for action in data["action"]] == [("cap == (12, 0)", "positive")]
    assert data["anchor"] == [{"path": "demo/gate.py", "contains": "cap == (12, 0)"}]
    write_recipe(tmp_path / "new", text, "demo-new")
    with pytest.raises(RecipeError, match=r"risk: expected one of"):
        shim("recipes", "check", tmp_path / "new")
    filled = text.replace('risk = "TODO"', 'risk = "low"').replace('replace = "TODO"', 'replace = "cap[0] == 12"')
    write_recipe(tmp_path / "new", filled, "demo-new")
    assert shim("recipes", "check", tmp_path / "new")[0] == 0
