"""What becomes of nvcc's command lines."""

from __future__ import annotations

import pytest

from shim.toolchain.front.standin.rewrite import Call

from .conftest import LISTED

TARGET = "-gencode=arch=compute_121,code=sm_121"


def config(mode: str = "add", *, sass: tuple[str, ...] = ("121",), ptx: tuple[str, ...] = (), own: str = "") -> dict:
    return {"mode": mode, "sass": sass, "ptx": ptx, "known": list(LISTED), "own": own}


def rewritten(line: str | list[str], mode: str = "add", environ: dict[str, str] | None = None, **more) -> Call:
    call = Call(line.split() if isinstance(line, str) else line, environ or {})
    call.rewrite(config(mode, **more))
    return call


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # nothing retired, target missing
        ("-c a.cu -gencode arch=compute_80,code=sm_80", f"-gencode=arch=compute_80,code=sm_80 {TARGET} -c a.cu"),
        ("-c a.cu -arch=sm_80", f"-gencode=arch=compute_80,code=[sm_80,compute_80] {TARGET} -c a.cu"),
        ("-c a.cu -arch sm_80", f"-gencode=arch=compute_80,code=[sm_80,compute_80] {TARGET} -c a.cu"),
        (
            "--gpu-architecture=compute_80 --gpu-code=sm_80,sm_86 -c a.cu",
            f"-gencode=arch=compute_80,code=[sm_80,sm_86] {TARGET} -c a.cu",
        ),
        ("-arch=compute_80 -c a.cu", f"-gencode=arch=compute_80,code=compute_80 {TARGET} -c a.cu"),
        ("-arch=sm_80 -arch=sm_86 -c a.cu", f"-gencode=arch=compute_86,code=[sm_86,compute_86] {TARGET} -c a.cu"),
        # retired ones go, in every form
        ("-gencode arch=compute_53,code=sm_53 -c a.cu", f"{TARGET} -c a.cu"),
        ("-gencode=arch=compute_53,code=sm_53 -c a.cu", f"{TARGET} -c a.cu"),
        ("--generate-code arch=compute_53,code=sm_53 -c a.cu", f"{TARGET} -c a.cu"),
        ("--generate-code=arch=compute_70,code=[compute_70,sm_70] -c a.cu", f"{TARGET} -c a.cu"),
        ("-arch=sm_60 -c a.cu", f"{TARGET} -c a.cu"),
        ("-gencode arch=compute_101,code=sm_101 -c a.cu", f"{TARGET} -c a.cu"),  # 110 since CUDA 13
        (
            "-gencode arch=compute_75,code=[sm_75,sm_72] -c a.cu",
            f"-gencode=arch=compute_75,code=sm_75 {TARGET} -c a.cu",
        ),
        ("-gencode code=sm_80,arch=compute_80 -c a.cu", f"-gencode=arch=compute_80,code=sm_80 {TARGET} -c a.cu"),
        # the target is there already
        (f"{TARGET} -c a.cu", None),
        ("-gencode arch=compute_80,code=[sm_80,sm_121] -c a.cu", None),
        ("-arch=sm_121 -c a.cu", None),
        ("-arch=all -c a.cu", None),
        # 121a and 121 are different things
        (
            "-gencode arch=compute_121a,code=sm_121a -c a.cu",
            f"-gencode=arch=compute_121a,code=sm_121a {TARGET} -c a.cu",
        ),
        ("-arch=all-major -c a.cu", f"-arch=all-major {TARGET} -c a.cu"),
        ("-arch=native -c a.cu", f"{TARGET} -c a.cu"),
        # no architecture: nvcc's default is its oldest
        ("-c a.cu -o a.o", f"{TARGET} -c a.cu -o a.o"),
        ("a.o b.o -shared -o x.so", f"{TARGET} a.o b.o -shared -o x.so"),
        ("-dlink a.o -o d.o -arch=sm_70", f"{TARGET} -dlink a.o -o d.o"),
        ("-dlink --options-file objects.rsp -o d.o", f"{TARGET} -dlink --options-file objects.rsp -o d.o"),
        ("-E a.cu -gencode arch=compute_53,code=sm_53", f"{TARGET} -E a.cu"),
        # link-time code stays link-time code
        (
            "-dc a.cu -gencode arch=compute_80,code=lto_80",
            "-gencode=arch=compute_80,code=lto_80 -gencode=arch=compute_121,code=lto_121 -dc a.cu",
        ),
        # one architecture only
        ("-cubin a.cu -arch=sm_80", None),
        ("-ptx a.cu -arch=compute_90", None),
        ("-dc -dlto a.cu -arch=sm_80", None),
        ("-ptx a.cu -arch=sm_60", "-arch=sm_121 -ptx a.cu"),
        ("-cubin a.cu", "-arch=sm_121 -cubin a.cu"),
        ("-dc -dlto a.cu -arch=sm_70", "-arch=sm_121 -dc -dlto a.cu"),
        # flags of the host tools are none of nvcc's
        ("-c a.cu -Xcompiler -arch=sm_60 -arch=sm_121", None),
        ("-c a.cu -Xcompiler=-march=native -arch=sm_121", None),
        ("-c a.cu -o -arch -arch=sm_121", None),
        # questions
        ("--version", None),
        ("-V", None),
        ("--list-gpu-arch", None),
        ("-v __cmake_determine_cuda", None),
        ("--help", None),
        # what we do not understand nvcc shall judge
        ("-c a.cu -arch=sm_80 -code=sm_80", None),
        ("-c a.cu -gencode arch=compute_80", None),
        ("-c a.cu -code=sm_60", None),
        ("-c a.cu -arch=SM_60", None),
        ("-c a.cu -gencode arch=compute_80,code=[sm_80", None),
        ("-c a.cu -gencode", None),
    ],
)
def test_add(line, expected):
    call = rewritten(line)
    assert call.after == (line.split() if expected is None else expected.split())
    assert (call.after is call.before) == (expected is None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-c a.cu -gencode arch=compute_80,code=sm_80 -gencode arch=compute_53,code=sm_53", f"{TARGET} -c a.cu"),
        ("-c a.cu -arch=all", f"{TARGET} -c a.cu"),
        ("-c a.cu -arch=native", f"{TARGET} -c a.cu"),
        ("-c a.cu", f"{TARGET} -c a.cu"),
        ("-cubin a.cu -arch=sm_80", "-arch=sm_121 -cubin a.cu"),
        ("-dc -dlto a.cu -arch=sm_80", "-arch=sm_121 -dc -dlto a.cu"),
        (f"-c a.cu {TARGET}", None),
    ],
)
def test_replace(line, expected):
    assert rewritten(line, "replace").after == (expected or line).split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-c a.cu -gencode arch=compute_80,code=sm_80", None),
        ("-c a.cu", None),
        ("-c a.cu -arch=native", None),
        (
            "-c a.cu -gencode arch=compute_80,code=sm_80 -gencode arch=compute_53,code=sm_53",
            "-gencode=arch=compute_80,code=sm_80 -c a.cu",
        ),
        # with nothing left nvcc would fall back to its default, which is not what was asked for
        ("-c a.cu -arch=sm_53", f"{TARGET} -c a.cu"),
        ("-ptx a.cu -arch=sm_53", "-arch=sm_121 -ptx a.cu"),
        ("-ptx a.cu", None),
    ],
)
def test_drop_only(line, expected):
    assert rewritten(line, "drop-only").after == (expected or line).split()


def test_what_was_dropped_is_told():
    call = rewritten("-c a.cu -gencode arch=compute_53,code=sm_53 -arch=sm_80 -o x/a.o")
    assert call.archs_before == ["sm_80", "compute_80", "sm_53"]
    assert call.archs_after == ["sm_80", "compute_80", "sm_121"]
    assert call.dropped == ["sm_53"]
    assert (call.kind, call.output, call.inputs) == ("compile", "x/a.o", ["a.cu"])


def test_several_targets_and_ptx():
    call = rewritten("-c a.cu -arch=sm_121", sass=("121", "120f"), ptx=("80",))
    assert call.archs_after == ["sm_121", "compute_121", "sm_120f", "compute_80"]


def test_words_with_blanks_are_kept():
    words = ["-c", "a b.cu", '-DX="a b"', "-gencode", "arch=compute_80, code=sm_80"]
    assert rewritten(words).after == ["-gencode=arch=compute_80,code=sm_80", TARGET, "-c", "a b.cu", '-DX="a b"']


@pytest.mark.parametrize("name", ["NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"])
def test_flags_variables(name):
    environ = {name: '-O1 -gencode arch=compute_60,code=sm_60 -DA="b  c"', "OTHER": "x"}
    call = rewritten("-c a.cu -gencode arch=compute_80,code=sm_80", environ=environ)
    assert call.environ == {name: '-O1 -DA="b  c"'}
    assert call.after == ["-gencode=arch=compute_80,code=sm_80", TARGET, "-c", "a.cu"] or call.archs_after == [
        "sm_80",
        "sm_121",
    ]
    assert call.dropped == ["sm_60"]


def test_flags_variables_without_architectures_are_left_alone():
    assert rewritten("-c a.cu", environ={"NVCC_APPEND_FLAGS": "-O1 -DQ='x"}).environ == {}


def test_a_variable_set_for_other_nvccs_does_not_reach_this_one():
    """Else `-ptx` would be given two architectures."""
    call = rewritten("-ptx a.cu -arch=sm_80", environ={"NVCC_APPEND_FLAGS": f"-O1 {TARGET}"}, own=TARGET)
    assert call.after is call.before
    assert call.environ == {"NVCC_APPEND_FLAGS": "-O1 "}


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def test_options_files(tmp_path):
    inner = tmp_path / "inner.rsp"
    inner.write_text('-gencode arch=compute_53,code=sm_53\n-DA="x y"')
    outer = tmp_path / "outer.rsp"
    outer.write_text(f"-O1 --options-file {inner}")
    plain = tmp_path / "plain.rsp"
    plain.write_text("-I/include")
    call = rewritten(f"-c a.cu --options-file {outer},{plain} -optf {plain}")
    assert call.archs_before == ["sm_53"]
    first, target, *rest = call.after[1], call.after[0], *call.after[2:]
    assert (first, target) == ("-c", TARGET)
    assert rest[0] == "a.cu"
    assert rest[-2:] == ["-optf", str(plain)]
    swapped, kept = rest[2].split(",")
    assert kept == str(plain)
    words = read(swapped).split()
    assert words[:2] == ["-O1", "--options-file"]
    assert read(words[2]) == '-DA="x y"'
    assert inner.read_text().startswith("-gencode")


def test_options_files_that_name_themselves_end(tmp_path):
    loop = tmp_path / "loop.rsp"
    loop.write_text(f"-optf {loop} -arch=sm_60")
    assert rewritten(f"-c a.cu -optf {loop}").archs_after == ["sm_121"]


def test_missing_options_files_are_nvccs_business():
    assert rewritten(f"-c a.cu -optf none.rsp {TARGET}").after[-2:] == ["none.rsp", TARGET]
