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
            _core.rewrite_containers(source, target, [sample.edit(0, NEW)], layout="append")
    assert source.read_bytes() == sample.data
    assert (tmp_path / "other").read_bytes() == b"precious"


def test_missing_files_are_named(tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    with pytest.raises(FileNotFoundError) as caught:
        _core.rewrite_containers(tmp_path / "none", tmp_path / "out", [(0, [0], [NEW])], layout="append")
    assert caught.value.filename == str(tmp_path / "none")
    with pytest.raises(FileNotFoundError) as caught:
        _core.rewrite_containers(sample.path, tmp_path / "no" / "out", [sample.edit(0, NEW)], layout="append")
    assert caught.value.filename == str(tmp_path / "no" / "out")
    with pytest.raises(FileNotFoundError) as caught:
        _core.rewrite_containers(sample.path, tmp_path / "out", [sample.edit(0, tmp_path / "piece")], layout="append")
    assert caught.value.filename == str(tmp_path / "piece")
    with pytest.raises(IsADirectoryError):
        _core.rewrite_containers(tmp_path, tmp_path / "out", [(0, [0], [NEW])], layout="append")
    assert list(tmp_path.iterdir()) == []


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(_core.ParseError, match="ELF header: 64 bytes at offset 0 leave the file of 0 bytes"):
        _core.rewrite_containers(tmp_path / "empty", tmp_path / "out", [(0, [0], [NEW])], layout="append")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["append", "move"])
@pytest.mark.parametrize("room", [100, 20_000])
def test_a_disk_that_fills_up_leaves_nothing(room: int, layout: str, tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    assert len(sample.data) < 20_000
    out = tmp_path / "out"
    answer = in_child(
        """
        import json, resource, sys
        from shim import _core
        source, out, offset, wrapper, room, layout = sys.argv[1:]
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
        try:
            pieces = [_core.make_container_header(1 << 20), bytes(1 << 20)]
            _core.rewrite_containers(source, out, [(int(offset), [int(wrapper)], pieces)], layout=layout)
        except OSError as error:
            print(json.dumps({"errno": error.errno, "named": error.filename == out}))
        """,
        sample.path,
        out,
        sample.offsets[0],
        sample.wrappers[0],
        room,
        layout,
    )
    assert answer == {"errno": errno.EFBIG, "named": True}
    assert not out.exists()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 MB in 300 containers."""
    data = elf.filled_container(1, size=500_000)
    return elf.build(tmp_path_factory.mktemp("large"), "gnu-rela", [elf.Container(data=data)] * 300)


@pytest.mark.parametrize("layout", ["repack", "append", "move"])
def test_memory_does_not_grow_with_the_library(layout: str, large: Path, tmp_path: Path) -> None:
    """All containers are replaced: looking at each one maps pages, which must not add up."""
    count = 300
    data = elf.filled_container(1, size=500_000)
    content = large.read_bytes()
    with ELFFile.load_from_path(str(large)) as file:
        wrappers = file.get_section_by_name(elf.SEGMENT)["sh_offset"]
    answer = in_child(
        """
        import json, pathlib, sys
        from shim import _core
        layout, source, out, wrappers, at, size, count = sys.argv[1:4] + [int(word) for word in sys.argv[4:]]
        def peak():  # not ru_maxrss, which a child inherits from its parent
            status = pathlib.Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) << 10
        times = 1 if layout == "repack" else 2
        header = _core.make_container_header(times * (size - 16))
        edits = [
            (at + i * size, [wrappers + 24 * i], [header, *[(at + i * size + 16, size - 16)] * times])
            for i in range(count)
        ]
        before = peak()
        result = _core.rewrite_containers(source, out, edits, layout=layout)
        print(json.dumps({"grown": peak() - before, "size": result.size}))
        """,
        layout,
        large,
        tmp_path / "out",
        wrappers,
        content.index(data[:300]),
        len(data),
        count,
    )
    copies = {"repack": 1, "append": 3, "move": 2}[layout]
    assert answer["size"] == (tmp_path / "out").stat().st_size > copies * count * len(data) - (1 << 20)
    assert answer["grown"] < 60 << 20  # 18 MiB seen; 143 MiB when the pages looked at stay mapped
    (tmp_path / "out").unlink()
