"""What `patch` must never do: write through a link, lose a mode, touch what NVIDIA licenses, patch what is patched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from builders.command import CommandLine
from builders.patchable import library, wheel
from builders.wheels import make_wheel

PATCHED = "demo-1.0-1sm121-py3-none-linux_x86_64.whl"
INFO = "demo-1.0.dist-info"


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def single(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "lib.so"
    path.parent.mkdir()
    path.write_bytes(library("first", "second").data)
    path.chmod(0o754)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


class TestLinks:
    def test_input_that_is_hard_linked_elsewhere(self, shim: CommandLine, single: Path, tmp_path: Path) -> None:
        before = single.read_bytes()
        os.link(single, tmp_path / "cached.so")
        assert shim("patch", single, "-o", tmp_path / "out").code == 0
        assert single.stat().st_nlink == 2
        assert (tmp_path / "cached.so").read_bytes() == before

    def test_force_replaces_the_name_not_the_file_behind_it(
        self, shim: CommandLine, single: Path, tmp_path: Path
    ) -> None:
        """What stands at the output is also in somebody's cache."""
        out, cached = tmp_path / "out", tmp_path / "cached"
        source = wheel(tmp_path / "wheel")
        for folder in (out, cached):
            folder.mkdir()
        for name in ("lib.so", "lib.so.undo", "lib.so.shim.json", PATCHED, PATCHED + ".undo"):
            (cached / name).write_text("theirs")
            os.link(cached / name, out / name)
        for subject in (single, source):
            assert shim("patch", subject, "-o", out).code == 3
            assert shim("patch", subject, "-o", out, "--force").code == 0
        assert {(cached / name).read_text() for name in names(cached)} == {"theirs"}
        assert {(out / name).stat().st_nlink for name in names(out)} == {1}
        assert shim("undo", out / "lib.so", "-o", tmp_path / "back").code == 0
        (cached / "lib.so").write_text("theirs")
        (tmp_path / "back" / "lib.so").unlink()
        os.link(cached / "lib.so", tmp_path / "back" / "lib.so")
        assert shim("undo", out / "lib.so", "-o", tmp_path / "back").code == 3
        assert shim("undo", out / "lib.so", "-o", tmp_path / "back", "--force").code == 0
        assert (cached / "lib.so").read_text() == "theirs"

    @pytest.mark.parametrize("dangling", [False, True])
    def test_symbolic_links_at_the_output(
        self, shim: CommandLine, single: Path, tmp_path: Path, dangling: bool
    ) -> None:
        out, theirs = tmp_path / "out", tmp_path / "theirs"
        out.mkdir()
        if not dangling:
            theirs.write_text("theirs")
        source = wheel(tmp_path / "wheel")
        for subject, name in ((single, "lib.so"), (source, PATCHED)):
            (out / name).symlink_to(theirs)
            ran = shim("patch", subject, "-o", out)
            assert ran.code == 3
            assert "symbolic link" in ran.err
            assert shim("patch", subject, "-o", out, "--force").code == 0
            assert not (out / name).is_symlink()
            assert shim("undo", out / name, "-o", tmp_path / "back").code == 0
            original = tmp_path / "back" / subject.name
            original.unlink()
            original.symlink_to(theirs)
            assert shim("undo", out / name, "-o", tmp_path / "back").code == 3
            assert original.is_symlink()
            assert shim("undo", out / name, "-o", tmp_path / "back", "--force").code == 0
            assert original.read_bytes() == subject.read_bytes()
        assert theirs.exists() is not dangling
        assert dangling or theirs.read_text() == "theirs"

    def test_input_named_by_a_symbolic_link(self, shim: CommandLine, single: Path, tmp_path: Path) -> None:
        before = single.read_bytes()
        link = tmp_path / "link.so"
        link.symlink_to(single)
        assert shim("patch", link, "-o", tmp_path / "out").code == 0
        assert names(tmp_path / "out") == ["link.so", "link.so.shim.json", "link.so.undo"]
        assert single.read_bytes() == before
        ran = shim("patch", single, "-o", single.parent, "--force")
        assert ran.code == 3
        assert "the input itself" in ran.err

    def test_files_beside_that_are_not_shims_stay(self, shim: CommandLine, single: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "lib.so.undo").write_text("mine")
        ran = shim("patch", single, "-o", tmp_path / "out")
        assert ran.code == 3
        assert "lib.so.undo" in ran.err
        assert names(tmp_path / "out") == ["lib.so.undo"]


def test_modes_are_kept(shim: CommandLine, single: Path, tmp_path: Path) -> None:
    assert shim("patch", single, "-o", tmp_path / "out").code == 0
    patched = tmp_path / "out" / "lib.so"
    assert patched.stat().st_mode & 0o7777 == 0o754
    assert shim("undo", patched, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / "lib.so").stat().st_mode & 0o7777 == 0o754


def test_leftovers_of_a_killed_run_are_swept_and_those_of_a_live_one_are_not(
    shim: CommandLine, single: Path, tmp_path: Path
) -> None:
    from shim.store import temporary_file, work_folder

    out = tmp_path / "out"
    dead = out / ".shim-work-0123456789abcdef"
    dead.mkdir(parents=True)
    (dead / "0-lib.so").write_text("half")
    mine = out / ".shim-work-notes"
    mine.mkdir()
    with work_folder(out) as live:
        assert shim("patch", single, "-o", out).code == 0
        assert live.is_dir()
        assert not dead.exists()
    path, handle = temporary_file(out / "x")
    assert names(out) == sorted([".shim-work-notes", path.name, "lib.so", "lib.so.shim.json", "lib.so.undo"])
    other, second = temporary_file(out / "x")
    assert path.exists()
    os.close(handle)
    os.close(second)
    _, third = temporary_file(out / "x")
    os.close(third)
    assert not path.exists()
    assert not other.exists()


class TestLicence:
    def test_allowed_with_a_warning(self, shim: CommandLine, tmp_path: Path) -> None:
        members = {"demo/libcudart-0123abcd.so.13": library("one").data, "demo/lib.so": library("two").data}
        source = make_wheel(tmp_path, members, tag="py3-none-linux_x86_64")
        ran = shim("patch", source, "-o", tmp_path / "out")
        assert ran.code == 1
        assert "[nvidia-licensed]" in ran.out
        assert "warning" not in ran.err
        ran = shim("patch", source, "-o", tmp_path / "out", "--allow-nvidia", "--force")
        assert ran.code == 0
        assert "warning: demo/libcudart-0123abcd.so.13: it is one of NVIDIA's libraries by its name" in ran.err
        assert "lib.so" not in ran.err.replace("libcudart-0123abcd.so.13", "")
        with zipfile.ZipFile(tmp_path / "out" / PATCHED) as archive:
            document = json.loads(archive.read(f"{INFO}/shim/provenance.json"))
        warned = {member["path"]: "licence_warning" in member for member in document["members"]}
        assert warned == {"demo/libcudart-0123abcd.so.13": True, "demo/lib.so": False}
        assert document["request"]["allow_nvidia"] is True

    def test_renamed_library_is_known_by_its_soname(self, shim: CommandLine, tmp_path: Path) -> None:
        path = tmp_path / "backend.so"
        path.write_bytes(library("one", soname="libcufft.so.12").data)
        ran = shim("patch", path, "-o", tmp_path / "out")
        assert ran.code == 5
        assert "SONAME libcufft.so.12" in ran.err
        assert names(tmp_path / "out") == []

    @pytest.mark.parametrize(
        "field", ["License-Expression: LicenseRef-NVIDIA-Proprietary", "License: NVIDIA Proprietary Software"]
    )
    def test_whole_wheel_by_its_metadata(self, shim: CommandLine, tmp_path: Path, field: str) -> None:
        text = f"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n{field}\n"
        source = make_wheel(
            tmp_path,
            {"demo/lib.so": library("one").data, f"{INFO}/METADATA": text},
            tag="py3-none-linux_x86_64",
        )
        ran = shim("patch", source, "-o", tmp_path / "out")
        assert ran.code == 5
        assert "licence of the whole wheel is NVIDIA's" in ran.err
        assert "take a newer release" in ran.err
        ran = shim("patch", source, "-o", tmp_path / "out", "--allow-nvidia")
        assert ran.code == 0
        assert "warning: demo/lib.so" in ran.err

    @pytest.mark.real
    def test_a_wheel_of_nvidia(self, shim: CommandLine, tmp_path: Path) -> None:
        """cuRAND has PTX that the target would compile: only its licence stands in the way."""
        options = ["--no-deps", "--only-binary=:all:", "--platform", "manylinux_2_27_x86_64", "--dest", tmp_path]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "nvidia-curand==10.4.5.25"]
        subprocess.run(command, check=True)
        (source,) = tmp_path.glob("*.whl")
        ran = shim("patch", source, "-o", tmp_path / "out")
        assert ran.code == 5
        assert "[nvidia-licensed] the licence of the whole wheel is NVIDIA's (LicenseRef-NVIDIA-Proprietary)" in ran.err
        assert names(tmp_path / "out") == []
        allowed = shim("patch", source, "-o", tmp_path / "out", "--allow-nvidia", "--dry-run")
        assert allowed.code == 0
        assert "warning: nvidia/" in allowed.err


class TestAlreadyPatched:
    def test_wheel_under_another_name(self, shim: CommandLine, tmp_path: Path) -> None:
        source = wheel(tmp_path / "in")
        out = tmp_path / "out"
        assert shim("patch", source, "-o", out).code == 0
        assert (out / f"{PATCHED}.undo").is_file()
        renamed = out / source.name
        shutil.copy(out / PATCHED, renamed)
        ran = shim("patch", renamed, "-o", tmp_path / "again")
        assert ran.code == 0
        assert "already patched" in ran.out
        assert names(tmp_path / "again") == []
        ran = shim("patch", renamed, "-o", tmp_path / "again", "--target", "12.0")
        assert ran.code == 0, ran.err
        assert "demo-1.0-1sm120-py3-none-linux_x86_64.whl" in names(tmp_path / "again")
        assert shim("undo", renamed, "-o", tmp_path / "back").code == 0
        assert (tmp_path / "back" / source.name).read_bytes() == source.read_bytes()
        ran = shim("verify", renamed)
        assert ran.code == 7
        assert "give it back the name" in ran.err

    def test_copy_is_made_of_a_patched_wheel_too(self, shim: CommandLine, tmp_path: Path) -> None:
        source = wheel(tmp_path / "in")
        assert shim("patch", source, "-o", tmp_path / "out").code == 0
        assert shim("patch", tmp_path / "out" / PATCHED, "-o", tmp_path / "copy", "--copy").code == 0
        assert (tmp_path / "copy" / PATCHED).read_bytes() == (tmp_path / "out" / PATCHED).read_bytes()

    @pytest.mark.parametrize(
        "options", [("--target", "12.0", "--target", "12.1"), ("--only", "first"), ("--compress", "none"), ("--slim",)]
    )
    def test_other_request_starts_from_the_original(
        self, shim: CommandLine, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        source = wheel(tmp_path / "in")
        assert shim("patch", source, "-o", tmp_path / "first").code == 0
        assert shim("patch", source, "-o", tmp_path / "fresh", *options).code == 0
        ran = shim("patch", tmp_path / "first" / PATCHED, "-o", tmp_path / "redone", *options)
        assert ran.code == 0, ran.err
        assert names(tmp_path / "redone") == names(tmp_path / "fresh")
        for name in names(tmp_path / "fresh"):
            assert (tmp_path / "redone" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()

    def test_single_file(self, shim: CommandLine, single: Path, tmp_path: Path) -> None:
        assert shim("patch", single, "-o", tmp_path / "out").code == 0
        patched = tmp_path / "out" / "lib.so"
        ran = shim("patch", patched, "-o", tmp_path / "again")
        assert ran.code == 0
        assert "already patched" in ran.out
        assert names(tmp_path / "again") == []
        for target in ("12.0", "12.1"):
            assert shim("patch", single, "-o", tmp_path / "fresh" / target, "--target", target).code == 0
        assert shim("patch", patched, "-o", tmp_path / "again", "--target", "12.0").code == 0
        assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == {
            p.name: p.read_bytes() for p in (tmp_path / "fresh" / "12.0").iterdir()
        }
        patched.with_name("lib.so.undo").unlink()
        ran = shim("patch", patched, "-o", tmp_path / "lost", "--target", "12.0")
        assert ran.code == 3
        assert "no undo data" in ran.err

    def test_library_put_in_by_hand(self, shim: CommandLine, single: Path, tmp_path: Path) -> None:
        """No provenance tells of it: the same target finds nothing to do."""
        assert shim("patch", single, "-o", tmp_path / "out").code == 0
        inner = {"demo/lib.so": (tmp_path / "out" / "lib.so").read_bytes()}
        source = make_wheel(tmp_path, inner, tag="py3-none-linux_x86_64")
        ran = shim("patch", source, "-o", tmp_path / "wheels")
        assert ran.code == 0, ran.err
        assert "nothing to do" in ran.out
        assert names(tmp_path / "wheels") == []

    def test_provenance_that_is_no_request(self, shim: CommandLine, tmp_path: Path) -> None:
        text = json.dumps({"schema": "shim-provenance/1"})
        members = {"demo/lib.so": library("one").data, f"{INFO}/shim/provenance.json": text}
        source = make_wheel(tmp_path, members, tag="py3-none-linux_x86_64", build="1sm121")
        for command in ("patch", "verify", "undo"):
            options = () if command == "verify" else ("-o", tmp_path / "out")
            ran = shim(command, source, *options)
            assert ran.code == 3, (command, ran)
            assert ran.err.count("error:") == 1


RECORD = {
    "schema": "shim-rebuild/1",
    "source": {"filename": "demo-1.0.tar.gz", "sha256": "ab" * 32},
    "target": "12.1",
    "arch": "sm_121",
    "grade": "native",
}


class TestVerifyRebuilt:
    def rebuilt(self, shim: CommandLine, folder: Path, **changes: object) -> Path:
        path = folder / "raw" / "lib.so"
        path.parent.mkdir(parents=True)
        path.write_bytes(library("one").data)
        assert shim("patch", path, "-o", folder / "made", "--target", str(changes.pop("made_for", "12.1"))).code == 0
        build = str(changes.pop("build", "1sm121"))
        document = {**RECORD, **changes}
        members = {
            "demo/lib.so": (folder / "made" / "lib.so").read_bytes(),
            f"{INFO}/shim/rebuild.json": json.dumps({k: v for k, v in document.items() if v is not None}),
        }
        return make_wheel(folder, members, tag="cp311-cp311-linux_x86_64", build=build)

    def test_reported(self, shim: CommandLine, tmp_path: Path) -> None:
        ran = shim("verify", self.rebuilt(shim, tmp_path))
        assert ran.code == 0, ran.err
        assert "built by shim rebuild for 12.1 (sm_121) from demo-1.0.tar.gz" in ran.out
        assert "ab" * 32 in ran.out
        assert "demo/lib.so: native (promised native)" in ran.out

    @pytest.mark.parametrize(
        ("changes", "code", "words"),
        [
            ({"made_for": "12.0"}, 7, "built for sm_121, holds sm_120"),
            ({"made_for": "12.0", "arch": "sm_120"}, 7, "built to be native, is"),
            ({"schema": "shim-rebuild/9"}, 3, "expected schema shim-rebuild/1"),
            ({"grade": "splendid"}, 3, "not as shim wrote it"),
            ({"source": None}, 3, "not as shim wrote it"),
            ({"target": "9.0"}, 7, "built to be native, is jit"),
            ({"build": "1sm120"}, 7, "its build tag is not ...sm121"),
        ],
    )
    def test_lies(self, shim: CommandLine, tmp_path: Path, changes: dict[str, object], code: int, words: str) -> None:
        ran = shim("verify", self.rebuilt(shim, tmp_path, **changes))
        assert ran.code == code, ran
        assert words in ran.err
        assert ran.err.count("error:") == 1


class TestVerifyOfASingleFile:
    """What `patch FILE` wrote, against the provenance beside it."""

    @pytest.fixture
    def patched(self, shim: CommandLine, tmp_path: Path) -> Path:
        source = tmp_path / "lib.so"
        source.write_bytes(library("kernel").data)
        assert shim("patch", source, "-o", tmp_path / "out").code == 0
        return tmp_path / "out" / "lib.so"

    def test_good(self, shim: CommandLine, patched: Path) -> None:
        ran = shim("verify", patched)
        assert ran.code == 0, ran.err
        assert "patched for 12.1: 1 new images are in place" in ran.out
        assert "lib.so: native (promised native)" in ran.out

    def test_changed(self, shim: CommandLine, patched: Path) -> None:
        data = bytearray(patched.read_bytes())
        data[-1] ^= 0xFF
        patched.write_bytes(data)
        ran = shim("verify", patched)
        assert ran.code == 3
        assert "no provenance of this file (its SHA-256) stands beside it" in ran.err

    def test_provenance_with_another_image(self, shim: CommandLine, patched: Path) -> None:
        beside = patched.with_name("lib.so.shim.json")
        document = json.loads(beside.read_text())
        document["members"][0]["containers"][0]["images"][0]["entry"]["sha256"] = "0" * 64
        beside.write_text(json.dumps(document))
        ran = shim("verify", patched)
        assert ran.code == 7
        assert "is not the one that was made" in ran.err

    @pytest.mark.parametrize("change", ["members", "grades", "request"])
    def test_garbled(self, shim: CommandLine, patched: Path, change: str) -> None:
        beside = patched.with_name("lib.so.shim.json")
        document = json.loads(beside.read_text())
        if change == "members":
            document["members"] *= 2
        else:
            (document if change == "request" else document["members"][0]).pop(change)
        beside.write_text(json.dumps(document))
        ran = shim("verify", patched)
        assert ran.code == 3
        assert "lacks or garbles" in ran.err

    def test_a_file_that_was_never_patched(self, shim: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "plain.so").write_bytes(library("kernel").data)
        assert shim("verify", tmp_path / "plain.so").code == 3
