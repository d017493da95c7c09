"""Slimmed, for several targets, compressed: real libraries through the command line, undone to the byte."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from builders.kernels import build_shared, tool
from builders.wheels import make_wheel
from e2e.conftest import RELOCATABLE, WHOLE, Shim
from oracles.cuobjdump import count_images

from shim.devicecode import Compression, DeviceCode, read_path

ARCHS = [(f"compute_{arch}", f"sm_{arch}") for arch in ("80", "90a", "120")]
BROKEN = """#!/bin/sh
for word in "$@"; do
  if [ -f "$word" ] && grep -q counter "$word"; then echo "ptxas fatal   : no" >&2; exit 1; fi
done
exec {ptxas} "$@"
"""
BULK = "static __device__ int bulk_%(name)s[%(size)d] = {1};\n"


@pytest.fixture(scope="session")
def fat(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """whole: two containers, 80, 90a, 120, PTX 75 and 90; linked: -rdc, 80 and 120. With data enough to fill pages."""
    folder = tmp_path_factory.mktemp("fat")
    sources = {
        f"{name}.cu": WHOLE % {"name": name} + BULK % {"name": name, "size": 20_000} for name in ("first", "second")
    }
    whole = build_shared(folder, sources, archs=ARCHS, ptx=("compute_75", "compute_90"), name="whole.so")
    linked = build_shared(folder, RELOCATABLE, archs=[ARCHS[0], ARCHS[2]], rdc=True, name="linked.so")
    return {"whole": whole.read_bytes(), "linked": linked.read_bytes()}


@pytest.fixture
def fat_wheel(tmp_path: Path, fat: dict[str, bytes]) -> Path:
    members = {"demo/whole.so": fat["whole"], "demo/linked.so": fat["linked"], "demo/__init__.py": ""}
    return make_wheel(tmp_path, members, name="demo", version="1.0", tag="py3-none-linux_x86_64")


def patch(shim: Shim, wheel: Path, out: Path, *more: object) -> dict:
    ran = shim("patch", wheel, "-o", out, "--format", "json", "--platform", "x86_64", *more)
    assert ran.code == 0, ran.err + ran.out
    return json.loads(ran.out)


def undo_gives(shim: Shim, new: Path, original: Path, folder: Path) -> None:
    assert shim("verify", new).code == 0
    ran = shim("undo", new, "-o", folder)
    assert ran.code == 0, ran.err
    assert (folder / original.name).read_bytes() == original.read_bytes()


def held(path: Path) -> set[str]:
    """Live images: "sass 120", "ptx 90"."""
    code = read_path(path)
    return {f"{i.kind} {i.arch}" for c in code.containers if c.role.value in ("whole", "linked") for i in c.images}


def member(wheel: Path, name: str, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(name, folder))


def test_slim_of_a_wheel(shim: Shim, fat_wheel: Path, tmp_path: Path) -> None:
    result = patch(shim, fat_wheel, tmp_path / "out", "--slim", "--load")
    new = Path(result["path"])
    assert result["undo"] == f"{new}.undo"
    with zipfile.ZipFile(new) as archive:
        assert not [name for name in archive.namelist() if name.endswith("/undo")]
    assert {lib["member"]: lib["load"] for lib in result["libraries"]} == {
        "demo/whole.so": "loads",
        "demo/linked.so": "loads",
    }
    assert {lib["layout"]["name"] for lib in result["libraries"]} == {"repack"}
    whole = next(lib for lib in result["libraries"] if lib["member"] == "demo/whole.so")
    assert whole["dropped"]["images"] == 6  # 80, 90a and PTX 75, twice
    assert whole["sizes"]["before"] - whole["sizes"]["after"] > 0.8 * whole["dropped"]["bytes"] > 100_000
    assert result["library_sizes"]["after"] < result["library_sizes"]["before"]
    assert new.stat().st_size == result["sizes"]["after"]
    slimmed = member(new, "demo/whole.so", tmp_path)
    assert held(slimmed) == {"sass 120", "ptx 90"}
    stub = {("ELF", "80"): 1, ("ELF", "90a"): 1}  # the link unit that nvcc adds and nobody registers
    assert count_images(slimmed) == {("ELF", "120"): 3, ("PTX", "90"): 2} | stub
    undo_gives(shim, new, fat_wheel, tmp_path / "back")


def test_relocatable_code_stays(shim: Shim, fat_wheel: Path, tmp_path: Path) -> None:
    result = patch(shim, fat_wheel, tmp_path / "out", "--slim=sass-only")
    linked = member(Path(result["path"]), "demo/linked.so", tmp_path)
    assert held(linked) == {"sass 120"}
    inputs = [c for c in read_path(linked).containers if c.role.value == "prelinked"]
    assert [sorted(f"{i.kind} {i.arch}" for i in c.images) for c in inputs] == [["ptx 80", "sass 120", "sass 80"]] * 2


def test_two_targets_in_one_wheel(shim: Shim, tmp_path: Path, libraries: dict[str, bytes]) -> None:
    wheel = make_wheel(
        tmp_path, {"demo/jit.so": libraries["jit"]}, name="demo", version="1.0", tag="py3-none-linux_x86_64"
    )
    result = patch(shim, wheel, tmp_path / "out", "--target", "12.0", "--target", "12.1", "--slim=sass-only", "--load")
    new = Path(result["path"])
    assert new.name == "demo-1.0-1sm120_sm121-py3-none-linux_x86_64.whl"
    assert held(member(new, "demo/jit.so", tmp_path)) == {"sass 120", "sass 121"}
    for device in ("12.0", "12.1"):
        ran = shim("scan", new, "--target", device, "--platform", "x86_64", "--format", "json")
        assert json.loads(ran.out)["reports"][0]["verdict"]["grade"] == "native"
    undo_gives(shim, new, wheel, tmp_path / "back")


@pytest.mark.parametrize("mode", ["balance", "size"])
def test_recompress(shim: Shim, fat_wheel: Path, tmp_path: Path, mode: str, fat: dict[str, bytes]) -> None:
    result = patch(shim, fat_wheel, tmp_path / "out", "--recompress", f"--compress={mode}", "--load")
    new = Path(result["path"])
    whole = next(lib for lib in result["libraries"] if lib["member"] == "demo/whole.so")
    assert whole["packed"]["images"] == 6  # the cubins; nvcc 13 compresses PTX itself
    assert whole["load"] == "loads"
    packed = member(new, "demo/whole.so", tmp_path)
    (tmp_path / "old.so").write_bytes(fat["whole"])
    assert count_images(packed) == count_images(tmp_path / "old.so")
    assert _stored(read_path(packed)) == 0 < _stored(read_path(tmp_path / "old.so"))
    undo_gives(shim, new, fat_wheel, tmp_path / "back")


def _stored(code: DeviceCode) -> int:
    live = [c for c in code.containers if c.role.value == "whole"]
    return sum(i.compression is Compression.NONE for c in live for i in c.images)


def test_old_driver_gets_stored_images(shim: Shim, tmp_path: Path, fat: dict[str, bytes]) -> None:
    path = tmp_path / "whole.so"
    path.write_bytes(fat["whole"])
    options = ("--target", "8.6", "--slim", "--recompress", "-o", tmp_path / "out", "--format", "json")
    for driver, packed in (("12.3", 0), ("12.4", 2)):
        ran = shim("patch", path, *options, "--driver-cuda", driver, "--force")
        assert ran.code == 0, ran.err
        (result,) = json.loads(ran.out)["libraries"]
        assert (result["dropped"]["images"], result["packed"]["images"]) == (6, packed)
    ran = shim("patch", path, *options[:4], "--dry-run", "--driver-cuda", "12.3")
    assert "new images are stored, old ones stay so: zstd needs a driver of CUDA 12.4" in ran.out


def test_single_file_and_its_undo(shim: Shim, tmp_path: Path, fat: dict[str, bytes]) -> None:
    path = tmp_path / "whole.so"
    path.write_bytes(fat["whole"])
    ran = shim("patch", "--slim", path, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    new = tmp_path / "out" / "whole.so"
    assert f"saved: {_size(path)} -> {_size(new)} (-" in ran.out
    assert new.stat().st_size < path.stat().st_size
    again = shim("patch", "--slim", new, "-o", tmp_path / "again")
    assert "already patched in this way" in again.out
    alone = tmp_path / "alone" / "whole.so"
    alone.parent.mkdir()
    alone.write_bytes(new.read_bytes())  # away from its provenance
    again = shim("patch", "--slim", alone, "-o", tmp_path / "again")
    assert "nothing to do for 12.1: no container lacks machine code that it should have, and none holds" in again.out
    assert shim("undo", new, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / "whole.so").read_bytes() == fat["whole"]


def _size(path: Path) -> str:
    from shim.scan.words import size_text

    return size_text(path.stat().st_size)


def test_other_layouts_on_request(shim: Shim, fat_wheel: Path, tmp_path: Path) -> None:
    for layout in ("append", "move"):
        result = patch(shim, fat_wheel, tmp_path / layout, "--slim", f"--layout={layout}", "--load")
        assert {lib["layout"]["name"] for lib in result["libraries"]} == {layout}
        assert {lib["layout"]["why"] for lib in result["libraries"]} == {"asked for"}
        undo_gives(shim, Path(result["path"]), fat_wheel, tmp_path / layout / "back")


def test_nothing_is_dropped_where_compiling_failed(
    shim: Shim, tmp_path: Path, libraries: dict[str, bytes], fat: dict[str, bytes]
) -> None:
    broken = tmp_path / "ptxas"
    broken.write_text(BROKEN.format(ptxas=tool("ptxas").path))
    broken.chmod(0o755)
    members = {"demo/jit.so": libraries["jit"], "demo/whole.so": fat["whole"]}
    wheel = make_wheel(tmp_path, members, name="demo", version="1.0", tag="py3-none-linux_x86_64")
    out = tmp_path / "out"
    ran = shim("patch", wheel, "-o", out, "--slim", "--ptxas", broken, "--format", "json", "--platform", "x86_64")
    assert ran.code == 1, ran.err
    result = json.loads(ran.out)
    assert [lib["member"] for lib in result["libraries"]] == ["demo/whole.so"]
    assert member(Path(result["path"]), "demo/jit.so", tmp_path).read_bytes() == libraries["jit"]


def test_recompress_needs_a_compression(shim: Shim, fat_wheel: Path) -> None:
    ran = shim("patch", fat_wheel, "--recompress", "--compress", "none")
    assert ran.code == 2
    assert "--recompress with --compress none" in ran.err
