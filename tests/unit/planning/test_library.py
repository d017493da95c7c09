"""Which containers get machine code, from what, and why others do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shim.arch import Arch, ComputeCapability, Grade, Target
from shim.devicecode import (
    Compression,
    Container,
    ContainerGroup,
    ContainerRole,
    DeviceCode,
    GpuImage,
    ImageKind,
    Wrapper,
)
from shim.planning import Act, Selection, Wanted, plan_library

WANTED = Wanted()


def image(name: str, *, isa: tuple[int, int] = (8, 0), mask: int | None = 0x50, options: str = "") -> GpuImage:
    """ "sm_80" or "compute_80"; sm_100 and later carry a .nv.compat with record 0x0B unless mask is None."""
    kind = ImageKind.SASS if name.startswith("sm_") else ImageKind.PTX
    arch = Arch.parse(name)
    blackwell = kind is ImageKind.SASS and arch.capability.major >= 10 and mask is not None
    return GpuImage(
        kind=kind,
        raw_kind=2 if kind is ImageKind.SASS else 1,
        arch=arch,
        offset=0,
        header_size=64,
        payload_offset=64,
        payload_size=8000,
        compressed_size=0,
        size=8000,
        compression=Compression.NONE,
        version=isa if kind is ImageKind.PTX else (1, 8),
        flags=0x11,
        name="",
        options=options,
        compat=b"\x04\x0b\x08\x00" + (mask or 0).to_bytes(8, "little") if blackwell else b"",
        has_code=None,
    )


def library(*containers: tuple[ContainerRole, tuple[GpuImage, ...]], elf_type: str = "dyn") -> DeviceCode:
    made = tuple(
        Container(index=i, offset=4096 * (i + 1), size=4096, section=".nv_fatbin", role=role, images=images)
        for i, (role, images) in enumerate(containers)
    )
    return DeviceCode(
        member="lib.so",
        size=1 << 20,
        format="elf",
        machine="aarch64",
        elf_type=elf_type,
        containers=made,
        groups=tuple(
            ContainerGroup(
                exemplar=c,
                indices=(c.index,),
                stored_bytes=tuple(8064 for _ in c.images),
                decoded_bytes=tuple(8000 for _ in c.images),
            )
            for c in made
        ),
        wrappers=tuple(
            Wrapper(offset=100 + 24 * c.index, version=1, pointer="rela", target=c.offset, container=c.index)
            for c in made
        ),
        loose=(),
        unknown=(),
        needed=(),
        soname="",
        glibc=None,
    )


WHOLE = ContainerRole.WHOLE


@pytest.mark.parametrize(
    ("images", "source", "arch"),
    [
        (("sm_80", "compute_80"), "80", "sm_121"),
        (("compute_75", "compute_90", "sm_90"), "90", "sm_121"),
        (("sm_120", "compute_121"), "121", "sm_121"),  # PTX 121 beats SASS 120: the driver would compile it
        (("compute_120f",), "120f", "sm_121"),
        (("compute_121a",), "121a", "sm_121a"),
    ],
)
def test_compiles_the_ptx_the_driver_would_take(images: tuple[str, ...], source: str, arch: str) -> None:
    plan = plan_library(library((WHOLE, tuple(image(name) for name in images))), WANTED)
    (step,) = plan.steps
    (make,) = step.makes
    assert str(make.sources[0].image.arch) == source
    assert make.arch == arch
    assert step.wrappers == (100,)
    assert (plan.before, plan.promised) == (Grade.JIT, Grade.NATIVE)


@pytest.mark.parametrize("images", [("sm_121",), ("sm_121a", "compute_80"), ("sm_120f",), ("sm_120", "compute_120")])
def test_leaves_code_that_runs(images: tuple[str, ...]) -> None:
    plan = plan_library(library((WHOLE, tuple(image(name) for name in images))), WANTED)
    assert plan.steps == ()
    assert plan.refusals == ()


@pytest.mark.parametrize(
    ("images", "code"),
    [
        (("sm_70", "sm_80"), "machine-code-only"),
        (("sm_120a", "sm_90a"), "machine-code-only"),
        (("sm_90a", "sm_80", "compute_90a"), "arch-specific-ptx"),
        (("sm_120a", "compute_100a"), "arch-specific-ptx"),
    ],
)
def test_refuses_with_a_reason(images: tuple[str, ...], code: str) -> None:
    plan = plan_library(library((WHOLE, tuple(image(name) for name in images))), WANTED)
    (refusal,) = plan.refusals
    assert refusal.code == code
    assert refusal.advice
    assert plan.promised is plan.before is Grade.NONE


def test_other_families_are_neither_step_nor_refusal() -> None:
    plan = plan_library(library((WHOLE, (image("sm_90a"), image("sm_100f")))), WANTED)
    assert (plan.steps, plan.refusals) == ((), ())


def test_unproven_code_gets_exact_code_when_there_is_ptx() -> None:
    old = image("sm_120", mask=None)
    with_ptx = plan_library(library((WHOLE, (old, image("compute_120")))), WANTED)
    assert (with_ptx.before, with_ptx.promised) == (Grade.SAME_MAJOR_UNPROVEN, Grade.NATIVE)
    without = plan_library(library((WHOLE, (old,))), WANTED)
    assert [r.code for r in without.refusals] == ["unproven-without-ptx"]
    assert without.promised is Grade.SAME_MAJOR_UNPROVEN


def test_ptx_newer_than_the_driver_is_compiled() -> None:
    plan = plan_library(library((WHOLE, (image("compute_80", isa=(9, 4)),))), WANTED)
    assert (plan.before, plan.promised, len(plan.steps)) == (Grade.JIT_TOO_NEW, Grade.NATIVE, 1)


@pytest.mark.parametrize(
    ("images", "target", "source", "arch"),
    [
        (("sm_120a", "compute_120a"), "12.1", "120a", "sm_121a"),
        (("sm_120", "compute_120a"), "12.1", "120a", "sm_121a"),  # its machine code is of CUDA 12.8
        (("compute_90a", "compute_120a"), "12.1", "120a", "sm_121a"),
        (("compute_121a", "sm_80"), "12.0", "121a", "sm_120a"),
        (("compute_100a", "sm_80"), "10.3", "100a", "sm_103a"),
    ],
)
def test_ptx_of_another_member_of_the_family_is_retargeted(
    images: tuple[str, ...], target: str, source: str, arch: str
) -> None:
    wanted = Wanted(targets=(Target(device=ComputeCapability.parse(target)),))
    plan = plan_library(library((WHOLE, tuple(image(name, mask=None) for name in images))), wanted)
    ((make,),) = [step.makes for step in plan.steps]
    assert (make.act, str(make.sources[0].image.arch), make.arch) == (Act.RETARGET, source, arch)
    assert plan.promised is Grade.NATIVE


@pytest.mark.parametrize(
    "images",
    [
        (image("sm_80"), image("compute_90a")),  # another generation
        (image("sm_80"), image("compute_100a")),  # another family
        (image("sm_80"), image("compute_120a", options="--compile-only")),  # needs a device link
    ],
)
def test_other_suffixed_ptx_is_not_retargeted(images: tuple[GpuImage, ...]) -> None:
    plan = plan_library(library((WHOLE, images)), WANTED)
    assert plan.steps == ()
    assert [refusal.code for refusal in plan.refusals] == ["arch-specific-ptx"]


def test_ptx_that_needs_no_rewriting_is_preferred() -> None:
    plan = plan_library(library((WHOLE, (image("compute_80"), image("compute_120a"), image("sm_120a")))), WANTED)
    assert [make.act for step in plan.steps for make in step.makes] == [Act.COMPILE]


def test_machine_code_is_restamped_only_when_asked() -> None:
    code = library((WHOLE, (image("sm_90a"), image("sm_120a"))))
    without = plan_library(code, WANTED)
    assert without.steps == ()
    assert "--experimental-restamp" in without.refusals[0].advice
    plan = plan_library(code, Wanted(restamp=True))
    ((make,),) = [step.makes for step in plan.steps]
    assert (make.act, str(make.sources[0].image.arch), make.arch) == (Act.RESTAMP, "120a", "sm_121a")
    assert "not supported by NVIDIA" in make.reason
    assert (plan.before, plan.promised, plan.ptx_bytes) == (Grade.NONE, Grade.NATIVE, 0)


@pytest.mark.parametrize(
    ("images", "act"),
    [
        (("sm_120a", "compute_80"), Act.COMPILE),
        (("sm_120a", "compute_120a"), Act.RETARGET),
        (("sm_120a", "sm_121"), None),
        (("sm_120a", "sm_120"), None),
        (("sm_100a", "sm_80"), None),
    ],
)
def test_restamping_is_the_last_choice(images: tuple[str, ...], act: Act | None) -> None:
    plan = plan_library(library((WHOLE, tuple(image(name) for name in images))), Wanted(restamp=True))
    assert [make.act for step in plan.steps for make in step.makes] == ([] if act is None else [act])
    assert all("--experimental-restamp" not in refusal.advice for refusal in plan.refusals)


def test_only_a_12_1_is_restamped_for() -> None:
    wanted = Wanted(targets=(Target(device=ComputeCapability(10, 3)),), restamp=True)
    assert plan_library(library((WHOLE, (image("sm_100a"), image("sm_120a")))), wanted).steps == ()


def test_linked_code_is_not_restamped() -> None:
    code = relocatable((image("sm_120a"),))
    sass = tuple(replace(c, images=(image("sm_120a"),)) for c in code.containers)
    groups = tuple(replace(group, exemplar=sass[group.exemplar.index]) for group in code.groups)
    plan = plan_library(replace(code, containers=sass, groups=groups), Wanted(restamp=True))
    assert plan.steps == ()
    assert all("--experimental-restamp" not in refusal.advice for refusal in plan.refusals)
    assert plan.refusals


@pytest.mark.parametrize(("driver", "code"), [((12, 9), "driver-too-old"), ((13, 0), None)])
def test_a_newer_ptxas_helps_only_within_the_major_of_the_driver(driver: tuple[int, int], code: str | None) -> None:
    wanted = Wanted(targets=(Target(driver_cuda=driver),))
    plan = plan_library(library((WHOLE, (image("compute_80", isa=(9, 2)),))), wanted)
    assert [refusal.code for refusal in plan.refusals] == ([] if code is None else [code])
    assert plan.promised is (Grade.JIT_TOO_NEW if code else Grade.NATIVE)


def relocatable(*linked: tuple[GpuImage, ...]) -> DeviceCode:
    prelinked = (ContainerRole.PRELINKED, (image("sm_80"), image("compute_90", options="--compile-only")))
    return library(prelinked, prelinked, *((ContainerRole.LINKED, images) for images in linked))


def test_relocatable_code_is_linked_into_the_one_linked_container() -> None:
    plan = plan_library(relocatable((image("sm_80"),)), WANTED)
    (step,) = plan.steps
    (make,) = step.makes
    assert make.act is Act.LINK
    assert (step.container, [s.container for s in make.sources]) == (2, [0, 1])
    assert plan.promised is Grade.NATIVE


def test_empty_modules_take_part_in_the_link() -> None:
    code = relocatable((image("sm_80"),))
    empty = replace(code.containers[0].images[1], has_code=False)
    first = replace(code.containers[0], images=(code.containers[0].images[0], empty))
    changed = replace(
        code,
        containers=(first, *code.containers[1:]),
        groups=(replace(code.groups[0], exemplar=first), *code.groups[1:]),
    )
    (step,) = plan_library(changed, WANTED).steps
    assert [s.container for s in step.makes[0].sources] == [0, 1]  # it may define variables that others use


def test_several_linked_containers_are_refused() -> None:
    plan = plan_library(relocatable((image("sm_80"),), (image("sm_80"),)), WANTED)
    assert {r.code for r in plan.refusals} == {"several-linked-containers"}
    assert plan.steps == ()


def test_selection_leaves_the_rest_alone() -> None:
    jit = (image("sm_80"), image("compute_80"))
    plan = plan_library(library((WHOLE, jit), (WHOLE, jit), (WHOLE, jit)), WANTED, Selection(containers={1}))
    assert [step.container for step in plan.steps] == [1]
    assert plan.skipped == 2
    assert plan.promised is Grade.JIT


def test_objects_are_not_patched() -> None:
    plan = plan_library(library((WHOLE, (image("compute_80"),)), elf_type="rel"), WANTED)
    assert [r.code for r in plan.refusals] == ["unlinked-object"]
