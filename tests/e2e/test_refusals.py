"""Every refusal: the codes of docs/patching.md 4 are those of the sources, and each is produced here with its words."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import shim as package
from shim.applying.failure import FailureKind
from tests.builders import fatbin, hostfile
from tests.builders.command import CommandLine, Ran
from tests.builders.fake_tools import WRITES_A_CUBIN, fake_ptxas
from tests.builders.kernels import ptx_text, tool
from tests.builders.patchable import library, ptx_image
from tests.oracles.ptxas import cubin

ROOT = Path(__file__).parents[2]
_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")


def documented() -> set[str]:
    """Codes in the first column of the tables of section 4."""
    text = (ROOT / "docs" / "patching.md").read_text(encoding="utf-8")
    section = text.split("\n## 4. ", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`([a-z0-9-]+)`", row)}


def in_the_sources() -> set[str]:
    """Every literal that becomes the code of a Refusal, from the syntax trees, and the kinds of compiler failures."""
    found = {f"ptxas-{kind}" for kind in FailureKind}
    for path in Path(package.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", "")
            if name == "Refusal":
                found |= {k.value.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)}
            elif name in ("_refuse", "refuse", "_refusal", "refusal"):
                texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                found |= {text for text in texts[:1] if _CODE.fullmatch(text)}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A folder to work in, and the command line."""

    folder: Path
    shim: CommandLine

    def patch(self, data: bytes, *options: object, name: str = "lib.so") -> Ran:
        path = self.folder / name
        path.write_bytes(data)
        return self.shim("patch", path, "-o", self.folder / "out", "--no-recipes", *options)

    def containers(self, *containers: bytes, options: tuple[object, ...] = ()) -> Ran:
        return self.patch(hostfile.shared([hostfile.Code(data=data) for data in containers]).data, *options)


def sass(arch: str, *, compat: bytes = b"") -> fatbin.Image:
    number = arch.rstrip("af")
    return fatbin.Image(
        kind=fatbin.CUBIN, arch=int(number), feature=arch[len(number) :], payload=cubin(arch), compat=compat
    )


def text(target: str, *, isa: str = "8.8", body: bytes | None = None, options: str = "") -> fatbin.Image:
    number = target.rstrip("af")
    payload = body if body is not None else ptx_text(["kernel"], isa=isa, target=f"sm_{target}")
    major, minor = isa.split(".")
    return fatbin.Image(
        kind=fatbin.PTX,
        arch=int(number),
        feature=target[len(number) :],
        payload=payload + b"\0",
        options=options,
        version=(int(major), int(minor)),
    )


def with_ptxas(bench: Bench, said: str, code: int = 255, then: str = "") -> Ran:
    """A compiler that answers questions, and says something when it should compile."""
    fails = f"{then}\ncat >&2 <<'END'\n{said}\nEND\nexit {code}"
    body = f'case "$word" in unit.ptx) :;; *) {WRITES_A_CUBIN}; exit 0;; esac\n{fails}'
    return bench.patch(library("kernel").data, "--ptxas", fake_ptxas(bench.folder / "tool" / "ptxas", body=body))


def relocatable(*codes: tuple[int, fatbin.Image]) -> bytes:
    """Version 1 in `__nv_relfatbin`: relocatable. Version 2: the linked ones."""
    made = [
        hostfile.Code(
            data=fatbin.container(image), version=version, section=".nv_fatbin" if version == 2 else "__nv_relfatbin"
        )
        for version, image in codes
    ]
    return hostfile.shared(made).data


def unlinked(bench: Bench) -> Ran:
    made = hostfile.obj([hostfile.Code(data=fatbin.container(ptx_image()))])
    return bench.patch(made.data, name="lib.o")


def embedded(bench: Bench) -> Ran:
    made = hostfile.shared([hostfile.Code(data=fatbin.container(ptx_image()), section=".rodata2", version=0)])
    return bench.patch(made.data)


def bare_image(bench: Bench) -> Ran:
    """A cubin in a library of the driver API that has no container."""
    made = hostfile.shared([], rodata=cubin("80"), needed=["libcuda.so.1"])
    return bench.patch(made.data)


def twice_linked(bench: Bench) -> Ran:
    return bench.patch(relocatable((1, text("80")), (2, sass("80")), (2, sass("80"))))


def incomplete(bench: Bench) -> Ran:
    return bench.patch(relocatable((1, text("80")), (1, sass("80")), (2, sass("80"))))


def no_sections(bench: Bench) -> Ran:
    return bench.patch(library("kernel", headers=False).data)


def too_new(bench: Bench) -> Ran:
    """The one ptxas that may be used takes 9.0."""
    made = [fatbin.container(ptx_image()), fatbin.container(text("80", isa="9.9"))]
    return bench.patch(hostfile.shared([hostfile.Code(data=one) for one in made]).data, "--ptxas", tool("ptxas").path)


def in_no_time(bench: Bench) -> Ran:
    """Nothing fits into less than a millisecond."""
    names = [f"kernel{number}" for number in range(8)]
    return bench.patch(library(*names).data, "--budget", "0.00001", "--jobs", 1)


Scenario = tuple[Callable[[Bench], Ran], int, str]

SCENARIOS: dict[str, Scenario] = {
    "machine-code-only": (
        lambda b: b.containers(fatbin.container(sass("80"))),
        5,
        "holds sm_80: machine code of other",
    ),
    "arch-specific-ptx": (
        lambda b: b.containers(fatbin.container(text("90a"), sass("80"))),
        5,
        "its PTX is compute_90a",
    ),
    "unproven-without-ptx": (lambda b: b.containers(fatbin.container(sass("120"))), 0, "field reports say"),
    "embedded-container": (embedded, 5, "stands in plain data (.rodata2) without a wrapper"),
    "several-linked-containers": (twice_linked, 5, "2 device-linked containers"),
    "relocatable-code-incomplete": (incomplete, 5, "the link would lack kernels"),
    "never-linked": (lambda b: b.patch(relocatable((1, text("80")))), 5, "holds no device link"),
    "unlinked-object": (unlinked, 5, "not linked yet"),
    "relocatable-file": (
        lambda b: b.patch(fatbin.container(text("80", options="--compile-only")), name="x.fatbin"),
        5,
        "its PTX is relocatable",
    ),
    "ptx-file": (lambda b: b.patch(ptx_text(["kernel"]), name="x.ptx"), 5, "text that a program reads"),
    "cubin-file": (lambda b: b.patch(cubin("80"), name="x.cubin"), 5, "machine code of other devices"),
    "embedded-image": (bare_image, 5, "1 bare image in plain data (.rodata)"),
    "driver-too-old": (
        lambda b: b.containers(fatbin.container(text("80", isa="9.0")), options=("--driver-cuda", "12.9")),
        5,
        "its PTX is of CUDA 13",
    ),
    "nvidia-licensed": (lambda b: b.patch(library("k").data, name="libcufft.so.12"), 5, "NVIDIA's licence forbids"),
    "elf-refused": (no_sections, 5, "file without section headers"),
    "no-ptxas": (too_new, 1, "9.9"),
    "left-out-by-budget": (in_no_time, 5, "the time was used up"),
    "ptxas-options": (
        lambda b: b.containers(fatbin.container(text("80", options="--output-file=/x"))),
        5,
        "output-file",
    ),
    "ptxas-ptx-too-new": (
        lambda b: with_ptxas(b, "ptxas unit.ptx, line 1; fatal   : Unsupported .version 9.4; current version is '9.0'"),
        5,
        "Unsupported .version 9.4",
    ),
    "ptxas-future-architecture": (
        lambda b: with_ptxas(b, "ptxas fatal   : PTX with .target 'sm_90a' cannot be compiled to future architecture"),
        5,
        "future architecture",
    ),
    "ptxas-other-family": (
        lambda b: with_ptxas(
            b, "ptxas fatal   : PTX with .target 'sm_100f' cannot be compiled to different SM-family architecture"
        ),
        5,
        "different SM-family",
    ),
    "ptxas-suffix-needed": (
        lambda b: with_ptxas(
            b, "ptxas fatal   : PTX with .target 'sm_121a' cannot be compiled for architecture 'sm_121'"
        ),
        5,
        "sm_121a",
    ),
    "ptxas-unknown-target": (
        lambda b: with_ptxas(b, "ptxas fatal   : Value 'sm_121' is not defined for option 'gpu-name'"),
        5,
        "gpu-name",
    ),
    "ptxas-memory": (lambda b: with_ptxas(b, "ptxas fatal   : Memory allocation failure"), 5, "Memory allocation"),
    "ptxas-instruction": (
        lambda b: b.containers(
            fatbin.container(
                text("80", body=ptx_text(["kernel"], isa="8.8").replace(b"ret;", b"wgmma.fence.sync.aligned;\n  ret;"))
            )
        ),
        5,
        "wgmma",
    ),
    "ptxas-invalid-input": (
        lambda b: b.containers(fatbin.container(text("80", body=b".version 8.8\n???"))),
        5,
        "ptxas",
    ),
    "ptxas-no-output": (lambda b: with_ptxas(b, "", code=0), 5, "cubin"),
    "ptxas-crash": (lambda b: with_ptxas(b, "", then="kill -SEGV $$"), 5, "SIGSEGV"),
}


# Produced where the limit can be set and the tool taken away: code -> (test module, what it must name).
ELSEWHERE = {
    "restamp-refused": ("tests/e2e/test_patch_acts.py", "[restamp-refused]"),
    "retarget-refused": ("tests/e2e/test_patch_acts.py", "[retarget-refused]"),
    "ptxas-timeout": ("tests/unit/applying/test_compile_faults.py", "FailureKind.TIMEOUT"),
    "ptxas-tool": ("tests/unit/applying/test_compile_faults.py", "FailureKind.TOOL"),
    "ptxas-incomplete": ("tests/unit/applying/test_lto.py", "FailureKind.INCOMPLETE"),
    "ptxas-lto-too-new": ("tests/unit/applying/test_lto.py", "FailureKind.LTO_TOO_NEW"),
    "lto-ir-unchecked": ("tests/unit/planning/test_linked.py", "lto-ir-unchecked"),
}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(cache=tmp_path_factory.mktemp("cache"))


def test_table_and_sources_agree() -> None:
    assert documented() == in_the_sources()


def test_every_code_is_produced_by_a_test() -> None:
    assert documented() == SCENARIOS.keys() | ELSEWHERE.keys()
    for path, words in ELSEWHERE.values():
        assert words in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("code", sorted(SCENARIOS))
def test_is_said(shim: CommandLine, tmp_path: Path, code: str) -> None:
    run, exit_code, words = SCENARIOS[code]
    ran = run(Bench(folder=tmp_path, shim=shim))
    said = ran.out + ran.err
    assert ran.code == exit_code, said
    assert f"[{code}]" in said
    assert words in said
    assert "Traceback" not in said
    assert ran.err.count("error:") == (exit_code > 1)
    out = tmp_path / "out"
    if exit_code != 1:
        assert not out.exists() or list(out.iterdir()) == []


def test_refusals_stand_in_json(shim: CommandLine, tmp_path: Path) -> None:
    ran = Bench(folder=tmp_path, shim=shim).patch(
        hostfile.shared([hostfile.Code(data=fatbin.container(i)) for i in (ptx_image(), sass("80"))]).data,
        "--format",
        "json",
    )
    assert ran.code == 1
    (refusal,) = json.loads(ran.out)["refusals"]
    assert (refusal["code"], refusal["container"]) == ("machine-code-only", 1)
    assert refusal["advice"]
