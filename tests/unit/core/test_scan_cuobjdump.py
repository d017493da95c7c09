"""Counts of images per kind and architecture against NVIDIA's cuobjdump: on nvcc's files, and on published libraries.

Its two known habits (docs/formats.md, "what the reader was checked against"): `-lelf` names family cubins without their
f, and it stops with "Invalid ELF" at files that CUDA 12.1 device-linked.
"""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from shim.devicecode import ImageKind, StreamReader, decode, kernels_in, read_cubin, read_path
from shim.scan.fetch import fetch, parse_requirement
from tests.builders import samples
from tests.builders.reading import images_of, payload
from tests.oracles.cuobjdump import count_images
from tests.oracles.nvidia import program
from tests.unit.core.test_scan_samples import kernel_symbols

NV_SECTIONS = (".nv_fatbin", "__nv_relfatbin")
WORDS = {ImageKind.SASS: "ELF", ImageKind.PTX: "PTX"}


def counted(path: Path) -> Counter[tuple[str, str]]:
    """As cuobjdump counts: SASS and PTX of the nv sections, family cubins without their f."""
    found: Counter[tuple[str, str]] = Counter()
    for container in read_path(path).containers:
        if container.section in NV_SECTIONS:
            for image in container.images:
                arch = str(image.arch)
                found[WORDS[image.kind], arch.removesuffix("f") if image.kind is ImageKind.SASS else arch] += 1
    return found


@pytest.mark.parametrize(
    "name", [n for n in samples.NAMES if n.endswith((".so", ".o", ".a")) or n.startswith("program")]
)
def test_files_of_nvcc(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(samples.sample(name))
    theirs = count_images(path)
    assert sum(theirs.values()) >= 5
    assert counted(path) == theirs


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Downloads, kept for the session (or in SHIM_TEST_CACHE from run to run)."""
    kept = os.environ.get("SHIM_TEST_CACHE")
    return Path(kept) / "real" if kept else tmp_path_factory.mktemp("cache")


def libraries(cache: Path, requirement: str, machine: str, folder: Path) -> dict[str, Path]:
    """The shared objects of a published wheel."""
    cache.mkdir(parents=True, exist_ok=True)
    wheel = fetch(parse_requirement(requirement), machine=machine, python="3.12", root=cache).path
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if ".so" in Path(n).name]
        return {Path(n).name: Path(archive.extract(n, folder)) for n in names}


# requirement, machine -> (library, images that cuobjdump lists)
PUBLISHED = {
    ("bitsandbytes==0.50.2", "aarch64"): {
        "libbitsandbytes_cuda118.so": 27,
        "libbitsandbytes_cuda124.so": 27,
        "libbitsandbytes_cuda126.so": 27,
        "libbitsandbytes_cuda128.so": 41,
        "libbitsandbytes_cuda130.so": 55,
        "libbitsandbytes_cuda132.so": 55,
    },
    ("xformers==0.0.35", "x86_64"): {"_C.so": 44},
    ("ctranslate2==4.8.5", "x86_64"): {"libctranslate2-a7a60d30.so.4.8.5": 272},
}


@pytest.mark.real
@pytest.mark.parametrize(("requirement", "machine"), PUBLISHED)
def test_published_libraries(requirement: str, machine: str, cache: Path, tmp_path: Path) -> None:
    found = libraries(cache, requirement, machine, tmp_path)
    for name, images in PUBLISHED[requirement, machine].items():
        theirs = count_images(found[name])
        assert counted(found[name]) == theirs, name
        assert sum(theirs.values()) == images


@pytest.mark.real
def test_file_that_cuobjdump_gives_up_on(cache: Path, tmp_path: Path) -> None:
    """Habit 2. The reader takes the file, and finds in it what the build for CUDA 12.4 has too."""
    found = libraries(cache, "bitsandbytes==0.50.2", "aarch64", tmp_path)
    command = [program("cuobjdump"), "-all", "-lelf", found["libbitsandbytes_cuda121.so"]]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Invalid ELF" in run.stdout + run.stderr
    assert counted(found["libbitsandbytes_cuda121.so"]) == counted(found["libbitsandbytes_cuda124.so"])


@pytest.mark.real
@pytest.mark.parametrize(("requirement", "machine"), PUBLISHED)
def test_published_images(requirement: str, machine: str, cache: Path, tmp_path: Path) -> None:
    """Every image decodes, says of itself what its entry says of it, and has the kernels that pyelftools sees."""
    abis = set()
    for name in PUBLISHED[requirement, machine]:
        path = libraries(cache, requirement, machine, tmp_path)[name]
        data = path.read_bytes()
        for image in images_of(read_path(path)):
            plain = decode(image, payload(data, image))
            kernels = kernels_in(image.kind, plain)
            if image.kind is ImageKind.SASS:
                info = read_cubin(plain)
                abis.add(info.abi)
                assert (info.sm, info.feature) == (image.arch.capability.sm, image.arch.feature.replace("f", ""))
                assert image.version == (1, info.abi)
                assert image.compat in (b"", info.compat)
                assert {(k.name, k.size) for k in kernels} == kernel_symbols(plain)
            else:
                assert image.kind is ImageKind.PTX
                assert all(k.instructions > 0 for k in kernels)
                declared = set(re.findall(rb"\.entry\s+([\w$]+)", plain))
                assert {k.name.encode() for k in kernels} == declared
    assert abis <= {7, 8}
    assert 7 in abis or requirement.startswith("ctranslate2")


@pytest.mark.real
@pytest.mark.parametrize(("requirement", "machine"), PUBLISHED)
def test_published_libraries_as_streams(requirement: str, machine: str, cache: Path, tmp_path: Path) -> None:
    """Out of the zip, in pieces, with ranges fetched again: what the mapping of the unpacked file gives."""
    for path in libraries(cache, requirement, machine, tmp_path).values():
        mapped = read_path(path)
        with path.open("rb") as file:
            reader = StreamReader(str(path), path.stat().st_size)
            while piece := file.read(999_983):
                reader.feed(piece)

            def look(ranges, file=file):
                for offset, size in ranges:
                    file.seek(offset)
                    yield file.read(size)

            streamed = reader.finish(look)
        assert (streamed.groups, streamed.wrappers) == (mapped.groups, mapped.wrappers)
        assert tuple(streamed.containers) == tuple(mapped.containers)
        assert (streamed.needed, streamed.soname, streamed.glibc) == (mapped.needed, mapped.soname, mapped.glibc)
        assert (streamed.loose, streamed.unknown, mapped.unknown) == (mapped.loose, (), ())
