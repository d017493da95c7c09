from __future__ import annotations

from dataclasses import replace

import pytest

from shim.arch import Grade, Target
from shim.model import Alternative, Confidence, LibraryReport
from shim.scan.library import scan_library
from shim.scan.verdict import headline, judge, short_names
from tests.unit.scan.make import library

GB10 = Target()


def report(*groups: str | tuple[int, str], member: str = "pkg/lib.so", **changes: object) -> LibraryReport:
    return replace(scan_library(library(*groups, member=member), GB10).report, **changes)


def verdict(*reports: LibraryReport) -> tuple[Grade, str]:
    made = judge(reports, GB10)
    return made.grade, headline(reports, made)


class TestDeciding:
    def test_the_worst_library_decides(self):
        made = judge([report("sm_121", member="a.so"), report((3, "sm_80, compute_80"), member="b.so")], GB10)
        assert made.grade is Grade.JIT
        assert made.reasons == ("b.so: the driver compiles PTX (compute_80) of all 3 containers on first use",)

    def test_code_for_other_families_does_not_lower(self):
        grade, words = verdict(report("sm_120f"), report((192, "sm_90a"), member="pkg/fa3.so"))
        assert grade is Grade.FAMILY
        assert words.startswith("Runs on compute capability 12.1 as it is: sm_120f machine code fits")

    def test_nothing_but_code_for_other_families(self):
        grade, words = verdict(report("sm_100f", member="pkg/a.so"), report("sm_103a", member="pkg/b.so"))
        assert grade is Grade.NONE
        assert words == (
            "Does not run on compute capability 12.1: all of its GPU code is for other GPU families (a.so, b.so)."
        )

    def test_builds_that_are_not_taken_do_not_decide(self):
        old = report("sm_80", alternative=Alternative(group="*", variant="CUDA 11.8", decides=False))
        new = report("sm_121", alternative=Alternative(group="*", variant="CUDA 13.0", decides=True), member="n.so")
        made = judge([old, new], GB10)
        assert (made.grade, made.confidence) == (Grade.NATIVE, Confidence.MEDIUM)

    def test_static_libraries_decide_only_alone(self):
        static = report("sm_80", static=True, member="pkg/lib.a")
        assert verdict(report("sm_121"), static)[0] is Grade.NATIVE
        assert verdict(static)[0] is Grade.NONE

    def test_libraries_without_kernels_do_not_decide(self):
        assert verdict(report("sm_121"), report("sm_75 empty", member="x.so"))[0] is Grade.NATIVE
        assert verdict(report("sm_75 empty"))[0] is Grade.NO_DEVICE_CODE

    def test_the_least_sure_library_sets_the_confidence(self):
        assert judge([report("sm_121"), report("sm_120 cu12")], GB10).confidence is Confidence.LOW

    def test_many_reasons_are_cut(self):
        reports = [report("compute_80", member=f"l{number}.so") for number in range(20)]
        reasons = judge(reports, GB10).reasons
        assert len(reasons) == 6
        assert reasons[-1] == "and 15 more libraries"


class TestHeadline:
    @pytest.mark.parametrize(
        ("groups", "words"),
        [
            (["sm_121a"], "as it is, with machine code made for it. Nothing to patch."),
            (["sm_120"], "as it is: sm_120 machine code fits. No patch is needed."),
            (["sm_120 cu12"], "There is no PTX to compile: try it on the device."),
            (["sm_120 cu12, compute_80"], "`shim patch` makes it certain."),
            (["compute_80"], "first use costs 1 s of CPU time; `shim patch` does that beforehand."),
            (["compute_80 9.4"], "too new for that driver's compiler. `shim patch` mends that."),
            (["sm_90"], "nothing in it loads there. Patching cannot help"),
            (["sm_121", (7, "sm_90")], "nothing loads from 7 containers of lib.so."),
            (["compute_80", "sm_90"], "`shim patch` helps in part; the rest needs a rebuild."),
            (["embedded: sm_80, compute_80"], "first use costs 1 s of CPU time."),
        ],
    )
    def test_words(self, groups, words):
        assert words in verdict(report(*groups))[1]

    def test_dead_libraries_among_live_ones(self):
        grade, words = verdict(report("sm_121", member="p/a.so"), report("sm_90, sm_120a", member="p/infllm.so"))
        assert grade is Grade.NONE
        assert "Part of it fails on compute capability 12.1: nothing loads from 1 of 2 libraries (infllm.so)." in words


class TestShortNames:
    def test_as_short_as_they_are_distinct(self):
        members = ["k/sm90/ops.so", "k/sm100/ops.so", "k/other.so", "ops.so"]
        names = short_names([report("sm_80", member=member) for member in members])
        assert names == {
            "k/sm90/ops.so": "sm90/ops.so",
            "k/sm100/ops.so": "sm100/ops.so",
            "k/other.so": "other.so",
            "ops.so": "ops.so",
        }

    def test_sets_keep_their_path(self):
        assert short_names([report("sm_80", member="p/**/*.cubin", files=9)]) == {"p/**/*.cubin": "p/**/*.cubin"}
