"""NVIDIA's selector and our rules agree on every cell: which image loads where, and which of several wins.

`loads` and `rank` below are the general form of docs/formats.md 7.2 and 7.3, written down a second time on purpose;
`shim.arch` is compared with both it and nvJitLink.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from shim import _core
from shim.arch import Arch, CodeForm, ComputeCapability, ImageTraits, ptx_loads, sass_loads, select
from tests.oracles import ptxas
from tests.oracles.nvjitlink import Choice, choose

ARCHS = ("80", "90", "90a", "100", "100a", "100f", "103", "120", "120a", "120f", "121", "121a", "121f")
TARGETS = ("80", "89", "90", "100", "103", "120", "121", "120a", "121a", "120f", "121f")
FAMILIES = ({100, 103, 107}, {110}, {120, 121})


@dataclass(frozen=True, slots=True)
class Image:
    """One entry: kind "sass" or "ptx", and an arch such as "121a"."""

    kind: str
    arch: str

    @property
    def number(self) -> int:
        return int(self.arch.rstrip("af"))

    @property
    def suffix(self) -> str:
        return self.arch[len(str(self.number)) :]

    def entry(self) -> bytes:
        sass = self.kind == "sass"
        image = ptxas.cubin(self.arch, options=("-c",)) if sass else ptxas.ptx(self.arch)
        return _core.make_entry(
            kind=2 if sass else 1,
            arch=self.number,
            suffix=self.suffix,
            image=image,
            options="" if sass else "--compile-only",
        )

    def traits(self) -> ImageTraits:
        # Cubins of ptxas 13 carry the mask; bit 6 of 120 and 120f lets 12.1 run them (docs/formats.md 5.1).
        return ImageTraits(form=CodeForm(self.kind), arch=Arch.parse(self.arch), fastpath_mask=0x50)


def loads(image: Image, device: int) -> bool:
    """The general form, for a device (an `a` device of NVIDIA's tools)."""
    if image.suffix == "a":
        return image.number == device
    if image.suffix == "f" and not any({image.number, device} <= family for family in FAMILIES):
        return False
    if image.kind == "sass":
        return image.number // 10 == device // 10 and image.number <= device
    return image.number <= device


def rank(image: Image) -> tuple[int, bool, int]:
    return image.number, image.kind == "sass", ("", "f", "a").index(image.suffix)


IMAGES = tuple(Image(kind, arch) for kind in ("sass", "ptx") for arch in ARCHS)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("image", IMAGES, ids=lambda image: f"{image.kind}-{image.arch}")
def test_one_image_on_one_target(image: Image, target: str) -> None:
    device = int(target.rstrip("af"))
    container = _core.make_container([image.entry()])
    took = choose(container, target) is not Choice.REJECT
    # One addition of the linker's: an `a` image also needs an `a` target. The device itself has no suffix.
    assert took == (loads(image, device) and (image.suffix != "a" or target.endswith("a")))
    rule = sass_loads if image.kind == "sass" else ptx_loads
    assert rule(Arch.parse(image.arch), ComputeCapability.from_sm(device)) == loads(image, device)


CONTENDERS = tuple(Image(kind, arch) for kind in ("sass", "ptx") for arch in ("80", "120", "120f", "121", "121a"))


PAIRS = tuple(itertools.permutations(CONTENDERS, 2))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(image.kind + image.arch for image in pair))
def test_which_of_two_images_a_spark_takes(pair: tuple[Image, Image]) -> None:
    fitting = [image for image in pair if loads(image, 121)]
    container = _core.make_container([image.entry() for image in pair])
    choice = choose(container, "121a")
    chosen = select([image.traits() for image in pair], ComputeCapability(12, 1))
    if not fitting:
        assert (choice, chosen) == (Choice.REJECT, None)
        return
    winner = max(fitting, key=rank)
    assert choice == (Choice.SASS if winner.kind == "sass" else Choice.JIT)
    assert chosen is not None
    assert pair[chosen] == winner


def test_adding_exact_machine_code_ends_the_jit() -> None:
    old = [Image("sass", "80").entry(), Image("ptx", "80").entry()]
    assert choose(_core.make_container(old), "121a") is Choice.JIT
    number = _core.make_entry(kind=2, arch=121, image=ptxas.cubin("121", source="80", options=("-c",)))
    for entries in ([number, *old], [*old, number]):
        assert choose(_core.make_container(entries), "121a") is Choice.SASS


def test_the_copy_of_nv_compat_decides_for_family_members() -> None:
    """Why the descriptor must be written: without bit 6 of its mask the linker refuses an sm_120 cubin for 12.1."""
    entry = bytearray(Image("sass", "120").entry())
    assert choose(_core.make_container([bytes(entry)]), "121a") is Choice.SASS
    descriptor = int.from_bytes(entry[0x14:0x18], "little")
    record = entry.index(bytes((4, 0x0B, 8, 0)), descriptor)
    assert entry[record + 4] == 0x50
    entry[record + 4] &= ~0x40
    assert choose(_core.make_container([bytes(entry)]), "121a") is Choice.REJECT
