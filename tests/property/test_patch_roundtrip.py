"""Random images in random containers in random files: what is patched reads back, stays patched, can be undone."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.arch import ComputeCapability, Target
from shim.devicecode import DeviceCode, ImageKind, read_path
from shim.planning.outcome import grade_on
from tests.builders import elf, fatbin, hostfile
from tests.builders.command import CommandLine
from tests.builders.kernels import build_cubin, ptx_text

TARGETS = {name: Target(device=ComputeCapability.parse(name)) for name in ("12.1", "12.0", "9.0")}
LAYOUTS = ("auto", "append", "repack", "move")
_MASK = fatbin.compat((0x0B, (0x50).to_bytes(8, "little")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file to patch. `path` is in a folder of its own."""

    path: Path
    original: bytes


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """With a cache: few different PTX texts are drawn, so that little is compiled."""
    return CommandLine(cache=tmp_path_factory.mktemp("cache"))


@cache
def _ptx(target: str, kernel: str) -> bytes:
    return ptx_text([kernel], target=f"sm_{target}", isa="8.8" if target.startswith("12") else "8.0") + b"\0"


@cache
def cubin(arch: str) -> bytes:
    """Machine code of the same kernel."""
    return build_cubin(ptx_text(["kernel"]), arch=f"sm_{arch}")


@st.composite
def images(draw: Any) -> fatbin.Image:
    """PTX or machine code of some architecture, stored or compressed, with or without a name."""
    kind, arch = draw(
        st.sampled_from(
            [
                *((fatbin.PTX, target) for target in ("80", "90", "120", "90a", "120f")),
                *((fatbin.CUBIN, target) for target in ("80", "90", "120", "121", "121a", "90a")),
            ]
        )
    )
    feature = arch[-1] if arch[-1] in "af" else ""
    blackwell = kind == fatbin.CUBIN and arch.startswith("12")
    payload = _ptx(arch, "kernel") if kind == fatbin.PTX else cubin(arch)
    return fatbin.Image(
        kind=kind,
        arch=int(arch.rstrip("af")),
        feature=feature,
        payload=payload,
        compression=draw(st.sampled_from([0, fatbin.ZSTD, fatbin.LZ4])),
        name=draw(st.sampled_from(["", "a.cu"])),
        options=draw(st.sampled_from(["", "--generate-line-info"])) if kind == fatbin.PTX else "",
        compat=_MASK if blackwell else b"",
    )


containers = st.lists(st.lists(images(), min_size=1, max_size=4), min_size=1, max_size=5)


def undone(shim: CommandLine, patched: Path, folder: Path) -> bytes:
    ran = shim("undo", patched, "-o", folder / "back")
    assert ran.code == 0, ran.err
    return (folder / "back" / patched.name).read_bytes()


def contents(code: DeviceCode, path: Path) -> list[list[tuple[ImageKind, str, bytes]]]:
    """Images of each container in the order of the wrappers: kind, architecture, bytes as stored."""
    data = path.read_bytes()
    return [
        [
            (image.kind, str(image.arch), data[image.payload_offset : image.payload_offset + image.payload_size])
            for image in code.containers[wrapper.container].images
        ]
        for wrapper in sorted(code.wrappers, key=lambda wrapper: wrapper.offset)
    ]


def check(shim: CommandLine, path: Path, folder: Path, target: str, layout: str) -> str:
    """Patch, and hold the result against the original; returns what became of it."""
    original = path.read_bytes()
    before = read_path(path)
    out = folder / "out"
    ran = shim("patch", path, "-o", out, "--target", target, "--layout", layout, "--no-recipes")
    assert path.read_bytes() == original
    patched = out / path.name
    if ran.code == 5:
        assert ran.err.count("error:") == 1
        assert not out.exists() or list(out.iterdir()) == []
        return "refused"
    assert ran.code in (0, 1), ran.err
    if not patched.exists():
        assert "nothing to do" in ran.out
        return "nothing"
    assert sorted(found.name for found in out.iterdir()) == [path.name + end for end in ("", ".shim.json", ".undo")]
    after = read_path(patched)
    assert grade_on(after, TARGETS[target]) >= grade_on(before, TARGETS[target])
    for old, new in zip(contents(before, path), contents(after, patched), strict=True):
        assert new[len(new) - len(old) :] == old, "old images stand last, as they were"
        added = {arch for _, arch, _ in new[: len(new) - len(old)]}
        assert added <= {target.replace(".", ""), target.replace(".", "") + "a"}
    assert undone(shim, patched, folder) == original
    again = shim("patch", patched, "-o", folder / "again", "--target", target, "--layout", layout, "--no-recipes")
    assert (again.code, "already patched" in again.out) == (0, True)
    assert not (folder / "again").exists()
    bare = folder / "bare" / path.name  # without its provenance: nothing that could be patched is left
    bare.parent.mkdir()
    bare.write_bytes(patched.read_bytes())
    third = shim("patch", bare, "-o", folder / "third", "--target", target, "--layout", layout, "--no-recipes")
    assert third.code in ((0,) if ran.code == 0 else (0, 5)), third.err
    assert not (folder / "third" / path.name).exists()
    return "patched"


@settings(max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    inside=containers,
    machine=st.sampled_from(["x86_64", "aarch64"]),
    pointers=st.sampled_from(["rela", "relr", "in-place"]),
    align=st.sampled_from([8, 16, 256]),
    headers=st.booleans(),
    rodata=st.binary(max_size=100),
    target=st.sampled_from(sorted(TARGETS)),
    layout=st.sampled_from(LAYOUTS),
)
def test_files_made_byte_by_byte(
    shim: CommandLine,
    inside: list[list[fatbin.Image]],
    machine: str,
    pointers: str,
    align: int,
    headers: bool,
    rodata: bytes,
    target: str,
    layout: str,
) -> None:
    codes = [hostfile.Code(data=fatbin.container(*entries)) for entries in inside]
    made = hostfile.shared(
        codes, machine=machine, pointers=pointers, align=align, headers=headers, rodata=rodata, soname="libx.so"
    )
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "in" / "lib.so"
        path.parent.mkdir()
        path.write_bytes(made.data)
        check(shim, path, Path(name), target, layout)


@settings(max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    inside=containers,
    linked=st.sampled_from([name for name in elf.LAYOUTS if name != "lld-android"]),
    target=st.sampled_from(sorted(TARGETS)),
    layout=st.sampled_from(LAYOUTS),
)
def test_files_of_real_linkers(
    shim: CommandLine, inside: list[list[fatbin.Image]], linked: str, target: str, layout: str
) -> None:
    parts = [elf.Container(data=fatbin.container(*entries)) for entries in inside]
    with tempfile.TemporaryDirectory() as name:
        path = elf.build(Path(name) / "in", linked, parts)
        check(shim, path, Path(name), target, layout)


def test_each_layout_patches_something(shim: CommandLine, tmp_path: Path) -> None:
    """The properties above would hold if everything were refused."""
    text = fatbin.Image(kind=fatbin.PTX, arch=80, payload=_ptx("80", "kernel"))
    old = fatbin.Image(kind=fatbin.CUBIN, arch=80, payload=cubin("80") + bytes(1 << 16))
    for layout in LAYOUTS:
        for linked in ("gnu-rela", "lld-relr", "aarch64-gnu-like"):
            folder = tmp_path / layout / linked
            path = elf.build(folder / "in", linked, [elf.Container(data=fatbin.container(text, old))])
            outcome = check(shim, path, folder, "12.1", layout)
            assert outcome == ("refused" if layout == "repack" else "patched"), (layout, linked)
