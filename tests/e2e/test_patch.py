"""Scan, patch, verify, install and undo a wheel with real CUDA libraries, through the command line."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from builders.wheels import make_wheel
from e2e.conftest import Shim

PATCHED = "demo-1.0-1sm121-py3-none-linux_x86_64.whl"


def patch(shim: Shim, wheel: Path, out: Path, *more: object) -> dict[str, object]:
    ran = shim("patch", wheel, "-o", out, "--format", "json", "--platform", "x86_64", *more)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def grade(shim: Shim, path: Path) -> str:
    ran = shim("scan", path, "--format", "json", "--platform", "x86_64")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["reports"][0]["verdict"]["grade"]


def test_patch_verify_undo(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    before = wheel.read_bytes()
    assert grade(shim, wheel) == "jit"
    result = patch(shim, wheel, tmp_path / "out", "--load")
    assert result["outcome"] == "patched"
    assert {lib["member"]: lib["after"] for lib in result["libraries"]} == {
        "demo/jit.so": "native",
        "demo/linked.so": "native",
    }
    assert {lib["load"] for lib in result["libraries"]} == {"loads"}
    assert [lib["images"] for lib in result["libraries"]] == [2, 1]
    new = tmp_path / "out" / PATCHED
    assert grade(shim, new) == "native"
    verified = shim("verify", new)
    assert verified.code == 0
    assert "3 new images are in place" in verified.out
    undone = shim("undo", new, "-o", tmp_path / "back")
    assert undone.code == 0, undone.err
    assert (tmp_path / "back" / wheel.name).read_bytes() == before == wheel.read_bytes()


def test_wheel_is_whole_for_other_tools(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    patch(shim, wheel, tmp_path / "out")
    new = tmp_path / "out" / PATCHED
    with zipfile.ZipFile(wheel) as old_zip, zipfile.ZipFile(new) as new_zip:
        assert new_zip.testzip() is None
        for name in ("demo/__init__.py", "demo/data.txt", "demo-1.0.dist-info/METADATA"):
            assert new_zip.read(name) == old_zip.read(name)
        assert b"Build: 1sm121" in new_zip.read("demo-1.0.dist-info/WHEEL").replace(b"\r", b"")
        bom = json.loads(new_zip.read("demo-1.0.dist-info/sboms/shim.cdx.json"))
        assert bom["components"][0]["hashes"][0]["content"] == hashlib.sha256(new_zip.read("demo/jit.so")).hexdigest()
    subprocess.run([sys.executable, "-m", "wheel", "unpack", new, "-d", tmp_path / "unpacked"], check=True)
    scripts = Path(sysconfig.get_path("scripts"))
    for number, command in enumerate(
        (
            [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target"],
            [scripts / "uv", "pip", "install", "--no-index", "--no-deps", "--offline", "--target"],
        )
    ):
        site = tmp_path / f"site{number}"
        subprocess.run([*command, site, new], check=True, capture_output=True)
        assert (site / "demo-1.0.dist-info" / "shim" / "provenance.json").is_file()
        probe = "import demo, ctypes; print(demo.VALUE + ctypes.CDLL(demo.__path__[0] + '/jit.so').entry_first())"
        done = subprocess.run([sys.executable, "-c", probe], cwd=site, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == "48"


def test_second_run_compiles_nothing_and_gives_the_same_bytes(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    first = patch(shim, wheel, tmp_path / "a")
    second = patch(shim, wheel, tmp_path / "b")
    assert first["work"]["cached"] == 0
    assert second["work"]["compiled"] == 0
    assert second["work"]["cached"] == first["work"]["compiled"]
    assert (tmp_path / "a" / PATCHED).read_bytes() == (tmp_path / "b" / PATCHED).read_bytes()


def test_canonical_compression_verifies_and_undoes(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    patch(shim, wheel, tmp_path / "out", "--canonical")
    assert shim("verify", tmp_path / "out" / PATCHED).code == 0
    assert shim("undo", tmp_path / "out" / PATCHED, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / wheel.name).read_bytes() == wheel.read_bytes()


def test_already_patched_and_other_request(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    patch(shim, wheel, tmp_path / "out")
    new = tmp_path / "out" / PATCHED
    assert patch(shim, new, tmp_path / "again")["outcome"] == "already-patched"
    assert not list((tmp_path / "again").glob("*.whl")) if (tmp_path / "again").exists() else True
    redone = patch(shim, new, tmp_path / "other", "--target", "12.0")
    assert redone["subject"] == wheel.name  # planned from the recovered original
    assert (tmp_path / "other" / "demo-1.0-1sm120-py3-none-linux_x86_64.whl").is_file()


def test_only_leaves_other_containers_alone(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    result = patch(shim, wheel, tmp_path / "out", "--only", "^_Z3usePf$")
    assert [lib["member"] for lib in result["libraries"]] == ["demo/linked.so"]
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(str(result["path"])) as new:
        assert new.read("demo/jit.so") == old.read("demo/jit.so")


def test_dry_run_writes_nothing(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--dry-run", "--platform", "x86_64")
    assert ran.code == 0
    assert "compile sm_121 for 2 containers: only PTX fits" in ran.out
    assert not (tmp_path / "out").exists()


def test_nothing_to_do(shim: Shim, tmp_path: Path, libraries: dict[str, bytes]) -> None:
    native = make_wheel(tmp_path, {"demo/native.so": libraries["native"]}, tag="py3-none-linux_x86_64")
    ran = shim("patch", native, "-o", tmp_path / "out")
    assert ran.code == 0
    assert "nothing to do for 12.1" in ran.out
    assert not list((tmp_path / "out").glob("*"))
    assert shim("patch", native, "-o", tmp_path / "out", "--copy").code == 0
    assert (tmp_path / "out" / native.name).read_bytes() == native.read_bytes()


def test_nothing_can_be_done_is_exit_5(shim: Shim, tmp_path: Path, libraries: dict[str, bytes]) -> None:
    old = make_wheel(tmp_path, {"demo/old.so": libraries["old"]}, tag="py3-none-linux_x86_64")
    ran = shim("patch", old, "-o", tmp_path / "out")
    assert ran.code == 5
    assert "[machine-code-only] holds sm_80" in ran.err
    assert "rebuild" in ran.err
    assert not list((tmp_path / "out").glob("*"))


def test_partly_patched_is_exit_1(shim: Shim, tmp_path: Path, libraries: dict[str, bytes]) -> None:
    mixed = make_wheel(
        tmp_path, {"demo/old.so": libraries["old"], "demo/jit.so": libraries["jit"]}, tag="py3-none-linux_x86_64"
    )
    ran = shim("patch", mixed, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "[machine-code-only]" in ran.out
    new = tmp_path / "out" / PATCHED
    with zipfile.ZipFile(new) as archive:
        document = json.loads(archive.read("demo-1.0.dist-info/shim/provenance.json"))
    refused = {m["path"]: [r["code"] for r in m["refusals"]] for m in document["members"]}
    assert refused["demo/old.so"] == ["machine-code-only"]
    assert shim("verify", new).code == 0


def test_signed_wheel_says_that_its_signature_no_longer_holds(
    shim: Shim, tmp_path: Path, libraries: dict[str, bytes]
) -> None:
    members = {"demo/jit.so": libraries["jit"], "demo-1.0.dist-info/RECORD.jws": b"{}"}
    signed = make_wheel(tmp_path, members, tag="py3-none-linux_x86_64")
    ran = shim("patch", signed, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "signature demo-1.0.dist-info/RECORD.jws dropped: it no longer holds" in ran.out


def test_nvidia_libraries_are_refused(shim: Shim, tmp_path: Path, libraries: dict[str, bytes]) -> None:
    bundled = make_wheel(tmp_path, {"demo/libcufft.so.12": libraries["jit"]}, tag="py3-none-linux_x86_64")
    ran = shim("patch", bundled, "-o", tmp_path / "out")
    assert ran.code == 5
    assert "[nvidia-licensed]" in ran.err
    assert shim("patch", bundled, "-o", tmp_path / "out", "--allow-nvidia").code == 0


def test_single_library(shim: Shim, tmp_path: Path, libraries: dict[str, bytes]) -> None:
    path = tmp_path / "jit.so"
    path.write_bytes(libraries["jit"])
    ran = shim("patch", path, "-o", tmp_path / "out", "--load")
    assert ran.code == 0, ran.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["jit.so", "jit.so.shim.json", "jit.so.undo"]
    assert shim("undo", tmp_path / "out" / "jit.so", "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / "jit.so").read_bytes() == libraries["jit"]


@pytest.mark.parametrize("target", ["9.0", "10.0", "10.3", "11.0", "12.0"])
def test_other_targets(shim: Shim, wheel: Path, tmp_path: Path, target: str) -> None:
    result = patch(shim, wheel, tmp_path / "out", "--target", target)
    sm = target.replace(".", "")
    assert {lib["after"] for lib in result["libraries"]} == {"native"}
    assert re.search(f"1sm{sm}-", str(result["path"]))
    assert shim("verify", str(result["path"])).code == 0
