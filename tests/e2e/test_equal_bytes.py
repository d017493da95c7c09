"""Equal inputs give equal bytes: on two runs, and on two processors (aarch64 by qemu-user)."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from builders import aarch64
from builders.kernels import tool
from builders.patchable import wheel
from e2e.conftest import Shim

PATCHED = "demo-1.0-1sm121-py3-none-linux_x86_64.whl"
INFO = "demo-1.0.dist-info"


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_two_runs(shim: Shim, tmp_path: Path) -> None:
    source = wheel(tmp_path / "in")
    for mode in ((), ("--canonical",)):
        for number in range(2):
            out = tmp_path / f"{len(mode)}-{number}"
            ran = shim("patch", source, "-o", out, "--jobs", number * 3 + 1, *mode)
            assert ran.code == 0, ran.err
        assert digests(tmp_path / f"{len(mode)}-0") == digests(tmp_path / f"{len(mode)}-1")


def test_times_come_from_the_wheel_or_the_variable(shim: Shim, tmp_path: Path) -> None:
    source = wheel(tmp_path / "in", extra={"demo/run.sh": "#!/bin/sh\n"})
    for name, env in (("plain", {}), ("epoch", {"SOURCE_DATE_EPOCH": "1700000000"})):
        assert shim("patch", source, "-o", tmp_path / name, "--canonical", env=env).code == 0
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(tmp_path / "plain" / PATCHED) as plain:
        infos = {info.filename: info for info in old.infolist()}
        kept = [info.filename for info in plain.infolist() if info.filename in infos and "RECORD" not in info.filename]
        assert kept == [name for name in infos if "RECORD" not in name]  # the order of the original
        for info in plain.infolist():
            same = infos.get(info.filename, infos[f"{INFO}/WHEEL"])  # new members take the time of WHEEL
            assert info.date_time == same.date_time, info.filename
            if info.filename in infos:
                assert info.external_attr == same.external_attr
                assert info.create_system == same.create_system
        assert plain.getinfo("demo/lib.so").external_attr >> 16 == 0o100755
    with zipfile.ZipFile(tmp_path / "epoch" / PATCHED) as dated:
        new = [info for info in dated.infolist() if info.filename not in infos]
        assert new
        assert {info.date_time for info in new} == {(2023, 11, 14, 22, 13, 20)}
        assert dated.getinfo("demo/lib.so").date_time == infos["demo/lib.so"].date_time
    assert shim("patch", source, "-o", tmp_path / "bad", env={"SOURCE_DATE_EPOCH": "today"}).code == 2
    assert not list((tmp_path / "bad").iterdir())


@pytest.mark.slow
@pytest.mark.real
def test_two_processors(shim: Shim, tmp_path: Path) -> None:
    """Planning, injection, provenance and the canonical wheel writer on aarch64, with the same compiled code."""
    if lacking := aarch64.missing():
        pytest.skip(f"this machine lacks {lacking}")
    source = wheel(tmp_path / "in")
    ptxas = tool("ptxas").path
    options = ("--canonical", "--no-recipes", "--ptxas", ptxas, "--format", "json")
    here = shim("patch", source, "-o", tmp_path / "here", *options)
    assert here.code == 0, here.err
    cache = tmp_path / "other-cache"
    shutil.copytree(tmp_path / "cache", cache)
    there = subprocess.run(
        [*aarch64.python(), "-m", "shim", "patch", source, "-o", tmp_path / "there", *options],
        env={**aarch64.environment(), "SHIM_CACHE_DIR": str(cache), "SHIM_OFFLINE": "1"},
        cwd=tmp_path,  # not the project, whose `_core` is this machine's
        capture_output=True,
        text=True,
        check=False,
    )
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout)["work"]["compiled"] == 0
    version = subprocess.run(
        [*aarch64.python(), "-c", "import zlib, platform; print(platform.machine(), zlib.ZLIB_RUNTIME_VERSION)"],
        env=aarch64.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert version[0] == "aarch64"
    if version[1] == zlib.ZLIB_RUNTIME_VERSION:
        assert digests(tmp_path / "there") == digests(tmp_path / "here")
    else:  # canonical bytes depend on the release of zlib, which provenance names: compare what is compressed
        with (
            zipfile.ZipFile(tmp_path / "here" / PATCHED) as one,
            zipfile.ZipFile(tmp_path / "there" / PATCHED) as other,
        ):
            assert one.namelist() == other.namelist()
            assert one.read("demo/lib.so") == other.read("demo/lib.so")


@pytest.mark.slow
@pytest.mark.real
def test_ptxas_of_two_processors(tmp_path: Path) -> None:
    """x86-64 and aarch64 ptxas of one release write equal cubins (bench/ptxas_hosts.py does it with real libraries)."""
    from builders.kernels import ptx_text
    from oracles.ptxas_hosts import Unit, compare, fetch_ptxas, pin_of

    if lacking := aarch64.missing():
        pytest.skip(f"this machine lacks {lacking}")
    pin = pin_of("13.0.88")
    programs = (fetch_ptxas(pin, "x86_64", tmp_path), fetch_ptxas(pin, "aarch64", tmp_path))
    units = [
        Unit(label=f"{steps} steps {options}", ptx=ptx_text(["one", "two"], steps=steps), options=options)
        for steps in (1, 300)
        for options in ((), ("--compile-only",), ("--generate-line-info",), ("-maxrregcount=32",))
    ]
    results = list(compare(units, programs))
    assert [done.unit.label for done in results if not done.equal] == []
    assert len(results) == 8
