"""The only home of compatibility rules: which device code loads where, and which image wins.

Sources: CUDA Programming Guide (binary compatibility, compute capabilities), checked against NVIDIA's own
selector (nvJitLink 13.5, `-arch=sm_121a`); docs/formats.md 7.2 (what loads) and 7.3 (what wins).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Self

from shim.errors import UsageError


@dataclass(frozen=True, slots=True, order=True)
class ComputeCapability:
    """Compute capability of a device, such as 12.1. Ordered as NVIDIA numbers them."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "12.1".

        Raises:
            UsageError: the text is not MAJOR.MINOR.
        """
        match = re.fullmatch(r"(\d{1,2})\.(\d)", text.strip())
        if match is None:
            raise UsageError(
                f"not a compute capability: {text!r} (expected MAJOR.MINOR)",
                hint="write it with a dot: 12.1 for a DGX Spark, 12.0 for an RTX 50, 10.0 for a B200",
            )
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def from_sm(cls, number: int) -> Self:
        """121 -> 12.1."""
        return cls(*divmod(number, 10))

    @property
    def sm(self) -> int:
        """12.1 -> 121."""
        return self.major * 10 + self.minor

    @property
    def canonical(self) -> ComputeCapability:
        """The number of today: CUDA 12 called 10.1 what CUDA 13 calls 11.0 (Jetson Thor)."""
        return _RENUMBERED.get(self, self)

    @property
    def machine(self) -> str | None:
        """Host processor where the chip exists with one kind only ("aarch64"), else None."""
        return "aarch64" if self.canonical in _ARM_ONLY else None

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class Arch:
    """What an image was built for. Never ordered: 120a is neither below nor above 121.

    `feature`: "" plain, "a" this exact capability only, "f" this capability's family only.
    """

    capability: ComputeCapability
    feature: str = ""

    def __post_init__(self) -> None:
        if self.feature not in _FEATURE_ORDER:
            raise ValueError(f"no such architecture suffix: {self.feature!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "sm_121a", "compute_120f" or "121a".

        Raises:
            UsageError: the text names no architecture.
        """
        match = re.fullmatch(r"(?:sm_|compute_|lto_)?(\d{2,3})([af]?)", text.strip())
        if match is None:
            raise UsageError(f"not an architecture: {text!r} (expected a form like sm_121a or compute_120f)")
        return cls(ComputeCapability.from_sm(int(match[1])), match[2])

    def __str__(self) -> str:
        return f"{self.capability.sm}{self.feature}"


class Grade(IntEnum):
    """How well code suits a device; greater is better. The four below NONE stand beside the scale.

    The order is the one `--require` judges by; the text form ("same-major") is the one users see.
    """

    PLACEHOLDER = 0
    CPU_ONLY = 1
    NO_DEVICE_CODE = 2
    JIT_AT_RUNTIME = 3
    NONE = 10
    PARTIAL = 11
    JIT_TOO_NEW = 12
    JIT = 13
    SAME_MAJOR_UNPROVEN = 14
    SAME_MAJOR = 15
    FAMILY = 16
    NATIVE = 17

    @classmethod
    def parse(cls, label: str) -> Grade:
        """Read a label such as "same-major".

        Raises:
            UsageError: no grade has that label.
        """
        for grade in cls:
            if str(grade) == label:
                return grade
        raise UsageError(f"no such grade: {label!r} (expected one of {', '.join(map(str, reversed(cls)))})")

    @property
    def on_scale(self) -> bool:
        """False for the four that say why there is nothing to grade."""
        return self >= Grade.NONE

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


class CodeForm(StrEnum):
    """What an image holds, as far as the rules care."""

    SASS = "sass"
    PTX = "ptx"
    LTO_IR = "lto-ir"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTraits:
    """The facts about one image that decide whether a device takes it.

    isa: PTX ISA version, None for other forms. fastpath_mask: value of `.nv.compat` record 0x0B, None when
    the record is absent. has_code: None when the payload was not read.
    """

    form: CodeForm
    arch: Arch | None
    isa: tuple[int, int] | None = None
    fastpath_mask: int | None = None
    has_code: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The machine a report is about: its device and the CUDA version of its driver.

    The defaults are a DGX Spark, which ships with the 580 driver of CUDA 13.0.
    """

    device: ComputeCapability = ComputeCapability(12, 1)
    driver_cuda: tuple[int, int] = (13, 0)

    @property
    def max_isa(self) -> tuple[int, int]:
        """Newest PTX ISA version the driver's compiler reads."""
        return max_ptx_isa(self.driver_cuda)


# PTX ISA manual, "release history": the driver of a CUDA version reads PTX up to this ISA version.
_ISA_OF_CUDA: Final = {
    **{(11, minor): (7, minor) for minor in range(9)},
    **{(12, minor): (8, minor) for minor in range(6)},
    (12, 6): (8, 5),
    (12, 7): (8, 6),
    (12, 8): (8, 7),
    (12, 9): (8, 8),
    **{(13, minor): (9, minor) for minor in range(6)},
}

_RENUMBERED: Final = {ComputeCapability(10, 1): ComputeCapability(11, 0)}

# Members of a family run each other's `f` code upwards. 10.7 joined the first with CUDA 13.4.
_FAMILIES: Final = tuple(
    frozenset(ComputeCapability.from_sm(number) for number in family)
    for family in ((100, 103, 107), (110,), (120, 121))
)

# Programming Guide, "binary compatibility": none between desktop parts and Tegra. These are Jetson Nano, TX2,
# Xavier, Orin and Thor. (nvJitLink does not model this: it takes an sm_87 image for sm_89.)
_TEGRA: Final = frozenset(ComputeCapability.from_sm(number) for number in (53, 62, 72, 87, 110))
_ARM_ONLY: Final = _TEGRA | {ComputeCapability(12, 1)}

# Cubins from this major on tell in record 0x0B which later family members may run them (docs/formats.md 5.1).
# CUDA 12.8 and 12.9 wrote none; NVIDIA's linker then refuses what field reports say the driver runs.
_FIRST_MAJOR_WITH_FASTPATH: Final = 10
_FASTPATH_BIT: Final = {ComputeCapability(12, 1): 1 << 6}

_FORM_ORDER: Final = {CodeForm.PTX: 0, CodeForm.SASS: 1}
_FEATURE_ORDER: Final = {"": 0, "f": 1, "a": 2}


def max_ptx_isa(cuda: tuple[int, int]) -> tuple[int, int]:
    """Newest PTX ISA a driver of this CUDA version reads; for one newer than the table, the newest known.

    Raises:
        UsageError: older than CUDA 11.0.
    """
    known = [isa for version, isa in _ISA_OF_CUDA.items() if version <= cuda]
    if not known:
        raise UsageError(f"CUDA {cuda[0]}.{cuda[1]} is too old to judge (expected 11.0 or newer)")
    return max(known)


def cuda_reading_isa(isa: tuple[int, int]) -> tuple[int, int] | None:
    """First CUDA version (driver or ptxas) that reads this PTX ISA; None when it is newer than the table."""
    return min((cuda for cuda, known in _ISA_OF_CUDA.items() if known >= isa), default=None)


def same_family(one: ComputeCapability, other: ComputeCapability) -> bool:
    """Whether both belong to one family in the sense of the `f` suffix."""
    return any(one.canonical in family and other.canonical in family for family in _FAMILIES)


def sass_loads(arch: Arch, device: ComputeCapability) -> bool:
    """Whether machine code for `arch` loads on `device`, by the documented rules."""
    built, runs = arch.capability.canonical, device.canonical
    if built == runs:
        return True
    if arch.feature == "a" or built in _TEGRA or runs in _TEGRA:
        return False
    if arch.feature == "f" and not same_family(built, runs):
        return False
    return built.major == runs.major and built.minor <= runs.minor


def ptx_loads(arch: Arch, device: ComputeCapability) -> bool:
    """Whether the driver of `device` may compile PTX for `arch` (the ISA version apart)."""
    built, runs = arch.capability.canonical, device.canonical
    if arch.feature == "a":
        return built == runs
    if arch.feature == "f" and not same_family(built, runs):
        return False
    return built <= runs


def loads(image: ImageTraits, device: ComputeCapability) -> bool:
    """Whether the device's driver can use the image at all."""
    rules = {CodeForm.SASS: sass_loads, CodeForm.PTX: ptx_loads}
    return image.arch is not None and image.form in rules and rules[image.form](image.arch, device)


def select(images: Sequence[ImageTraits], device: ComputeCapability) -> int | None:
    """Index of the image the device takes out of one container, or None when nothing fits.

    NVIDIA's order: the highest architecture number; there SASS before PTX; there `a`, `f`, plain. So PTX for
    12.1 beats machine code for 12.0. The place in the container counts only between equals: the first.
    """
    fitting = [
        (
            (image.arch.capability.canonical.sm, _FORM_ORDER[image.form], _FEATURE_ORDER[image.arch.feature]),
            -index,
        )
        for index, image in enumerate(images)
        if image.arch is not None and loads(image, device)
    ]
    return -max(fitting)[1] if fitting else None


def grade_image(image: ImageTraits, target: Target) -> Grade | None:
    """Grade of one image on the target, None when it does not load there."""
    if image.arch is None or not loads(image, target.device):
        return None
    if image.form is CodeForm.PTX:
        return Grade.JIT_TOO_NEW if image.isa is not None and image.isa > target.max_isa else Grade.JIT
    if image.arch.capability.canonical == target.device.canonical:
        return Grade.NATIVE
    if _unproven(image, target.device):
        return Grade.SAME_MAJOR_UNPROVEN
    return Grade.FAMILY if image.arch.feature == "f" else Grade.SAME_MAJOR


def sorted_archs(archs: Iterable[Arch]) -> tuple[Arch, ...]:
    """Distinct archs as people list them: 80, 90, 90a, 120f. For display; it says nothing about fitness."""
    return tuple(sorted(set(archs), key=lambda arch: (arch.capability, _FEATURE_ORDER[arch.feature])))


def _unproven(image: ImageTraits, device: ComputeCapability) -> bool:
    if image.arch is None or image.arch.capability.major < _FIRST_MAJOR_WITH_FASTPATH or image.has_code is False:
        return False
    if image.fastpath_mask is None:
        return True
    # The tools write mask 0 for a cubin without code, so an unread one with mask 0 is taken for empty.
    bit = _FASTPATH_BIT.get(device)
    return image.has_code is True and bit is not None and not image.fastpath_mask & bit
