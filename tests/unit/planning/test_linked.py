"""Device links: which containers go into which, and what is refused."""

from __future__ import annotations

from dataclasses import replace

from shim.arch import Arch, ComputeCapability, Grade, Target
from shim.devicecode import ContainerRole, DeviceCode, GpuImage, ImageKind
from shim.planning import Act, LibraryPlan, Wanted, plan_library
from shim.planning.linked import LinkMap
from tests.unit.planning.test_library import WANTED, image, library

PTX = image("compute_80", options="--compile-only")


def lto(name: str) -> GpuImage:
    made = image(name.replace("lto_", "compute_"))
    return replace(made, kind=ImageKind.LTO_IR, raw_kind=8, version=(1, 65), options="-ftz=0 ")


def two_links(*modules: tuple[GpuImage, ...], linked: GpuImage | None = None) -> DeviceCode:
    made = linked or image("sm_80")
    prelinked = ((ContainerRole.PRELINKED, images) for images in modules)
    return library(*prelinked, (ContainerRole.LINKED, (made,)), (ContainerRole.LINKED, (made,)))


def with_links(code: DeviceCode, modules: dict[int, tuple[int, ...]], wanted: Wanted = WANTED) -> LibraryPlan:
    return plan_library(code, wanted, links=LinkMap(modules=modules, why="proven so"))


def test_each_link_gets_its_own_modules() -> None:
    plan = with_links(two_links((PTX,), (PTX,), (PTX,)), {3: (0, 2), 4: (1,)})
    assert [(s.container, [x.container for x in s.makes[0].sources]) for s in plan.steps] == [(3, [0, 2]), (4, [1])]
    assert all(step.makes[0].reason.endswith("(proven so)") for step in plan.steps)
    assert plan.promised is Grade.NATIVE


def test_a_link_that_the_proof_leaves_out_is_refused_with_the_reason() -> None:
    plan = with_links(two_links((PTX,), (PTX,)), {2: (0,)})
    assert [step.container for step in plan.steps] == [2]
    (refusal,) = plan.refusals
    assert (refusal.code, refusal.container) == ("several-linked-containers", 3)
    assert refusal.reason.endswith("proven so")


def test_what_nvcc_adds_to_every_library_is_no_second_link() -> None:
    code = two_links((PTX,))
    stub = replace(code.containers[2], images=(replace(image("sm_80"), has_code=False),))
    groups = (*code.groups[:2], replace(code.groups[2], exemplar=stub))
    plan = plan_library(replace(code, containers=(*code.containers[:2], stub), groups=groups), WANTED)
    assert [step.container for step in plan.steps] == [1]
    assert plan.refusals == ()


def test_a_linked_container_without_images_waits_for_the_driver() -> None:
    """nvcc -rdc with PTX alone leaves it empty."""
    plan = plan_library(library((ContainerRole.PRELINKED, (PTX,)), (ContainerRole.LINKED, ())), WANTED)
    assert [step.container for step in plan.steps] == [1]
    assert (plan.before, plan.promised) == (Grade.JIT, Grade.NATIVE)


def test_lto_ir_is_taken_where_there_is_nothing_else() -> None:
    mixed = library(
        (ContainerRole.PRELINKED, (lto("lto_75"), lto("lto_80"), lto("lto_90a"))),
        (ContainerRole.PRELINKED, (lto("lto_80"), PTX)),
        (ContainerRole.PRELINKED, (lto("lto_80"), image("sm_121"))),
        (ContainerRole.LINKED, (image("sm_80"),)),
    )
    (step,) = plan_library(mixed, WANTED).steps
    (make,) = step.makes
    assert (make.act, make.arch) == (Act.LINK_LTO, "sm_121")
    assert [(s.image.kind, str(s.image.arch)) for s in make.sources] == [
        (ImageKind.LTO_IR, "80"),
        (ImageKind.PTX, "80"),
        (ImageKind.SASS, "121"),
    ]


def test_lto_ir_of_the_target_alone_makes_code_of_that_kind() -> None:
    code = library((ContainerRole.PRELINKED, (lto("lto_121a"),)), (ContainerRole.LINKED, (image("sm_80"),)))
    assert plan_library(code, WANTED).steps[0].makes[0].arch == "sm_121a"


def test_lto_ir_of_other_devices_is_refused() -> None:
    code = library((ContainerRole.PRELINKED, (lto("lto_90a"),)), (ContainerRole.LINKED, (image("sm_80"),)))
    assert [r.code for r in plan_library(code, WANTED).refusals] == ["relocatable-code-incomplete"]


def test_lto_ir_without_a_yardstick_is_refused() -> None:
    code = library((ContainerRole.PRELINKED, (lto("lto_80"),)), (ContainerRole.LINKED, (image("compute_120a"),)))
    assert [r.code for r in plan_library(code, WANTED).refusals] == ["lto-ir-unchecked"]


def test_ordinary_containers_with_lto_ir() -> None:
    (step,) = plan_library(library((ContainerRole.WHOLE, (image("sm_80"), lto("lto_80")))), WANTED).steps
    assert (step.makes[0].act, [s.container for s in step.makes[0].sources]) == (Act.LINK_LTO, [0])
    (step,) = plan_library(library((ContainerRole.WHOLE, (image("sm_80"), lto("lto_80"), PTX))), WANTED).steps
    assert step.makes[0].act is Act.COMPILE
    plan = plan_library(library((ContainerRole.WHOLE, (image("sm_80"), lto("lto_90a")))), WANTED)
    assert [r.code for r in plan.refusals] == ["machine-code-only"]


def test_links_for_several_targets() -> None:
    wanted = Wanted(targets=(Target(device=ComputeCapability(12, 0)), Target()))
    plan = with_links(two_links((PTX,), (PTX,)), {2: (0,), 3: (1,)}, wanted)
    assert [[make.arch for make in step.makes] for step in plan.steps] == [["sm_120", "sm_121"]] * 2
    assert all(make.sources[0].image.arch == Arch.parse("80") for step in plan.steps for make in step.makes)
