"""Installed distributions and whole environments."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from shim.arch import Grade, Target
from shim.errors import InputError
from shim.model import Subject
from shim.scan import environment
from shim.scan.environment import scan_environment
from shim.scan.installed import (
    default_prefix,
    distributions,
    find_distribution,
    owned_files,
    scan_distribution,
)
from shim.scan.options import ScanOptions
from tests.unit.scan.files import install, library, sass, text, wheel

SPARK = ScanOptions(machine="aarch64")
CODE = "x = 1\n" * 400


@pytest.fixture
def prefix(tmp_path):
    """An environment: a GPU package, a CPU build of one that has GPU builds, a Triton user, a plain one."""
    root = tmp_path / "env"
    packages = {
        "fast": {"fast/_C.so": library((sass("80"), text("80")))},
        "ctranslate2": {"ctranslate2/_ext.so": library()},
        "sageattention": {"sageattention/k.py": f"import triton\n{CODE}"},
        "plain": {"plain/__init__.py": CODE},
    }
    for name, members in packages.items():
        install(root, wheel(tmp_path, members, name=name))
    return root


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def library_of(prefix):
    return prefix / "lib" / "python3.12" / "site-packages" / "fast" / "_C.so"


class TestDistributions:
    def test_listing(self, prefix):
        assert [(d.name, d.version) for d in distributions(prefix)] == [
            *(("ctranslate2", "1.0"), ("fast", "1.0"), ("plain", "1.0"), ("sageattention", "1.0"))
        ]
        site = prefix / "lib" / "python3.12" / "site-packages"
        assert len(distributions(site)) == 4

    def test_any_spelling(self, prefix):
        assert find_distribution("FAST", prefix).name == "fast"
        assert find_distribution("fast_er", prefix) is None
        assert find_distribution("fast", prefix / "nowhere") is None

    def test_nothing_installed(self, tmp_path):
        with pytest.raises(InputError, match="found none"):
            distributions(tmp_path)

    def test_active_environment(self):
        assert str(default_prefix({"VIRTUAL_ENV": "/some/env"})) == "/some/env"

    def test_report(self, prefix):
        report = scan_distribution(find_distribution("fast", prefix), SPARK).report
        assert (report.subject, report.name, report.version) == (Subject.DISTRIBUTION, "fast", "1.0")
        assert (report.verdict.grade, report.libraries[0].member) == (Grade.JIT, "fast/_C.so")

    def test_dependencies_are_read_from_metadata(self, tmp_path):
        members = {"d/a.so": library((sass("121"),), needed=("libcudart.so.12",))}
        install(tmp_path / "e", wheel(tmp_path, members, name="d", requires=("nvidia-cuda-runtime-cu12",)))
        assert scan_distribution(find_distribution("d", tmp_path / "e"), SPARK).report.findings == ()

    def test_files_that_are_gone_or_no_files(self, prefix):
        one = find_distribution("fast", prefix)
        os.mkfifo(one.site / "fast" / "pipe.so")
        with one.record.open("a") as record:
            record.write("fast/gone.so,,\nfast/pipe.so,,\nfast,,\n/dev/zero,,\nfast/_C.so,,\n")
        assert [name for name in owned_files(one) if "dist-info" not in name] == ["fast/_C.so"]

    def test_no_record(self, prefix):
        one = find_distribution("fast", prefix)
        one.record.unlink()
        with pytest.raises(InputError, match="has no RECORD"):
            scan_distribution(one, SPARK)

    def test_malformed_record(self, prefix):
        one = find_distribution("fast", prefix)
        one.record.write_text("no commas\n")
        with pytest.raises(InputError, match=r"RECORD line 1"):
            scan_distribution(one, SPARK)


class TestEnvironment:
    def test_only_what_has_gpu_code_or_should(self, prefix, cache):
        report = scan_environment(prefix, SPARK, root=cache)
        assert [(one.name, one.verdict.grade) for one in report.packages] == [
            ("ctranslate2", Grade.CPU_ONLY),
            ("fast", Grade.JIT),
        ]
        assert (report.distributions, report.from_cache, report.findings) == (4, 0, ())

    def test_the_second_time_nothing_is_read(self, prefix, cache, monkeypatch):
        first = scan_environment(prefix, SPARK, root=cache)
        monkeypatch.setattr(environment, "scan_distribution", None)
        second = scan_environment(prefix, SPARK, root=cache)
        assert second == replace(first, from_cache=4)

    @pytest.mark.parametrize(
        "options",
        [
            replace(SPARK, target=Target(driver_cuda=(13, 1))),
            replace(SPARK, machine="x86_64"),
            replace(SPARK, kernels=True),
        ],
    )
    def test_other_questions_are_asked_anew(self, prefix, cache, options):
        scan_environment(prefix, SPARK, root=cache)
        assert scan_environment(prefix, options, root=cache).from_cache == 0

    def test_a_changed_file_is_read_again(self, prefix, cache):
        scan_environment(prefix, SPARK, root=cache)
        library_of(prefix).write_bytes(library((sass("121"),)))
        report = scan_environment(prefix, SPARK, root=cache)
        assert report.from_cache == 3
        assert report.packages[1].verdict.grade is Grade.NATIVE

    def test_a_changed_record_is_read_again(self, prefix, cache):
        scan_environment(prefix, SPARK, root=cache)
        with find_distribution("plain", prefix).record.open("a") as record:
            record.write("\n")
        assert scan_environment(prefix, SPARK, root=cache).from_cache == 3

    def test_a_damaged_cache_is_made_anew(self, prefix, cache):
        before = scan_environment(prefix, SPARK, root=cache)
        for path in (cache / "reports").iterdir():
            path.write_text('{"subject": "wheel"}')
        after = scan_environment(prefix, SPARK, root=cache)
        assert after.from_cache == 0
        assert [one.verdict for one in after.packages] == [one.verdict for one in before.packages]

    def test_what_cannot_be_read_becomes_a_finding(self, prefix, cache):
        library_of(prefix).write_bytes(library((sass("121"),))[:400])
        find_distribution("plain", prefix).record.unlink()
        report = scan_environment(prefix, SPARK, root=cache)
        assert [(finding.code, finding.where) for finding in report.findings] == [
            ("unreadable", "fast 1.0"),
            ("unreadable", "plain 1.0"),
        ]
        assert "ctranslate2" in {one.name for one in report.packages}
        assert scan_environment(prefix, SPARK, root=cache).findings == report.findings
