"""Facts for proofs out of real containers, and trials of recipes on whole files."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from builders.recipes import FILES, GOOD, write_recipe
from builders.wheels import make_wheel

from shim.arch import Target
from shim.errors import InputError, RecipeError
from shim.recipes.load import load_recipe
from shim.recipes.model import AppliesTo
from shim.recipes.subject import open_subject
from shim.recipes.trial import try_on, try_recipe
from tests.unit.scan.files import library, sass, text

TARGET = Target()
KERNEL = '[[proof]]\nkind = "kernel"\nmember = "demo/*.so"\nname = "^gemm$"\narch = "loads-on-target"\n\n'
WHEEL = GOOD.replace(GOOD[GOOD.index("[[proof]]") : GOOD.index("[[action]]")], KERNEL).replace(
    '["installed", "environment"]', '["wheel"]'
)


@pytest.mark.parametrize(
    ("container", "state"),
    [
        ((sass("121", {"gemm": 4096}),), "applies"),
        ((sass("120", {"gemm": 4096}),), "applies"),
        ((text("80", ("gemm",)),), "applies"),
        ((sass("120a", {"gemm": 4096}),), "unproven"),
        ((sass("90a", {"gemm": 4096}),), "unproven"),
        ((sass("121", {"other": 4096}),), "unproven"),
        ((sass("90", {"gemm": 65536}), sass("120", {"gemm": 128})), "unproven"),
    ],
    ids=["121", "120", "ptx", "120a", "90a", "another kernel", "empty body"],
)
def test_kernels_of_a_wheel_prove_or_do_not(tmp_path: Path, container: tuple, state: str) -> None:
    wheel = make_wheel(tmp_path, {**FILES, "demo/_C.so": library(container)}, version="1.5")
    recipe = load_recipe(write_recipe(tmp_path / "r", WHEEL))
    assert try_on(recipe, wheel, TARGET) == f"{state}: edits demo/gate.py"


def sdist(folder: Path, files: dict[str, str], name: str = "demo-1.5") -> Path:
    root = folder / name
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, name)
    return path


SDIST = GOOD.replace('["installed", "environment"]', '["sdist"]')


def test_an_sdist_is_tried_below_its_top_folder(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "r", SDIST))
    path = sdist(tmp_path, FILES)
    with open_subject(path) as subject:
        assert (subject.kind, subject.package, subject.version) == (AppliesTo.SDIST, "demo", "1.5")
        assert sorted(subject.tree.names()) == sorted(FILES)
    assert try_on(recipe, path, TARGET) == "applies: edits demo/gate.py"


@pytest.mark.parametrize(
    ("change", "version", "said"),
    [
        (("(12, 0)", "(12, 0)"), "2.5", "is outside of"),
        (('"(12, 1)"', '"exact"'), "1.5", "superseded: demo/gate.py has 'exact'"),
        (('contains = "(12, 0)"', 'contains = "(11, 0)"'), "1.5", "no longer fits"),
        (('find = "cap == (12, 0)"', 'find = "(12, 1)"'), "1.5", "expected 1 place to edit, found 0"),
    ],
)
def test_a_trial_that_fails_says_why(tmp_path: Path, change: tuple[str, str], version: str, said: str) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "r", SDIST.replace(*change, 1)))
    with pytest.raises(RecipeError) as caught:
        try_on(recipe, sdist(tmp_path, FILES, f"demo-{version}"), TARGET)
    assert said in caught.value.message


def test_a_folder_and_what_is_neither(tmp_path: Path) -> None:
    sdist(tmp_path, {**FILES, "PKG-INFO": "Metadata-Version: 2.1\nName: De.mo\nVersion: 1.5\n"})
    with open_subject(tmp_path / "demo-1.5") as subject:
        assert (subject.package, subject.version) == ("de-mo", "1.5")
    with pytest.raises(InputError, match="expected a wheel, a source distribution"), open_subject(tmp_path / "x.zip"):
        pass


@pytest.mark.real
def test_a_published_sdist_is_fetched_and_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SHIM_OFFLINE", raising=False)
    head, action = SDIST[: SDIST.index("[[anchor]]")], SDIST[SDIST.index("[test]") :]
    recipe = load_recipe(
        write_recipe(
            tmp_path / "r",
            head.replace('package = "demo"', 'package = "torchsort"')
            .replace(">=1.0,<2", ">=0.1.9,<0.2")
            .replace('id = "demo-gate"', 'id = "torchsort-flags"')
            + '[[anchor]]\npath = "setup.py"\ncontains = "-ffast-math"\n\n'
            '[[action]]\ndo = "edit-python"\npath = "setup.py"\nscope = "compile_args"\n'
            "find = \"['-fopenmp', '-ffast-math']\"\nreplace = \"['-fopenmp']\"\ngate = \"none\"\n\n"
            + action.replace('"1.5"', '"0.1.9"'),
            "torchsort-flags",
        )
    )
    (result,) = try_recipe(recipe, TARGET)
    assert (result.version, result.words, result.error) == ("0.1.9", "applies: edits setup.py", "")
