"""Old entries that are compressed have NVIDIA's bytes; what cannot be compressed safely stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import fatbin
from builders.cubin import cubin as small_cubin
from builders.kernels import build_cubin, build_ptx
from oracles import nvfatbin

from shim.applying.images import ImageFile
from shim.applying.pack import PackedEntry, new_entry, pack_entries, pack_entry, plain_size
from shim.devicecode import GpuImage, ImageKind, decode, read_path

MODES = {5: nvfatbin.ZSTD_5, 19: nvfatbin.ZSTD_19}
SOURCE = "__global__ void k(float* a, int n) { for (int i = 0; i < n; i++) a[i] = a[i] * 2 + sinf(a[i]); }\n"


def packed(path: Path, level: int | None = 5) -> tuple[list[GpuImage], dict[int, PackedEntry]]:
    images = read_path(path).containers[0].images
    with ImageFile(path, "a.fatbin") as file:
        return list(images), pack_entries(dict(enumerate(images)), file, level)


@pytest.mark.parametrize("level", MODES)
@pytest.mark.parametrize("arch", ["80", "90a", "120", "120f", "121a"])
def test_packed_entries_equal_libnvfatbin(arch: str, level: int, tmp_path: Path) -> None:
    text = build_ptx(SOURCE, arch=f"compute_{arch}")
    cubin = build_cubin(text, arch=f"sm_{arch}")

    def container(options: tuple[str, ...]) -> bytes:
        writer = nvfatbin.FatbinWriter(options).add_cubin(cubin, arch, "a file.cu")
        return writer.add_ptx(text + b"\0", arch, "a file.cu", "-maxrregcount=40").finish()

    path = tmp_path / "a.fatbin"
    path.write_bytes(container(nvfatbin.UNCOMPRESSED))
    _, done = packed(path, level)
    assert sorted(done) == [0, 1]
    assert b"".join(done[at].data for at in (0, 1)) == container(MODES[level])[16:]


def test_fields_that_nobody_knows_stay(tmp_path: Path) -> None:
    """Options, name and the copy of .nv.compat are in the header; so is a word of unknown meaning."""
    compat = fatbin.compat((2, 1), (0x0B, (0x50).to_bytes(8, "little")))
    path = tmp_path / "a.fatbin"
    code = small_cubin(120, compat=compat)
    entry = fatbin.Image(kind=fatbin.CUBIN, arch=120, payload=code, name="x.cu", compat=compat).encode()
    entry = fatbin.poke(entry, fatbin.ENTRY_FIELDS["word30"][0], "<Q", 0x1234)
    path.write_bytes(fatbin.container(entry))
    (before,), done = packed(path)
    path.write_bytes(fatbin.container(done[0].data))
    (after,), again = packed(path)
    for field in ("kind", "arch", "name", "options", "compat", "version", "header_size"):
        assert getattr(after, field) == getattr(before, field)
    assert after.flags == before.flags | fatbin.ZSTD
    assert done[0].data[0x30:0x38] == entry[0x30:0x38]
    assert decode(after, done[0].data[after.header_size :]) == code
    assert again == {}  # compressed already: not a second time


def test_bytes_after_the_end_of_a_cubin_are_not_lost(tmp_path: Path) -> None:
    entry = fatbin.Image(kind=fatbin.CUBIN, arch=80, payload=small_cubin(80, abi=7) + bytes(4096)).encode()
    path = tmp_path / "a.fatbin"
    path.write_bytes(fatbin.container(entry))
    assert packed(path)[1] == {}


def test_text_that_ends_without_nul_is_left_alone() -> None:
    assert plain_size(ImageKind.PTX, b"abcdefg\0" * 4) == 32
    assert plain_size(ImageKind.PTX, b"abcdefgh" * 4) is None
    assert plain_size(ImageKind.PTX, b"abcdefgh" + b"\0" * 8) is None  # two NULs or more: which are padding?
    assert plain_size(ImageKind.PTX, b"") is None


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", b"\x7fELF" + b"\xff" * 60, b"\x7fELF" + bytes(60)])
def test_damaged_machine_code_is_left_alone(damage: bytes) -> None:
    assert plain_size(ImageKind.SASS, damage + bytes(4096)) is None


def test_what_does_not_shrink_stays_stored(tmp_path: Path) -> None:
    entry = fatbin.Image(kind=fatbin.PTX, arch=80, payload=b".version 8.0\n\0").encode()
    path = tmp_path / "a.fatbin"
    path.write_bytes(fatbin.container(entry))
    (image,), done = packed(path)
    assert done == {}
    assert pack_entry(image, entry, 19) is None
    assert packed(path, None)[1] == {}


@pytest.mark.parametrize(("level", "compressed"), [(None, False), (5, True), (19, True)])
def test_new_entries(level: int | None, compressed: bool, tmp_path: Path) -> None:
    code = small_cubin(121)
    path = tmp_path / "a.fatbin"
    entry = new_entry(code, "sm_121", level)
    path.write_bytes(fatbin.container(entry))
    (image,) = read_path(path).containers[0].images
    assert bool(image.compressed_size) == compressed
    assert decode(image, entry[image.header_size :]) == code
