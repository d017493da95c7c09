from __future__ import annotations

import pytest

from shim.arch import ComputeCapability, Target
from shim.scan.alternatives import alternatives

BITSANDBYTES = [f"bitsandbytes/libbitsandbytes_cuda{v}.so" for v in ("118", "121", "124", "126", "128", "130", "132")]


def taken(members: list[str], target: Target) -> list[str]:
    return [member for member, choice in alternatives(members, target).items() if choice.decides]


@pytest.mark.parametrize(
    ("driver", "version"),
    [
        *(((13, 0), "130"), ((13, 1), "130"), ((13, 2), "132"), ((13, 5), "132"), ((12, 8), "128")),
        *(((12, 2), "121"), ((12, 0), "121"), ((11, 8), "118"), ((11, 0), "118"), ((14, 0), "132")),
    ],
)
def test_one_library_for_each_cuda(driver, version):
    assert taken(BITSANDBYTES, Target(driver_cuda=driver)) == [f"bitsandbytes/libbitsandbytes_cuda{version}.so"]


def test_what_is_said_of_them():
    found = alternatives([*BITSANDBYTES, "bitsandbytes/libbitsandbytes_cpu.so"], Target())
    assert set(found) == set(BITSANDBYTES)
    first = found[BITSANDBYTES[0]]
    assert (first.group, first.variant, first.decides) == ("bitsandbytes/libbitsandbytes_*.so", "CUDA 11.8", False)


@pytest.mark.parametrize(
    ("members", "decides"),
    [
        (["pkg/cu12/lib.so", "pkg/cu13/lib.so"], ["pkg/cu13/lib.so"]),
        (["pkg/lib_cu12.so", "pkg/lib_cu11.so"], ["pkg/lib_cu12.so"]),
        (["sgl_kernel/sm90/ops.so", "sgl_kernel/sm100/ops.so", "sgl_kernel/x.so"], ["sgl_kernel/sm100/ops.so"]),
        (["a/sm90/x.so", "a/sm100/x.so", "a/sm90/y.so", "a/sm100/y.so"], ["a/sm100/x.so", "a/sm100/y.so"]),
        (["a/sm_130/x.so", "a/sm_140/x.so"], ["a/sm_130/x.so"]),
        (["nvidia/cu13/lib/libcublas.so.13", "nvidia/cu13/lib/libcufft.so.12"], []),
        (["torch/lib/libtorch_cuda.so", "torch/lib/libtorch_cuda_linalg.so"], []),
        (["a/sm90/x.so", "b/sm100/x.so"], []),
        (["acu12.so", "acu13.so"], []),
    ],
)
def test_shapes(members, decides):
    assert taken(members, Target()) == decides


def test_folders_follow_the_device():
    members = ["k/sm90/ops.so", "k/sm100/ops.so"]
    assert taken(members, Target(device=ComputeCapability(9, 0))) == ["k/sm90/ops.so"]
