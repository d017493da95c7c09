"""What a TARGET is taken for."""

from __future__ import annotations

import os

import pytest

from shim.errors import InputError, UsageError
from shim.model import Subject
from shim.scan import fetch
from shim.scan.batch import scan_batch
from shim.scan.fetch import Fetched
from shim.scan.options import ScanOptions
from shim.scan.targets import TargetOptions, scan_target
from tests.unit.scan.files import install, library, sass, wheel
from tests.unit.scan.test_sdist import sdist

SPARK = ScanOptions(machine="aarch64")
GPU = {"demo/_C.so": library((sass("121"),))}


@pytest.fixture
def where(tmp_path):
    return TargetOptions(prefix=tmp_path / "env", machine="aarch64", python="3.12")


def subjects(text: object, where: TargetOptions) -> list[Subject]:
    return [report.subject for report in scan_target(str(text), SPARK, where).reports]


class TestPaths:
    def test_wheel(self, tmp_path, where):
        assert subjects(wheel(tmp_path, GPU), where) == [Subject.WHEEL]

    def test_sdist(self, tmp_path, where):
        assert subjects(sdist(tmp_path, {"a-1/k.cu": b"x"}), where) == [Subject.SDIST]

    @pytest.mark.parametrize("name", ["lib.so", "program", "lib.so.4.8.5"])
    def test_elf_by_its_content(self, tmp_path, where, name):
        (tmp_path / name).write_bytes(GPU["demo/_C.so"])
        assert subjects(tmp_path / name, where) == [Subject.FILE]

    @pytest.mark.parametrize(
        ("content", "found"),
        [(b"", "found an empty file"), (b"#!/bin/sh\nexit\n", r"found 15 bytes that start with b'#!/bin/s'")],
    )
    def test_other_files(self, tmp_path, where, content, found):
        (tmp_path / "lib.so").write_bytes(content)
        with pytest.raises(InputError, match=found):
            subjects(tmp_path / "lib.so", where)

    def test_pipe(self, tmp_path, where):
        os.mkfifo(tmp_path / "p")
        with pytest.raises(InputError, match="found a device, pipe or socket"):
            subjects(tmp_path / "p", where)

    def test_link_to_itself(self, tmp_path, where):
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(InputError, match="Too many levels of symbolic links"):
            subjects(tmp_path / "loop", where)

    @pytest.mark.parametrize("text", ["no/such/file", "gone.whl", "./gone", "gone.so", "~/gone", "gone.tar.gz"])
    def test_missing(self, where, text):
        with pytest.raises(InputError, match="there is no such file or folder"):
            scan_target(text, SPARK, where)


class TestFolders:
    def test_wheels_and_files(self, tmp_path, where):
        folder = tmp_path / "dist"
        folder.mkdir()
        wheel(folder, GPU, name="one")
        wheel(folder, GPU, name="two")
        (folder / "lib.so").write_bytes(GPU["demo/_C.so"])
        reports = scan_target(str(folder), SPARK, where).reports
        assert [(report.subject, report.name) for report in reports] == [
            (Subject.WHEEL, "one"),
            (Subject.WHEEL, "two"),
            (Subject.DIRECTORY, "dist"),
        ]

    def test_only_wheels(self, tmp_path, where):
        wheel(tmp_path, GPU)
        (tmp_path / "notes.txt").write_text("x")
        assert subjects(tmp_path, where) == [Subject.WHEEL]

    def test_a_bad_wheel_does_not_hide_the_others(self, tmp_path, where):
        wheel(tmp_path, GPU)
        (tmp_path / "bad-1.0-py3-none-any.whl").write_bytes(b"junk")
        scan = scan_target(str(tmp_path), SPARK, where)
        assert [report.name for report in scan.reports] == ["demo"]
        (error,) = scan.errors
        assert "bad-1.0-py3-none-any.whl" in error.message

    def test_empty(self, tmp_path, where):
        with pytest.raises(InputError, match="found an empty folder"):
            subjects(tmp_path, where)


class TestNames:
    def test_installed(self, tmp_path, where):
        install(where.prefix, wheel(tmp_path, GPU))
        assert subjects("Demo", where) == [Subject.DISTRIBUTION]

    def test_fetched(self, tmp_path, where, monkeypatch):
        asked = []

        def get(requirement, *, machine, python):
            asked.append((str(requirement), machine, python))
            return Fetched(path=wheel(tmp_path, GPU), note="a note")

        monkeypatch.setattr(fetch, "fetch", get)
        scan = scan_target("demo==1.0", SPARK, where)
        assert [report.subject for report in scan.reports] == [Subject.WHEEL]
        assert (asked, scan.notes) == ([("demo==1.0", "aarch64", "3.12")], ("a note",))
        assert scan_target("demo", SPARK, where).notes[0].startswith("demo is not installed in ")

    def test_a_version_asks_for_the_published_file(self, tmp_path, where, monkeypatch):
        install(where.prefix, wheel(tmp_path, GPU))
        monkeypatch.setattr(fetch, "fetch", lambda *args, **kwargs: Fetched(path=wheel(tmp_path, GPU), note=""))
        assert subjects("demo==1.0", where) == [Subject.WHEEL]

    def test_neither(self, where):
        with pytest.raises(UsageError, match="neither a file nor a requirement"):
            scan_target("!!", SPARK, where)


class TestBatch:
    def test_errors_do_not_keep_others_from_being_told(self, tmp_path, where):
        good = wheel(tmp_path, GPU)
        batch = scan_batch(["gone.whl", str(good), "!!"], [tmp_path / "nowhere"], SPARK, where)
        assert [report.name for report in batch.reports] == ["demo"]
        assert [(target, type(error)) for target, error in batch.errors] == [
            ("gone.whl", InputError),
            ("!!", UsageError),
            (f"--env {tmp_path / 'nowhere'}", InputError),
        ]

    def test_environments(self, tmp_path, where, monkeypatch):
        monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
        install(where.prefix, wheel(tmp_path, GPU))
        batch = scan_batch([], [where.prefix], SPARK, where)
        assert [one.name for one in batch.environments[0].packages] == ["demo"]
