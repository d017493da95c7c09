"""Source distributions: unpacked without running anything, within bounds."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from shim.arch import Grade
from shim.errors import InputError
from shim.model import Subject
from shim.scan.options import ScanOptions
from shim.scan.sdist import scan_sdist, unpack
from shim.wheels.limits import Limits
from tests.unit.scan.files import library, sass

SPARK = ScanOptions(machine="aarch64")


def sdist(
    folder: Path, files: dict[str, bytes], *, name: str = "gsplat2-1.5.tar.gz", links: tuple[str, ...] = ()
) -> Path:
    path = folder / name
    with tarfile.open(path, "w:gz") as archive:
        for member, data in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for link in links:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return path


def test_cuda_sources(tmp_path):
    path = sdist(tmp_path, {"gsplat2-1.5/src/k.cu": b"x" * 2000, "gsplat2-1.5/setup.py": b"raise SystemExit(1)"})
    report = scan_sdist(path, SPARK).report
    assert (report.subject, report.name, report.version) == (Subject.SDIST, "gsplat2", "1.5")
    assert report.verdict.grade is Grade.JIT_AT_RUNTIME
    assert report.headline == "Source code: which GPUs it will run on is decided where it is built."


def test_without_any_gpu_code(tmp_path):
    assert scan_sdist(sdist(tmp_path, {"a-1/a.py": b"x = 1"}), SPARK).report.verdict.grade is Grade.NO_DEVICE_CODE


def test_device_code_in_it(tmp_path):
    path = sdist(tmp_path, {"a-1/lib/k.so": library((sass("121"),))}, name="a-1.0.tgz")
    report = scan_sdist(path, SPARK).report
    assert (report.verdict.grade, report.libraries[0].member) == (Grade.NATIVE, "a-1/lib/k.so")


def test_zip(tmp_path):
    path = tmp_path / "demo-2.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo-2.0/k.cu", "__global__ void k() {}")
    report = scan_sdist(path, SPARK).report
    assert (report.subject, report.name, report.verdict.grade) == (Subject.SDIST, "demo", Grade.JIT_AT_RUNTIME)


class TestHostile:
    @pytest.mark.parametrize("member", ["../out.py", "/out.py", "a/../../out.py"])
    def test_names_that_lead_out(self, tmp_path, member):
        (tmp_path / "in").mkdir()
        path = sdist(tmp_path, {member: b"x"})
        with pytest.raises(InputError, match="expected a relative path inside the archive"):
            unpack(path, tmp_path / "in", Limits())
        assert not (tmp_path / "out.py").exists()

    def test_links_are_left_out(self, tmp_path):
        (tmp_path / "in").mkdir()
        unpack(sdist(tmp_path, {"a/k.cu": b"x"}, links=("a/passwd",)), tmp_path / "in", Limits())
        assert [path.name for path in (tmp_path / "in" / "a").iterdir()] == ["k.cu"]

    @pytest.mark.parametrize(
        ("limits", "option"),
        [
            (Limits(max_members=2), "--max-members"),
            (Limits(max_member_size=99), "--max-member-size"),
            (Limits(max_total_size=250), "--max-total-size"),
            (Limits(max_ratio=0.1, ratio_floor=0), "--max-ratio"),
        ],
    )
    def test_limits(self, tmp_path, limits, option):
        path = sdist(tmp_path, {f"a/{n}.py": b"x" * 100 for n in range(3)})
        with pytest.raises(InputError) as caught:
            scan_sdist(path, SPARK, limits=limits)
        assert option in caught.value.hint

    def test_cut_short(self, tmp_path):
        path = sdist(tmp_path, {"a/k.cu": bytes(range(256)) * 400})
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(InputError, match=r"not a sound \.tar\.gz"):
            scan_sdist(path, SPARK)

    def test_not_a_tar(self, tmp_path):
        path = tmp_path / "a-1.tar.gz"
        path.write_bytes(b"hello")
        with pytest.raises(InputError, match=r"not a sound \.tar\.gz"):
            scan_sdist(path, SPARK)
