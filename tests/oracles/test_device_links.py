"""Libraries with relocatable code as nvcc makes them, patched, judged by NVIDIA's selector and by a real process."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from shim.applying.ending import Destination
from shim.applying.events import Silent
from shim.applying.files import Settings
from shim.applying.machine_code import Toolbox
from shim.applying.result import Outcome, PatchResult
from shim.applying.single import patch_single
from shim.applying.wheel import WheelOptions, patch_wheel
from shim.arch import ComputeCapability, Target
from shim.devicecode import ContainerRole, read_path
from shim.errors import PlanError
from shim.planning import Wanted
from shim.provenance.document import Request
from tests.builders import kernels
from tests.builders.device_links import FIRST, SECOND, build_links
from tests.builders.wheels import make_wheel
from tests.oracles.nvjitlink import Choice, choose
from tests.oracles.reference_reader import container_at, read_container
from tests.oracles.wrapper_walk import walk

LTO_ONLY = (("compute_80", "sm_80"), ("compute_80", "lto_80"))
BOTH = Wanted(targets=(Target(device=ComputeCapability(12, 0)), Target()))


def patch(path: Path, folder: Path, wanted: Wanted | None = None, *, load: bool = False) -> PatchResult:
    wanted = wanted or Wanted()
    request = Request(wanted=wanted, only="", recipes=None)
    settings = Settings(toolbox=Toolbox(store=None), wanted=wanted)
    return patch_single(path, request, settings, Destination(folder=folder, load=load), Silent())


def registered(path: Path) -> list[bytes]:
    """Containers that host code hands to the runtime."""
    data = path.read_bytes()
    roles = {ContainerRole.LINKED, ContainerRole.WHOLE}
    return [container_at(data, c.offset) for c in read_path(path).containers if c.role in roles and c.images]


def judged(path: Path, arch: str) -> list[Choice]:
    return [choose(container, arch) for container in registered(path)]


@pytest.mark.parametrize("load", [False, True])
def test_two_links_get_their_own_code(tmp_path: Path, load: bool) -> None:
    path = build_links(tmp_path / "two.so", [FIRST, SECOND], adjacent=True)
    assert Choice.SASS not in judged(path, "121a")
    result = patch(path, tmp_path / "out", load=load)
    assert result.outcome is Outcome.PATCHED
    assert result.path is not None
    assert judged(result.path, "121a") == [Choice.SASS] * 2
    assert judged(result.path, "80") == judged(path, "80")
    seen = {wrapper.sha256 for wrapper in walk(result.path).wrappers if wrapper.version == 2}
    assert seen == {hashlib.sha256(container).hexdigest() for container in registered(result.path)}


def test_two_links_for_two_targets(tmp_path: Path) -> None:
    path = build_links(tmp_path / "two.so", [FIRST, SECOND])
    result = patch(path, tmp_path / "out", BOTH)
    assert result.path is not None
    for container in registered(result.path):
        assert [(e.kind, e.arch) for e in read_container(container)][:2] == [("cubin", "120"), ("cubin", "121")]
    assert judged(result.path, "120a") == judged(result.path, "121a") == [Choice.SASS] * 2


@pytest.mark.parametrize(("rdc", "sources"), [(True, FIRST), (False, {"w.cu": SECOND["b2.cu"] + SECOND["b1.cu"]})])
def test_lto_ir_becomes_machine_code(tmp_path: Path, rdc: bool, sources: dict[str, str]) -> None:
    sources = {name: text.replace("extern __device__ float thrice(float);", "") for name, text in sources.items()}
    path = kernels.build_shared(tmp_path, sources, archs=LTO_ONLY, ptx=(), rdc=rdc)
    result = patch(path, tmp_path / "out", BOTH)
    assert result.path is not None
    assert Choice.SASS in judged(result.path, "121a")
    assert Choice.REJECT not in [choose(c, "121a") for c in registered(result.path) if b"apply" in c]
    assert walk(result.path).wrappers


def test_a_link_left_to_the_driver_is_made(tmp_path: Path) -> None:
    """PTX alone: nvcc leaves the linked container empty."""
    path = kernels.build_shared(tmp_path, FIRST, archs=(), ptx=("compute_80",), rdc=True)
    assert registered(path) == []
    result = patch(path, tmp_path / "out")
    assert result.path is not None
    assert judged(result.path, "121a") == [Choice.SASS]


TWICE = """
template <class T> __global__ void both(T* x) { *x += 1; }
extern "C" void %s(int* x) { both<<<1, 1>>>(x); }
"""


def test_a_wheel_whose_names_do_not_tell_needs_load(tmp_path: Path) -> None:
    """Both links have a module with nothing but the same kernel."""
    path = build_links(
        tmp_path / "two.so", [FIRST | {"a3.cu": TWICE % "launch_c"}, SECOND | {"b3.cu": TWICE % "launch_d"}]
    )
    wheel = make_wheel(tmp_path, {"demo/two.so": path.read_bytes()}, tag=f"py3-none-linux_{platform.machine()}")
    settings = Settings(toolbox=Toolbox(store=None), wanted=Wanted())
    request = Request(wanted=Wanted(), only="", recipes=None)

    def run(*, load: bool, only: str = "") -> PatchResult:
        where = Destination(folder=tmp_path / f"{load}{only}", load=load)
        return patch_wheel(wheel, replace(request, only=only), settings, where, WheelOptions(), Silent())

    with pytest.raises(PlanError, match=r"several-linked-containers.*do not tell which of 2 links"):
        run(load=False)
    done = run(load=True)
    assert [(library.images, str(library.after), library.load) for library in done.libraries] == [
        (2, "native", "loads")
    ]
    chosen = run(load=True, only="apply_b")
    assert [library.images for library in chosen.libraries] == [1]
