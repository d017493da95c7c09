"""Units for the compile stage, and tools that pose as ptxas."""

from __future__ import annotations

from pathlib import Path

from shim.applying.compile import Outcome, compile_units
from shim.applying.units import CompileUnit
from shim.store import ContentStore
from shim.toolchain import Tool, ask_version
from tests.builders import kernels
from tests.builders.fake_tools import fake_ptxas

PTX = kernels.ptx_text(["one", "two"], steps=3)


def unit(ptx: bytes = PTX, **changes) -> CompileUnit:
    values = {"key": "k", "options": "", "target": "sm_121", "label": "lib.so container 1"} | changes
    values.setdefault("tool", kernels.tool("ptxas"))
    return CompileUnit(ptx=ptx, **values)


def compile_one(one: CompileUnit, store: ContentStore | None = None, **options) -> Outcome:
    return compile_units([one], store=store, **options)[one.key]


def fake(folder: Path, body: str, name: str = "fake") -> Tool:
    """A ptxas that answers questions like a real one and compiles with the shell commands `body`."""
    path = fake_ptxas(folder / name / "ptxas", body=body)
    return ask_version(path, name="ptxas", origin="test")
