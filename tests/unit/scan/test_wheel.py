"""Wheels with real bytes inside, from zip to report."""

from __future__ import annotations

import zipfile

import pytest

from shim.arch import Grade
from shim.errors import InputError
from shim.model import Fit, Subject
from shim.scan.options import ScanOptions
from shim.scan.wheel import scan_wheel
from shim.wheels.limits import Limits
from tests.unit.scan.files import library, sass, text, wheel

SPARK = ScanOptions(machine="aarch64")


def test_library_by_library(tmp_path):
    path = wheel(
        tmp_path,
        {
            "demo/__init__.py": "import demo._C\n",
            "demo/_C.so": library((sass("80"), text("80")), (sass("90"), sass("120f")), (sass("90a"),)),
            "demo/host.so": library(),
            "demo/_fa3.so": library((sass("90a"),), (sass("100f"),)),
        },
    )
    scan = scan_wheel(path, SPARK)
    report = scan.report
    assert (report.subject, report.name, report.version) == (Subject.WHEEL, "demo", "1.0")
    assert [(one.member, one.grade, one.other_arch_only) for one in report.libraries] == [
        ("demo/_C.so", Grade.JIT, False),
        ("demo/_fa3.so", Grade.NONE, True),
    ]
    assert report.verdict.grade is Grade.JIT
    assert report.libraries[0].fits == {Fit.FAMILY: 1, Fit.JIT: 1, Fit.OTHER_ARCH: 1}
    assert (report.platforms, report.glibc, report.size) == (("aarch64",), "2.28", path.stat().st_size)
    assert report.findings == ()
    assert set(report.timings) == {"read", "judge"}
    assert [one.code.member for one in scan.libraries] == ["demo/_C.so", "demo/_fa3.so"]


def test_alternatives_by_cuda(tmp_path):
    path = wheel(
        tmp_path,
        {
            "demo/lib_cuda118.so": library((sass("80"),), needed=("libcudart.so.11.0",)),
            "demo/lib_cuda130.so": library((sass("121"),), needed=("libcudart.so.13",)),
        },
    )
    report = scan_wheel(path, SPARK).report
    assert report.verdict.grade is Grade.NATIVE
    assert [one.alternative.decides for one in report.libraries] == [False, True]
    assert report.cuda == (13,)
    assert report.findings == ()


@pytest.mark.parametrize("jobs", [1, 4])
def test_jobs_do_not_change_the_report(tmp_path, jobs):
    members = {f"demo/lib{n}.so": library(*[(sass("80"), text("80"))] * (n + 1)) for n in range(6)}
    report = scan_wheel(wheel(tmp_path, members), ScanOptions(machine="aarch64", jobs=jobs)).report
    assert [(one.member, one.fits) for one in report.libraries] == [
        (f"demo/lib{n}.so", {Fit.JIT: n + 1}) for n in range(6)
    ]


def test_progress_reaches_the_total(tmp_path):
    steps: list[tuple[str, int, int]] = []
    path = wheel(tmp_path, {"demo/a.so": library((sass("121"),)), "demo/b.so": library((sass("121"),))})
    scan_wheel(path, ScanOptions(jobs=1, progress=lambda *step: steps.append(step)))
    label, done, total = steps[-1]
    assert (label, done) == ("demo", total)
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)


def test_folders_of_cubins_are_one_line(tmp_path):
    cubins = {f"kernels/k{n}.cubin": sass("90").payload for n in range(20)}
    path = wheel(tmp_path, {**cubins, "kernels/deep/er/x.cubin": sass("103").payload})
    (one,) = scan_wheel(path, SPARK).report.libraries
    assert (one.member, one.files, one.format) == ("kernels/**/*.cubin", 21, "cubin")
    assert one.grade is Grade.NONE


class TestPlatform:
    def test_another_processor(self, tmp_path):
        path = wheel(tmp_path, {"demo/a.so": library((sass("121"),))}, tags="py3-none-manylinux_2_28_x86_64")
        report = scan_wheel(path, SPARK).report
        assert report.verdict.grade is Grade.NATIVE
        assert [finding.code for finding in report.findings] == ["wrong-platform"]

    def test_cuda_libraries_of_another_major(self, tmp_path):
        members = {"demo/a.so": library((sass("121"),), needed=("libcudart.so.12", "libc.so.6"))}
        (finding,) = scan_wheel(wheel(tmp_path, members), SPARK).report.findings
        assert (finding.code, finding.where) == ("cuda-major-missing", "demo/a.so")

    @pytest.mark.parametrize(
        ("requires", "codes"),
        [
            (("nvidia-cuda-runtime-cu12>=12.8",), []),
            (("NVIDIA_cuda.runtime-cu12 ; platform_machine == 'aarch64'",), []),
            (("nvidia-cuda-runtime-cu12 ; platform_machine == 'x86_64'",), ["cuda-major-missing"]),
            (("nvidia-cuda-runtime-cu12 ; extra == 'cuda'",), ["cuda-major-missing"]),
        ],
    )
    def test_libraries_that_come_along(self, tmp_path, requires, codes):
        members = {"demo/a.so": library((sass("121"),), needed=("libcudart.so.12",))}
        report = scan_wheel(wheel(tmp_path, members, requires=requires), SPARK).report
        assert [finding.code for finding in report.findings] == codes

    def test_bundled_libraries(self, tmp_path):
        members = {
            "demo/a.so": library((sass("121"),), needed=("libcudart.so.12",)),
            "demo.libs/libcudart.so.12": library(),
        }
        assert scan_wheel(wheel(tmp_path, members), SPARK).report.findings == ()


class TestBadWheels:
    def test_not_a_zip(self, tmp_path):
        path = tmp_path / "demo-1.0-py3-none-any.whl"
        path.write_bytes(b"hello")
        with pytest.raises(InputError, match=r"demo-1\.0-py3-none-any\.whl"):
            scan_wheel(path, SPARK)

    def test_no_record(self, tmp_path):
        path = tmp_path / "demo-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("demo-1.0.dist-info/METADATA", "Name: demo")
        with pytest.raises(InputError, match="RECORD"):
            scan_wheel(path, SPARK)

    def test_malformed_record(self, tmp_path):
        with pytest.raises(InputError, match="RECORD line 1"):
            scan_wheel(wheel(tmp_path, {}, record=b"only-one-cell\n"), SPARK)

    def test_a_member_that_contradicts_itself(self, tmp_path):
        broken = bytearray(library((sass("121"),)))
        broken[40:48] = (1 << 60).to_bytes(8, "little")  # e_shoff
        with pytest.raises(InputError, match=r"demo/a\.so.*offset"):
            scan_wheel(wheel(tmp_path, {"demo/a.so": bytes(broken)}), SPARK)

    def test_limits_are_passed_on(self, tmp_path):
        path = wheel(tmp_path, {"demo/a.so": library((sass("121"),))})
        with pytest.raises(InputError, match=r"--max-members|members"):
            scan_wheel(path, SPARK, limits=Limits(max_members=1))
