"""The writer's dealings with the file system: nothing overwritten, nothing left behind, little memory."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

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
            pieces = [_core.make_container_header(1 << 20), bytes(1 << 20)]
            _core.append_containers(source, out, [([int(wrapper)], pieces)])
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
    """150 MB in 300 containers, all of them replaced: looking at each one maps pages, which must not add up."""
    count = 300
    data = elf.filled_container(1, size=500_000)
    path = elf.build(tmp_path, "gnu-rela", [elf.Container(data=data)] * count)
    content = path.read_bytes()
    with ELFFile.load_from_path(str(path)) as file:
        wrappers = file.get_section_by_name(elf.SEGMENT)["sh_offset"]
    answer = in_child(
        """
        import json, pathlib, sys
        from shim import _core
        source, out, wrappers, at, size, count = sys.argv[1:3] + [int(word) for word in sys.argv[3:]]
        def peak():  # not ru_maxrss, which a child inherits from its parent
            status = pathlib.Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) << 10
        header = _core.make_container_header(2 * (size - 16))
        edits = [
            ([wrappers + 24 * i], [header, (at + i * size + 16, size - 16), (at + i * size + 16, size - 16)])
            for i in range(count)
        ]
        before = peak()
        result = _core.append_containers(source, out, edits)
        print(json.dumps({"grown": peak() - before, "size": result.size}))
        """,
        path,
        tmp_path / "out",
        wrappers,
        content.index(data[:300]),
        len(data),
        count,
    )
    assert answer["size"] == (tmp_path / "out").stat().st_size > 3 * count * len(data) - (1 << 20)
    assert answer["grown"] < 60 << 20  # 18 MiB seen; 143 MiB when the pages looked at stay mapped
