"""Restamping and the driver's limit on published files, and every release of ptxas asked what restamping rests on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from oracles.nvjitlink import Choice, choose

from shim import _core
from shim.applying.generation import Generations
from shim.applying.restamp import restamp
from shim.devicecode import ImageKind, decode, read_path
from shim.toolchain import Survey, ToolStore, ptxas_of_release

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Downloads, compilers and compiled code, kept for the session (or in SHIM_TEST_CACHE from run to run)."""
    kept = os.environ.get("SHIM_TEST_CACHE")
    return Path(kept) / "real" if kept else tmp_path_factory.mktemp("cache")


def shim(cache: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "shim", *map(str, arguments), "--format", "json"],
        capture_output=True,
        text=True,
        env={**os.environ, "SHIM_CACHE_DIR": str(cache)},
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def fetched(name: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    platforms = [f"--platform={tag}" for tag in ("manylinux2014_aarch64", "manylinux_2_28_aarch64")]
    subprocess.run([*command, "--python-version=3.12", *platforms, "-d", folder, name], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def member(wheel: Path, pattern: str, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if pattern in name)
        return Path(archive.extract(name, folder))


@pytest.mark.parametrize("release", [(12, 9), *((13, minor) for minor in range(6))])
def test_every_release_confirms(release: tuple[int, int], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every pinned release: what it makes of the samples for 12.0a, restamped, is what it makes for 12.1a."""
    store = ToolStore(cache / "tools")
    tool = ptxas_of_release(release, found=Survey(tools=(), broken=()), store=store)
    assert tool.version[:2] == release
    assert Generations(None, tool.path).confirm(release).exact


def test_infllm_of_sglang_kernel(cache: Path, tmp_path: Path) -> None:
    """Machine code of 12.0a and no PTX: dead on a 12.1 until it is restamped."""
    wheel = fetched("sglang-kernel==0.4.10", tmp_path / "in")
    before = shim(cache, "scan", wheel)["reports"][0]
    assert before["verdict"]["grade"] == "none"
    result = shim(cache, "patch", wheel, "-o", tmp_path / "out", "--experimental-restamp")
    (library,) = result["libraries"]
    assert "infllm_ops" in library["member"]
    assert (library["before"], library["after"], library["images"], library["kernels"]) == ("none", "native", 4, 164)
    assert "ptxas 13.0." in library["remarks"][0]
    new = Path(result["path"])
    assert shim(cache, "scan", new)["reports"][0]["verdict"]["grade"] == "native"
    subprocess.run([sys.executable, "-m", "shim", "verify", new], check=True)
    path = member(new, "infllm_ops", tmp_path / "lib")
    code, data = read_path(path), path.read_bytes()
    live = {wrapper.target for wrapper in code.wrappers if code.containers[wrapper.container].images}
    chosen = {choose(data[c.offset : c.offset + c.size], "121a") for c in code.containers if c.offset in live}
    assert chosen == {Choice.SASS}
    subprocess.run([sys.executable, "-m", "shim", "undo", new, "-o", tmp_path / "back"], check=True)
    assert (tmp_path / "back" / wheel.name).read_bytes() == wheel.read_bytes()


def test_restamped_code_equals_what_the_same_wheel_ships_for_12_1a(tmp_path: Path) -> None:
    """sglang-kernel 0.4.10 holds both: 12 of 35 containers of its common_ops are, restamped, the shipped bytes.

    In the others nvcc's front end wrote other PTX for compute_121a than for compute_120a (docs/patching.md 1.2).
    """
    wheel = fetched("sglang-kernel==0.4.10", tmp_path / "in")
    path = member(wheel, "sm100/common_ops", tmp_path)
    data = path.read_bytes()
    equal = different = 0
    for container in read_path(path).containers:
        images = {str(image.arch): image for image in container.images if image.kind is ImageKind.SASS}
        plain = [
            decode(image, data[image.payload_offset : image.payload_offset + image.payload_size])
            for image in (images["120a"], images["121a"])
        ]
        same = restamp(plain[0]).image == plain[1]
        equal, different = equal + same, different + (not same)
    assert (equal, different) == (12, 23)


def test_ptx_newer_than_the_driver_gets_machine_code(cache: Path, tmp_path: Path) -> None:
    """torchvision 0.29.2 has PTX of ISA 9.2, beside machine code. Without that, a driver of CUDA 13.0 has nothing."""
    whole = member(fetched("torchvision==0.29.2", tmp_path / "in"), "_C_stable.so", tmp_path / "old")
    data = bytearray(whole.read_bytes())
    texts = 0
    for container in read_path(whole).containers:
        kept = [image for image in container.images if image.kind is ImageKind.PTX]
        entries = [bytes(data[image.offset : image.offset + image.stored_size]) for image in kept]
        if entries:
            texts += 1
            data[container.offset : container.offset + container.size] = _core.make_container(entries).ljust(
                container.size, b"\0"
            )
    bare = tmp_path / "libbare.so"
    bare.write_bytes(data)
    assert texts == 7
    result = shim(cache, "patch", bare, "-o", tmp_path / "out", "--driver-cuda", "13.0", code=0)
    (library,) = result["libraries"]
    assert (library["before"], library["after"], library["images"]) == ("jit-too-new", "native", 7)
    (tool,) = result["work"]["tools"]  # 13.2, unless this machine has a newer one only
    assert (13, 2) <= tuple(map(int, tool.removeprefix("ptxas ").split(".")[:2])) <= (13, 99)
    assert "for a driver of CUDA 13.0" in library["remarks"][0]
    assert "unproven" in library["remarks"][0]
    current = shim(cache, "patch", bare, "-o", tmp_path / "new", "--driver-cuda", "13.5")
    assert current["libraries"][0]["remarks"] == []  # the driver is as new as the compiler
    old = shim(cache, "patch", bare, "-o", tmp_path / "none", "--driver-cuda", "12.9", "--dry-run")
    assert {refusal["code"] for refusal in old["refusals"]} == {"driver-too-old"}
