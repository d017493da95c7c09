"""A .fatbin file with other containers: what is written, and where the old bytes are afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shim import _core
from shim.applying.fatbin_file import write_fatbin
from shim.applying.rewrite import Edit, Rewritten
from shim.devicecode import DeviceCode, read_path
from shim.errors import InputError
from shim.planning import Layout
from shim.provenance.edits import covers
from shim.verifying.library import gives_original
from tests.builders.fatbin import container
from tests.unit.scan.files import sass, text

NEW = _core.make_entry(kind=2, arch=121, image=sass("121").payload)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three containers: the second after a gap of zeros, the file ends with one."""
    path = tmp_path / "three.fatbin"
    parts = [container(sass("80"), text("80")), container(sass("90")), container(sass("75"), sass("86"), text("86"))]
    path.write_bytes(parts[0] + bytes(24) + parts[1] + parts[2] + bytes(8))
    path.chmod(0o640)
    return path


def with_new(code: DeviceCode, index: int, kept: Sequence[tuple[int, int]] | None = None) -> Edit:
    one = code.containers[index]
    ranges = [(one.offset + 16, one.size - 16)] if kept is None else list(kept)
    size = len(NEW) + sum(length for _, length in ranges)
    return Edit(offset=one.offset, wrappers=(), pieces=(_core.make_container_header(size), NEW, *ranges))


def write(source: Path, *edits: Edit) -> tuple[Rewritten, DeviceCode]:
    code = read_path(source)
    dest = source.with_name("new.fatbin")
    written = write_fatbin(code, source, dest, edits)
    assert covers(written.old, source.stat().st_size)
    assert gives_original(written, dest, source)
    assert (written.size, written.layout, written.strip_unsafe) == (dest.stat().st_size, Layout.REPACK, False)
    return written, read_path(dest)


def archs(code: DeviceCode) -> list[list[str]]:
    return [[str(image.arch) for image in one.images] for one in code.containers]


def test_new_images_come_first_and_the_order_stays(source: Path) -> None:
    code = read_path(source)
    written, after = write(source, with_new(code, 2), with_new(code, 0))
    assert archs(after) == [["121", "80", "80"], ["90"], ["121", "75", "86", "86"]]
    assert [after.containers[2].offset, after.containers[0].offset] == list(written.containers)
    assert after.unknown == ()
    assert source.with_name("new.fatbin").stat().st_mode & 0o777 == 0o640


def test_untouched_containers_and_gaps_are_copied(source: Path) -> None:
    code = read_path(source)
    _, after = write(source, with_new(code, 0))
    old, new = source.read_bytes(), source.with_name("new.fatbin").read_bytes()
    start = code.containers[0].size
    assert new[after.containers[0].size :] == old[start:]


def test_dropped_and_reordered_images(source: Path) -> None:
    code = read_path(source)
    first, second, last = code.containers[2].images
    kept = [(last.offset, last.stored_size), (first.offset, first.stored_size)]
    written, after = write(source, with_new(code, 2, kept))
    assert archs(after)[2] == ["121", "86", "75"]
    assert (second.offset, second.stored_size, None) in [(o.offset, o.size, o.at) for o in written.old]


def test_nothing_kept(source: Path) -> None:
    code = read_path(source)
    _, after = write(source, with_new(code, 1, []))
    assert archs(after)[1] == ["121"]


def test_a_file_that_was_cut_meanwhile(source: Path) -> None:
    code = read_path(source)
    edit = with_new(code, 0)
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(InputError, match="before the end it had"):
        write_fatbin(code, source, source.with_name("new.fatbin"), [edit])


def test_an_existing_file_is_not_written_over(source: Path) -> None:
    with pytest.raises(FileExistsError):
        write_fatbin(read_path(source), source, source, [])
    assert archs(read_path(source)) == [["80", "80"], ["90"], ["75", "86", "86"]]
