"""What is compiled first, and when no more is started. The clock is a number that the tests set."""

from __future__ import annotations

import pytest

from shim.applying.budget import FIRST_PACE, HARD, HEAD_DIMENSIONS, MARGIN, Admission, Budget, head_dimensions, rank_of

# As `cuobjdump --list-text` shows them in vLLM 0.33 and torch 2.9.
FORWARD = "_ZN5flash16flash_fwd_kernelI23Flash_fwd_kernel_traitsILi{0}ELi128ELi32ELi4ELb0ELb0EN7cutlass6half_tE19x"
BACKWARD = (
    "_ZN13pytorch_flash44flash_bwd_dq_dk_dv_loop_seqk_parallel_kernelI23Flash_bwd_kernel_traitsILi{0}ELi64ELi128ELi8E"
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("form", [FORWARD, BACKWARD])
@pytest.mark.parametrize("dimension", [32, 64, 96, 128, 192, 256])
def test_the_head_dimension_is_the_first_number_of_the_traits(form, dimension):
    assert head_dimensions([form.format(dimension)]) == {dimension}


def test_other_kernels_have_none():
    assert head_dimensions(["_Z5scalePfi", "_ZN5flash10flash_mainILi128EEvv", ""]) == frozenset()


def test_the_most_used_dimension_comes_first():
    order = sorted([32, 96, 256, 512, 64, 192, 128], key=lambda d: rank_of([FORWARD.format(d)], 1000))
    assert order == [128, 64, 256, 192, 96, 32, 512]
    assert list(HEAD_DIMENSIONS.values()) == sorted(HEAD_DIMENSIONS.values(), reverse=True)


def test_use_goes_before_cost():
    assert rank_of([FORWARD.format(128)], 10**8) < rank_of([FORWARD.format(64)], 10)


def test_cost_is_for_each_kernel():
    names = [FORWARD.format(128)]
    assert rank_of(names * 4, 2000) < rank_of(names, 1000) < rank_of(names * 2, 2001)


def test_a_container_is_as_good_as_its_best_dimension():
    mixed = [FORWARD.format(32), FORWARD.format(128)]
    assert rank_of(mixed, 200)[0] == rank_of([FORWARD.format(128)], 100)[0]


def test_other_kernels_stand_beside_the_most_used_attention():
    assert rank_of(["_Z4gemm"], 100) < rank_of([FORWARD.format(128)], 200) < rank_of(["_Z4gemm"], 300)
    assert rank_of(["_Z4gemm"], 10**9) < rank_of([FORWARD.format(64)], 1)


def test_a_container_without_kernels_has_a_rank():
    assert rank_of([], 5) == (0, 5)


def test_time_counts_from_the_first_unit(clock):
    budget = Budget(100, clock=clock)
    clock.now += 5000
    assert budget.until_end == HARD * 100
    budget.begin()
    clock.now += 30
    budget.begin()
    assert budget.until_end == HARD * 100 - 30


def test_what_fits_at_first_is_told_from_a_measured_pace(clock):
    budget = Budget(100, clock=clock)
    most = int(100 / (MARGIN * FIRST_PACE))
    assert budget.fits([most - 1], 1)
    assert not budget.fits([most + 1000], 1)


def test_what_fits_is_learned(clock):
    budget = Budget(100, clock=clock)
    budget.begin()
    budget.learn(50_000_000, 5)  # 10 MB a second
    assert budget.fits([300_000_000], 1)
    budget.learn(50_000_000, 5000)
    assert not budget.fits([3_000_000], 1)


def test_nothing_fits_when_the_time_is_over(clock):
    budget = Budget(100, clock=clock)
    budget.begin()
    clock.now += 100.001
    assert not budget.fits([0], 8)
    assert budget.until_end > 0, "what runs may end"


def test_units_of_a_set_are_compiled_side_by_side(clock):
    budget = Budget(100, clock=clock)
    size = int(60 / (MARGIN * FIRST_PACE))
    assert not budget.fits([size, size], 1)
    assert budget.fits([size, size], 2)
    assert not budget.fits([size] * 4, 2)
    assert not budget.fits([2 * size], 8), "one unit is not made faster by more compilers"


def test_without_a_budget_everything_may_start():
    gate = Admission(None, 2)
    gate.expect("a", 10**12, frozenset({"a"}))
    assert gate.admits("a")
    gate.start("a")
    gate.end("a", compiled=True)
    assert gate.seconds(7200) == 7200


def test_a_set_that_was_begun_is_finished(clock):
    size = int(40 / (MARGIN * FIRST_PACE))
    gate = Admission(Budget(100, clock=clock), 1)
    for unit in ("one", "two"):
        gate.expect(unit, size, frozenset({"both"}))
    gate.expect("other", size, frozenset({"other"}))
    assert gate.admits("one")
    gate.start("one")
    clock.now += 90
    gate.end("one", compiled=True)
    assert gate.admits("two"), "it would be too late, but the first one is of no use alone"
    assert not gate.admits("other")
    gate.start("two")
    assert gate.seconds(7200) == HARD * 100 - 90


def test_a_set_that_is_too_large_is_not_begun(clock):
    size = int(60 / (MARGIN * FIRST_PACE))
    gate = Admission(Budget(100, clock=clock), 1)
    for unit in ("one", "two"):
        gate.expect(unit, size, frozenset({"both"}))
    assert not gate.admits("one")
    assert not gate.admits("two")


def test_a_unit_that_serves_two_sets_starts_with_either(clock):
    size = int(60 / (MARGIN * FIRST_PACE))
    gate = Admission(Budget(100, clock=clock), 1)
    gate.expect("shared", size, frozenset({"small", "large"}))
    gate.expect("more", size, frozenset({"large"}))
    assert gate.admits("shared")
    gate.start("shared")
    clock.now += 10
    gate.end("shared", compiled=True)
    assert gate.admits("more"), "what is missing of the large set fits by now"


def test_a_failure_teaches_nothing(clock):
    budget = Budget(100, clock=clock)
    gate = Admission(budget, 1)
    gate.expect("bad", 1000, frozenset({"bad"}))
    gate.start("bad")
    before = budget.expected(10**6)
    clock.now += 90
    gate.end("bad", compiled=False)
    assert budget.expected(10**6) == before


def test_the_time_is_never_below_zero(clock):
    gate = Admission(Budget(1, clock=clock), 1)
    gate.expect("a", 1, frozenset({"a"}))
    gate.start("a")
    clock.now += 99
    assert gate.seconds(7200) == 0.0
