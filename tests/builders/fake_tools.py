"""Programs that pose as NVIDIA's and misbehave, and wheels that hold them."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from shim.toolchain import Pin, WheelFile

BANNER = """\
{name}: NVIDIA (R) Cuda program
Cuda compilation tools, release {release}, V{version}
Build cuda_{release}.r{release}/compiler.1_0
"""
# What a question (shim.toolchain.ask) needs of an assembler: refuse newer PTX, know targets, write something.
PTXAS = """\
#!/bin/sh
if [ "$1" = --version ]; then cat <<'END'
{banner}END
exit 0; fi
for word; do
  case $before in -o) out=$word;; esac
  case $word in -arch=*) arch=${{word#-arch=}};; esac
  before=$word
done
isa=$(sed -n 's/^.version //p' "$word")
case " {isas} " in *" $isa "*) ;; *)
  echo "ptxas $word, line 1; fatal   : Unsupported .version $isa; current version is '{newest}'" >&2
  exit 255;;
esac
case " {archs} " in *" $arch "*) ;; *)
  echo "ptxas fatal   : Value '$arch' is not defined for option 'gpu-name'" >&2
  exit 255;;
esac
{body}
"""
WRITES_A_CUBIN = """printf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\276\\0%0200d' 0 > "$out\""""


def program(path: Path, text: str) -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def banner(version: str, name: str = "ptxas") -> str:
    return BANNER.format(name=name, release=version.rsplit(".", 1)[0], version=version)


def ptxas_text(
    version: str = "13.0.88",
    *,
    isas: str = "8.0 9.0",
    archs: str = "sm_120 sm_121 sm_121a",
    body: str = WRITES_A_CUBIN,
) -> str:
    """A shell script that answers like ptxas of this version, and runs `body` to compile."""
    newest = isas.split()[-1]
    text = banner(version)
    return PTXAS.format(banner=text, isas=isas, archs=archs, newest=newest, body=body)


def fake_ptxas(path: Path, version: str = "13.0.88", **options: str) -> Path:
    return program(path, ptxas_text(version, **options))


def fake_wheel(
    folder: Path, *, version: str = "13.0.88", text: str | None = None, isa: str = "9.0"
) -> tuple[Path, Pin]:
    """A wheel of a made-up distribution that pip accepts, and the pin for it."""
    name = f"shim_fake_nvcc-{version}"
    path = folder / f"{name}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}.dist-info"
    members = {
        "fake/bin/ptxas": text if text is not None else ptxas_text(version, isas=f"8.0 {isa}"),
        "fake/bin/nvlink": f"#!/bin/sh\ncat <<'END'\n{banner(version, 'nvlink')}END\n",
        "fake/lib/other": "not wanted",
        f"{info}/licenses/License.txt": "a licence",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: shim-fake-nvcc\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    wheel = WheelFile(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    major, minor, patch = map(int, version.split("."))
    isa_major, isa_minor = map(int, isa.split("."))
    pin = Pin(
        distribution="shim-fake-nvcc",
        version=(major, minor, patch),
        ptx_isa=(isa_major, isa_minor),
        programs=("fake/bin/ptxas", "fake/bin/nvlink"),
        license=f"{info}/licenses/License.txt",
        wheels={"x86_64": wheel, "aarch64": wheel},
    )
    return path, pin
