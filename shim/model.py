"""What a scan says: findings, verdicts, reports. Values only; `shim.scan` makes them, `shim.cli` shows them.

Sizes are bytes, times are seconds. `shim.scan.document` turns reports into the JSON of `report.schema.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shim.arch import Grade, Target


class Severity(StrEnum):
    """How much a finding matters to somebody who wants to use the package on the target."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Confidence(StrEnum):
    """How sure a verdict is. HIGH rests on NVIDIA's documented rules alone."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Subject(StrEnum):
    """What kind of thing a report is about."""

    WHEEL = "wheel"
    SDIST = "sdist"
    FILE = "file"
    DIRECTORY = "directory"
    DISTRIBUTION = "distribution"


class Fit(StrEnum):
    """What the target makes of one container."""

    NATIVE = "native"
    FAMILY = "family"
    SAME_MAJOR = "same-major"
    UNPROVEN = "same-major-unproven"
    JIT = "jit"
    JIT_TOO_NEW = "jit-too-new"
    NOTHING = "nothing"  # nothing loads, and host code of the library would reach it
    OTHER_ARCH = "other-arch-only"  # nothing loads, but all of it is for other GPU families only
    NOT_JUDGED = "not-judged"  # linked or compiled by the library itself, or of an unknown kind
    NO_CODE = "no-code"  # no kernels in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check saw.

    Attributes:
        code: stable kebab-case name, usable with `--fail-on`.
        where: member or file, with an offset where there is one.
        evidence: the fact itself, short.
        hint: what to do about it, or "".
    """

    code: str
    severity: Severity
    where: str
    text: str
    evidence: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The grade on the target, why, and how sure that is."""

    target: Target
    grade: Grade
    reasons: tuple[str, ...]
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelNote:
    """One kernel of one container, as `--kernels` sees it.

    Attributes:
        images: the images of the container that define it, such as "sm_90a" or "compute_80".
        status: "ok", "missing" (the image that will be chosen lacks it, an older plain one has it),
            "other-arch-only", "suspicious-empty-kernel" or "nothing" (no image of the container loads).
        size: bytes of machine code (of body text for PTX) in the chosen image, None where it is absent.
        largest: the same in the sibling where it is largest.
    """

    name: str
    container: int
    images: tuple[str, ...]
    status: str
    size: int | None
    largest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An image kind the device will take, and from how many containers: ("sm_120f", 74)."""

    image: str
    containers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseCount:
    """Files (or bare images) of one architecture among loose GPU code, and what the target makes of them.

    Attributes:
        image: "sm_100f", "compute_80". size: bytes of all of them.
    """

    image: str
    fit: Fit
    count: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JitCost:
    """What the driver's compiler has to do on first use: a range of CPU seconds (`scan.jit_cost`)."""

    units: int
    ptx_bytes: int
    seconds_low: float
    seconds_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOutlook:
    """What `patch` would do for a library.

    action: "nothing", "compile" (PTX to machine code), "link" (relocatable PTX, then a device link),
    "optional" (runs already, compiling would make it certain) or "cannot".
    """

    action: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One of several builds of a library of which a machine loads one.

    group: the path with the varying part as `*`. variant: what tells the builds apart, such as "CUDA 13.0" or
    "sm_90". decides: this machine takes it.
    """

    group: str
    variant: str
    decides: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryReport:
    """One file that holds device code (or a set of like files, such as a folder of cubins).

    Attributes:
        files: 1, or how many files the set has.
        fits: containers (or loose images) by what the target makes of them; zero counts are left out.
        other_arch_only: nothing in it loads and all of it is for other GPU families, so it lowers no wheel.
        static: a .a or .o file, which nothing loads as it is.
        device_code_bytes, dead_bytes: as stored; dead is what the target never loads.
        loose: images that stand in no container, such as .cubin files, by architecture.
    """

    member: str
    format: str
    machine: str
    size: int
    files: int
    static: bool
    grade: Grade
    other_arch_only: bool
    reasons: tuple[str, ...]
    confidence: Confidence
    sass: tuple[str, ...]
    ptx: tuple[str, ...]
    lto: tuple[str, ...]
    takes: tuple[Taken, ...]
    fits: Mapping[Fit, int]
    device_code_bytes: int
    dead_bytes: int
    jit: JitCost | None
    patch: PatchOutlook
    alternative: Alternative | None
    needed: tuple[str, ...]
    glibc: str
    kernels: tuple[KernelNote, ...] | None
    loose: tuple[LooseCount, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether the library bears on the verdict of the whole."""
        taken = self.alternative is None or self.alternative.decides
        return taken and not self.static and not self.other_arch_only and self.grade.on_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class GateNote:
    """One gate, as a report shows it; `shim.source.gates.model` has the values of sign and effect.

    Attributes:
        path: in the package. line: from 1, 0 in compiled files, where `offset` (bytes) is set.
        changes: the target would be treated otherwise than its equals. code: of its finding, "" where it makes none.
        text: the source. words: what it does on the target. advice: a recipe's id, or what to do, or "".
    """

    path: str
    line: int
    offset: int | None
    scope: str
    form: str
    sign: str
    effect: str
    confidence: Confidence
    changes: bool
    code: str
    text: str
    words: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelReport:
    """The judgement of one wheel, sdist, file, directory or installed distribution.

    Attributes:
        name, version: of the distribution; the file name and "" where there is none.
        file: path, or the distribution's name.
        platforms: what its tags, or its ELF files, are for; glibc: the oldest that will do, "" when unknown.
        cuda: CUDA majors whose libraries it links.
        sha256: of the file, "" when it was not computed.
        headline: the verdict in words to act on.
        timings: seconds by phase.
        gates: None when they were not looked for.
    """

    subject: Subject
    name: str
    version: str
    file: str
    size: int
    sha256: str
    verdict: Verdict
    headline: str
    platforms: tuple[str, ...]
    glibc: str
    cuda: tuple[int, ...]
    libraries: tuple[LibraryReport, ...]
    findings: tuple[Finding, ...]
    timings: Mapping[str, float] = field(default_factory=dict)
    gates: tuple[GateNote, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentReport:
    """All distributions of a prefix that hold GPU code, or should. There is no grade of the whole."""

    prefix: str
    target: Target
    packages: tuple[WheelReport, ...]
    distributions: int
    from_cache: int
    findings: tuple[Finding, ...]
