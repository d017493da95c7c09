"""RECORD that is missing, malformed or lies: every fault is found, and all of them are told at once."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from builders.wheels import make_wheel, record_text

from shim.wheels.archive import WheelArchive
from shim.wheels.hashing import hash_members
from shim.wheels.record import RecordError, check_record, parse_record

MEMBERS = {"demo/a.py": b"a = 1\n", "demo/b.py": b"b = 2\n"}
INFO = "demo-1.0.dist-info"
DIGEST = "sha256=PLjc2Pq3nhu6nAShAMSWsIuRw9g-TAq9Tk8MYrZpFrE"


def good_rows(folder: Path) -> list[str]:
    with WheelArchive.open(make_wheel(folder, MEMBERS)) as wheel:
        return wheel.read(wheel.member(f"{INFO}/RECORD")).decode().splitlines()


def faults(folder: Path, rows: list[str], extra: dict[str, bytes] | None = None) -> RecordError:
    path = make_wheel(folder, {**MEMBERS, **(extra or {})}, record=("\n".join(rows) + "\n").encode())
    with WheelArchive.open(path) as wheel, pytest.raises(RecordError) as caught:
        check_record(wheel, hashes=hash_members(wheel, jobs=1))
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)
    return caught.value


def test_the_good_record_is_good(tmp_path: Path) -> None:
    good_rows(tmp_path)
    with WheelArchive.open(tmp_path / "demo-1.0-py3-none-any.whl") as wheel:
        record = check_record(wheel, hashes=hash_members(wheel))
    assert [row.path for row in record.rows] == [
        *MEMBERS,
        f"{INFO}/METADATA",
        f"{INFO}/WHEEL",
        f"{INFO}/RECORD",
    ]
    assert not record.signed


def replace_row(rows: list[str], index: int, cell: int, text: str) -> list[str]:
    cells = rows[index].split(",")
    cells[cell] = text
    return [*rows[:index], ",".join(cells), *rows[index + 1 :]]


ROW_CASES = [
    (1, "sha256=" + "A" * 43, r"demo/a.py: sha256: expected 0{64}, found [0-9a-f]{64}"),
    (1, "", r"demo/a.py: no hash"),
    (1, "md5=" + "A" * 22, r"expected a hash of sha256, sha384, sha512, found 'md5'"),
    (1, "sha256=" + "A" * 20, r"expected 32 bytes of sha256, the digest has 15"),
    (1, "sha256=+//!", r"is not URL-safe base64"),
    (1, "A" * 43, r"expected algorithm=digest"),
    (2, "7", r"demo/a.py: size: expected 7 bytes, found 6"),
    (2, "six", r"the size 'six' is not a number"),
    (2, "-6", r"the size '-6' is not a number"),
    (2, "9" * 5000, r"the size has 5000 digits"),
    (2, "6,7", r"expected path, hash and size, found 4 fields"),
    (0, "", r"RECORD line 1: the path is empty"),
    (0, '"demo/a.py', r"RECORD line 1: unexpected end of data"),
    (
        0,
        "demo/z.py",
        r"demo/z.py: listed, but the wheel has no such file(.|\n)*demo/a.py: in the wheel, but not listed",
    ),
    (0, "demo/b.py", r"demo/b.py: listed twice"),
    (0, "../a.py", r"\.\./a.py: listed, but the wheel has no such file"),
]


@pytest.mark.parametrize(("cell", "text", "message"), ROW_CASES)
def test_row(tmp_path: Path, cell: int, text: str, message: str) -> None:
    error = faults(tmp_path, replace_row(good_rows(tmp_path), 0, cell, text))
    assert re.search(message, str(error)), str(error)


def test_record_with_its_own_hash(tmp_path: Path) -> None:
    rows = replace_row(good_rows(tmp_path), -1, 1, DIGEST)
    assert "RECORD cannot hold its own hash" in str(faults(tmp_path, rows))


def test_all_faults_at_once(tmp_path: Path) -> None:
    rows = good_rows(tmp_path)
    rows = replace_row(rows, 0, 1, DIGEST)
    rows = replace_row(rows, 1, 2, "99")
    rows.insert(2, f"demo/none.py,{DIGEST},3")
    error = faults(tmp_path, rows, {"demo/unlisted.py": b""})
    assert [issue.path for issue in error.issues] == [
        "demo/a.py",
        "demo/b.py",
        "demo/none.py",
        "demo/unlisted.py",
    ]
    assert "4 faults" in str(error)


def test_many_faults_are_cut_short(tmp_path: Path) -> None:
    error = faults(tmp_path, [f"demo/{n}.py,{DIGEST},1" for n in range(100)])
    assert len(error.issues) == 104
    assert "  and 84 more" in str(error)


def test_missing_record(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, record=b"")
    with (
        WheelArchive.open(path) as wheel,
        pytest.raises(RecordError, match="RECORD: missing; every wheel must"),
    ):
        check_record(wheel)


def test_record_that_is_not_utf8() -> None:
    with pytest.raises(RecordError, match="not UTF-8 at byte 5"):
        parse_record(b"demo/\xff.py,,\n")


def test_without_hashes_sizes_and_names_are_checked_still(tmp_path: Path) -> None:
    rows = good_rows(tmp_path)
    lying = replace_row(rows, 0, 1, "sha256=" + "A" * 43)
    path = make_wheel(tmp_path, MEMBERS, record="\n".join(lying).encode())
    with WheelArchive.open(path) as wheel:
        assert check_record(wheel).rows[0].digest == "0" * 64
    path = make_wheel(tmp_path, MEMBERS, record="\n".join(replace_row(rows, 0, 2, "5")).encode())
    with WheelArchive.open(path) as wheel, pytest.raises(RecordError, match="expected 5 bytes, found 6"):
        check_record(wheel)


def test_signatures_are_no_fault(tmp_path: Path) -> None:
    members = {**MEMBERS, f"{INFO}/RECORD.jws": b"{}", f"{INFO}/RECORD.p7s": b"p"}
    path = make_wheel(tmp_path, members)
    with WheelArchive.open(path) as wheel:
        record = check_record(wheel, hashes=hash_members(wheel))
    assert record.signed
    assert record.signatures == (f"{INFO}/RECORD.jws", f"{INFO}/RECORD.p7s")


def test_longer_hashes_are_checked(tmp_path: Path) -> None:
    good = base64.urlsafe_b64encode(hashlib.sha512(b"a = 1\n").digest()).decode().rstrip("=")
    rows = replace_row(good_rows(tmp_path), 0, 1, f"sha512={good}")
    path = make_wheel(tmp_path, MEMBERS, record="\n".join(rows).encode())
    with WheelArchive.open(path) as wheel:
        assert check_record(wheel, hashes=hash_members(wheel)).rows[0].algorithm == "sha512"
    bad = replace_row(rows, 0, 1, "sha512=" + "A" * 86)
    assert "demo/a.py: sha512: expected 000" in str(faults(tmp_path, bad))


def test_builder_quotes_as_csv_does() -> None:
    rows = parse_record(record_text({"demo/a,b.py": b""}, "r"))
    assert rows[0].path == "demo/a,b.py"


def test_rows_without_end() -> None:
    with pytest.raises(RecordError, match="more than 250000 rows"):
        parse_record("a,,\n" * 300_000)
