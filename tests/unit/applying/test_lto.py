"""LTO-IR to machine code with nvJitLink in a child process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shim.applying.failure import CompileFailure, FailureKind
from shim.applying.images import ImageFile
from shim.applying.linking import checked, object_of
from shim.applying.lto import LtoEntry, LtoUnit, link_with_lto
from shim.applying.units import LinkedUnit
from shim.devicecode import ContainerRole, DeviceCode, ImageKind, read_cubin, read_path
from shim.errors import ToolError
from shim.planning import Wanted, plan_library
from shim.store import ContentStore
from shim.toolchain import Surroundings, Tool, ToolStore, library_pins, nvjitlinks
from shim.toolchain.nvjitlink import ask_library
from tests.builders import kernels
from tests.builders.device_links import FIRST
from tests.oracles.nvidia import library

LTO_ONLY = (("compute_80", "sm_80"), ("compute_80", "lto_80"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[DeviceCode, Path]:
    """Relocatable code with machine code of 8.0 and LTO-IR, and no PTX."""
    path = kernels.build_shared(tmp_path_factory.mktemp("lto"), FIRST, archs=LTO_ONLY, ptx=(), rdc=True)
    return read_path(path), path


@pytest.fixture(scope="module")
def entries(built: tuple[DeviceCode, Path]) -> list[LtoEntry]:
    code, path = built
    with ImageFile(path, path.name) as file:
        images = [i for c in code.containers for i in c.images if i.kind is ImageKind.LTO_IR]
        return [entry for i in images if isinstance(entry := object_of(file, i), LtoEntry)]


@pytest.fixture(scope="module")
def tool() -> Tool:
    return ask_library(library("libnvJitLink.so"), name="nvJitLink", origin="test")


def unit(inputs: list[LtoEntry | bytes], target: str = "sm_121") -> LtoUnit:
    return LtoUnit(key="k", inputs=inputs, target=target, label="lib.so")


def link(
    inputs: list[LtoEntry | bytes], *tools: Tool, store: ContentStore | None = None
) -> LinkedUnit | CompileFailure:
    return link_with_lto(unit(inputs), iter(tools), store=store, seconds=120)


def fake(folder: Path, body: str, *, minor: int = 0) -> Tool:
    """A library with nvJitLink's functions that a link calls first."""
    folder.mkdir(parents=True)
    source, path = folder / "fake.c", folder / "libnvJitLink.so.13"
    source.write_text(
        "#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
        f"int nvJitLinkVersion(unsigned* a, unsigned* b) {{ *a = 13; *b = {minor}; return 0; }}\n"
        f"int __nvJitLinkCreate_13_{minor}(void** h, unsigned n, const char** o) {{ {body} }}\n"
        f"int __nvJitLinkAddData_13_{minor}() {{ return 3; }}\n"
        f"int __nvJitLinkGetErrorLogSize_13_{minor}(void* h, size_t* n) {{ *n = 80; return 0; }}\n"
        f"int __nvJitLinkGetErrorLog_13_{minor}(void* h, char* t)"
        ' { strcpy(t, "may need newer version of nvJitLink library"); return 0; }\n'
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", path, source], check=True)
    return ask_library(path, name="nvJitLink", origin="test")


def test_the_linked_cubin_holds_kernels_and_variables(entries: list[LtoEntry], tool: Tool, store: ContentStore) -> None:
    got = link([*entries], tool, store=store)
    assert isinstance(got, LinkedUnit)
    cubin = read_cubin(got.cubin)
    assert (cubin.sm, cubin.linked, [kernel.name for kernel in cubin.kernels]) == (121, True, ["_Z7apply_aPf"])
    assert ("seen_a", 4) in cubin.objects
    again = link([*entries], tool, store=store)
    assert isinstance(again, LinkedUnit)
    assert (again.cached, again.cubin) == (True, got.cubin)


def test_equal_input_gives_equal_bytes(entries: list[LtoEntry], tool: Tool) -> None:
    first, second = link([*entries], tool), link([*entries], tool)
    assert isinstance(first, LinkedUnit)
    assert isinstance(second, LinkedUnit)
    assert first.cubin == second.cubin


def test_modules_from_ptx_join_in(entries: list[LtoEntry], tool: Tool) -> None:
    callee = kernels.build_ptx(FIRST["a2.cu"], options=["-rdc=true"])
    if tool.version[:2] < kernels.tool("ptxas").version[:2]:
        pytest.fail("the test needs an nvJitLink not older than ptxas")
    got = link([entries[0], kernels.build_cubin(callee, options=["-c"])], tool)
    assert isinstance(got, LinkedUnit)
    assert [kernel.name for kernel in read_cubin(got.cubin).kernels] == ["_Z7apply_aPf"]


def test_a_limit_of_registers_is_replayed(tmp_path: Path, tool: Tool) -> None:
    body = "".join(f"v[{n}] = x[{n} * 32 + threadIdx.x];" for n in range(40))
    total = " + ".join(f"v[{n}] * v[{39 - n}] * v[{(7 * n) % 40}]" for n in range(40))
    source = f"__global__ void many(float* x) {{ float v[40]; {body} __syncthreads(); x[0] = {total}; }}"
    codes = {}
    for words in ((), ("-maxrregcount=24",)):
        folder = tmp_path / str(len(words))
        folder.mkdir()
        path = kernels.build_shared(folder, {"m.cu": source}, archs=LTO_ONLY, ptx=(), extra=words)
        code = read_path(path)
        with ImageFile(path, path.name) as file:
            (image,) = (i for c in code.containers for i in c.images if i.kind is ImageKind.LTO_IR)
            entry = object_of(file, image)
        assert isinstance(entry, LtoEntry)
        got = link([entry], tool)
        without = link([LtoEntry(raw=entry.raw)], tool)
        assert isinstance(got, LinkedUnit)
        assert isinstance(without, LinkedUnit)
        codes[words] = got.cubin == without.cubin
    assert codes == {(): True, ("-maxrregcount=24",): False}


@pytest.mark.parametrize("at", [0, 8, 80, 400])
def test_a_damaged_entry_is_one_failure(entries: list[LtoEntry], tool: Tool, at: int) -> None:
    raw = entries[0].raw
    broken = LtoEntry(raw=raw[:at] + bytes(64) + raw[at + 64 :])
    got = link([broken, entries[1]], tool)
    assert isinstance(got, CompileFailure)
    assert got.text
    assert got.label == "lib.so"


def test_a_missing_module_is_said_so(entries: list[LtoEntry], tool: Tool) -> None:
    got = link([entries[0]], tool)
    assert isinstance(got, CompileFailure)
    assert "twice" in got.text


def test_what_is_no_object_is_not_passed_on(entries: list[LtoEntry], tool: Tool) -> None:
    got = link([entries[0], b"garbage"], tool)
    assert isinstance(got, CompileFailure)
    assert got.text == "object 1 of 2 is no cubin"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("abort();", FailureKind.CRASH, "nvJitLink ended with signal SIGABRT"),
        ("_exit(0);", FailureKind.NO_OUTPUT, "nvJitLink ended well but gave 0 bytes"),
        ("return 1;", FailureKind.INVALID_INPUT, "takes not these options (unrecognized option)"),
        ("*h = 0; return 0;", FailureKind.LTO_TOO_NEW, "may need newer version"),
    ],
)
def test_a_library_that_misbehaves(
    entries: list[LtoEntry], tmp_path: Path, store: ContentStore, body: str, kind: FailureKind, words: str
) -> None:
    got = link([*entries], fake(tmp_path / "fake", body), store=store)
    assert isinstance(got, CompileFailure)
    assert got.kind is kind
    assert words in got.text
    assert list(store.entries()) == []


def test_the_next_release_is_asked_when_one_is_too_old(entries: list[LtoEntry], tool: Tool, tmp_path: Path) -> None:
    old = fake(tmp_path / "fake", "*h = 0; return 0;")
    got = link([*entries], old, tool)
    assert isinstance(got, LinkedUnit)
    assert got.tool is tool


def test_no_more_releases_are_looked_for_after_a_crash(entries: list[LtoEntry], tmp_path: Path) -> None:
    def tools() -> Iterator[Tool]:
        yield fake(tmp_path / "fake", "abort();")
        pytest.fail("asked for another")

    got = link_with_lto(unit([*entries]), tools(), store=None, seconds=120)
    assert isinstance(got, CompileFailure)


def test_a_file_that_is_no_nvjitlink(tmp_path: Path) -> None:
    path = tmp_path / "libnvJitLink.so.13"
    path.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(ToolError, match="is no working nvJitLink"):
        ask_library(path, name="nvJitLink", origin="test")


def test_a_result_without_the_kernels_of_the_code_beside_it(built: tuple[DeviceCode, Path], tool: Tool) -> None:
    code, path = built
    (step,) = plan_library(code, Wanted()).steps
    container = code.containers[step.container]
    assert container.role is ContainerRole.LINKED
    other = kernels.build_cubin(kernels.ptx_text(("other",)))
    linked = LinkedUnit(key="k", cubin=other, sha256="", seconds=0.0, cached=False, tool=tool)
    with ImageFile(path, path.name) as file:
        got = checked(linked, step.makes[0], container, file)
    assert isinstance(got, CompileFailure)
    assert got.kind is FailureKind.INCOMPLETE
    assert "lacks kernels that sm_80 has: _Z7apply_aPf" in got.text


def test_candidates_are_those_of_the_drivers_major(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = [tmp_path / name for name in ("new", "old")]
    for number, home in enumerate(homes):
        fake(home / "lib64", "return 1;", minor=5 * (1 - number))
    around = Surroundings(
        environ={"CUDA_HOME": str(homes[0]), "CUDA_PATH": str(homes[1])},
        import_path=(),
        prefix=tmp_path,
        standard=tmp_path / "none",
    )
    store = ToolStore(tmp_path / "store", pins=())
    found = [tool.version[:2] for tool in nvjitlinks((13, 0), store=store, around=around)]
    assert found == [(13, 0), (13, 5)]
    assert [tool.origin for tool in nvjitlinks((13, 2), store=store, around=around)] == ["CUDA_HOME"]
    monkeypatch.setenv("SHIM_OFFLINE", "1")
    with pytest.raises(ToolError, match="no nvJitLink of CUDA 14"):
        list(nvjitlinks((13, 0), store=store, around=around, driver_major=14))
    with pytest.raises(ToolError, match="SHIM_OFFLINE forbids fetching"):
        list(nvjitlinks((13, 0), around=replace(around, environ={}), store=ToolStore(tmp_path, pins=library_pins())))
