"""The `.target` of a PTX text is rewritten, and nothing else."""

from __future__ import annotations

import pytest

from shim.applying.failure import CompileFailure, FailureKind
from shim.applying.retarget import retargeted
from shim.applying.units import CompiledUnit
from shim.devicecode import read_cubin
from shim.errors import InputError
from tests.builders.compile_units import compile_one, unit
from tests.builders.kernels import build_ptx, ptx_text

LEAST = (8, 8)


def edit(text: str) -> str:
    return retargeted(text.encode(), "sm_120a", "sm_121a", LEAST).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (".version 8.7\n.target sm_120a\n", ".version 8.8\n.target sm_121a\n"),
        (".version 9.0\n.target sm_120a\n", ".version 9.0\n.target sm_121a\n"),
        (".version 8.8 .target sm_120a .address_size 64", ".version 8.8 .target sm_121a .address_size 64"),
        (".version 8.10\n.target sm_120a\n", ".version 8.10\n.target sm_121a\n"),
        (
            ".version 8.7\n.target sm_120a, texmode_independent , debug\n",
            ".version 8.8\n.target sm_121a, texmode_independent , debug\n",
        ),
        (".version 8.8\n.target debug,sm_120a\n", ".version 8.8\n.target debug,sm_121a\n"),
        (".version/**/8.7\n.target // sm_120a\n sm_120a\n", ".version/**/8.8\n.target // sm_120a\n sm_121a\n"),
        (
            "// .version 1.0\n/* .target sm_90a */ .version 8.7\n.target sm_120a\n",
            "// .version 1.0\n/* .target sm_90a */ .version 8.8\n.target sm_121a\n",
        ),
        (
            '.version 8.8\n.target sm_120a\n.file 1 ".target sm_120a /* \\" .version 1.0"\n',
            '.version 8.8\n.target sm_121a\n.file 1 ".target sm_120a /* \\" .version 1.0"\n',
        ),
        (
            ".version 8.8\n.target sm_120a\n.visible .entry sm_120a() { call x.target; $.version: ret; }\n",
            ".version 8.8\n.target sm_121a\n.visible .entry sm_120a() { call x.target; $.version: ret; }\n",
        ),
    ],
)
def test_only_the_two_directives_change(before: str, after: str) -> None:
    assert edit(before) == after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (".target sm_120a\n", "without .version"),
        (".version 8.8\n// .target sm_120a\n", "without .target"),
        (".version 8.8\n.target sm_90a\n", "with .target sm_90a, expected sm_120a"),
        (".version 8.8\n.target sm_120\n", "with .target sm_120, expected"),
        (".version 8.8\n.target\n", "with .target nothing"),
        (".version 8.8\n.target sm_120a, sm_120a\n", "with .target sm_120a, sm_120a"),
        (".version eight\n.target sm_120a\n", ".version that is no number"),
        ("", "without .target"),
        (f".version {'/**/' * 4000}x\n.target sm_120a\n", ".version that is no number"),  # in no time
    ],
)
def test_what_is_not_understood_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        edit(text)


def test_the_result_compiles_to_the_same_machine_code() -> None:
    source = build_ptx("__global__ void k(float* x) { atomicAdd(x, __expf(x[threadIdx.x])); }", arch="compute_120a")
    made = []
    for target, text in (
        ("sm_120a", source),
        ("sm_121a", retargeted(source, "sm_120a", "sm_121a", LEAST)),
    ):
        outcome = compile_one(unit(text, target=target))
        assert isinstance(outcome, CompiledUnit), outcome
        made.append(read_cubin(outcome.cubin))
    assert [(cubin.sm, cubin.feature) for cubin in made] == [(120, "a"), (121, "a")]
    assert made[0].kernels == made[1].kernels
    refused = compile_one(unit(source, target="sm_121a"))
    assert isinstance(refused, CompileFailure)
    assert refused.kind is FailureKind.FUTURE_ARCHITECTURE  # what retargeting is there for


def test_an_instruction_of_another_generation_is_not_accepted() -> None:
    text = ptx_text(target="sm_120a", isa="8.8").replace(b"ret;", b"wgmma.fence.sync.aligned;\n  ret;")
    outcome = compile_one(unit(retargeted(text, "sm_120a", "sm_121a", LEAST), target="sm_121a"))
    assert isinstance(outcome, CompileFailure)
    assert "wgmma" in outcome.text
