"""Random images in random containers: slimming takes nothing that a target needs, and can be taken back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from builders import fatbin, hostfile
from builders.cubin import Symbol
from builders.cubin import cubin as small_cubin
from builders.planned import carried_out, image, library, names
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shim.applying.inject import NewImage, PatchedFile, inject, sha256_of
from shim.applying.shelf import HeldCubin
from shim.arch import ComputeCapability, Target
from shim.devicecode import ContainerRole, DeviceCode, GpuImage, read_path
from shim.planning import Act, LibraryPlan, Packing, Slim, Wanted, plan_library
from shim.planning.outcome import grade_on, made_image
from shim.planning.slim import drops_of
from shim.provenance.document import Digests
from shim.provenance.edits import original_pieces, write_edits
from shim.verifying.library import verify_file

CODES = ("75", "80", "90", "90a", "100", "100f", "120", "120?", "120a", "120f", "121", "121a")
TEXTS = ("75", "80", "90", "90a", "120", "120a", "121", "121a")
DEVICES = ("8.0", "9.0", "10.0", "12.0", "12.1")
KERNEL = (Symbol(name="kernel", parameters=((0, 8),)),)

targets = st.lists(st.sampled_from(DEVICES), min_size=1, max_size=3, unique=True).map(
    lambda devices: tuple(Target(device=ComputeCapability.parse(device)) for device in sorted(devices))
)
slims = st.sampled_from([Slim.KEEP_PTX, Slim.SASS_ONLY])


@st.composite
def containers(draw: Any) -> tuple[GpuImage, ...]:
    """One container: code, PTX of one ISA or another, LTO-IR, some of it compressed together."""
    held = [image(f"sm_{arch}") for arch in draw(st.lists(st.sampled_from(CODES), max_size=5))]
    held += [
        image(f"compute_{arch}", isa=draw(st.sampled_from([(8, 0), (9, 4)])))
        for arch in draw(st.lists(st.sampled_from(TEXTS), max_size=3))
    ]
    held += [image(f"lto_{arch}") for arch in draw(st.lists(st.sampled_from(("80", "90a", "120")), max_size=1))]
    held = draw(st.permutations(held or [image("sm_80")]))
    if draw(st.integers(0, 3)) == 0 and len(held) > 1:
        at = draw(st.integers(0, len(held) - 2))
        for member in (at, at + 1):
            held[member] = image(*_name(held[member]), group=1)
    return tuple(held)


def _name(one: GpuImage) -> tuple[str]:
    prefix = {"sass": "sm", "ptx": "compute", "lto-ir": "lto"}[one.kind]
    return (f"{prefix}_{one.arch}",)


libraries = st.lists(containers(), min_size=1, max_size=4)


@given(libraries, targets, slims)
def test_no_target_is_worse_off_and_once_is_enough(
    held: list[tuple[GpuImage, ...]], devices: tuple[Target, ...], slim: Slim
) -> None:
    code = library(*held)
    wanted = Wanted(targets=devices, slim=slim)
    plan = plan_library(code, wanted)
    after = carried_out(code, plan)
    for promise in plan.promises:
        assert promise.after >= promise.before
        assert grade_on(after, promise.target) == promise.after
    assert all(container.images for container in after.containers)
    again = plan_library(after, wanted)
    assert [step for step in again.steps if step.drops or step.makes] == []


@given(containers(), targets)
def test_slim_then_patch_is_patch_then_slim(held: tuple[GpuImage, ...], devices: tuple[Target, ...]) -> None:
    """With PTX kept. Without it there would be nothing left to patch from."""

    def slimmed(code: DeviceCode) -> DeviceCode:
        images = code.containers[0].images
        drops = drops_of(images, (), devices, Slim.KEEP_PTX)
        return library(tuple(one for at, one in enumerate(images) if at not in drops))

    def patched(code: DeviceCode) -> DeviceCode:
        return carried_out(code, plan_library(code, Wanted(targets=devices)))

    code = library(held)
    # A container that serves no target yet is left alone by slim, so those that only patch makes useful come out larger
    # when they are slimmed first.
    plan = plan_library(code, Wanted(targets=devices))
    assume(all(make.act is Act.COMPILE for step in plan.steps for make in step.makes))
    assert names(patched(slimmed(code))) == names(slimmed(patched(code)))
    both = carried_out(code, plan_library(code, Wanted(targets=devices, slim=Slim.KEEP_PTX)))
    assert names(both) == names(slimmed(patched(code)))


@given(containers(), targets, slims)
def test_what_a_target_would_load_stays(held: tuple[GpuImage, ...], devices: tuple[Target, ...], slim: Slim) -> None:
    from shim.scan.containers import loadable

    (container,) = library(held).containers
    drops = drops_of(container.images, (), devices, slim)
    for at in drops:
        one = container.images[at]
        if one.kind == "sass":
            assert not any(loadable(one, target) for target in devices)
    groups = {one.offset for at, one in enumerate(container.images) if at not in drops and one.group}
    assert groups.isdisjoint(container.images[at].offset for at in drops)


@st.composite
def entries(draw: Any) -> bytes:
    """One entry with real bytes behind it; now and then two images compressed together."""
    if draw(st.integers(0, 7)) == 0:
        return fatbin.group(draw(_encodable()), draw(_encodable()))
    return draw(_encodable()).encode()


@st.composite
def _encodable(draw: Any) -> fatbin.Image:
    compression = draw(st.sampled_from([0, 0, fatbin.ZSTD, fatbin.LZ4]))
    name = draw(st.sampled_from(["", "a.cu"]))
    if draw(st.booleans()):
        arch = draw(st.sampled_from([arch for arch in TEXTS if not arch.endswith("?")]))
        number, feature = int(arch.rstrip("af")), arch[len(arch.rstrip("af")) :]
        text = fatbin.ptx(arch, version="8.8", body="ret;\n" * draw(st.integers(1, 300)))
        return fatbin.Image(
            kind=fatbin.PTX,
            arch=number,
            feature=feature,
            payload=text,
            version=(8, 8),
            compression=compression,
            name=name,
        )
    arch = draw(st.sampled_from(CODES)).rstrip("?")
    number, feature = int(arch.rstrip("af")), arch[len(arch.rstrip("af")) :]
    compat = fatbin.compat((0x09, 1) if feature == "a" else (0x09, 0), (0x0B, (0x50).to_bytes(8, "little")))
    abi = 8 if number >= 100 else 7
    return fatbin.Image(
        kind=fatbin.CUBIN,
        arch=number,
        feature=feature,
        payload=small_cubin(number, abi=abi, feature=feature, symbols=KERNEL, compat=compat if abi == 8 else b""),
        compat=compat if abi == 8 else b"",
        compression=compression,
        name=name,
    )


@st.composite
def hosts(draw: Any) -> hostfile.HostFile:
    codes = [
        hostfile.Code(data=fatbin.container(*draw(st.lists(entries(), min_size=1, max_size=5))))
        for _ in range(draw(st.integers(1, 4)))
    ]
    return hostfile.shared(
        codes,
        machine=draw(st.sampled_from(["x86_64", "aarch64"])),
        pointers=draw(st.sampled_from(["rela", "relr"])),
        align=draw(st.sampled_from([8, 256])),
        rodata=bytes(draw(st.integers(0, 5000))),
    )


wishes = st.builds(
    Wanted,
    targets=targets,
    slim=st.sampled_from(Slim),
    packing=st.sampled_from(Packing),
    repack_old=st.booleans(),
)


@settings(max_examples=60)
@given(hosts(), wishes)
def test_patched_files_are_as_planned_and_can_be_taken_back(host: hostfile.HostFile, wanted: Wanted) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lib.so")
        path.write_bytes(host.data)
        code = read_path(path, member="lib.so")
        plan = plan_library(code, wanted)
        if not plan.steps:
            return
        new = inject(code, path, Path(folder, "new.so"), plan, _made(plan), wanted)
        verify_file(new, plan, code, path)
        after = read_path(new.path, member="lib.so")
        assert _live(after) == _expected(code, plan)
        assert _undone(path, new, Path(folder, "undo")) == host.data
        again = plan_library(after, wanted)
        assert [step for step in again.steps if step.makes or step.drops] == []


def _made(plan: LibraryPlan) -> dict[tuple[int, str], NewImage]:
    found = {}
    for step in plan.steps:
        for make in step.makes:
            arch = make.arch.removeprefix("sm_")
            number, feature = int(arch.rstrip("af")), arch[len(arch.rstrip("af")) :]
            abi = 8 if number >= 100 else 7
            compat = fatbin.compat((0x09, int(feature == "a")), (0x0B, bytes(8))) if abi == 8 else b""
            cubin = small_cubin(number, abi=abi, feature=feature, symbols=KERNEL, compat=compat)
            found[step.container, make.arch] = NewImage(
                code=HeldCubin(data=cubin), tools=("ptxas",), options="", cpu_seconds=0, cached=False
            )
    return found


def _live(code: DeviceCode) -> list[list[str]]:
    live = (c for c in code.containers if c.role is ContainerRole.WHOLE)
    return sorted([f"{one.kind} {one.arch}" for one in container.images] for container in live)


def _expected(code: DeviceCode, plan: LibraryPlan) -> list[list[str]]:
    steps = {step.container: step for step in plan.steps}
    found = []
    for container in code.containers:
        step = steps.get(container.index)
        held = [one for at, one in enumerate(container.images) if step is None or at not in step.drops]
        found.append([f"{one.kind} {one.arch}" for one in (*map(made_image, step.makes if step else ()), *held)])
    return sorted(found)


def _undone(path: Path, new: PatchedFile, undo: Path) -> bytes:
    write_edits(new, Digests(before=sha256_of(path), after=sha256_of(new.path)), path, undo)
    return b"".join(original_pieces(new.path, undo))
