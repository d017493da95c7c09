"""Gates in reports: which packages are searched, what the findings and the headline say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shim.arch import Grade
from shim.model import Severity, Subject, WheelReport
from shim.scan.codes import FINDING_CODES, GATE_CODES
from shim.scan.environment import scan_environment
from shim.scan.folder import list_folder, scan_folder
from shim.scan.gate_words import code_for
from shim.scan.options import ScanOptions
from shim.scan.sdist import scan_sdist
from shim.scan.wheel import scan_wheel
from shim.source.gates.guards import guards
from shim.source.gates.model import Effect, Gate
from tests.unit.scan.files import install, library, sass, text, wheel
from tests.unit.scan.test_sdist import sdist

SPARK = ScanOptions(machine="aarch64")
ASKED = replace(SPARK, gates=True)
SETUP = b"""\
import os, torch
from setuptools import setup
from torch.utils.cpp_extension import CUDAExtension
flags = ["-gencode", "arch=compute_53,code=sm_53", "-gencode", "arch=compute_80,code=sm_80"]
setup(ext_modules=[CUDAExtension("x", ["k.cu"], extra_compile_args=flags)])
"""
EXACT = b"import torch\nif torch.cuda.get_device_capability() != (12, 0):\n    raise RuntimeError('needs 12.0')\n"
NEEDLE = next(guard.needle for guard in guards() if guard.id == "kernel-only-sm120")
HOST_NEEDLE = next(guard.needle for guard in guards() if guard.id == "torch-compute-capability-8x")


def codes(report: WheelReport) -> list[tuple[str, str]]:
    return [(finding.code, finding.where) for finding in report.findings if finding.code in GATE_CODES]


class TestSdist:
    def test_what_a_build_would_give(self, tmp_path):
        report = scan_sdist(sdist(tmp_path, {"p-1/setup.py": SETUP, "p-1/k.cu": b"x"}), SPARK).report
        assert report.verdict.grade is Grade.JIT_AT_RUNTIME
        assert report.headline.startswith(
            "Source code. A build with CUDA 13 and a new torch fails: setup.py:4 names compute_53: nvcc of CUDA 13"
        )
        assert codes(report) == [("build-breaks", "setup.py:4")]
        (finding,) = report.findings
        assert finding.severity is Severity.ERROR
        assert finding.evidence.startswith('flags = ["-gencode", "arch=compute_53')
        assert finding.hint

    def test_a_good_build_is_told_too(self, tmp_path):
        good = SETUP.replace(b"compute_53,code=sm_53", b"compute_121,code=sm_121")
        report = scan_sdist(sdist(tmp_path, {"p-1/setup.py": good, "p-1/k.cu": b"x"}), SPARK).report
        assert report.headline == "Source code. A build compiles for 80, 121: 12.1 runs it (setup.py:4)."
        assert codes(report) == []

    def test_sources_that_are_not_there(self, tmp_path):
        report = scan_sdist(sdist(tmp_path, {"p-1/setup.py": SETUP, "p-1/PKG-INFO": b""}), SPARK).report
        assert "It cannot be built: setup.py:5 lists k.cu" in report.headline
        assert ("sources-missing", "setup.py:5") in codes(report)

    def test_they_are_not_looked_for_when_forbidden(self, tmp_path):
        path = sdist(tmp_path, {"p-1/setup.py": SETUP, "p-1/k.cu": b"x"})
        report = scan_sdist(path, replace(SPARK, gates=False)).report
        assert report.gates is None
        assert report.headline == "Source code: which GPUs it will run on is decided where it is built."

    def test_no_more_than_the_file_says(self, tmp_path):
        path = sdist(tmp_path, {"p-1/setup.py": b"from setuptools import setup\nsetup()", "p-1/k.cu": b"x"})
        report = scan_sdist(path, SPARK).report
        assert report.gates == ()
        assert report.headline == "Source code: which GPUs it will run on is decided where it is built."


class TestFolder:
    def scan(self, folder: Path, options: ScanOptions = SPARK) -> WheelReport:
        return scan_folder(folder, list_folder(folder).names, options).report

    def test_sources(self, tmp_path):
        (tmp_path / "setup.py").write_bytes(SETUP)
        report = self.scan(tmp_path)
        assert report.subject is Subject.DIRECTORY
        assert ("build-breaks", "setup.py:4") in codes(report)

    def test_other_folders_when_asked(self, tmp_path):
        (tmp_path / "ops.py").write_bytes(EXACT)
        assert self.scan(tmp_path).gates is None
        assert codes(self.scan(tmp_path, ASKED)) == [("gate-refuses", "ops.py:2")]


class TestWheel:
    def test_native_and_still_refused(self, tmp_path):
        members = {"demo/_C.so": library((sass("121"),)), "demo/ops.py": EXACT}
        report = scan_wheel(wheel(tmp_path, members), ASKED).report
        assert report.verdict.grade is Grade.NATIVE
        assert "But 1 gate keeps this device from code that it could run" in report.headline
        assert "demo/ops.py:2" in report.headline
        assert codes(report) == [("gate-refuses", "demo/ops.py:2")]

    def test_only_when_asked(self, tmp_path):
        members = {"demo/_C.so": library((sass("121"),)), "demo/ops.py": EXACT}
        report = scan_wheel(wheel(tmp_path, members), SPARK).report
        assert report.gates is None
        assert codes(report) == []
        assert "gate" not in report.headline

    @pytest.mark.parametrize(("arch", "found"), [("120", True), ("90", False)])
    def test_a_guard_counts_in_code_that_is_taken(self, tmp_path, arch, found):
        image = sass("121" if not found else "120")
        guarded = replace(sass(arch), payload=sass(arch).payload + NEEDLE + b"\0")
        images = (guarded,) if found else (guarded, image)
        report = scan_wheel(wheel(tmp_path, {"demo/_C.so": library(images)}), ASKED).report
        assert [code for code, _ in codes(report)] == (["compiled-guard"] if found else [])
        if found:
            (note,) = report.gates or ()
            assert (note.line, note.path, note.changes) == (0, "demo/_C.so", True)
            assert note.offset is not None
            assert note.words.endswith("(in 1 image for sm_120)")
            assert "But 1 gate misleads this device" in report.headline

    def test_a_guard_in_ptx_that_is_compiled_here(self, tmp_path):
        numbers = ", ".join(str(byte) for byte in NEEDLE)
        image = text("120", body=f".global .b8 s[3] = {{{numbers}}}; ret;")
        report = scan_wheel(wheel(tmp_path, {"demo/_C.so": library((image,))}), ASKED).report
        assert [code for code, _ in codes(report)] == ["compiled-guard"]

    def test_a_guard_in_host_code(self, tmp_path):
        host = library((sass("121"),)) + b"\0_mixed_dtypes_linear: " + HOST_NEEDLE + b"\0"
        report = scan_wheel(wheel(tmp_path, {"demo/_C.so": host}), ASKED).report
        (note,) = report.gates or ()
        assert note.form == "compiled-torch-compute-capability-8x"
        assert host[note.offset :].startswith(HOST_NEEDLE)
        assert "gate" not in report.headline  # exact on purpose: there is nothing to be had
        assert [(one.code, one.severity) for one in report.findings] == [("compiled-guard", Severity.INFO)]

    def test_a_recipe_takes_the_place_of_advice(self, tmp_path):
        members = {"demo/_C.so": library((sass("121"),)), "demo/ops.py": EXACT}

        def recipe(name: str, version: str, gate: Gate) -> str:
            assert (name, version) == ("demo", "1.0")
            return "demo-exact" if gate.path == "demo/ops.py" else ""

        report = scan_wheel(wheel(tmp_path, members), replace(ASKED, advise=recipe)).report
        assert [finding.hint for finding in report.findings] == ["demo-exact"]


class TestEnvironment:
    def test_cached_until_a_source_changes(self, tmp_path):
        prefix, cache = tmp_path / "env", tmp_path / "cache"
        install(prefix, wheel(tmp_path, {"demo/_C.so": library((sass("121"),)), "demo/ops.py": EXACT}))
        first = scan_environment(prefix, ASKED, root=cache)
        again = scan_environment(prefix, ASKED, root=cache)
        assert (first.from_cache, again.from_cache) == (0, 1)
        assert [codes(one.packages[0]) for one in (first, again)] == [[("gate-refuses", "demo/ops.py:2")]] * 2
        source = next(prefix.rglob("ops.py"))
        source.write_bytes(EXACT.replace(b"!= (12, 0)", b"[0] != 12"))
        changed = scan_environment(prefix, ASKED, root=cache)
        assert (changed.from_cache, codes(changed.packages[0])) == (0, [])

    def test_a_package_of_python_alone_is_shown_when_it_refuses(self, tmp_path):
        prefix = tmp_path / "env"
        install(prefix, wheel(tmp_path, {"demo/ops.py": EXACT}))
        assert scan_environment(prefix, SPARK, root=tmp_path / "c").packages == ()
        (report,) = scan_environment(prefix, ASKED, root=tmp_path / "c").packages
        assert codes(report) == [("gate-refuses", "demo/ops.py:2")]


def test_every_effect_has_a_code():
    from shim.model import Confidence
    from shim.source.gates.model import CHANGES, Sign

    for effect in Effect:
        gate = Gate(
            path="a.py",
            line=1,
            scope="",
            form="compare-tuple",
            sign=Sign.POSITIVE,
            effect=effect,
            confidence=Confidence.HIGH,
            text="",
            words="",
        )
        assert (code_for(gate) in FINDING_CODES) is (effect in CHANGES)
    assert FINDING_CODES.keys() > GATE_CODES
