"""Which images no target can ever load, and what must stay all the same."""

from __future__ import annotations

import pytest
from builders.planned import ENTRY, carried_out, image, images, library, names

from shim.arch import ComputeCapability, Grade, Target
from shim.devicecode import ContainerRole
from shim.planning import Slim, Wanted, plan_library
from shim.planning.slim import drops_of

SPARK = Target()
RTX50 = Target(device=ComputeCapability(12, 0))
HOPPER = Target(device=ComputeCapability(9, 0))
KEEP_PTX = Wanted(slim=Slim.KEEP_PTX)
SASS_ONLY = Wanted(slim=Slim.SASS_ONLY)


def kept(*held: str, targets: tuple[Target, ...] = (SPARK,), slim: Slim = Slim.KEEP_PTX) -> set[str]:
    drops = drops_of(images(*held), (), targets, slim)
    return {name for at, name in enumerate(held) if at not in drops}


@pytest.mark.parametrize(
    ("held", "left"),
    [
        ("sm_80 sm_90a sm_100 sm_120", "sm_120"),
        ("sm_120 sm_121 sm_121a sm_120f sm_90", "sm_120 sm_121 sm_121a sm_120f"),  # all that the driver may load
        ("sm_90 sm_120?", "sm_120?"),  # CUDA 12.8: reported to run
        ("sm_120 sm_120a", "sm_120"),
        ("sm_80 sm_120 compute_75 compute_90 compute_120a", "sm_120 compute_90"),
        ("sm_120 compute_121 compute_80", "sm_120 compute_121"),
        ("sm_80 compute_80", "compute_80"),
        ("sm_80 sm_90", "sm_80 sm_90"),  # nothing would be left
        ("sm_120 sm_90 lto_90 lto_90a lto_120f tile_120", "sm_120 lto_90 lto_120f tile_120"),
    ],
)
def test_keeps_what_the_target_may_load(held: str, left: str) -> None:
    assert kept(*held.split()) == set(left.split())


@pytest.mark.parametrize(
    ("held", "left"),
    [
        ("sm_90 sm_120 compute_120", "sm_120"),
        ("sm_90 compute_80", "compute_80"),  # no machine code: the PTX is all there is
        ("sm_90 sm_120? compute_120", "sm_120? compute_120"),  # unproven code is no reason to do without PTX
        ("sm_120 compute_121", "sm_120"),
    ],
)
def test_sass_only_leaves_ptx_out_where_machine_code_is_certain(held: str, left: str) -> None:
    assert kept(*held.split(), slim=Slim.SASS_ONLY) == set(left.split())


def test_several_targets_keep_what_any_of_them_may_load() -> None:
    held = ("sm_80", "sm_90", "sm_90a", "sm_100", "sm_120", "compute_90", "compute_120")
    assert kept(*held, targets=(HOPPER, SPARK)) == {"sm_90", "sm_90a", "sm_120", "compute_90", "compute_120"}
    assert kept("sm_90", "sm_120", "compute_90", targets=(HOPPER, SPARK), slim=Slim.SASS_ONLY) == {"sm_90", "sm_120"}
    assert "compute_90" in kept("sm_80", "sm_120", "compute_90", targets=(HOPPER, SPARK), slim=Slim.SASS_ONLY)


def test_ptx_that_the_driver_cannot_read_does_not_displace_what_it_can() -> None:
    held = (image("compute_90", isa=(9, 4)), image("compute_80"), image("compute_75"))
    assert drops_of(held, (), (SPARK,), Slim.KEEP_PTX) == {2}


def test_images_compressed_together_stay_or_go_together() -> None:
    first = (image("sm_80", group=1), image("sm_120", group=1))
    second = (image("sm_70", group=2), image("sm_75", group=2))
    (step,) = plan_library(library((*first, *second)), KEEP_PTX).steps
    assert step.drops == (2, 3)


def test_a_target_that_finds_nothing_goes_on_saying_why() -> None:
    """Without its sm_80 the container would look as if it were made for other families only."""
    held = ("sm_80", "sm_90a", "sm_100a")
    assert kept(*held, targets=(HOPPER, SPARK)) == set(held)
    code = library(images(*held))
    wanted = Wanted(targets=(HOPPER, SPARK), slim=Slim.KEEP_PTX)
    assert [p.after for p in plan_library(code, wanted).promises] == [Grade.NATIVE, Grade.NONE]


def test_drops_after_the_new_image() -> None:
    code = library(images("sm_80", "compute_80", "compute_75"), images("sm_90", "sm_121"))
    keep = plan_library(code, KEEP_PTX)
    assert [(s.drops, len(s.makes)) for s in keep.steps] == [((0, 2), 1), ((0,), 0)]
    assert keep.reduction.dropped == (("compute_75", 1), ("sm_80", 1), ("sm_90", 1))
    assert keep.reduction.dropped_bytes == 3 * ENTRY
    assert names(carried_out(code, keep)) == [["sass 121", "ptx 80"], ["sass 121"]]
    assert names(carried_out(code, plan_library(code, SASS_ONLY))) == [["sass 121"], ["sass 121"]]


@pytest.mark.parametrize("role", [ContainerRole.PRELINKED, ContainerRole.EMBEDDED, ContainerRole.UNREFERENCED])
def test_what_is_not_registered_by_itself_is_not_touched(role: ContainerRole) -> None:
    code = library((role, images("sm_80", "sm_120")), images("sm_80", "sm_120"))
    assert [step.container for step in plan_library(code, KEEP_PTX).steps] == [1]


def test_objects_and_other_sections_are_not_touched() -> None:
    held = images("sm_80", "sm_121")
    assert plan_library(library(held, elf_type="rel"), KEEP_PTX).steps == ()
    assert plan_library(library(held, section="__nv_relfatbin"), KEEP_PTX).steps == ()


def test_linked_container_that_waits_for_a_link_keeps_everything() -> None:
    """Two device links, so no new code; what the driver links at run time must go on having its old neighbours."""
    relocatable = (ContainerRole.PRELINKED, images("sm_80", "compute_90"))
    linked = (ContainerRole.LINKED, images("sm_80", "sm_75"))
    assert plan_library(library(relocatable, linked, linked), KEEP_PTX).steps == ()


def test_linked_container_with_code_of_the_target_is_slimmed() -> None:
    relocatable = (ContainerRole.PRELINKED, images("sm_80", "compute_90"))
    plan = plan_library(library(relocatable, (ContainerRole.LINKED, images("sm_80", "sm_121"))), KEEP_PTX)
    assert [(step.container, step.drops, step.makes) for step in plan.steps] == [(1, (0,), ())]


def test_only_limits_slimming_too() -> None:
    from shim.planning import Selection

    held = images("sm_80", "sm_121")
    plan = plan_library(library(held, held), KEEP_PTX, Selection(containers={1}))
    assert [step.container for step in plan.steps] == [1]


def test_off_drops_nothing() -> None:
    assert plan_library(library(images("sm_80", "sm_121")), Wanted()).steps == ()


def test_two_targets_get_an_image_each() -> None:
    code = library(images("sm_80", "compute_80"))
    plan = plan_library(code, Wanted(targets=(RTX50, SPARK), slim=Slim.KEEP_PTX))
    (step,) = plan.steps
    assert [make.arch for make in step.makes] == ["sm_120", "sm_121"]
    assert [(p.before, p.after) for p in plan.promises] == [(Grade.JIT, Grade.NATIVE)] * 2


def test_nothing_is_promised_to_a_device_whose_image_is_not_made() -> None:
    from dataclasses import replace

    from shim.planning import promises

    code = library(images("compute_80"))
    targets = (RTX50, SPARK)
    (step,) = plan_library(code, Wanted(targets=targets)).steps
    one = replace(step, makes=step.makes[:1])
    assert [p.after for p in promises(code, targets, [one])] == [Grade.NATIVE, Grade.SAME_MAJOR_UNPROVEN]
