"""Written wheels, judged by zipfile, `wheel unpack` and shim's own checks."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from builders.wheels import WHEN, data_span, library, make_wheel

from shim.errors import InputError, UsageError
from shim.wheels import memberwriter
from shim.wheels.archive import WheelArchive
from shim.wheels.deflate import DeflateMode, deflate_identity
from shim.wheels.hashing import hash_members
from shim.wheels.limits import Limits
from shim.wheels.record import RecordError, check_record
from shim.wheels.writer import WrittenWheel, write_wheel

INFO = "demo-1.0.dist-info"
OUT = "demo-1.0-1sm121-py3-none-any.whl"
LIB = library(11, 1_500_000)
MEMBERS = {
    "demo/__init__.py": b"x = 1\n",
    "demo/lib.so": LIB,
    "demo/other.so": library(12, 50_000),
    "demo/data/": b"",
    "demo/data/t.txt": b"t" * 500,
}


def patched_library(old: bytes = LIB) -> bytes:
    """A few bytes changed in the front, the middle and near the end, and a new part appended."""
    new = bytearray(old)
    new[40:72] = b"\x42" * 32
    new[len(old) // 2 : len(old) // 2 + 5000] = library(99, 5000)
    new[-3000:-2900] = bytes(100)
    return bytes(new) + bytes(-len(new) % 4096) + library(98, 120_000)


def write(source: Path, out: Path, **options: object) -> WrittenWheel:
    with WheelArchive.open(source) as archive:
        return write_wheel(archive, out, **options)  # type: ignore[arg-type]


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def sound(path: Path) -> None:
    """shim takes it back, RECORD included, and `wheel unpack` does."""
    with WheelArchive.open(path) as wheel:
        check_record(wheel, hashes=hash_members(wheel))
    folder = path.parent / "unpacked"
    command = [sys.executable, "-m", "wheel", "unpack", "-d", str(folder), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("mode", DeflateMode)
@pytest.mark.parametrize("level", [None, 1, 6, 9])
@pytest.mark.parametrize("streamed", [False, True])
def test_changes_and_nothing_else(tmp_path: Path, mode: DeflateMode, level: int | None, streamed: bool) -> None:
    modes = {"demo/lib.so": 0o755}
    source = make_wheel(tmp_path, MEMBERS, level=level, streamed=streamed, modes=modes, comment=b"kept")
    out = tmp_path / OUT
    added = {f"{INFO}/shim/p.json": b"{}", f"{INFO}/shim/a.bin": os.urandom(300)}
    replaced: dict[str, Path | bytes] = {"demo/lib.so": patched_library(), "demo/data/t.txt": b"u" * 400}
    written = write(source, out, replaced=replaced, added=added, removed=["demo/other.so"], mode=mode)
    sound(out)
    old, new = contents(source), contents(out)
    record = f"{INFO}/RECORD"
    expected = [name for name in old if name not in (record, "demo/other.so")] + sorted(added) + [record]
    assert list(new) == expected
    for name in expected[:-1]:
        assert new[name] == {**old, **replaced, **added}[name], name
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(out) as after:
        assert after.comment == b"kept"
        for name in set(old) & set(new):
            a, b = before.getinfo(name), after.getinfo(name)
            assert (a.date_time, a.external_attr, a.compress_type) == (
                b.date_time,
                b.external_attr,
                b.compress_type,
            )
        assert after.getinfo(f"{INFO}/shim/p.json").date_time == WHEN
        assert after.getinfo(f"{INFO}/shim/p.json").external_attr >> 16 == stat.S_IFREG | 0o644
        assert after.getinfo(f"{INFO}/shim/a.bin").compress_type == zipfile.ZIP_STORED
    assert written.size == out.stat().st_size
    assert [row.path for row in written.rows][-1] == record
    assert leftovers(tmp_path) == []


def test_untouched_members_are_copied_raw(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS, streamed=True)
    out = tmp_path / OUT
    write(source, out, replaced={"demo/data/t.txt": b"new"})
    with WheelArchive.open(source) as a, WheelArchive.open(out) as b:
        for name in ("demo/__init__.py", "demo/lib.so", "demo/other.so", f"{INFO}/METADATA"):
            (x, n), (y, m) = a.raw_span(a.member(name)), b.raw_span(b.member(name))
            assert source.read_bytes()[x : x + n] == out.read_bytes()[y : y + m]


@pytest.mark.parametrize("level", [1, 3, 6, 9])
@pytest.mark.parametrize("mode", DeflateMode)
def test_a_small_change_of_a_large_member_is_spliced(tmp_path: Path, level: int, mode: DeflateMode) -> None:
    big = library(21, 6_000_000)
    new = bytearray(big)
    new[100:116] = b"\xee" * 16
    new[3_000_000:3_000_600] = bytes(600)
    source = make_wheel(tmp_path, {"demo/big.so": big}, level=level)
    out = tmp_path / OUT
    write(source, out, replaced={"demo/big.so": bytes(new)}, mode=mode)
    sound(out)
    assert contents(out)["demo/big.so"] == bytes(new)
    start, size = data_span(source, "demo/big.so")
    packed = source.read_bytes()[start : start + size]
    start, size = data_span(out, "demo/big.so")
    spliced = out.read_bytes()[start : start + size]
    assert size < len(packed) * 1.01
    # The last three eighths are the very same bytes, and so is most of what lies between the two changes.
    assert spliced.endswith(packed[len(packed) * 5 // 8 :])
    assert packed[len(packed) // 4 : len(packed) * 3 // 8] in spliced


def test_a_member_that_shrinks(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    out = tmp_path / OUT
    write(source, out, replaced={"demo/lib.so": LIB[:1_200_001], "demo/other.so": b""})
    sound(out)
    assert contents(out)["demo/lib.so"] == LIB[:1_200_001]
    assert contents(out)["demo/other.so"] == b""


def test_equal_contents_are_no_change(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    out = tmp_path / OUT
    write(source, out, replaced={"demo/lib.so": LIB})
    assert out.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("mode", DeflateMode)
def test_bytes_depend_on_nothing_but_the_arguments(tmp_path: Path, mode: DeflateMode) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    changed = tmp_path / "lib.so"
    changed.write_bytes(library(77, 4_000_000))  # all new, in several chunks
    results = set()
    for jobs in (1, 2, 5):
        for new in (changed, changed.read_bytes()):
            out = tmp_path / f"out{len(results)}{jobs}.whl"
            options = {"replaced": {"demo/lib.so": new, "demo/other.so": patched_library(MEMBERS["demo/other.so"])}}
            write(
                source,
                out,
                added={"demo/z": b"z", "demo/b": b"b"},
                mode=mode,
                jobs=jobs,
                force=True,
                **options,
            )
            results.add(out.read_bytes())
    assert len(results) == 1


def test_large_member_from_a_file(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    new = tmp_path / "lib.so"
    new.write_bytes(patched_library())
    write(source, tmp_path / OUT, replaced={"demo/lib.so": new})
    sound(tmp_path / OUT)
    assert contents(tmp_path / OUT)["demo/lib.so"] == patched_library()


def test_zip64_header_of_a_changed_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header with 64-bit sizes, asked for by lowering the bound that calls for it."""
    monkeypatch.setattr(memberwriter, "MAX32", 1 << 20)
    source = make_wheel(tmp_path, MEMBERS)
    write(source, tmp_path / OUT, replaced={"demo/lib.so": patched_library(), "demo/other.so": b"small"})
    sound(tmp_path / OUT)
    assert contents(tmp_path / OUT)["demo/lib.so"] == patched_library()
    with zipfile.ZipFile(tmp_path / OUT) as oracle:
        raw = (tmp_path / OUT).read_bytes()
        offset = oracle.getinfo("demo/lib.so").header_offset
        assert raw[offset + 18 : offset + 26] == b"\xff" * 8
        assert raw[offset + 4 : offset + 6] == b"\x2d\x00"


@pytest.mark.slow
def test_member_over_4_gib(tmp_path: Path) -> None:
    """A sparse file of 4 GiB + 1 becomes a member of a few megabytes."""
    source = make_wheel(tmp_path, {"demo/a.bin": b"small"})
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((1 << 32) + 1)
    write(source, tmp_path / OUT, replaced={"demo/a.bin": large})
    limits = Limits(max_ratio=2000)
    with WheelArchive.open(tmp_path / OUT, limits=limits) as wheel, zipfile.ZipFile(tmp_path / OUT) as oracle:
        assert wheel.member("demo/a.bin").size == (1 << 32) + 1
        info = oracle.getinfo("demo/a.bin")
        assert (info.file_size, info.extract_version) == ((1 << 32) + 1, 45)
        with oracle.open("demo/a.bin") as file:
            assert file.read(1 << 20) == bytes(1 << 20)
        assert oracle.read(f"{INFO}/WHEEL") == wheel.read(wheel.member(f"{INFO}/WHEEL"))


def test_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_wheel(tmp_path)

    def added_at(**options: object) -> tuple[int, ...]:
        out = tmp_path / OUT
        write(source, out, added={"demo/n": b"n"}, force=True, **options)
        with zipfile.ZipFile(out) as archive:
            return archive.getinfo("demo/n").date_time

    assert added_at() == WHEN
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    assert added_at() == (2023, 11, 14, 22, 13, 20)
    assert added_at(epoch=0) == (1980, 1, 1, 0, 0, 0)
    assert added_at(epoch=1 << 40)[:3] == (2107, 12, 31)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH: expected seconds since 1970, found 'now'"):
        added_at()


def test_signatures_are_dropped_and_named(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, {**MEMBERS, f"{INFO}/RECORD.jws": b"{}", f"{INFO}/RECORD.p7s": b"p"})
    written = write(source, tmp_path / OUT, replaced={"demo/data/t.txt": b"new"})
    assert written.dropped_signatures == (f"{INFO}/RECORD.jws", f"{INFO}/RECORD.p7s")
    assert not set(written.dropped_signatures) & set(contents(tmp_path / OUT))
    sound(tmp_path / OUT)


def test_record_rows_of_untouched_members_stay(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, {**MEMBERS, "demo/a, b.txt": b"comma"})
    write(source, tmp_path / OUT, replaced={"demo/data/t.txt": b"new"}, added={"demo/c, d": b""})
    old = contents(source)[f"{INFO}/RECORD"].decode().splitlines()
    new = contents(tmp_path / OUT)[f"{INFO}/RECORD"].decode().splitlines()
    assert [a == b for a, b in zip(old, new, strict=False)] == [
        True,
        True,
        True,
        False,
        True,
        True,
        True,
        False,
    ]
    assert new[-2].startswith('"demo/c, d",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0')
    sound(tmp_path / OUT)


def test_record_keeps_its_line_ends(tmp_path: Path) -> None:
    plain = contents(make_wheel(tmp_path, MEMBERS))[f"{INFO}/RECORD"]
    source = make_wheel(tmp_path, MEMBERS, record=plain.replace(b"\n", b"\r\n"))
    write(source, tmp_path / OUT, replaced={"demo/data/t.txt": b"new"})
    record = contents(tmp_path / OUT)[f"{INFO}/RECORD"]
    assert record.count(b"\r\n") == record.count(b"\n") == plain.count(b"\n")
    sound(tmp_path / OUT)


MISTAKES: list[tuple[dict[str, object], str]] = [
    ({"replaced": {"demo/nothing": b""}}, "demo/nothing: cannot be replaced, there is no such member"),
    ({"removed": ["demo/nothing"]}, "demo/nothing: cannot be removed, there is no such member"),
    ({"added": {"demo/lib.so": b""}}, "demo/lib.so: cannot be added, there is one already"),
    ({"added": {"demo/LIB.so": b""}}, "demo/LIB.so: cannot be added, there is one already"),
    ({"added": {"demo/data": b""}}, "demo/data: cannot be added, there is one already, or it is a folder"),
    ({"added": {"demo/new/": b""}}, "demo/new/: cannot be added, there is one already, or it is a folder"),
    ({"added": {"../new": b""}}, "'../new': cannot be added, the name leaves the folder"),
    (
        {"added": {"demo/n": b""}, "late": lambda layout: {"demo/n": b""}},
        "demo/n: cannot be added, there is one",
    ),
    ({"replaced": {"demo/lib.so": b""}, "removed": ["demo/lib.so"]}, "cannot be both replaced and removed"),
    ({"replaced": {f"{INFO}/RECORD": b""}}, "RECORD: is made by the writer"),
    ({"late": lambda layout: {"demo/lib.so": b""}}, "demo/lib.so: cannot be added, there is one already"),
    (
        {"replaced": {"demo/lib.so": Path("/nowhere/lib.so")}},
        "lib.so: cannot be opened: there is no such file",
    ),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes_leave_nothing_behind(tmp_path: Path, options: dict[str, object], message: str) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    with pytest.raises(InputError, match=message):
        write(source, tmp_path / OUT, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def test_a_member_without_row_is_refused(tmp_path: Path) -> None:
    good = contents(make_wheel(tmp_path, MEMBERS))[f"{INFO}/RECORD"]
    lines = [line for line in good.splitlines(keepends=True) if not line.startswith(b"demo/other.so")]
    source = make_wheel(tmp_path, MEMBERS, record=b"".join(lines))
    with pytest.raises(RecordError, match=r"demo/other.so: in the wheel, but not listed"):
        write(source, tmp_path / OUT, replaced={"demo/data/t.txt": b"new"})
    assert leftovers(tmp_path) == []


def test_a_different_file_is_not_overwritten(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    out = tmp_path / OUT
    out.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"any.whl: a different file of this name") as caught:
        write(source, out, added={"demo/n": b"n"})
    assert "--force" in str(caught.value.hint)
    assert out.read_bytes() == b"something else"
    write(source, out, added={"demo/n": b"n"}, force=True)
    made = out.stat()
    write(source, out, added={"demo/n": b"n"})
    assert out.stat().st_ino == made.st_ino, "an equal file is left alone"
    with pytest.raises(InputError, match=r"a different file of this name"):
        write(source, out, added={"demo/n": b"m"})
    assert leftovers(tmp_path) == []


def failing_write(error: BaseException, after: int) -> Callable[..., int]:
    real, count = os.pwrite, 0

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        nonlocal count
        count += 1
        if count > after:
            raise error
        return real(fd, data, offset)

    return pwrite


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "cannot be written: no space left on the device"),
        (OSError(122, "Disk quota exceeded"), "cannot be written: the disk quota is used up"),
        (OSError(5, "Input/output error"), "cannot be written: Input/output error"),
    ],
)
def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, error: OSError, message: str) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    monkeypatch.setattr(os, "pwrite", failing_write(error, after))
    with pytest.raises(InputError, match=message):
        write(source, tmp_path / OUT, replaced={"demo/lib.so": patched_library()})
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def test_file_size_limit_of_the_system(tmp_path: Path) -> None:
    """A real refusal by the kernel, in the middle of a raw copy."""
    source = make_wheel(tmp_path, {"demo/lib.so": library(1, 400_000), "demo/t": b"t"}, level=None)
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from shim.errors import InputError; from shim.wheels.archive import WheelArchive\n"
        "from shim.wheels.writer import write_wheel\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100000,) * 2)\n"
        "source = WheelArchive.open(Path(sys.argv[1]))\n"
        "try: write_wheel(source, Path(sys.argv[2]), replaced={'demo/t': b'u'})\n"
        "except InputError as err: print(err)\n"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / OUT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert "any.whl: cannot be written: the file is too large" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def test_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    seen = 0

    def interrupt(count: int) -> None:
        nonlocal seen
        seen += count
        if seen > 10_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(source, tmp_path / OUT, replaced={"demo/lib.so": patched_library()}, progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def test_progress_adds_up(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    steps: list[int] = []
    written = write(source, tmp_path / OUT, replaced={"demo/lib.so": b"x"}, progress=steps.append)
    assert sum(steps) == written.size


@pytest.mark.parametrize("errno", [18, 22, 38, 95])
def test_without_copy_in_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errno: int) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    write(source, tmp_path / "a.whl", replaced={"demo/lib.so": patched_library()})

    def refuse(*args: object) -> int:
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    write(source, tmp_path / "b.whl", replaced={"demo/lib.so": patched_library()})
    assert (tmp_path / "a.whl").read_bytes() == (tmp_path / "b.whl").read_bytes()


def test_no_folder_to_write_to(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    with pytest.raises(InputError, match=r"any.whl: cannot be written: there is no such folder"):
        write(source, tmp_path / "nowhere" / OUT, added={"demo/n": b"n"})


def test_the_umask_holds(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, MEMBERS)
    old = os.umask(0o027)
    try:
        write(source, tmp_path / OUT, added={"demo/n": b"n"})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / OUT).stat().st_mode) == 0o640


def test_modes_name_what_they_use() -> None:
    assert deflate_identity(DeflateMode.FAST).startswith("isa-l 2.")
    assert deflate_identity(DeflateMode.CANONICAL).endswith(" level 6")
