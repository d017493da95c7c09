"""The writer's dealings with the file system: nothing overwritten, nothing left behind, little memory."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from shim import _core
from tests.builders import elf

NEW = elf.filled_container(5)


def in_child(script: str, *arguments: object) -> dict[str, int]:
    """Runs a script that prints one JSON object; its limits are its own."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_an_existing_file_is_never_written(tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    source = tmp_path / "source"
    source.write_bytes(sample.data)
    for target in (source, tmp_path / "other"):
        (tmp_path / "other").write_bytes(b"precious")
        with pytest.raises(FileExistsError):
            _core.append_containers(source, target, [([sample.wrappers[0]], [NEW])])
        with pytest.raises(FileExistsError):
            _core.restore_file(source, target, 10, [])
    assert source.read_bytes() == sample.data
    assert (tmp_path / "other").read_bytes() == b"precious"


def test_missing_files_are_named(tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    with pytest.raises(FileNotFoundError) as caught:
        _core.append_containers(tmp_path / "none", tmp_path / "out", [([0], [NEW])])
    assert caught.value.filename == str(tmp_path / "none")
    with pytest.raises(FileNotFoundError) as caught:
        _core.append_containers(sample.path, tmp_path / "no" / "out", [([sample.wrappers[0]], [NEW])])
    assert caught.value.filename == str(tmp_path / "no" / "out")
    with pytest.raises(FileNotFoundError) as caught:
        _core.append_containers(sample.path, tmp_path / "out", [([sample.wrappers[0]], [tmp_path / "piece"])])
    assert caught.value.filename == str(tmp_path / "piece")
    with pytest.raises(IsADirectoryError):
        _core.append_containers(tmp_path, tmp_path / "out", [([0], [NEW])])
    assert list(tmp_path.iterdir()) == []


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(_core.ParseError, match="ELF header: 64 bytes at offset 0 leave the file of 0 bytes"):
        _core.append_containers(tmp_path / "empty", tmp_path / "out", [([0], [NEW])])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("room", [100, 20_000])
def test_a_disk_that_fills_up_leaves_nothing(room: int, tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    assert len(sample.data) < 20_000
    out = tmp_path / "out"
    answer = in_child(
        """
        import json, resource, sys
        from shim import _core
        source, out, wrapper, room = sys.argv[1:]
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
        try:
            _core.append_containers(source, out, [([int(wrapper)], [(_core.make_container_header(1 << 20)), bytes(1 << 20)])])
        except OSError as error:
            print(json.dumps({"errno": error.errno, "named": error.filename == out}))
        """,
        sample.path,
        out,
        sample.wrappers[0],
        room,
    )
    assert answer == {"errno": errno.EFBIG, "named": True}
    assert not out.exists()


def test_memory_does_not_grow_with_the_library(tmp_path: Path) -> None:
    size = 300 << 20
    big = elf.Container(data=elf.filled_container(1, size=size))
    path = elf.build(tmp_path, "gnu-rela", [big])
    wrapper = path.read_bytes().rindex(bytes.fromhex("b1436246"))
    answer = in_child(
        """
        import json, resource, sys
        from shim import _core
        source, out, wrapper, at, size = sys.argv[1:]
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        before = peak()
        pieces = [_core.make_container_header(2 * int(size)), (int(at), int(size)), (int(at), int(size))]
        result = _core.append_containers(source, out, [([int(wrapper)], pieces)])
        print(json.dumps({"grown": peak() - before, "size": result.size}))
        """,
        path,
        tmp_path / "out",
        wrapper,
        path.read_bytes().index(big.data[:100]) + 16,
        len(big.data) - 16,
    )
    assert answer["size"] == (tmp_path / "out").stat().st_size > 3 * size
    assert answer["grown"] < 20 << 20
