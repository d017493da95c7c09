"""Real CUDA code for tests, compiled from small sources by nvcc and ptxas and kept between runs.

An nvcc run takes 1 to 4 s, so what it makes is kept under SHIM_TEST_CACHE, or in pytest's cache folder, by
the hash of the sources, the options and the compiler. Safe with several test processes at once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from shim.process import run
from shim.store import ContentStore, make_key
from shim.toolchain import MemoryFiles, Tool, find_tools, nvcc_environment

_SCHEMA = "kernels-1"
_COMPILE_SECONDS = 300.0

EMPTY = ".version {isa}\n.target {target}\n.address_size 64\n"
KERNEL = """\
.visible .entry {name}(.param .u64 out, .param .f32 by)
{{
  .reg .b64 %a, %b;
  .reg .b32 %t;
  .reg .f32 %x, %y;
  ld.param.u64 %a, [out];
  ld.param.f32 %y, [by];
  mov.u32 %t, %tid.x;
  mul.wide.u32 %b, %t, 4;
  add.s64 %a, %a, %b;
  ld.global.f32 %x, [%a];
  {body}
  st.global.f32 [%a], %x;
  ret;
}}
"""


@cache
def tool(name: str) -> Tool:
    """The tool tests use. Never a reason to skip: the package index has it."""
    if found := find_tools(name):
        return found[0]
    raise FileNotFoundError(f"{name}: no toolkit, and no compiler wheel (pip install '.[nvcc]')")


def ptx_text(names: Sequence[str] = ("kernel",), *, isa: str = "8.0", target: str = "sm_80", steps: int = 1) -> bytes:
    """PTX of kernels of 37 bytes a step; ptxas takes 0.1 s for 1,000 steps and 0.9 s for 10,000."""
    body = "\n".join(f"  fma.rn.f32 %x, %x, %y, 0f{0x3F800000 + number:08X};" for number in range(steps))
    kernels = "".join(KERNEL.format(name=name, body=body) for name in names)
    return (EMPTY.format(isa=isa, target=target) + kernels).encode()


def build_cubin(ptx: bytes, *, arch: str = "sm_121", options: Sequence[str] = ()) -> bytes:
    """Assemble PTX with ptxas."""
    assembler = tool("ptxas")

    def make() -> bytes:
        with MemoryFiles() as files:
            files.add("k.ptx", ptx)
            files.add("k.cubin")
            command = [assembler.path, f"-arch={arch}", *options, "-o", "k.cubin", "k.ptx"]
            run(command, cwd=files.folder, pass_fds=files.descriptors, timeout=_COMPILE_SECONDS).check()
            return files.read("k.cubin")

    return _kept(make_key(_SCHEMA, assembler.banner, ptx, arch, *options), make)


def build_ptx(source: str, *, arch: str = "compute_80", options: Sequence[str] = ()) -> bytes:
    """Compile CUDA C++ to PTX."""
    return _nvcc({"k.cu": source}, ["-ptx", f"-arch={arch}", *options], "k.ptx")


def build_fatbin(source: str, *options: str) -> bytes:
    """One source as a .fatbin file."""
    return _nvcc({"k.cu": source}, ["-fatbin", *options], "k.fatbin")


def build_shared(
    folder: Path,
    sources: Mapping[str, str],
    *,
    archs: Sequence[tuple[str, str]] = (("compute_80", "sm_80"),),
    rdc: bool = False,
    ptx: Sequence[str] = ("compute_80",),
    extra: Sequence[str] = (),
    name: str = "libkernels.so",
) -> Path:
    """Compile CUDA C++ to a shared library with the static CUDA runtime, and return its path in `folder`.

    Args:
        sources: text by file name, such as {"a.cu": "..."}; one container each.
        archs: pairs of virtual and real architecture for machine code; may be empty.
        rdc: relocatable device code, linked by nvlink into one more container.
        ptx: virtual architectures whose PTX is embedded.
        extra: further options of nvcc.
    """
    codes = [f"-gencode=arch={virtual},code={real}" for virtual, real in archs]
    codes += [f"-gencode=arch={virtual},code={virtual}" for virtual in ptx]
    mode = ["-rdc=true"] if rdc else []
    options = ["-shared", "-Xcompiler=-fPIC", *codes, *mode, *extra]
    target = folder / name
    target.write_bytes(_nvcc(sources, options, "out.so"))
    target.chmod(0o755)
    return target


def _nvcc(sources: Mapping[str, str], options: Sequence[str], product: str) -> bytes:
    compiler = tool("nvcc")

    def make() -> bytes:
        with tempfile.TemporaryDirectory() as work:
            for name, text in sources.items():
                Path(work, name).write_text(text)
            command = [compiler.path, *options, "-o", product, *sources]
            environment = nvcc_environment(compiler)
            run(command, cwd=Path(work), env=environment, timeout=_COMPILE_SECONDS).check()
            return Path(work, product).read_bytes()

    texts = [part for item in sources.items() for part in item]
    return _kept(make_key(_SCHEMA, compiler.banner, _host_compiler(), *texts, "", *options), make)


@cache
def _host_compiler() -> str:
    found = shutil.which("g++")
    return run([found, "--version"]).stdout if found else ""


def _kept(key: str, make: Callable[[], bytes]) -> bytes:
    store = ContentStore(_folder())
    kept = store.read(key)
    if kept is None:
        kept = make()
        store.put(key, kept)
    return kept


@cache
def _folder() -> Path:
    if chosen := os.environ.get("SHIM_TEST_CACHE"):
        return Path(chosen).absolute()
    return Path(__file__).parents[2] / ".pytest_cache" / "shim-kernels"
