"""Decisions: architectures, suffixes, jobs, machines, isolation, requirements, environment, effort."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from shim.arch import Arch, ComputeCapability, Grade
from shim.building.cross import check_machine
from shim.building.effort import effort_of
from shim.building.environment import build_environment
from shim.building.isolation import Isolation, extended, plan_isolation
from shim.building.jobs import job_count, job_settings
from shim.building.metadata import read_metadata
from shim.building.probe import UnitFlags, unit_flags
from shim.building.python import BuildPython
from shim.building.requirements import build_requirements, missing
from shim.building.strategy import Strategy, choose
from shim.building.suffix import suffix_signs
from shim.errors import InputError, PlanError, UsageError
from shim.source.tree import FolderTree
from shim.toolchain.front import NvccCall
from tests.unit.building.packages import folder

GB10 = ComputeCapability(12, 1)


@pytest.mark.parametrize(
    ("strategy", "suffix", "arch", "ptx", "grade"),
    [
        ("native", False, "121", "", Grade.NATIVE),
        ("native", True, "121a", "", Grade.NATIVE),
        ("family", False, "120", "", Grade.SAME_MAJOR),
        ("family", True, "120f", "", Grade.FAMILY),
        ("sm80", False, "80", "80", Grade.JIT),
    ],
)
def test_strategies(strategy: str, suffix: bool, arch: str, ptx: str, grade: Grade) -> None:
    plan = choose(Strategy(strategy), GB10, suffix=suffix)
    assert (str(plan.arch), "".join(map(str, plan.ptx)), plan.promised) == (arch, ptx, grade)


def test_ptx_beside_native_code_and_no_fallback_for_older_cards() -> None:
    plan = choose(Strategy.NATIVE, GB10, suffix=False, with_ptx=(Arch.parse("80"),))
    assert str(plan) == "sm_121 + PTX 80"
    with pytest.raises(UsageError):
        choose(Strategy.SM80, ComputeCapability(7, 5), suffix=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('asm("mma.sync.aligned.kind::mxf4nvf4.block_scale")', True),
        ('asm("cvt.rn.satfinite.e2m1x2.f32 %0")', True),
        ('asm("setmaxnreg.inc.sync")', True),
        ('asm("cvt.rn.satfinite.e4m3x2.f32 %0")', False),
        ('asm("wgmma.fence"); asm("setmaxnreg.dec")', False),
        ("__global__ void f() {}", False),
    ],
)
def test_suffixes(tmp_path: Path, text: str, found: bool) -> None:
    tree = FolderTree(folder(tmp_path, {"setup.py": "", "csrc/a.cu": text}))
    assert bool(suffix_signs(tree)) is found


def test_jobs_are_bounded_by_memory() -> None:
    assert job_count(cores=16, available=10 << 30) == 3
    assert job_count(cores=2, available=64 << 30) == 2
    assert job_count(cores=8, available=1 << 30) == 1
    assert job_count(wanted=7, cores=2, available=1 << 30) == 7
    assert job_settings(3)["MAX_JOBS"] == "3"


def test_another_processor_is_refused_with_the_reason() -> None:
    check_machine("aarch64", present="aarch64")
    check_machine(None, present="x86_64")
    with pytest.raises(PlanError, match="host code") as caught:
        check_machine("aarch64", present="x86_64")
    assert "qemu" in (caught.value.hint or "")


def python(**packages: str) -> BuildPython:
    root = Path("/env")
    return BuildPython(
        executable=root / "bin/python",
        version=(3, 11, 7),
        prefix=root,
        sites=(root / "site",),
        scripts=root / "bin",
        packages={name.replace("_", "-"): version for name, version in packages.items()},
        include=root / "include",
    )


def test_isolation() -> None:
    wanted = [Requirement("setuptools"), Requirement("torch"), Requirement("ninja>=1.11")]
    with pytest.raises(PlanError, match="torch"):
        plan_isolation(wanted, python(setuptools="80"), uses_torch=False)
    full = plan_isolation(wanted, python(setuptools="80", torch="2.14.1", ninja="1.13"), uses_torch=False)
    assert (full.kind, full.install) == (Isolation.OWN, ())
    old = plan_isolation(wanted, python(setuptools="80", torch="2.14.1", ninja="1.10"), uses_torch=False)
    assert (old.kind, list(map(str, old.install))) == (Isolation.LAYERED, ["ninja>=1.11"])
    alone = plan_isolation([Requirement("setuptools")], python(setuptools="80"), uses_torch=False)
    assert alone.kind is Isolation.ISOLATED
    hidden = plan_isolation([Requirement("setuptools")], python(setuptools="80", torch="2.14.1"), uses_torch=True)
    assert hidden.kind is Isolation.OWN
    assert extended(hidden, (Requirement("x"),)).kind is Isolation.LAYERED


def requirements(tmp_path: Path, files: dict[str, str], *extra: str) -> set[str]:
    tree = FolderTree(folder(tmp_path, files))
    found = build_requirements(tree, read_metadata(tree, label="it", filename="it-1.0.tar.gz"), extra)
    return set(map(str, found))


def test_what_an_old_setup_py_imports(tmp_path: Path) -> None:
    files = {
        "setup.py": "from Cython.Build import cythonize\nimport numpy\nfrom distutils import ccompiler, msvccompiler\n",
        "a.pyx": "cimport scipy.linalg.cython_blas as b\nfrom cython cimport floating\n",
        "a.cpp": "/* Generated by Cython 0.29.24 */\n",
    }
    assert requirements(tmp_path, files) == {"setuptools<74,>=40.8", "wheel", "cython<3", "numpy", "scipy"}


def test_declared_requirements_are_taken_as_they_are(tmp_path: Path) -> None:
    files = {"pyproject.toml": '[build-system]\nrequires = ["setuptools", "x; python_version < \'3\'"]\n',
             "setup.py": "import numpy, pkg_resources\n"}  # fmt: skip
    assert requirements(tmp_path / "a", files) == {"setuptools<82"}
    assert requirements(tmp_path / "b", files, "setuptools==75.1") == {"setuptools==75.1"}
    with pytest.raises(InputError, match="not a requirement"):
        requirements(tmp_path / "c", files, "??")


def test_missing() -> None:
    wanted = [Requirement("A_b>=2"), Requirement("c")]
    assert missing(wanted, {"a-b": "2.1", "c": "1"}) == ()
    assert [one.name for one in missing(wanted, {"a-b": "1.9"})] == ["A_b", "c"]


def test_the_environment_lets_nothing_through_that_is_not_named(tmp_path: Path) -> None:
    present = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "s", "HF_TOKEN": "t", "https_proxy": "u:p@x", "CC": "gcc"}
    found = build_environment(tmp_path, present=present)
    assert set(present) & set(found) == {"PATH", "CC"}
    assert found["HOME"] == str(tmp_path / "home")
    assert build_environment(tmp_path, present=present, passed=("HF_TOKEN",))["HF_TOKEN"] == "t"
    assert build_environment(tmp_path, present=present, network=True)["https_proxy"] == "u:p@x"
    with pytest.raises(UsageError, match="NOT_THERE"):
        build_environment(tmp_path, present=present, passed=("NOT_THERE",))


def test_effort_counts_sources_and_sees_torch(tmp_path: Path) -> None:
    plain = effort_of(FolderTree(folder(tmp_path / "a", {"setup.py": "", "a.cu": "", "tests/b.cu": ""})))
    torch = effort_of(FolderTree(folder(tmp_path / "b", {"setup.py": "import torch", "a.cu": ""})))
    assert (plain.units, plain.torch, torch.torch) == (1, False, True)
    assert torch.low > plain.low
    assert "no CUDA" in str(effort_of(FolderTree(folder(tmp_path / "c", {"setup.py": ""}))))


def call(argv: str, **facts: object) -> NvccCall:
    values: dict[str, object] = {
        "tool": "nvcc", "kind": "compile", "argv": tuple(argv.split()), "argv_after": (), "environ_after": {},
        "cwd": "/w/source", "output": None, "archs_before": (), "archs_after": (), "dropped": (), "changed": False,
        "recorded": True, "note": "", **facts,
    }  # fmt: skip
    return NvccCall(**values)  # type: ignore[arg-type]


def test_units_of_a_probe() -> None:
    calls = [
        call("-c -std=c++17 /w/source/csrc/a.cu -o a.o", archs_before=("sm_53", "sm_80"), dropped=("sm_53",)),
        call("-c -std=c++17 /w/source/csrc/a.cu -o a.o", archs_before=("sm_53", "sm_80"), dropped=("sm_53",)),
        call("-c b.cu"),
        call("-dlink a.o", kind="device-link"),
        call("-c c.cpp", tool="c++"),
    ]
    plan = choose(Strategy.NATIVE, GB10, suffix=False)
    units = unit_flags(calls)
    assert units == (
        UnitFlags(source="csrc/a.cu", asked=("sm_80",), dropped=("sm_53",), standard="c++17"),
        UnitFlags(source="b.cu", asked=("default",), dropped=(), standard=""),
    )
    assert not units[0].reaches(plan)
    assert UnitFlags(source="x", asked=("sm_121",), dropped=(), standard="").reaches(plan)
