"""The examples of docs/: every ```console and ```python block is run, offline, in a folder with a few small files.

In the output that a ```console block shows, `...` stands for any text, on its own line for any number of lines.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders import fatbin, recipes
from tests.builders.cubin import cubin

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One block; `where` names the page and line."""

    where: str
    language: str
    text: str


def examples() -> Iterator[Example]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield Example(where=f"{page.name}:{line}", language=match[1], text=match[2])


def commands(text: str) -> list[tuple[str, str]]:
    """(command, output shown)."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)
    assert not parts[0].strip(), "a console block starts with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def pattern(shown: str) -> re.Pattern[str]:
    lines = []
    for line in shown.splitlines():
        if line == "...":
            lines.append(r"(?:.*\n)*")
        else:
            lines.append(re.escape(line).replace(re.escape("..."), ".*") + "\n")
    return re.compile("".join(lines))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the examples are about: containers, cubins, a wheel that is none, an environment and a recipe for it."""
    sm90a = fatbin.Image(kind=fatbin.CUBIN, arch=90, feature="a", payload=bytes(5000))
    sm120a = fatbin.Image(kind=fatbin.CUBIN, arch=120, feature="a", payload=bytes(5000))
    ptx80 = fatbin.Image(kind=fatbin.PTX, arch=80, payload=fatbin.ptx("80"))
    files = tmp_path / "files"
    files.mkdir()
    (files / "attention.fatbin").write_bytes(fatbin.container(sm90a, ptx80))
    (files / "gemm.fatbin").write_bytes(fatbin.container(sm120a, sm90a))
    (files / "notes.whl").write_text("hello, this is no archive\n")
    old = cubin(90, abi=7)
    other = cubin(100) + b"-arch sm_100f -m 64 "  # as the tool's note has it
    new = cubin(120, compat=fatbin.compat((0x0B, (0x50).to_bytes(8, "little"))))
    folder = files / "cubins" / "demo"
    folder.mkdir(parents=True)
    for name, data, count in (("old", old, 40), ("other", other, 25), ("new", new, 2)):
        for number in range(count):
            (folder / f"{name}{number}.cubin").write_bytes(data)
    recipes.install(files / "env")
    recipes.write_recipe(files / "recipes")
    return files


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With a `shim` on PATH that runs this source tree, a cache of its own, and nothing to be fetched."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shim = programs / "shim"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m shim "$@"\n')
    shim.chmod(0o755)
    own = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), "SHIM_OFFLINE": "1"}
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return own | {"PYTHONPATH": paths, "SHIM_CACHE_DIR": str(tmp_path / "cache"), "LC_ALL": "C.UTF-8"}


def test_there_are_examples() -> None:
    assert {example.language for example in examples()} == {"console", "python"}


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.where)
def test_example(example: Example, folder: Path, environment: dict[str, str]) -> None:
    if example.language == "python":
        argv = [sys.executable, "-W", "error", "-c", example.text]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return
    for command, shown in commands(example.text):
        argv = ["bash", "-c", command]
        done = subprocess.run(
            argv,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        said = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
        assert pattern(shown).fullmatch(said), f"$ {command}\n{said}"
