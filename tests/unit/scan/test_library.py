"""Verdicts on whole libraries: the shapes that real wheels have, by the words of docs/formats.md."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shim.arch import ComputeCapability, Grade, Target
from shim.model import Confidence, Fit
from shim.scan.library import scan_library
from tests.unit.scan.make import FASTPATH_121, library, loose

GB10 = Target()

OLD = "sm_80, sm_87, sm_89, sm_90"

# name -> (groups, grade, fits). The first are libraries of wheels that people install; what is in them was read off
# the published files.
CASES = {
    "sgl-kernel common_ops: 120a and older, no PTX": (
        [(70, f"{OLD}, sm_90a, sm_100a, sm_101a, sm_120a"), (4, "sm_120a")],
        Grade.NONE,
        {Fit.NOTHING: 74},
    ),
    "sgl-kernel flash_ops: plain older code only": (
        [(182, "sm_80, sm_86, sm_90a")],
        Grade.NONE,
        {Fit.NOTHING: 182},
    ),
    "vllm fa2: sm_80 and its PTX": ([(76, "sm_80, compute_80")], Grade.JIT, {Fit.JIT: 76}),
    "vllm fa3: Hopper only": ([(192, "sm_90a")], Grade.NONE, {Fit.OTHER_ARCH: 192}),
    "vllm _C: family code beside PTX and code for other GPUs": (
        [(33, "sm_80, sm_120f"), (43, f"{OLD}, sm_120"), (6, "sm_80, compute_80"), (18, "sm_90a, sm_100f")],
        Grade.JIT,
        {Fit.FAMILY: 33, Fit.SAME_MAJOR: 43, Fit.JIT: 6, Fit.OTHER_ARCH: 18},
    ),
    "torch 2.15: ahead-of-time kernels for one plain architecture each": (
        [(477, "sm_75, sm_80, sm_120"), (29, "embedded: sm_90"), (29, "embedded: sm_100")],
        Grade.PARTIAL,
        {Fit.SAME_MAJOR: 477, Fit.NOTHING: 58},
    ),
    "torch 2.9 of CUDA 12.8": (
        [(359, "sm_90, sm_100 cu12, sm_120 cu12"), (38, "sm_90 empty, sm_120 cu12 empty")],
        Grade.SAME_MAJOR_UNPROVEN,
        {Fit.UNPROVEN: 359, Fit.NO_CODE: 38},
    ),
    "bitsandbytes cuda130: linked machine code": (
        ["linked: sm_90, sm_120, sm_121", (6, "prelinked: sm_90, sm_121, compute_121")],
        Grade.NATIVE,
        {Fit.NATIVE: 1},
    ),
    "bitsandbytes cuda118: linked by the driver from PTX": (
        ["linked: sm_75, sm_80, sm_90", (4, "prelinked: sm_80, compute_90"), (2, "prelinked: sm_75 empty")],
        Grade.JIT,
        {Fit.JIT: 1},
    ),
    "onnxruntime: native, with Hopper code and bare cubins": (
        [(317, "sm_89, sm_120a, sm_121a"), (292, "sm_90a")],
        Grade.NATIVE,
        {Fit.NATIVE: 317, Fit.OTHER_ARCH: 292},
    ),
    "infllm_ops: plain 90 and 120a": ([(4, "sm_90, sm_120a")], Grade.NONE, {Fit.NOTHING: 4}),
    "cuRAND: a container for each architecture in .data, PTX as the last resort": (
        [(221, "embedded: sm_120"), (220, "embedded: sm_110"), (221, "embedded: sm_90"), (216, "embedded: compute_75")],
        Grade.SAME_MAJOR,
        {Fit.SAME_MAJOR: 221, Fit.OTHER_ARCH: 441, Fit.NOT_JUDGED: 216},
    ),
    "cuFFT: LTO-IR for its own linker": (
        [(3, "embedded: lto_75"), "embedded: sm_75, sm_120, compute_75"],
        Grade.SAME_MAJOR,
        {Fit.SAME_MAJOR: 1, Fit.NOT_JUDGED: 3},
    ),
    "cupy: PTX of ISA 9.4 beside machine code that fits": (
        [(3, "sm_90, sm_120f, compute_120 9.4")],
        Grade.FAMILY,
        {Fit.FAMILY: 3},
    ),
    "PTX newer than the driver": ([(2, "sm_90, compute_90 9.4")], Grade.JIT_TOO_NEW, {Fit.JIT_TOO_NEW: 2}),
    "PTX for 12.1 beats machine code for 12.0": (["sm_120, compute_121"], Grade.JIT, {Fit.JIT: 1}),
    "one container without anything among good ones": (
        [(9, "sm_121"), "sm_87, sm_89"],
        Grade.PARTIAL,
        {Fit.NATIVE: 9, Fit.NOTHING: 1},
    ),
    "too new and nothing: still partial": (
        ["compute_90 9.4", "sm_90"],
        Grade.PARTIAL,
        {Fit.JIT_TOO_NEW: 1, Fit.NOTHING: 1},
    ),
    "empty PTX modules count for nothing": (
        [(3, "sm_121"), (195, "compute_52 empty")],
        Grade.NATIVE,
        {Fit.NATIVE: 3, Fit.NO_CODE: 195},
    ),
    "only empty containers": ([(2, "sm_75 empty")], Grade.NO_DEVICE_CODE, {Fit.NO_CODE: 2}),
    "the stub of nvcc -shared does not count": (["sm_121", "stub: sm_75"], Grade.NATIVE, {Fit.NATIVE: 1}),
    "neither does what nothing points at": (["sm_121", "unreferenced: sm_75"], Grade.NATIVE, {Fit.NATIVE: 1}),
    "Tile IR is not judged": (["sm_121", "tile_100"], Grade.NATIVE, {Fit.NATIVE: 1, Fit.NOT_JUDGED: 1}),
    "relocatable code nobody linked": (["prelinked: sm_80, compute_80"], Grade.JIT, {Fit.JIT: 1}),
    "one relocatable container cannot be linked": (
        ["linked: sm_90", "prelinked: sm_80, compute_80", "prelinked: sm_80"],
        Grade.NONE,
        {Fit.NOTHING: 1},
    ),
    "relocatable PTX that is too new": (
        ["linked: sm_90", "prelinked: compute_80", "prelinked: compute_80 9.2"],
        Grade.JIT_TOO_NEW,
        {Fit.JIT_TOO_NEW: 1},
    ),
    "linked for other families only": (
        ["linked: sm_90a", "prelinked: sm_90a"],
        Grade.NONE,
        {Fit.OTHER_ARCH: 1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_grade(case):
    groups, grade, fits = CASES[case]
    report = scan_library(library(*groups), GB10).report
    assert report.grade is grade
    assert dict(report.fits) == fits
    assert report.other_arch_only is (set(fits) == {Fit.OTHER_ARCH})


class TestLooseImages:
    def test_beside_containers_they_are_left_alone(self):
        both = library((317, "sm_121a"), member="libonnx.so")
        both = loose(*["sm_80"] * 114, member="libonnx.so", containers=both.containers, groups=both.groups)
        report = scan_library(both, GB10).report
        assert report.grade is Grade.NATIVE
        assert report.fits[Fit.NOT_JUDGED] == 114

    def test_one_that_loads_is_enough_for_a_set(self):
        report = scan_library(loose("sm_80", "sm_90", "sm_120", "sm_100f"), GB10).report
        assert report.fits == {Fit.UNPROVEN: 1, Fit.OTHER_ARCH: 3}
        assert report.grade is Grade.SAME_MAJOR_UNPROVEN

    def test_none_that_loads(self):
        assert scan_library(loose("sm_80", "sm_90"), GB10).report.grade is Grade.NONE
        assert scan_library(loose("sm_100f", "sm_103a"), GB10).report.other_arch_only

    def test_ptx_file(self):
        report = scan_library(loose("compute_90", format="ptx", machine=""), GB10).report
        assert (report.grade, report.patch.action) == (Grade.JIT, "cannot")
        assert "left alone" in report.patch.text

    def test_counted_by_architecture_and_verdict(self):
        code = loose(*["sm_100"] * 3, "sm_100f", "sm_120", "sm_90", "sm_90", format="cubin", elf_type="")
        report = scan_library(code, GB10).report
        assert [(one.image, one.fit, one.count, one.size) for one in report.loose] == [
            ("sm_90", Fit.OTHER_ARCH, 2, 2000),
            ("sm_100", Fit.OTHER_ARCH, 3, 3000),
            ("sm_100f", Fit.OTHER_ARCH, 1, 1000),
            ("sm_120", Fit.UNPROVEN, 1, 1000),
        ]

    def test_a_cubin_of_cuda_13_is_proven(self):
        code = loose("sm_120", format="cubin", elf_type="")
        proven = replace(code, loose=(replace(code.loose[0], compat=FASTPATH_121, has_code=True),))
        assert scan_library(proven, GB10).report.grade is Grade.SAME_MAJOR
        refused = replace(
            code, loose=(replace(code.loose[0], compat=bytes([4, 0x0B, 8, 0]) + bytes(8), has_code=True),)
        )
        assert scan_library(refused, GB10).report.grade is Grade.SAME_MAJOR_UNPROVEN


class TestReport:
    def test_what_is_in_it(self):
        code = library((2, "sm_90a, sm_80, sm_120f, compute_80, compute_90"), "lto_90", needed=("libcudart.so.13",))
        report = scan_library(code, GB10).report
        assert (report.sass, report.ptx, report.lto) == (("80", "90a", "120f"), ("80", "90"), ("90",))
        assert [(taken.image, taken.containers) for taken in report.takes] == [("sm_120f", 2)]
        assert (report.needed, report.glibc, report.machine) == (("libcudart.so.13",), "2.17", "aarch64")

    def test_bytes(self):
        report = scan_library(library((10, "sm_80, sm_120, compute_80"), (5, "sm_90a")), GB10).report
        assert report.device_code_bytes == 35 * 1064
        assert report.dead_bytes == 25 * 1064

    def test_bytes_of_a_run_time_link(self):
        report = scan_library(library("linked: sm_80", (4, "prelinked: sm_80, compute_80")), GB10).report
        assert report.device_code_bytes - report.dead_bytes == 4 * 1064
        assert [(taken.image, taken.containers) for taken in report.takes] == [("compute_80", 4)]

    def test_jit_cost(self):
        cost = scan_library(library((76, "sm_80, compute_80"), (9, "sm_121, compute_121")), GB10).report.jit
        assert (cost.units, cost.ptx_bytes) == (76, 76_000)
        assert 0 < cost.seconds_low < cost.seconds_high
        assert scan_library(library("sm_121, compute_121"), GB10).report.jit is None

    @pytest.mark.parametrize(
        ("groups", "confidence"),
        [
            (["sm_121"], Confidence.HIGH),
            (["linked: sm_80", "prelinked: compute_80"], Confidence.MEDIUM),
            (["embedded: sm_80, sm_121"], Confidence.MEDIUM),
            (["sm_121", "sm_120 cu12"], Confidence.LOW),
        ],
    )
    def test_confidence(self, groups, confidence):
        assert scan_library(library(*groups), GB10).report.confidence is confidence

    def test_static_libraries_are_marked(self):
        assert scan_library(library("sm_121", format="ar", elf_type=""), GB10).report.static
        assert scan_library(library("sm_121", elf_type="rel"), GB10).report.static
        assert not scan_library(library("sm_121"), GB10).report.static


class TestReasons:
    @pytest.mark.parametrize(
        ("groups", "sentence"),
        [
            (
                [(3, "sm_90, sm_120a")],
                "nothing loads on 12.1 from all 3 containers: sm_90, sm_120a; sm_120a loads on 12.0 alone",
            ),
            (["sm_121", "sm_90a"], "1 of 2 containers for other GPU families only (sm_90a)"),
            (["sm_120, compute_121"], "although machine code (sm_120) is there: PTX for a higher number wins"),
            (
                ["compute_80 9.4"],
                "PTX of ISA 9.4, which needs a driver of CUDA 13.4; the driver of CUDA 13.0 reads PTX up to 9.0",
            ),
            (
                ["linked: sm_80", (4, "prelinked: compute_80")],
                "compiles and links 4 modules of relocatable code (compute_80)",
            ),
            (["sm_120 cu12"], "NVIDIA's linker refuses it"),
            ([(2, "sm_121a")], "machine code that runs as it is in all 2 containers (sm_121a)"),
            (["sm_121", (7, "embedded: lto_75")], "not judged: 7 images"),
        ],
    )
    def test_sentence(self, groups, sentence):
        assert any(sentence in reason for reason in scan_library(library(*groups), GB10).report.reasons)

    def test_worst_first(self):
        reasons = scan_library(library("sm_121", "sm_90", "compute_80", "sm_90a"), GB10).report.reasons
        starts = ["nothing loads", "the driver compiles", "machine code", "1 of 4 containers for other"]
        assert [reason.startswith(start) for reason, start in zip(reasons, starts, strict=True)] == [True] * 4


class TestOutlook:
    @pytest.mark.parametrize(
        ("groups", "action", "text"),
        [
            (["sm_121"], "nothing", "nothing to do"),
            ([(34, "sm_80, compute_80")], "compile", "compile 34 PTX units"),
            (["compute_80", "sm_90"], "compile", "1 container without usable PTX: rebuild from source"),
            (["sm_90"], "cannot", "rebuild from source"),
            (["linked: sm_80", (4, "prelinked: compute_80")], "link", "compile 4 PTX units"),
            (["linked: sm_80", "linked: sm_80", "prelinked: compute_80"], "cannot", "2 linked containers"),
            (["embedded: sm_80, compute_80"], "cannot", "loaded by the library itself"),
            (["sm_120 cu12, compute_80"], "optional", "to be certain"),
            (["sm_120 cu12"], "nothing", "no PTX to compile"),
            (["linked: sm_120 cu12", "prelinked: compute_80"], "optional", "to be certain"),
            (["linked: sm_120 cu12", "prelinked: sm_80"], "nothing", "no PTX to compile"),
            ([(2, "sm_90a")], "nothing", "it is for other GPUs"),
        ],
    )
    def test_words(self, groups, action, text):
        patch = scan_library(library(*groups), GB10).report.patch
        assert patch.action == action
        assert text in patch.text


@pytest.mark.parametrize(
    ("device", "group", "grade"),
    [
        ("8.0", "sm_80, sm_90", Grade.NATIVE),
        ("8.6", "sm_80, sm_90", Grade.SAME_MAJOR),
        ("9.0", "sm_80, compute_80", Grade.JIT),
        ("10.3", "sm_100f", Grade.FAMILY),
        ("11.0", "sm_101a", Grade.NATIVE),
        ("12.0", "sm_121", Grade.NONE),
    ],
)
def test_other_targets(device, group, grade):
    target = Target(device=ComputeCapability.parse(device))
    assert scan_library(library(group), target).report.grade is grade
