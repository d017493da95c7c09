"""`apply --env` changes an environment whole or not at all, and `undo --env` gives back every byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders.recipes import FILES, GATE, GOOD, install, record_faults, snapshot, write_recipe

from shim.applying.environment import apply_to_environment, undo_environment
from shim.applying.environment_result import Ending
from shim.arch import Target
from shim.errors import InputError, RecipeError, UsageError
from shim.recipes.load import load_recipe

TARGET = Target()
APPLIED = "demo-1.5.dist-info/shim/applied"


def run(prefix: Path, *paths: Path, **options: object):
    result = apply_to_environment(prefix, [load_recipe(path) for path in paths], TARGET, **options)  # type: ignore[arg-type]
    return result.results[0] if len(result.results) == 1 else result.results


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "recipes")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "env"


def test_the_gate_is_edited_and_record_tells_the_truth(prefix: Path, recipe: Path) -> None:
    site = install(prefix)
    result = run(prefix, recipe)
    assert result.ending is Ending.APPLIED
    assert (site / "demo/gate.py").read_text() == GATE.replace("cap == (12, 0)", "cap[0] == 12")
    assert record_faults(site) == []
    document = json.loads((site / APPLIED / "provenance.json").read_text())
    assert document["stage"] == "done"
    assert document["recipes"][0]["id"] == "demo-gate"
    assert "+    return cap[0] == 12  # noqa" in document["recipes"][0]["edits"][0]["diff"]


def test_undo_gives_back_every_byte_and_mode(prefix: Path, recipe: Path) -> None:
    site = install(prefix)
    (site / "demo/gate.py").chmod(0o640)
    before = snapshot(site)
    run(prefix, recipe)
    assert (site / "demo/gate.py").stat().st_mode & 0o777 == 0o640
    undone = undo_environment(prefix, TARGET).results
    assert [one.ending for one in undone] == [Ending.TAKEN_BACK]
    assert snapshot(site) == before


def test_a_second_run_changes_nothing(prefix: Path, recipe: Path) -> None:
    site = install(prefix)
    run(prefix, recipe)
    before = snapshot(site)
    result = run(prefix, recipe)
    assert result.ending is Ending.ALREADY
    assert [found.state for found in result.matches] == ["applied-already"]
    assert snapshot(site) == before


def test_a_dry_run_changes_nothing(prefix: Path, recipe: Path) -> None:
    site = install(prefix)
    before = snapshot(site)
    result = run(prefix, recipe, dry_run=True)
    assert result.ending is Ending.PLANNED
    assert len(result.edits) == 1
    assert snapshot(site) == before


def test_a_later_recipe_joins_the_one_that_was_applied(prefix: Path, recipe: Path, tmp_path: Path) -> None:
    site = install(prefix)
    before = snapshot(site)
    run(prefix, recipe)
    other = write_recipe(
        tmp_path / "recipes",
        GOOD.replace("demo-gate", "demo-text")
        .replace('do = "edit-python"', 'do = "replace-text"')
        .replace('scope = "supported"\n', "")
        .replace('find = "cap == (12, 0)"', 'find = "for no reason"')
        .replace('replace = "cap[0] == 12"', 'replace = "by mistake"'),
        "demo-text",
    )
    run(prefix, recipe, other)
    text = (site / "demo/gate.py").read_text()
    assert "by mistake" in text
    assert "cap[0] == 12" in text
    assert record_faults(site) == []
    undo_environment(prefix, TARGET)
    assert snapshot(site) == before


def test_a_hard_link_is_never_written_through(prefix: Path, recipe: Path, tmp_path: Path) -> None:
    site = install(prefix)
    cache = tmp_path / "uv-cache.py"
    os.link(site / "demo/gate.py", cache)
    record_cache = tmp_path / "RECORD"
    os.link(site / "demo-1.5.dist-info/RECORD", record_cache)
    old_record = record_cache.read_bytes()
    run(prefix, recipe)
    assert cache.read_text() == GATE
    assert record_cache.read_bytes() == old_record
    undo_environment(prefix, TARGET)
    assert cache.read_text() == GATE


def test_a_symbolic_link_is_replaced_and_restored(prefix: Path, recipe: Path, tmp_path: Path) -> None:
    site = install(prefix)
    real = tmp_path / "real.py"
    real.write_text(GATE)
    (site / "demo/gate.py").unlink()
    (site / "demo/gate.py").symlink_to(real)
    before = snapshot(site)
    run(prefix, recipe)
    assert not (site / "demo/gate.py").is_symlink()
    assert real.read_text() == GATE
    undo_environment(prefix, TARGET)
    assert snapshot(site) == before


def test_a_package_folder_that_is_a_link_is_left_alone(prefix: Path, recipe: Path, tmp_path: Path) -> None:
    site = install(prefix)
    (site / "demo").rename(tmp_path / "work")
    (site / "demo").symlink_to(tmp_path / "work")
    result = run(prefix, recipe)
    assert result.ending is Ending.FAILED
    assert "lies outside" in result.error.message
    assert (tmp_path / "work/gate.py").read_text() == GATE
    assert not (site / APPLIED).exists()


def test_an_editable_install_is_refused(prefix: Path, recipe: Path) -> None:
    site = install(prefix)
    (site / "demo-1.5.dist-info/direct_url.json").write_text('{"url": "file:///w", "dir_info": {"editable": true}}')
    before = snapshot(site)
    result = run(prefix, recipe)
    assert isinstance(result.error, InputError)
    assert "editable" in result.error.message
    assert snapshot(site) == before


def test_bytecode_of_an_edited_module_goes(prefix: Path, recipe: Path) -> None:
    site = install(prefix)
    cache = site / "demo/__pycache__"
    cache.mkdir()
    for name in ("gate.cpython-312.pyc", "gate.cpython-312.opt-1.pyc", "table.cpython-312.pyc"):
        (cache / name).write_bytes(b"old")
    run(prefix, recipe)
    assert [path.name for path in cache.iterdir()] == ["table.cpython-312.pyc"]


def test_without_a_proof_the_gate_stays_shut(prefix: Path, recipe: Path) -> None:
    site = install(prefix, {**FILES, "demo/table.py": "ARCHS = ['9.0']\n"})
    before = snapshot(site)
    result = run(prefix, recipe)
    assert result.ending is Ending.REFUSED
    assert [found.state for found in result.matches] == ["unproven"]
    assert snapshot(site) == before


def test_superseded_is_reported(prefix: Path, recipe: Path) -> None:
    install(prefix, {**FILES, "demo/gate.py": "def supported(cap):\n    return cap in ((12, 0), (12, 1))\n"})
    result = run(prefix, recipe)
    assert result.ending is Ending.NOTHING
    assert [found.state for found in result.matches] == ["superseded"]


def test_a_recipe_that_no_longer_fits_is_an_error(prefix: Path, recipe: Path) -> None:
    site = install(prefix, {**FILES, "demo/gate.py": "def supported(cap):\n    return cap >= (9, 0)\n"})
    before = snapshot(site)
    result = run(prefix, recipe)
    assert isinstance(result.error, RecipeError)
    assert "anchor[0]" in result.error.message
    assert snapshot(site) == before


def test_a_dependency_is_looked_at_where_the_package_is(prefix: Path, tmp_path: Path) -> None:
    text = GOOD.replace(
        'kind = "jit-arch-table"\npath = "demo/table.py"\ncontains = "12.1"',
        'kind = "dependency"\ndistribution = "engine"\nversions = ">=2"\n'
        'library = "engine/lib*.so"\ncontains = "sm121"',
    )
    path = write_recipe(tmp_path / "r", text)
    install(prefix)
    assert run(prefix, path).matches[0].state == "unproven"
    install(prefix, {"engine/libengine.so": b"...sm50-sm120..."}, name="engine", version="2.1")
    assert "lacks" in run(prefix, path).matches[0].why
    install(prefix, {"engine/libengine.so": b"...sm50-sm121..."}, name="engine", version="2.1")
    assert run(prefix, path).ending is Ending.APPLIED


def test_a_file_changed_by_somebody_else_is_not_overwritten_by_undo(prefix: Path, recipe: Path) -> None:
    site = install(prefix)
    run(prefix, recipe)
    (site / "demo/gate.py").write_text("mine\n")
    undone = undo_environment(prefix, TARGET).results[0]
    assert undone.ending is Ending.FAILED
    assert "was changed after shim" in undone.error.message
    assert (site / "demo/gate.py").read_text() == "mine\n"


def test_a_tampered_provenance_cannot_name_files_outside(prefix: Path, recipe: Path, tmp_path: Path) -> None:
    site = install(prefix)
    run(prefix, recipe)
    victim = tmp_path / "victim"
    victim.write_text("x")
    path = site / APPLIED / "provenance.json"
    document = json.loads(path.read_text())
    document["files"][0]["path"] = str(victim)
    path.write_text(json.dumps(document))
    assert undo_environment(prefix, TARGET).results[0].ending is Ending.FAILED
    assert victim.read_text() == "x"


def test_undo_of_one_recipe_or_package_by_name(prefix: Path, recipe: Path) -> None:
    site = install(prefix)
    before = snapshot(site)
    run(prefix, recipe)
    with pytest.raises(UsageError, match="nothing was applied by the name"):
        undo_environment(prefix, TARGET, names=("other",))
    assert snapshot(site) != before
    undo_environment(prefix, TARGET, names=("demo-gate",))
    assert snapshot(site) == before


def test_opt_in_waits_for_its_name(prefix: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "r", GOOD.replace('risk = "low"', 'risk = "low"\nopt-in = true'))
    install(prefix)
    assert [found.state for found in run(prefix, path).matches] == ["opt-in"]
    assert run(prefix, path, chosen=("demo-gate",)).ending is Ending.APPLIED
    assert run(prefix, path).ending is Ending.ALREADY


_KILLED = """
import os, shutil, sys
from pathlib import Path
from builders.recipes import install, record_faults, snapshot
from shim.applying.environment import apply_to_environment, undo_environment
from shim.arch import Target
from shim.recipes.load import load_recipe

recipe, command = load_recipe(Path(sys.argv[2])), sys.argv[3]

def killed_after(renames, prefix):
    real = Path.replace
    def replace(self, other):
        nonlocal renames
        renames -= 1
        if renames == 0:
            os.kill(os.getpid(), 9)
        return real(self, other)
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 9
    Path.replace = replace
    if command == "apply":
        apply_to_environment(prefix, [recipe], Target())
    else:
        undo_environment(prefix, Target())
    os._exit(0)

for renames in range(1, 20):
    prefix = Path(sys.argv[1]) / str(renames)
    site = install(prefix)
    before = snapshot(site)
    if command == "undo":
        apply_to_environment(prefix, [recipe], Target())
    if not killed_after(renames, prefix):
        break
    undo_environment(prefix, Target())
    assert snapshot(site) == before, renames
    apply_to_environment(prefix, [recipe], Target())
    assert record_faults(site) == [], renames
print(renames - 1)
"""


@pytest.mark.parametrize(("command", "renames"), [("apply", 6), ("undo", 3)])
def test_killed_before_any_rename_it_can_be_taken_back(prefix: Path, recipe: Path, command: str, renames: int) -> None:
    """apply: two originals, the journal, the module, RECORD, the record of the end. undo: journal, module, RECORD."""
    arguments = [sys.executable, "-c", _KILLED, str(prefix), str(recipe), command]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(arguments, check=False, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{renames}\n"), done.stderr


def test_what_cannot_be_written_leaves_everything_as_it_was(
    prefix: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install(prefix)
    before = snapshot(site)
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == "RECORD" and "originals" not in str(target) and not failed:
            failed.append(target)
            raise PermissionError(13, "Permission denied", str(target))
        return real(self, target)

    failed: list[Path] = []
    monkeypatch.setattr(Path, "replace", replace)
    result = run(prefix, recipe)
    assert "nothing was changed" in result.error.message
    assert failed
    assert snapshot(site) == before
