"""The selector of the fakes, cell by cell beside nvJitLink 13.5 and beside shim.arch."""

from __future__ import annotations

import itertools
import random

import pytest

from shim import _core
from shim.arch import ComputeCapability
from shim.arch import select as shim_select
from tests.oracles import nvjitlink, ptxas
from tests.oracles.nvjitlink import Choice, choose, judge
from tests.oracles.selector import Outcome, image_size, select, select_image
from tests.oracles.test_selection_table import ARCHS, CONTENDERS, IMAGES, TARGETS, Image

LINKER = {Outcome.NOTHING: Choice.REJECT, Outcome.UNPROVEN: Choice.REJECT, Outcome.PTX: Choice.JIT}
LINKER[Outcome.CUBIN] = Choice.SASS


def container(*images: Image | bytes) -> bytes:
    return _core.make_container([image if isinstance(image, bytes) else image.entry() for image in images])


def masked(arch: str, mask: int | None) -> bytes:
    """A cubin entry whose copy of .nv.compat has another record 0x0B; None takes the record out, as CUDA 12 has it."""
    entry = bytearray(Image("sass", arch).entry())
    at = entry.index(bytes((4, 0x0B, 8, 0)), int.from_bytes(entry[0x14:0x18], "little"))
    if mask is None:
        entry[at + 1] = 0x7F
    else:
        entry[at + 4 : at + 12] = mask.to_bytes(8, "little")
    return bytes(entry)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: f"{image.kind}-{image.arch}")
def test_one_image_on_every_target(image: Image) -> None:
    data = container(image)
    for target in TARGETS:
        device = int(target.rstrip("af"))
        ours = select(data, device)
        if image.suffix != "a" or target.endswith("a"):  # the linker wants an `a` target for `a`; devices have none
            # sm_100 code is marked for 10.3 as well, sm_103 code for nothing: like the linker, see the masks.
            assert LINKER[ours.outcome] == choose(data, target), target
        theirs = shim_select([image.traits()], ComputeCapability.from_sm(device))
        assert (theirs is None) == (ours.outcome is Outcome.NOTHING), target
        if ours.outcome is not Outcome.NOTHING:
            assert (ours.arch, ours.isa) == (image.arch, (9, 0) if image.kind == "ptx" else (0, 0))


def test_two_images_in_both_orders() -> None:
    for pair in itertools.permutations(CONTENDERS, 2):
        data = container(*pair)
        ours, theirs = select(data, 121), shim_select([i.traits() for i in pair], ComputeCapability(12, 1))
        assert LINKER[ours.outcome] == choose(data, "121a"), pair
        assert (None if ours.outcome is Outcome.NOTHING else ours.index) == theirs, pair


def test_many_images_in_random_order() -> None:
    pick = random.Random(121)
    for _ in range(60):
        images = pick.sample(IMAGES, pick.randint(3, 8))
        data = container(*images)
        ours, theirs = select(data, 121), shim_select([i.traits() for i in images], ComputeCapability(12, 1))
        assert (None if ours.outcome is Outcome.NOTHING else ours.index) == theirs, images
        assert LINKER[ours.outcome] == choose(data, "121a"), images


@pytest.mark.parametrize(
    ("arch", "target", "bit"), [("120", 121, 6), ("120f", 121, 6), ("100", 103, 3), ("103", 107, 8)]
)
def test_every_bit_of_the_mask(arch: str, target: int, bit: int) -> None:
    for number in range(64):
        data = container(masked(arch, 1 << number))
        outcome = select(data, target).outcome
        assert outcome is (Outcome.CUBIN if number == bit else Outcome.UNPROVEN)
        assert LINKER[outcome] == choose(data, f"{target}a" if target == 121 else str(target))


@pytest.mark.parametrize("mask", [0, 0x10, None])
@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((), Outcome.UNPROVEN),
        ((Image("ptx", "80"),), Outcome.UNPROVEN),
        ((Image("ptx", "120"),), Outcome.UNPROVEN),
        ((Image("ptx", "121"),), Outcome.PTX),
        ((Image("sass", "120f"),), Outcome.CUBIN),
        ((Image("sass", "121"),), Outcome.CUBIN),
    ],
)
def test_unmarked_code_shuts_out_what_ranks_below(
    mask: int | None, others: tuple[Image, ...], expected: Outcome
) -> None:
    """sm_120 code of CUDA 12.8 beside PTX 8.0 is rejected whole: the mark is looked at after the choice is made."""
    for order in itertools.permutations((masked("120", mask), *others)):
        data = container(*order)
        assert select(data, 121).outcome is expected
        assert choose(data, "121a") == LINKER[expected]


def test_bit_24_says_whether_the_mark_is_looked_at() -> None:
    entry = bytearray(masked("120", 0))
    entry[0x2B] &= 0xFE
    assert select(container(bytes(entry)), 121).outcome is Outcome.CUBIN
    assert choose(container(bytes(entry)), "121a") is Choice.SASS


def test_classifier_tells_rejection_from_damage() -> None:
    rejected = container(Image("sass", "90a"), Image("ptx", "90a"))
    assert judge(rejected) is Choice.REJECT
    assert judge(container()) is Choice.REJECT
    assert judge(container(Image("ptx", "80"))) is Choice.JIT
    assert judge(nvjitlink.with_exact_image(rejected, "121a")) is Choice.SASS
    newer = Image("ptx", "80").entry().replace(b".version 9.0", b".version 9.9")
    assert judge(container(newer)) is Choice.JIT_FAILS
    damaged = bytearray(rejected)
    damaged[16 + 4] = 0  # header size of the first entry
    assert choose(bytes(damaged), "121a") is Choice.REJECT
    with pytest.raises(RuntimeError, match="container is damaged"):
        judge(bytes(damaged))
    with pytest.raises(RuntimeError, match="error 12"):
        judge(b"\0" * len(rejected))


def test_cut_and_changed_containers_do_not_lead_the_selector_astray() -> None:
    whole = container(Image("sass", "120"), Image("ptx", "80"), Image("sass", "90"))
    for size in range(len(whole)):
        assert select(whole[:size], 121).outcome is Outcome.DAMAGED
    pick = random.Random(0)
    for _ in range(2000):
        changed = bytearray(whole)
        changed[pick.randrange(0x80)] = pick.randrange(256)
        select(bytes(changed), 121)


@pytest.mark.parametrize("arch", ARCHS)
def test_bare_images(arch: str) -> None:
    """Cubins and PTX text as driver API users load them. Their `f` is not in the file, and counts as plain."""
    for kind, image in (("sass", ptxas.cubin(arch)), ("ptx", ptxas.ptx(arch)[:-1])):
        named = arch.rstrip("f") if kind == "sass" else arch
        expected = select(container(Image(kind, named)), 121)
        found = select_image(image, 121)
        assert found.outcome is expected.outcome
        assert image_size(image) == len(image)
        if found.outcome is not Outcome.NOTHING:
            assert (found.arch, found.isa) == (named, expected.isa)
    assert select_image(b"no image", 121).outcome is Outcome.DAMAGED
