"""Which relocatable containers went into which device link."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from shim.applying.mapping import Names, assign, by_loading, by_names, map_links
from shim.devicecode import ContainerRole, DeviceCode, ImageKind, read_path
from tests.builders.device_links import FIRST, SECOND, build_links

UNUSED = "__device__ __noinline__ float unused(float x) { return 7 * x; }\n"


def names(kernels: str = "", variables: str = "", functions: str = "") -> Names:
    return Names(
        kernels=frozenset(kernels.split()),
        variables=frozenset(variables.split()),
        functions=frozenset(functions.split()),
    )


def told(links: dict[int, Names], *modules: Names) -> dict[int, tuple[int, ...]] | str:
    found = assign(links, {link: dict(enumerate(modules)) for link in links})
    return dict(found.modules) or found.why


def test_kernels_variables_and_called_functions_decide() -> None:
    links = {10: names("k1 common", "v1", "f1 f"), 11: names("k2 common", "v2 v3")}
    modules = (
        names("k1 common"),
        names("", "v1"),
        names("", "", "f1 never"),
        names("k2 common", "v2"),
        names("", "v3"),
    )
    assert told(links, *modules) == {10: (0, 1, 2), 11: (3, 4)}


def test_kernels_that_no_host_code_launches_may_be_gone() -> None:
    assert told({10: names("k"), 11: names("l")}, names("k never"), names("l"), names("never")) == {10: (0,), 11: (1,)}


def test_modules_that_nobody_calls_are_in_no_link() -> None:
    assert told({10: names("k"), 11: names("l")}, names("k"), names("l"), names("", "", "f"), names()) == {
        10: (0,),
        11: (1,),
    }


@pytest.mark.parametrize(
    ("links", "modules", "why"),
    [
        (
            {10: names("k e"), 11: names("l e")},
            (names("k"), names("l"), names("e")),
            "container 2 do not tell",
        ),
        ({10: names("k e"), 11: names("l e")}, (names("k"), names("l"), names("e g")), "container 2 do not tell"),
        ({10: names("k m"), 11: names("l")}, (names("k"), names("l")), "gives kernel m of linked container 10"),
        (
            {10: names("k", "", "f"), 11: names("l")},
            (names("k"), names("l"), names("", "", "f"), names("", "", "f")),
            "function f can come from relocatable containers 2 and 3",
        ),
    ],
)
def test_what_fits_twice_or_nowhere_proves_nothing(
    links: dict[int, Names], modules: tuple[Names, ...], why: str
) -> None:
    found = told(links, *modules)
    assert isinstance(found, str)
    assert why in found


def roles(code: DeviceCode, role: ContainerRole) -> tuple[int, ...]:
    return tuple(container.index for container in code.containers if container.role is role)


@pytest.fixture(scope="module", params=[False, True], ids=["each after its own", "at the end"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[DeviceCode, Path]:
    path = build_links(tmp_path_factory.mktemp("two") / "lib.so", [FIRST, SECOND], adjacent=request.param)
    return read_path(path), path


def test_both_proofs_agree_on_a_stripped_library(two: tuple[DeviceCode, Path]) -> None:
    code, path = two
    (first, second), modules = roles(code, ContainerRole.LINKED), roles(code, ContainerRole.PRELINKED)
    expected = {first: modules[:2], second: modules[2:]}
    assert by_names(code, path).modules == expected
    assert by_loading(code, path).modules == expected
    assert map_links(code, path, load=False).why.startswith("names prove")


def test_what_nobody_calls_is_seen_by_loading_alone(tmp_path: Path) -> None:
    path = build_links(tmp_path / "lib.so", [FIRST, SECOND | {"b3.cu": UNUSED}])
    code = read_path(path)
    assert [len(modules) for modules in by_loading(code, path).modules.values()] == [2, 3]
    assert [len(modules) for modules in by_names(code, path).modules.values()] == [2, 2]


def test_modules_without_machine_code_have_no_names(tmp_path: Path) -> None:
    path = build_links(tmp_path / "lib.so", [FIRST, SECOND])
    code = read_path(path)
    first = code.containers[0]
    opaque = replace(first, images=tuple(image for image in first.images if image.kind is ImageKind.PTX))
    changed = replace(code, containers=(opaque, *code.containers[1:]))
    found = map_links(changed, path, load=False)
    assert found.modules == {}
    assert found.why == "relocatable container 0 has no machine code to read names from"
    assert len(map_links(changed, path, load=True).modules) == 2


def test_a_library_of_another_machine_is_not_loaded(two: tuple[DeviceCode, Path]) -> None:
    code, path = two
    found = by_loading(replace(code, machine="aarch64" if code.machine == "x86_64" else "x86_64"), path)
    assert found.modules == {}
    assert "it cannot be loaded here, being for" in found.why


def test_damaged_machine_code_proves_nothing(two: tuple[DeviceCode, Path], tmp_path: Path) -> None:
    code, path = two
    data = bytearray(path.read_bytes())
    for container in code.containers:
        for image in container.images:
            data[image.payload_offset : image.payload_offset + 64] = bytes(64)
    broken = tmp_path / "lib.so"
    broken.write_bytes(data)
    found = map_links(code, broken, load=False)
    assert found.modules == {}
    assert found.why.startswith("names do not tell")


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ("abort();", "ended with signal SIGABRT"),
        ("_exit(0);", "left no list"),
        ('puts("[[1],[2]]"); fflush(0); _exit(0);', "left no list"),
        ("", "is not loaded"),
    ],
)
def test_a_library_that_fights_back(two: tuple[DeviceCode, Path], tmp_path: Path, start: str, why: str) -> None:
    code, _ = two
    source, path = tmp_path / "x.c", tmp_path / "lib.so"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        f"__attribute__((constructor)) void f(void) {{ {start} }}\n"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", path, source], check=True)
    found = by_loading(code, path)
    assert found.modules == {}
    assert why in found.why


def test_a_file_that_does_not_load_is_said_so(two: tuple[DeviceCode, Path], tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(b"\x7fELF" + bytes(100))
    assert by_loading(two[0], path).why.startswith("loading it failed: lib.so: ")
