"""`patch` carries out recipes for wheels: edits with proof, verified, undone, and refused where they do not fit."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from builders.kernels import build_shared
from builders.recipes import FILES, GATE, GOOD, write_recipe
from builders.wheels import make_wheel
from click.testing import CliRunner

from shim.cli.patch import command as patch_command
from shim.cli.undo import command as undo_command
from shim.cli.verify import command as verify_command
from shim.errors import PlanError, RecipeError, VerifyError

WHEEL = GOOD.replace('applies-to = ["installed", "environment"]', 'applies-to = ["wheel"]')
PATCHED = "demo-1.5-1sm121-py3-none-any.whl"
ACTION = WHEEL[WHEEL.index("[[action]]") : WHEEL.index("[test]")]
PROOF = WHEEL[WHEEL.index("[[proof]]") : WHEEL.index("[[action]]")]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, FILES, version="1.5")


def patch(wheel: Path, recipe: str, *arguments: str) -> str:
    folder = wheel.parent / "recipes"
    write_recipe(folder, recipe)
    done = CliRunner().invoke(
        patch_command,
        [str(wheel), "-o", str(wheel.parent / "out"), "--recipes", str(folder), *arguments],
        catch_exceptions=False,
        standalone_mode=False,
        env={"SHIM_OFFLINE": "1"},
    )
    return done.output


def test_the_edit_is_in_the_new_wheel_with_its_diff(wheel: Path) -> None:
    said = patch(wheel, WHEEL)
    assert "+    return cap[0] == 12  # noqa" in said
    with zipfile.ZipFile(wheel.parent / "out" / PATCHED) as archive:
        assert archive.read("demo/gate.py").decode() == GATE.replace("cap == (12, 0)", "cap[0] == 12")
        assert archive.read("demo/table.py").decode() == FILES["demo/table.py"]
        document = json.loads(archive.read("demo-1.5.dist-info/shim/provenance.json"))
        bom = json.loads(archive.read("demo-1.5.dist-info/sboms/shim.cdx.json"))
    assert document["recipes"][0]["id"] == "demo-gate"
    assert "-    return cap == (12, 0)  # noqa" in document["recipes"][0]["edits"][0]["diff"]
    assert [entry["path"] for entry in document["edited"]] == ["demo/gate.py"]
    assert [component["name"] for component in bom["components"]] == ["demo/gate.py"]


def test_verify_and_undo(wheel: Path, tmp_path: Path) -> None:
    patch(wheel, WHEEL)
    patched = tmp_path / "out" / PATCHED
    done = CliRunner().invoke(verify_command, [str(patched)], catch_exceptions=False, standalone_mode=False)
    assert "1 files that recipes edited are as they were made" in done.output
    CliRunner().invoke(
        undo_command, [str(patched), "-o", str(tmp_path / "back")], catch_exceptions=False, standalone_mode=False
    )
    assert (tmp_path / "back" / wheel.name).read_bytes() == wheel.read_bytes()


def test_verify_sees_an_edited_file_that_was_changed_again(wheel: Path, tmp_path: Path) -> None:
    patch(wheel, WHEEL)
    patched = tmp_path / "out" / PATCHED
    with zipfile.ZipFile(patched) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}
    members["demo/gate.py"] += b"import os\n"
    patched.unlink()
    info = "demo-1.5.dist-info"
    forged = make_wheel(tmp_path / "out", members, version="1.5", build="1sm121")
    assert forged == patched
    assert f"{info}/shim/provenance.json" in members
    with pytest.raises(VerifyError, match=r"demo/gate\.py: expected SHA-256"):
        CliRunner().invoke(verify_command, [str(patched)], catch_exceptions=False, standalone_mode=False)


def test_a_second_patch_has_nothing_to_do(wheel: Path, tmp_path: Path) -> None:
    patch(wheel, WHEEL)
    assert "already patched" in patch(tmp_path / "out" / PATCHED, WHEEL)


def test_no_recipes_edits_nothing(wheel: Path) -> None:
    assert "nothing to do" in patch(wheel, WHEEL, "--no-recipes")
    assert not (wheel.parent / "out" / PATCHED).exists()


def test_a_dry_run_shows_the_diff_and_writes_nothing(wheel: Path) -> None:
    assert "+    return cap[0] == 12" in patch(wheel, WHEEL, "--dry-run")
    assert not (wheel.parent / "out").exists()


def test_without_the_kernel_the_gate_stays_shut(wheel: Path) -> None:
    proof = '[[proof]]\nkind = "kernel"\nmember = "demo/*.so"\nname = "gemm"\narch = "loads-on-target"\n\n'
    said = patch(wheel, WHEEL.replace(PROOF, proof))
    assert "[unproven]" in said
    assert "is not in it" in said
    assert not (wheel.parent / "out" / PATCHED).exists()


def test_a_dependency_is_not_known_in_a_wheel(wheel: Path) -> None:
    proof = '[[proof]]\nkind = "dependency"\ndistribution = "engine"\nversions = ">=2"\n\n' + PROOF.replace(
        '"12.1"', '"13.9"'
    )
    assert "engine is not installed where the package would be used" in patch(wheel, WHEEL.replace(PROOF, proof))


def test_a_misfit_is_an_error_and_nothing_is_written(wheel: Path) -> None:
    with pytest.raises(RecipeError, match="no longer fits") as caught:
        patch(wheel, WHEEL.replace('contains = "(12, 0)"', 'contains = "(11, 0)"'))
    assert "--no-recipes" in (caught.value.hint or "")
    assert not list((wheel.parent / "out").iterdir())


def test_a_refusal_gives_its_advice(wheel: Path) -> None:
    text = WHEEL.replace(PROOF, "").replace(
        ACTION, '[[action]]\ndo = "refuse"\nreason = "tcgen05"\nadvice = "wait"\n\n'
    )
    with pytest.raises(PlanError, match="tcgen05") as caught:
        patch(wheel, text)
    assert (caught.value.hint or "").startswith("wait\n  or: ")


def test_the_metadata_are_not_edited(wheel: Path) -> None:
    text = WHEEL.replace(ACTION, "").replace(PROOF, "").replace("[test]", METADATA_EDIT)
    with pytest.raises(RecipeError, match="metadata are not edited"):
        patch(wheel, text)


METADATA_EDIT = """\
[[action]]
do = "replace-text"
path = "demo-1.5.dist-info/METADATA"
find = "Version: 1.5"
replace = "Version: 1.6"
gate = "none"

[test]"""


RETARGET = (
    WHEEL[: WHEEL.index("[[anchor]]")]
    + """\
[[anchor]]
path = "demo/__init__.py"

[[action]]
do = "retarget"
members = "demo/*.so"

"""
    + WHEEL[WHEEL.index("[test]") :]
)


@pytest.mark.parametrize(("archs", "fits"), [(["compute_120a"], True), (["compute_80"], False)])
def test_retarget_states_that_members_need_it(tmp_path: Path, archs: list[str], fits: bool) -> None:
    source = {"k.cu": "__global__ void k(float* x) { *x += 1; }\nvoid f() { k<<<1, 1>>>(nullptr); }\n"}
    library = build_shared(tmp_path, source, archs=(), ptx=archs)
    files = {"demo/__init__.py": "", "demo/lib.so": library.read_bytes()}
    wheel = make_wheel(tmp_path, files, version="1.5", tag="py3-none-linux_x86_64")
    if fits:
        assert "retarget to sm_121a for 1 container" in patch(wheel, RETARGET, "--dry-run")
    else:
        with pytest.raises(RecipeError, match=r"no longer fits: no container of 'demo/\*\.so' has PTX for another"):
            patch(wheel, RETARGET, "--dry-run")


REFUSES = (
    WHEEL[: WHEEL.index("[[anchor]]")]
    + """\
[[anchor]]
path = "demo/__init__.py"

[[action]]
do = "refuse"
reason = "its code is for 12.0 alone"
advice = "take another"

"""
    + WHEEL[WHEEL.index("[test]") :]
)


def test_restamping_goes_on_where_a_recipe_sees_nothing_to_do(tmp_path: Path) -> None:
    source = {"k.cu": "__global__ void k(float* x) { *x += 1; }\nvoid f() { k<<<1, 1>>>(nullptr); }\n"}
    library = build_shared(tmp_path, source, archs=[("compute_120a", "sm_120a")], ptx=())
    files = {"demo/__init__.py": "", "demo/lib.so": library.read_bytes()}
    wheel = make_wheel(tmp_path, files, version="1.5", tag="py3-none-linux_x86_64")
    with pytest.raises(PlanError, match=r"its code is for 12\.0 alone"):
        patch(wheel, REFUSES)
    said = patch(wheel, REFUSES, "--experimental-restamp")
    assert "recipe demo-gate [refuses]" in said
    assert "none -> native" in said
