"""Libraries compiled by nvcc, patched by hand with the writer alone, judged by NVIDIA's tools and by a real process."""

from __future__ import annotations

import hashlib
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from elftools.elf.elffile import ELFFile

from shim import _core
from shim.devicecode import Container, ContainerRole, DeviceCode, read_path
from tests.oracles import nvcc
from tests.oracles.cuobjdump import count_images
from tests.oracles.nvidia import program
from tests.oracles.nvjitlink import Choice, choose
from tests.oracles.reference_reader import Entry, container_at, read_container
from tests.oracles.wrapper_walk import walk


def decoded(entry: Entry) -> bytes:
    return zstandard.ZstdDecompressor().decompress(entry.payload) if entry.compression == "zstd" else entry.payload


def compile_ptx(entry: Entry, folder: Path) -> Path:
    """The PTX of an entry as an sm_121 cubin, with the options it was stored with."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "in.ptx").write_bytes(decoded(entry).rstrip(b"\0"))
    options = entry.text.decode().split()
    command = [program("ptxas"), "-arch=sm_121", *options, folder / "in.ptx", "-o", folder / "out.cubin"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return folder / "out.cubin"


def new_entry(cubin: bytes) -> bytes:
    return _core.make_entry(kind=2, arch=121, image=cubin, compressed=zstandard.ZstdCompressor(level=5).compress(cubin))


def rewrite(
    path: Path, out: Path, container: Container, wrappers: list[int], entry: bytes, layout: str = "append"
) -> _core.RewriteResult:
    """`container` again, with `entry` in front."""
    old = container.size - 16
    header = _core.make_container_header(len(entry) + old)
    edit = (container.offset, wrappers, [header, entry, (container.offset + 16, old)])
    return _core.rewrite_containers(path, out, [edit], layout=layout)


def wrappers_of(code: DeviceCode, container: Container) -> list[int]:
    return [wrapper.offset for wrapper in code.wrappers if wrapper.container == container.index]


def in_role(code: DeviceCode, role: ContainerRole) -> list[Container]:
    return [container for container in code.containers if container.role is role]


def kernels(cubin: Path | bytes, folder: Path) -> set[str]:
    """Kernel names, read by pyelftools: functions whose `st_other` has bit 0x10 (docs/formats.md 5.2)."""
    path = cubin if isinstance(cubin, Path) else folder / "named.cubin"
    if isinstance(cubin, bytes):
        path.write_bytes(cubin)
    data = path.read_bytes()
    with ELFFile.load_from_path(str(path)) as file:
        table = file.get_section_by_name(".symtab")
        others = [data[table["sh_offset"] + 24 * i + 5] for i in range(table.num_symbols())]
        return {
            symbol.name
            for symbol, other in zip(table.iter_symbols(), others, strict=True)
            if symbol["st_info"]["type"] == "STT_FUNC" and other & 0x10
        }


@pytest.fixture(scope="module", params=["append", "move"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, bytes, bytes]:
    """(original, patched, container before, container after) of an ordinary library."""
    path, folder = nvcc.library(nvcc.PLAIN), tmp_path_factory.mktemp("plain")
    code = read_path(path)
    (container,) = in_role(code, ContainerRole.WHOLE)
    before = container_at(path.read_bytes(), container.offset)
    (ptx,) = [entry for entry in read_container(before) if entry.kind == "ptx"]
    cubin = compile_ptx(ptx, folder).read_bytes()
    out = folder / "patched.so"
    result = rewrite(path, out, container, wrappers_of(code, container), new_entry(cubin), request.param)
    return path, out, before, container_at(out.read_bytes(), result.containers[0])


def test_the_device_stops_compiling(plain: tuple[Path, Path, bytes, bytes]) -> None:
    _, _, before, after = plain
    assert choose(before, "121a") is Choice.JIT
    assert choose(after, "121a") is Choice.SASS
    assert choose(after, "90") is Choice.JIT
    assert choose(after, "80") is choose(before, "80") is Choice.SASS


def test_a_process_gets_the_new_container(plain: tuple[Path, Path, bytes, bytes]) -> None:
    path, out, before, after = plain
    old, new = walk(path), walk(out)
    assert hashlib.sha256(before).hexdigest() in [wrapper.sha256 for wrapper in old.wrappers]
    assert hashlib.sha256(after).hexdigest() in [wrapper.sha256 for wrapper in new.wrappers]
    assert new.checks == {"shim_exception": True}


def test_other_entries_keep_every_byte_and_the_new_one_has_their_kernels(
    plain: tuple[Path, Path, bytes, bytes], tmp_path: Path
) -> None:
    _, _, before, after = plain
    new, *kept = read_container(after)
    assert [entry.raw for entry in kept] == [entry.raw for entry in read_container(before)]
    assert (new.kind, new.arch, new.compression) == ("cubin", "121", "zstd")
    sibling = next(entry for entry in kept if entry.kind == "cubin")
    names = kernels(decoded(new), tmp_path)
    assert names == kernels(decoded(sibling), tmp_path)
    assert len(names) == 2


def test_cuobjdump_lists_and_extracts_the_new_image(plain: tuple[Path, Path, bytes, bytes], tmp_path: Path) -> None:
    path, out, _, after = plain
    alone = Counter({("ELF", "80"): 1, ("ELF", "121"): 1, ("PTX", "80"): 1})
    # Appended: the section of that name holds the new container only. Moved: all of them.
    assert count_images(out) in (alone, count_images(path) + Counter({("ELF", "121"): 1}))
    command = [program("cuobjdump"), "-xelf", "sm_121", out]
    subprocess.run([str(word) for word in command], cwd=tmp_path, check=True, capture_output=True)
    (extracted,) = tmp_path.glob("*.cubin")
    assert extracted.read_bytes() == decoded(read_container(after)[0])


def test_device_linked_library(tmp_path: Path) -> None:
    """-rdc: every pre-linked PTX compiled, the cubins linked, the result in the version-2 container."""
    path = nvcc.library(nvcc.CALLEE, nvcc.CALLER, relocatable=True)
    data, code = path.read_bytes(), read_path(path)
    cubins = []
    for container in in_role(code, ContainerRole.PRELINKED):
        for entry in read_container(container_at(data, container.offset)):
            if entry.kind == "ptx":
                assert b"--compile-only" in entry.text
                cubins.append(compile_ptx(entry, tmp_path / str(len(cubins))))
    assert len(cubins) == 2
    linked = tmp_path / "linked.cubin"
    command = [program("nvlink"), "-arch=sm_121", "-o", linked, *cubins]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)

    (container,) = in_role(code, ContainerRole.LINKED)
    out = tmp_path / "out.so"
    result = rewrite(path, out, container, wrappers_of(code, container), new_entry(linked.read_bytes()))
    after = container_at(out.read_bytes(), result.containers[0])
    assert choose(container_at(data, container.offset), "121a") is Choice.REJECT
    assert choose(after, "121a") is Choice.SASS

    before_load, after_load = walk(path), walk(out)
    assert hashlib.sha256(after).hexdigest() == after_load.wrappers[0].sha256
    assert after_load.wrappers[1:] == before_load.wrappers[1:]
    assert [wrapper.version for wrapper in after_load.wrappers] == [2, 1, 1]
    assert kernels(linked, tmp_path) == kernels(decoded(read_container(after)[1]), tmp_path)
