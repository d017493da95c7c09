"""The compatibility rules, against tables written down from NVIDIA's documents and selector, not from the code."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.arch import (
    Arch,
    CodeForm,
    ComputeCapability,
    Grade,
    ImageTraits,
    Target,
    cuda_reading_isa,
    grade_image,
    max_ptx_isa,
    ptx_loads,
    same_family,
    sass_loads,
    select,
    sorted_archs,
)
from shim.errors import UsageError

GB10 = ComputeCapability(12, 1)

# docs/formats.md 7.2, the table for device 12.1: what loads as machine code, what as PTX.
LOADS_ON_GB10 = {
    **dict.fromkeys(("75", "80", "86", "87", "89", "90", "100", "103", "110"), (False, True)),
    **dict.fromkeys(("90a", "100a", "103a", "110a", "100f", "103f", "110f"), (False, False)),
    "120": (True, True),
    "120f": (True, True),
    "120a": (False, False),
    "121": (True, True),
    "121a": (True, True),
    "121f": (True, True),
    **dict.fromkeys(("122", "130", "200"), (False, False)),
}

ENTRIES = [
    *("52", "75", "80", "86", "87", "89", "90", "90a", "100", "100a", "100f", "101", "101a", "101f"),
    *("103", "103a", "103f", "107", "107a", "107f", "110", "110a", "110f", "120", "120a", "120f", "121", "121a"),
    "121f",
]
DEVICES = ["8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "10.7", "11.0", "12.0", "12.1"]


def reference(entry: str, device: str) -> tuple[bool, bool]:
    """The general form of docs/formats.md 7.2, on text, with the notes on Tegra and on the number 101."""
    number, suffix = re.fullmatch(r"(\d+?)([af]?)", entry).groups()
    number = {"101": "110"}.get(number, number)
    wanted = device.replace(".", "")
    family = next((f for f in ("100 103 107", "110", "120 121") if number in f.split()), number)
    related = wanted in family.split()
    exact = number == wanted
    same_major, not_newer = number[:-1] == wanted[:-1], number[-1] <= wanted[-1]
    tegra = {"87", "110"} & {number, wanted} and not exact
    if suffix == "a":
        return exact, exact
    if suffix == "f":
        return related and not_newer and not tegra, related and not_newer
    return same_major and not_newer and not tegra, int(number) <= int(wanted)


def sass(arch: str, *, mask: int | None = 0x50, code: bool | None = True) -> ImageTraits:
    return ImageTraits(form=CodeForm.SASS, arch=Arch.parse(arch), fastpath_mask=mask, has_code=code)


def ptx(arch: str, isa: tuple[int, int] = (8, 0)) -> ImageTraits:
    return ImageTraits(form=CodeForm.PTX, arch=Arch.parse(arch), isa=isa)


class TestNames:
    @pytest.mark.parametrize(("text", "sm"), [("12.1", 121), ("8.0", 80), ("10.3", 103)])
    def test_capability(self, text, sm):
        capability = ComputeCapability.parse(text)
        assert (str(capability), capability.sm) == (text, sm)
        assert ComputeCapability.from_sm(sm) == capability

    @pytest.mark.parametrize("text", ["12", "121", "12.1a", "", "12.", "-1.0", "12.10", "sm_121"])
    def test_not_a_capability(self, text):
        with pytest.raises(UsageError, match=r"expected MAJOR\.MINOR"):
            ComputeCapability.parse(text)

    @pytest.mark.parametrize(("text", "name"), [("sm_121a", "121a"), ("compute_120f", "120f"), ("90", "90")])
    def test_arch(self, text, name):
        assert str(Arch.parse(text)) == name

    @pytest.mark.parametrize("text", ["sm_", "sm_121b", "native", "1210", "sm121"])
    def test_not_an_arch(self, text):
        with pytest.raises(UsageError, match="not an architecture"):
            Arch.parse(text)

    def test_suffix_is_checked(self):
        with pytest.raises(ValueError, match="suffix"):
            Arch(GB10, "x")

    def test_archs_have_no_order(self):
        with pytest.raises(TypeError):
            sorted([Arch.parse("121"), Arch.parse("120a")])
        assert len({Arch.parse("sm_120a"), Arch.parse("compute_120a")}) == 1

    def test_order_of_display(self):
        shuffled = [Arch.parse(name) for name in ("120f", "90a", "80", "120", "90", "120a", "80")]
        assert [str(arch) for arch in sorted_archs(shuffled)] == ["80", "90", "90a", "120", "120f", "120a"]

    def test_thor_has_two_numbers(self):
        assert ComputeCapability(10, 1).canonical == ComputeCapability(11, 0)
        assert same_family(ComputeCapability(10, 1), ComputeCapability(11, 0))
        assert not same_family(ComputeCapability(10, 1), ComputeCapability(10, 3))

    def test_machines(self):
        machines = {str(c): c.machine for c in map(ComputeCapability.parse, ["12.1", "11.0", "12.0", "9.0"])}
        assert machines == {"12.1": "aarch64", "11.0": "aarch64", "12.0": None, "9.0": None}


class TestLoading:
    @pytest.mark.parametrize(("arch", "loads"), LOADS_ON_GB10.items())
    def test_gb10(self, arch, loads):
        assert (sass_loads(Arch.parse(arch), GB10), ptx_loads(Arch.parse(arch), GB10)) == loads

    @pytest.mark.parametrize("device", DEVICES)
    def test_general_form(self, device):
        capability = ComputeCapability.parse(device)
        found = {e: (sass_loads(Arch.parse(e), capability), ptx_loads(Arch.parse(e), capability)) for e in ENTRIES}
        assert found == {e: tuple(map(bool, reference(e, device))) for e in ENTRIES}

    def test_newer_code_never_runs_on_an_older_card(self):
        assert not sass_loads(Arch.parse("121"), ComputeCapability(12, 0))
        assert not ptx_loads(Arch.parse("121"), ComputeCapability(12, 0))

    @pytest.mark.parametrize(("arch", "device"), [("87", "8.9"), ("80", "8.7"), ("86", "8.7")])
    def test_tegra_stands_apart(self, arch, device):
        assert not sass_loads(Arch.parse(arch), ComputeCapability.parse(device))


# docs/formats.md 7.3, as nvJitLink 13.5 selects for sm_121a; the winner, or None for "reject".
SELECTED = [
    (["sm_121", "sm_90", "compute_80"], "sm_121"),
    (["sm_121a", "sm_121"], "sm_121a"),
    (["sm_121f", "sm_121"], "sm_121f"),
    (["sm_120", "compute_80"], "sm_120"),
    (["sm_120f", "compute_120"], "sm_120f"),
    (["sm_120", "compute_121"], "compute_121"),
    (["sm_120", "compute_121a"], "compute_121a"),
    (["sm_120f", "sm_121"], "sm_121"),
    (["sm_120a"], None),
    (["sm_90", "compute_120a", "compute_90a"], None),
    (["compute_75", "compute_90", "compute_80"], "compute_90"),
    (["sm_121", "compute_121"], "sm_121"),
    (["compute_121", "compute_121f", "compute_121a"], "compute_121a"),
    ([], None),
]


def image(name: str) -> ImageTraits:
    return sass(name) if name.startswith("sm_") else ptx(name)


class TestSelection:
    @pytest.mark.parametrize(("names", "winner"), SELECTED)
    def test_table(self, names, winner):
        for order in itertools.permutations(names):
            chosen = select([image(name) for name in order], GB10)
            assert (None if chosen is None else order[chosen]) == winner

    def test_the_first_of_equals(self):
        assert select([ptx("80"), sass("121"), sass("121")], GB10) == 1

    def test_kinds_that_never_load(self):
        opaque = [ImageTraits(form=form, arch=Arch.parse("121")) for form in (CodeForm.LTO_IR, CodeForm.OTHER)]
        assert select([*opaque, ImageTraits(form=CodeForm.SASS, arch=None)], GB10) is None

    @given(st.lists(st.tuples(st.sampled_from(ENTRIES), st.booleans()), max_size=8), st.sampled_from(DEVICES))
    def test_takes_the_best_of_what_loads(self, entries, device):
        images = [ptx(arch) if is_ptx else sass(arch) for arch, is_ptx in entries]
        loads = [i for i, (arch, is_ptx) in enumerate(entries) if reference(arch, device)[is_ptx]]
        chosen = select(images, ComputeCapability.parse(device))
        assert (chosen is None) == (not loads)
        if chosen is not None:
            assert chosen in loads
            best = max(images[i].arch.capability.canonical for i in loads)
            assert images[chosen].arch.capability.canonical == best
            rivals = [i for i in loads if images[i].arch.capability.canonical == best]
            if any(images[i].form is CodeForm.SASS for i in rivals):
                assert images[chosen].form is CodeForm.SASS


GRADED = [
    ("12.1", sass("121"), Grade.NATIVE),
    ("12.1", sass("121a"), Grade.NATIVE),
    ("12.1", sass("121f"), Grade.NATIVE),
    ("12.1", sass("120f"), Grade.FAMILY),
    ("12.1", sass("120"), Grade.SAME_MAJOR),
    ("12.1", sass("120", mask=None), Grade.SAME_MAJOR_UNPROVEN),
    ("12.1", sass("120f", mask=None), Grade.SAME_MAJOR_UNPROVEN),
    ("12.1", sass("120", mask=None, code=None), Grade.SAME_MAJOR_UNPROVEN),
    ("12.1", sass("120", mask=None, code=False), Grade.SAME_MAJOR),
    ("12.1", sass("120", mask=0x10), Grade.SAME_MAJOR_UNPROVEN),
    ("12.1", sass("120", mask=0, code=None), Grade.SAME_MAJOR),
    ("12.1", sass("121", mask=None), Grade.NATIVE),
    ("12.1", sass("120a"), None),
    ("12.1", sass("90"), None),
    ("12.1", ptx("80"), Grade.JIT),
    ("12.1", ptx("121", (9, 0)), Grade.JIT),
    ("12.1", ptx("80", (9, 1)), Grade.JIT_TOO_NEW),
    ("12.1", ptx("120a"), None),
    ("12.0", sass("120a"), Grade.NATIVE),
    ("12.0", sass("121"), None),
    ("8.6", sass("80", mask=None), Grade.SAME_MAJOR),
    ("8.9", sass("86", mask=None), Grade.SAME_MAJOR),
    ("8.0", sass("80", mask=None), Grade.NATIVE),
    ("9.0", sass("90a", mask=None), Grade.NATIVE),
    ("10.3", sass("100f", mask=9), Grade.FAMILY),
    ("10.3", sass("100", mask=None), Grade.SAME_MAJOR_UNPROVEN),
    ("10.0", sass("103f", mask=0), None),
    ("11.0", sass("101a", mask=None), Grade.NATIVE),
    ("11.0", ptx("101f"), Grade.JIT),
]


class TestGrades:
    @pytest.mark.parametrize(("device", "traits", "grade"), GRADED)
    def test_image(self, device, traits, grade):
        assert grade_image(traits, Target(device=ComputeCapability.parse(device))) is grade

    def test_a_newer_driver_reads_newer_ptx(self):
        assert grade_image(ptx("80", (9, 1)), Target(driver_cuda=(13, 1))) is Grade.JIT
        assert grade_image(ptx("80", (8, 8)), Target(driver_cuda=(12, 8))) is Grade.JIT_TOO_NEW

    def test_total_order(self):
        names = ["native", "family", "same-major", "same-major-unproven", "jit", "jit-too-new", "partial", "none"]
        ordered = [Grade.parse(name) for name in names]
        assert ordered == sorted(ordered, reverse=True)
        beside = [Grade.parse(name) for name in ("no-device-code", "cpu-only", "placeholder", "jit-at-runtime")]
        assert all(grade < Grade.NONE and not grade.on_scale for grade in beside)
        assert {*ordered, *beside} == set(Grade)

    def test_labels(self):
        assert [str(grade) for grade in (Grade.SAME_MAJOR_UNPROVEN, Grade.JIT)] == ["same-major-unproven", "jit"]
        with pytest.raises(UsageError, match="expected one of native, family"):
            Grade.parse("best")


class TestIsa:
    # PTX ISA manual, release history.
    @pytest.mark.parametrize(
        ("cuda", "isa"),
        [
            *(((11, 8), (7, 8)), ((12, 0), (8, 0)), ((12, 5), (8, 5)), ((12, 6), (8, 5)), ((12, 7), (8, 6))),
            *(((12, 8), (8, 7)), ((12, 9), (8, 8)), ((13, 0), (9, 0)), ((13, 1), (9, 1)), ((13, 5), (9, 5))),
        ],
    )
    def test_history(self, cuda, isa):
        assert max_ptx_isa(cuda) == isa

    def test_beyond_the_table(self):
        assert max_ptx_isa((12, 12)) == (8, 8)
        assert max_ptx_isa((99, 0)) == max_ptx_isa((13, 5))
        with pytest.raises(UsageError, match=r"11\.0 or newer"):
            max_ptx_isa((10, 2))

    def test_first_cuda_that_reads(self):
        assert [cuda_reading_isa(isa) for isa in ((8, 5), (9, 4), (7, 0))] == [(12, 5), (13, 4), (11, 0)]
        assert cuda_reading_isa((99, 0)) is None

    def test_the_spark_is_the_default(self):
        target = Target()
        assert (str(target.device), target.driver_cuda, target.max_isa) == ("12.1", (13, 0), (9, 0))
