"""A new cubin must define what host code looks up in it."""

from __future__ import annotations

from shim.devicecode import CubinInfo, Kernel
from shim.verifying.kernels import check_cubin, check_same


def kernel(name: str, *sizes: int) -> Kernel:
    return Kernel(name=name, size=100, instructions=None, parameters=tuple(enumerate(sizes)))


def cubin(*kernels: Kernel, objects: tuple[tuple[str, int], ...] = (), sm: int = 121) -> CubinInfo:
    return CubinInfo(abi=8, sm=sm, feature="", linked=True, compat=b"", kernels=kernels, objects=objects)


def test_equal_sets_pass() -> None:
    new = cubin(kernel("a", 8, 4), objects=(("table", 64), (".nv.reservedSmem.offset0", 4)))
    old = cubin(kernel("a", 8, 4), objects=(("table", 64), (".nv.reservedSmem.cap", 4)), sm=80)
    check = check_cubin(new, [[kernel("a", 8, 4)]], old)
    assert (check.faults, check.notes, check.kernels, check.objects) == ((), (), 1, 1)


def test_missing_and_extra_kernels_are_faults() -> None:
    check = check_cubin(cubin(kernel("a"), kernel("x")), [[kernel("a")], [kernel("b")]], None)
    assert check.faults == ("kernels of the PTX are missing: b", "kernels that the PTX does not have: x")


def test_parameter_sizes_count_and_opaque_ones_do_not() -> None:
    assert check_cubin(cubin(kernel("a", 8)), [[kernel("a", 0)]], None).faults == ()
    (fault,) = check_cubin(cubin(kernel("a", 8)), [[kernel("a", 4)]], None).faults
    assert fault == "a: parameter 0 has another size than in the PTX"
    (fault,) = check_cubin(cubin(kernel("a", 8)), [[kernel("a", 8, 8)]], None).faults
    assert fault == "a takes 1 parameters, in the PTX 2"


def test_kernels_that_only_siblings_have_are_noted() -> None:
    check = check_cubin(cubin(kernel("a")), [[kernel("a")]], cubin(kernel("a"), kernel("old"), sm=80))
    assert check.faults == ()
    assert check.notes == ("the PTX lacks kernels that sm_80 has: old",)


def test_variables_must_be_there_with_their_size() -> None:
    old = cubin(kernel("a"), objects=(("t", 4), ("u", 8)), sm=80)
    check = check_cubin(cubin(kernel("a"), objects=(("u", 16),)), [[kernel("a")]], old)
    assert check.faults == ("device variables are missing: t", "device variables changed size: u")


def test_restamped_code_must_be_the_same() -> None:
    old = cubin(kernel("a", 8), objects=(("table", 64),), sm=120)
    assert check_same(cubin(kernel("a", 8), objects=(("table", 64),)), old).faults == ()
    for new in (cubin(kernel("a", 4), objects=old.objects), cubin(objects=old.objects), cubin(kernel("b", 8))):
        assert "its kernels are not those of the machine code it was made of" in check_same(new, old).faults
    (fault,) = check_same(cubin(kernel("a", 8), objects=(("table", 32),)), old).faults
    assert fault == "its variables are not those of the machine code it was made of"
