"""Down to kernels: missing, foreign and empty ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.arch import Grade
from shim.errors import InputError
from shim.model import WheelReport
from shim.scan.codes import FINDING_CODES
from shim.scan.folder import scan_file
from shim.scan.options import ScanOptions
from shim.scan.wheel import scan_wheel
from tests.builders.fatbin import Image, container
from tests.unit.scan.files import library, sass, text, wheel

DEEP = ScanOptions(machine="aarch64", kernels=True)


def scan(folder: Path, *containers: tuple[Image, ...]) -> WheelReport:
    path = folder / "lib.so"
    path.write_bytes(library(*containers))
    return scan_file(path, DEEP).report


def statuses(report: WheelReport) -> dict[str, str]:
    (one,) = report.libraries
    return {note.name: note.status for note in one.kernels}


def test_all_there(tmp_path):
    report = scan(tmp_path, (sass("80", {"a": 256, "b": 512}), sass("121", {"a": 256, "b": 512})))
    assert statuses(report) == {"a": "ok", "b": "ok"}
    assert report.findings == ()
    assert report.libraries[0].kernels[0].images == ("sm_80", "sm_121")


def test_not_asked_for(tmp_path):
    path = tmp_path / "lib.so"
    path.write_bytes(library((sass("121"),)))
    assert scan_file(path, ScanOptions()).report.libraries[0].kernels is None


class TestMissing:
    def test_in_older_plain_code(self, tmp_path):
        report = scan(tmp_path, (sass("80", {"a": 256, "b": 256}), sass("121", {"a": 256})))
        assert statuses(report) == {"a": "ok", "b": "missing"}
        assert report.verdict.grade is Grade.PARTIAL
        assert report.verdict.reasons[0].startswith("lib.so: 1 kernel missing from the code that will be chosen")
        assert "kernels are missing of lib.so" in report.headline
        (finding,) = report.findings
        assert (finding.code, finding.where) == ("kernel-missing", "lib.so")

    def test_in_older_ptx(self, tmp_path):
        assert statuses(scan(tmp_path, (text("80", ("a", "b")), sass("120f", {"a": 256}))))["b"] == "missing"

    def test_in_the_ptx_that_would_be_compiled(self, tmp_path):
        report = scan(tmp_path, (sass("80", {"a": 256, "b": 256}), text("80", ("a",))))
        assert statuses(report) == {"a": "ok", "b": "missing"}

    def test_in_code_of_the_same_major(self, tmp_path):
        assert statuses(scan(tmp_path, (sass("120a", {"b": 256}), sass("120", {"a": 256}))))["b"] == "missing"

    def test_it_never_raises_a_grade(self, tmp_path):
        report = scan(tmp_path, (sass("80", {"a": 256}), sass("121", {})), (sass("90", {"c": 256}),))
        assert report.verdict.grade is Grade.PARTIAL


class TestOtherArchs:
    def test_kernels_of_other_families(self, tmp_path):
        report = scan(tmp_path, (sass("90a", {"a": 256, "h": 256}), sass("100f", {"x": 256}), sass("121", {"a": 256})))
        assert statuses(report) == {"a": "ok", "h": "other-arch-only", "x": "other-arch-only"}
        assert report.verdict.grade is Grade.NATIVE
        assert [finding.code for finding in report.findings] == ["other-arch-kernels"]

    def test_whole_containers(self, tmp_path):
        assert (
            statuses(scan(tmp_path, (sass("90a", {"h": 256}),), (sass("121", {"a": 256}),)))["h"] == "other-arch-only"
        )
        assert statuses(scan(tmp_path, (sass("90", {"h": 256}),), (sass("121", {"a": 256}),)))["h"] == "nothing"


class TestShells:
    @pytest.mark.parametrize(
        ("own", "sibling", "status"),
        [
            (256, 6912, "suspicious-empty-kernel"),
            (1024, 6144, "suspicious-empty-kernel"),
            (1024, 6143, "ok"),
            (1025, 100_000, "ok"),
            (0, 6, "suspicious-empty-kernel"),
            (256, 256, "ok"),
        ],
    )
    def test_machine_code(self, tmp_path, own, sibling, status):
        report = scan(tmp_path, (sass("80", {"a": sibling}), sass("121", {"a": own})))
        assert statuses(report) == {"a": status}
        assert report.verdict.grade is Grade.NATIVE

    @pytest.mark.parametrize(
        ("body", "sibling", "status"),
        [
            ("ret;", 20_000, "suspicious-empty-kernel"),
            ("ret;", 384, "ok"),
            ("mov.u32 %r1, 1;\nadd.u32 %r1, %r1, 1;\nret;", 20_000, "ok"),
        ],
    )
    def test_ptx(self, tmp_path, body, sibling, status):
        report = scan(tmp_path, (sass("90a", {"a": sibling}), text("80", ("a",), body=body)))
        assert statuses(report) == {"a": status}

    def test_finding(self, tmp_path):
        (finding,) = scan(tmp_path, (sass("80", {"a": 9000}), sass("121", {"a": 128}))).findings
        assert finding.code == "suspicious-empty-kernel"
        assert finding.evidence == "a in container 0 (sm_80, sm_121, 128 bytes against 9,000)"


def test_out_of_a_wheel(tmp_path):
    path = wheel(
        tmp_path, {"d/a.so": library(*[(sass("80", {f"k{n}": 256}), text("80", (f"k{n}",))) for n in range(9)])}
    )
    (one,) = scan_wheel(path, DEEP).report.libraries
    assert [(note.name, note.container, note.status) for note in one.kernels] == [(f"k{n}", n, "ok") for n in range(9)]


@pytest.mark.parametrize("name", ["k.cubin", "k.ptx", "k.fatbin"])
def test_stand_alone_files(tmp_path, name):
    image = {"k.cubin": sass("121").payload, "k.ptx": text("80").payload.rstrip(b"\0")}
    (tmp_path / name).write_bytes(image.get(name, container(sass("121"))))
    report = scan_file(tmp_path / name, DEEP).report
    assert [(note.name, note.status) for note in report.libraries[0].kernels] == [("kernel", "ok")]


def test_an_image_that_is_no_cubin(tmp_path):
    path = tmp_path / "lib.so"
    path.write_bytes(library((Image(kind=2, arch=121, payload=b"\x7fELFjunk" * 40),)))
    with pytest.raises(InputError, match=r"lib\.so: cubin"):
        scan_file(path, DEEP)


def test_codes_are_listed(tmp_path):
    report = scan(tmp_path, (sass("80", {"a": 9000, "b": 1}), sass("90a", {"c": 1}), sass("121", {"a": 128})))
    found = {finding.code for finding in report.findings}
    assert found == {"kernel-missing", "suspicious-empty-kernel", "other-arch-kernels"}
    assert found <= FINDING_CODES.keys()
