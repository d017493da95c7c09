"""Small cubins of any architecture, made by ptxas from one PTX text."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.oracles.nvidia import program

KERNEL = """\
.version {version}
.target sm_{target}
.address_size 64
.visible .entry {name}(.param .u64 out)
{{
.reg .b32 %r<3>;
.reg .b64 %rd<2>;
ld.param.u64 %rd1, [out];
mov.u32 %r1, %tid.x;
add.s32 %r2, %r1, 7;
st.global.u32 [%rd1], %r2;
ret;
}}
"""


def ptx(target: str = "80", name: str = "kernel", version: str = "9.0") -> bytes:
    """PTX text as a container stores it, with its one NUL. `version` 9.0 is known to ptxas 13.0 and newer."""
    return KERNEL.format(target=target, name=name, version=version).encode() + b"\0"


@cache
def cubin(arch: str, *, source: str | None = None, name: str = "kernel", options: tuple[str, ...] = ()) -> bytes:
    """A cubin for `arch` ("121a"), compiled from PTX of `source` (default: the same target)."""
    with tempfile.TemporaryDirectory() as folder:
        text, out = Path(folder, "k.ptx"), Path(folder, "k.cubin")
        text.write_bytes(ptx(source or arch, name)[:-1])
        command = [str(program("ptxas")), f"-arch=sm_{arch}", *options, str(text), "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        return out.read_bytes()
