"""Single files, folders and what lies in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shim.arch import Grade
from shim.errors import InputError
from shim.model import Subject
from shim.scan.folder import list_folder, scan_file, scan_folder
from shim.scan.options import ScanOptions
from shim.scan.sources import TreeSource, is_candidate
from tests.builders.fatbin import container
from tests.builders.hostfile import ar
from tests.unit.scan.files import library, sass, text

SPARK = ScanOptions(machine="aarch64")


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "content", "grade"),
        [
            ("lib.so", library((sass("121"),)), Grade.NATIVE),
            ("lib.so.1.2", library((sass("90"),)), Grade.NONE),
            ("k.cubin", sass("120").payload, Grade.SAME_MAJOR_UNPROVEN),
            ("k.fatbin", container(sass("90"), text("90")), Grade.JIT),
            (
                "k.ptx",
                b".version 9.4\n.target sm_90\n.address_size 64\n.visible .entry k()\n{\nret;\n}\n",
                Grade.JIT_TOO_NEW,
            ),
            ("host.so", library(), Grade.NO_DEVICE_CODE),
        ],
    )
    def test_grades(self, tmp_path, name, content, grade):
        (tmp_path / name).write_bytes(content)
        report = scan_file(tmp_path / name, SPARK).report
        assert (report.subject, report.name, report.verdict.grade) == (Subject.FILE, name, grade)

    def test_static_library(self, tmp_path):
        path = tmp_path / "lib.a"
        path.write_bytes(ar(("a.o", library((sass("121"),)))))
        report = scan_file(path, SPARK).report
        assert report.libraries[0].static
        assert report.verdict.grade is Grade.NATIVE

    def test_processor_comes_from_the_file(self, tmp_path):
        (tmp_path / "lib.so").write_bytes(library((sass("121"),), machine="x86_64"))
        report = scan_file(tmp_path / "lib.so", SPARK).report
        assert report.platforms == ("x86_64",)
        assert [finding.code for finding in report.findings] == ["wrong-platform"]

    def test_damaged(self, tmp_path):
        broken = bytearray(library((sass("121"),)))
        broken[40:48] = (1 << 60).to_bytes(8, "little")
        (tmp_path / "lib.so").write_bytes(broken)
        with pytest.raises(InputError, match=r"lib\.so: .*offset"):
            scan_file(tmp_path / "lib.so", SPARK)


@pytest.fixture
def tree(tmp_path) -> Path:
    """a/lib.so, b/k.ptx, and links: to a file, to a folder above, to itself, to nothing."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "lib.so").write_bytes(library((sass("121"),)))
    (tmp_path / "b" / "k.ptx").write_bytes(text("80").payload.rstrip(b"\0"))
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "alias.so").symlink_to(tmp_path / "a" / "lib.so")
    (tmp_path / "b" / "self").symlink_to("self")
    (tmp_path / "b" / "gone.so").symlink_to("nowhere")
    return tmp_path


class TestFolders:
    def test_listing(self, tree):
        listing = list_folder(tree)
        assert listing.names == ("a/lib.so", "b/k.ptx")
        assert (listing.wheels, listing.errors) == ((), ())

    def test_links_to_files_elsewhere(self, tree, tmp_path_factory):
        other = tmp_path_factory.mktemp("other") / "real.so"
        other.write_bytes(b"\x7fELF")
        (tree / "c.so").symlink_to(other)
        (tree / "d.so").symlink_to(other)
        assert list_folder(tree).names == ("c.so", "a/lib.so", "b/k.ptx")

    def test_hard_links_count_once(self, tree):
        os.link(tree / "a" / "lib.so", tree / "a" / "copy.so")
        assert list_folder(tree).names == ("a/copy.so", "b/k.ptx")

    def test_wheels_apart(self, tree):
        (tree / "x-1.0-py3-none-any.whl").touch()
        assert list_folder(tree).wheels == ("x-1.0-py3-none-any.whl",)

    def test_pipes_are_not_opened(self, tree):
        os.mkfifo(tree / "pipe.so")
        assert list_folder(tree).names == ("a/lib.so", "b/k.ptx")

    def test_report(self, tree):
        scan = scan_folder(tree, list_folder(tree).names, SPARK)
        assert (scan.report.subject, scan.report.name) == (Subject.DIRECTORY, tree.name)
        assert [(one.member, one.grade) for one in scan.report.libraries] == [
            ("a/lib.so", Grade.NATIVE),
            ("b/k.ptx", Grade.JIT),
        ]

    def test_one_bad_file_does_not_hide_the_others(self, tree):
        (tree / "a" / "bad.so").write_bytes(library((sass("121"),))[:400])
        scan = scan_folder(tree, list_folder(tree).names, SPARK)
        assert len(scan.report.libraries) == 2
        (error,) = scan.errors
        assert error.message.startswith("a/bad.so: ")

    def test_permission_denied(self, tree, monkeypatch):
        real = os.scandir

        def refuse(path):
            if str(path).endswith("/a"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(os, "scandir", refuse)
        listing = list_folder(tree)
        (error,) = listing.errors
        assert error.message == f"{tree}/a: cannot be read: Permission denied"
        assert error.hint == "run as a user who may read it, or change its permissions"
        assert listing.names == ("b/alias.so", "b/k.ptx")


class TestTreeSource:
    def test_reading(self, tmp_path):
        (tmp_path / "f").write_bytes(b"0123456789")
        source = TreeSource(tmp_path, ["f"])
        assert source.read("f", 4) == b"0123"
        assert list(source.read_ranges("f", [(0, 2), (1, 3), (8, 2)])) == [b"01", b"123", b"89"]
        assert b"".join(source.chunks("f")) == b"0123456789"

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match=r"gone: cannot be read: No such file"):
            TreeSource(tmp_path, ["gone"])

    @pytest.mark.parametrize(
        ("name", "yes"), [("a.so", True), ("a.so.1", True), ("a", True), ("a.py", False), ("A.H", False)]
    )
    def test_candidates(self, name, yes):
        assert is_candidate(name) is yes
