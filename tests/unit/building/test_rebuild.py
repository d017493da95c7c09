"""Whole rebuilds of a tiny package whose backend calls nvcc; nothing is fetched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shim
from shim.arch import Arch
from shim.building.backend import BuildError
from shim.building.rebuild import rebuild
from shim.building.request import RebuildOutcome, RebuildRequest, RebuildResult
from shim.building.strategy import Strategy
from shim.errors import PlanError, ShimError, ToolError, UsageError, VerifyError
from shim.scan.options import ScanOptions
from shim.scan.wheel import scan_wheel
from tests.unit.building.packages import TINY, folder, sdist, with_backend


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv("SHIM_CACHE_DIR", str(path))
    monkeypatch.setenv("SHIM_OFFLINE", "1")
    return path


def run(tmp_path: Path, files: dict[str, str] | None = None, **options: object) -> RebuildResult:
    source = sdist(tmp_path / "tiny_cuda-1.0.tar.gz", dict(TINY) if files is None else files)
    request = RebuildRequest(subject=str(source), folder=tmp_path / "out", **options)  # type: ignore[arg-type]
    return rebuild(request)


def archs(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    (library,) = scan_wheel(path, ScanOptions()).report.libraries
    return library.sass, library.ptx


def test_native(tmp_path: Path) -> None:
    result = run(tmp_path, repair=False)
    assert result.path is not None
    assert result.path.name == "tiny_cuda-1.0-1sm121-py3-none-linux_x86_64.whl"
    assert archs(result.path) == (("121",), ())
    assert [edit.origin for edit in result.prepared.edits] == ["retired-arch", "missing-arch"]
    assert result.probe is not None
    assert [unit.asked for unit in result.probe.units] == [("sm_121",)]


def test_sm80_and_ptx_beside(tmp_path: Path) -> None:
    fallback = run(tmp_path, repair=False, strategy=Strategy.SM80)
    assert fallback.path is not None
    assert archs(fallback.path) == (("80",), ("80",))
    both = run(tmp_path, repair=False, with_ptx=(Arch.parse("80"),), strategy=Strategy.FAMILY)
    assert both.path is not None
    assert archs(both.path) == (("120",), ("80",))


def test_a_dry_run_builds_nothing_and_tells_what_upstream_would_do(tmp_path: Path) -> None:
    plain = run(tmp_path, dry_run=True, as_is=True, machine="aarch64")
    assert plain.outcome is RebuildOutcome.SHORT
    assert plain.probe is not None
    assert [(unit.asked, unit.dropped) for unit in plain.probe.units] == [(("sm_80",), ("sm_53",))]
    assert run(tmp_path, dry_run=True).outcome is RebuildOutcome.PLANNED
    assert not (tmp_path / "out").exists()


def test_archs_that_no_rule_sees_are_set_right_by_the_stand_in(tmp_path: Path) -> None:
    files = {**TINY, "setup.py": 'FLAGS = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in (53, 80, 90)]\n'}
    result = run(tmp_path, files, repair=False)
    assert result.mode == "replace"
    assert result.path is not None
    assert archs(result.path) == (("121",), ())


def test_a_wheel_without_device_code_is_a_failure(tmp_path: Path) -> None:
    files = {**TINY, "unit.cu": "int f() { return 1; }\n"}
    with pytest.raises(VerifyError, match="no device code"):
        run(tmp_path, files, repair=False)
    assert not (tmp_path / "out").exists()


def test_a_failed_build_leaves_no_wheel_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    marker = tmp_path / "go"
    body = (
        "    import pathlib, tiny\n"
        "    count = pathlib.Path('count'); count.write_text(count.read_text() + 'x' if count.exists() else 'x')\n"
        f"    if not os.path.exists({str(marker)!r}): sys.exit('unit.cu(3): error: half way')\n"
        "    return tiny.build_wheel(folder)\n"
    )
    files = {**with_backend(body), "tiny.py": TINY["backend.py"]}
    with pytest.raises(BuildError, match="half way"):
        run(tmp_path, files, repair=False)
    assert not (tmp_path / "out").exists()
    marker.touch()
    result = run(tmp_path, files, repair=False)
    assert (result.work / "source" / "count").read_text() == "xx"
    assert not result.resumed
    again = run(tmp_path, files, repair=False, force=True)
    assert again.resumed
    assert (result.work / "source" / "count").read_text() == "xx"


def test_two_at_once_are_refused(tmp_path: Path, cache: Path) -> None:
    import fcntl

    work = run(tmp_path, dry_run=True).work
    lock = os.open(f"{work}.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with pytest.raises(ToolError, match="another shim"):
            run(tmp_path, dry_run=True)
    finally:
        os.close(lock)


def test_a_killed_step_starts_again(tmp_path: Path) -> None:
    """What a killed run leaves half-made is not taken for finished."""
    work = run(tmp_path, dry_run=True).work
    (work / "source" / "setup.py").unlink()
    (work / "state.json").unlink()
    folder(work / "original" / "x", TINY)
    folder(work / "probe", {"left": "x"})
    result = run(tmp_path, repair=False)
    assert result.path is not None


def errors(tmp_path: Path, kind: type[ShimError], match: str, files: dict[str, str] | None = None, **o: object) -> None:
    with pytest.raises(kind, match=match):
        run(tmp_path, files, **o)


def test_refusals(tmp_path: Path) -> None:
    errors(tmp_path, PlanError, "host code", machine="riscv64")
    errors(tmp_path, UsageError, "as-is", as_is=True)
    errors(
        tmp_path,
        PlanError,
        "no CUDA sources",
        {name: text for name, text in TINY.items() if name != "unit.cu"},
        repair=False,
    )
    errors(tmp_path, PlanError, "torch", {**TINY, "setup.py": "import torch\n"}, repair=False)


RECIPE = """schema = 1
id = "tiny-flags"
title = "Flags of the tiny package"
package = "tiny-cuda"
versions = ">=1,<2"
applies-to = ["sdist"]
targets = ["12.1"]
risk = "low"
why = "a test"
evidence = ["source"]
ends-when = { version = ">=2" }

[[anchor]]
path = "setup.py"
contains = "compute_53"

[[action]]
do = "replace-text"
path = "setup.py"
find = "arch=compute_53,code=sm_53"
replace = "arch=compute_90,code=sm_90"
count = 1
gate = "none"

[[action]]
do = "build-env"
set = { TINY_FLAGS = "{gencode}", TINY_TORCH = "{torch_archs}" }

[test]
published = ["1.0"]
outside = ["2.0"]
shape-only = true
filename = "sdist"
"""


def test_recipes_go_first_and_set_variables(tmp_path: Path) -> None:
    path = tmp_path / "recipes" / "tiny-flags.toml"
    path.parent.mkdir()
    path.write_text(RECIPE)
    result = run(tmp_path, dry_run=True, recipe_roots=(path.parent,), settings={"TINY_TORCH": "mine"})
    assert result.prepared.recipes == ("tiny-flags",)
    assert [edit.origin for edit in result.prepared.edits] == ["tiny-flags", "missing-arch"]
    assert result.outcome is RebuildOutcome.PLANNED
    values = {one.name: one.value for one in result.prepared.settings}
    assert values["TINY_FLAGS"] == "-gencode=arch=compute_121,code=sm_121"
    assert values["TINY_TORCH"] == "mine"


def test_a_killed_shim_takes_the_build_with_it(tmp_path: Path) -> None:
    body = (
        "    import pathlib, subprocess\n"
        "    if os.environ['CUDA_HOME'].endswith('record'): sys.exit('probe')\n"
        "    pathlib.Path('begun').touch()\n"
        "    subprocess.run([sys.executable, '-c', 'import time; time.sleep(5); open(\"late\", \"w\")'])\n"
    )
    source = sdist(tmp_path / "tiny_cuda-1.0.tar.gz", with_backend(body))
    words = [
        sys.executable,
        "-m",
        "shim",
        "rebuild",
        str(source),
        "--platform",
        "native",
        "-o",
        str(tmp_path / "out"),
        "--no-repair",
    ]
    environ = {**os.environ, "PYTHONPATH": str(Path(shim.__file__).parents[1])}
    process = subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (found := list((tmp_path / "cache").glob("rebuilds/*/source/begun"))):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(6)
    assert not (found[0].parent / "late").exists()
    assert not (tmp_path / "out").exists()
