"""What is said of the ptxas in a Triton: by its version, and by asking it."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.fake_tools import fake_ptxas

from shim.arch import ComputeCapability
from shim.toolchain.triton_bundle import BundledPtxas, ask_bundled, called_program, read_bundled, triton_notes

SPARK = ComputeCapability(12, 1)
TEXT = b"\0\0Cuda compilation tools, release 12.8, V12.8.93\0"


@pytest.mark.parametrize(
    ("text", "version", "takes"),
    [
        (b"release 12.8, V12.8.61", "12.8.61", False),
        (b"release 12.9, V12.9.86", "12.9.86", True),
        (b"release 13.1, V13.1.80", "13.1.80", True),
        (b"no such text", "of unknown version", None),
    ],
)
def test_by_version(text: bytes, version: str, takes: bool | None) -> None:
    found = read_bundled("ptxas", [b"x" * 1000, text, b"y" * 1000], SPARK)
    assert (found.version, found.takes) == (version, takes)


@pytest.mark.parametrize("cut", range(1, len(TEXT)))
def test_the_text_may_stand_across_two_pieces(cut: int) -> None:
    assert read_bundled("ptxas", [TEXT[:cut], TEXT[cut:]], SPARK).version == "12.8.93"


def test_a_device_that_the_table_lacks() -> None:
    assert read_bundled("ptxas", [TEXT], ComputeCapability(15, 0)).takes is None


@pytest.mark.parametrize(("archs", "takes"), [("sm_120a sm_121a", True), ("sm_120a", False)])
def test_asked(tmp_path: Path, archs: str, takes: bool) -> None:
    program = fake_ptxas(tmp_path / "ptxas", "12.9.86", archs=archs)
    found = ask_bundled(program, SPARK)
    assert found == BundledPtxas(program="ptxas", version="12.9.86", takes=takes, how="asked")


def test_one_that_does_not_run_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "ptxas").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "ptxas").chmod(0o755)
    assert ask_bundled(tmp_path / "ptxas", SPARK) is None


@pytest.mark.parametrize(
    ("version", "program"),
    [
        ("3.2.0", None),
        ("3.3.1", "ptxas-blackwell"),
        ("3.4.0", "ptxas"),
        ("3.5.1", "ptxas"),
        ("3.6.0", "ptxas-blackwell"),
        ("4.0", "ptxas-blackwell"),
    ],
)
def test_which_program_is_called(version: str, program: str | None) -> None:
    assert called_program(version, SPARK) == program
    assert called_program(version, ComputeCapability(9, 0)) is None


def old(program: str = "ptxas") -> BundledPtxas:
    return BundledPtxas(program=program, version="12.8.93", takes=False, how="by version")


@pytest.mark.parametrize(
    ("version", "variable", "span"),
    [
        ("3.3.1", "TRITON_PTXAS-BLACKWELL_PATH", "12.9 (13 does not work)"),
        ("3.4.0", "TRITON_PTXAS_PATH", "12.9 (13 does not work)"),
        ("3.5.1", "TRITON_PTXAS_PATH", "12.9 to 13.0"),
    ],
)
def test_the_variable_and_the_ptxas_of_each_release(version: str, variable: str, span: str) -> None:
    (note,) = triton_notes("triton", version, old(), SPARK, {})
    assert note.code == "triton-ptxas-too-old"
    assert note.evidence == "by version"
    assert f"set {variable} to a ptxas of CUDA {span} (such as that of nvidia-cuda-nvcc-cu12==12.9.86)" in note.hint
    assert "bundled file is left as it is" in note.hint


def test_nothing_is_done_from_3_6_on_and_a_set_variable_is_warned_about() -> None:
    good = BundledPtxas(program="ptxas-blackwell", version="12.9.86", takes=True, how="asked")
    assert [note.code for note in triton_notes("triton", "3.6.0", good, SPARK, {})] == ["triton-ptxas-fits"]
    first, second = triton_notes("triton", "3.6.0", good, SPARK, {"TRITON_PTXAS_PATH": "/opt/ptxas"})
    assert (first.code, first.hint) == ("triton-ptxas-fits", "")
    assert second.code == "triton-variable-unused"
    assert "TRITON_PTXAS_BLACKWELL_PATH" in second.hint


def test_a_variable_that_is_set_and_helps(tmp_path: Path) -> None:
    program = fake_ptxas(tmp_path / "ptxas", "12.9.86", archs="sm_121a")
    (note,) = triton_notes("triton", "3.4.0", old(), SPARK, {"TRITON_PTXAS_PATH": str(program)})
    assert note.code == "triton-ptxas-fits"


@pytest.mark.parametrize(("version", "archs"), [("13.0.88", "sm_121a"), ("12.8.93", "sm_120a")])
def test_a_variable_that_is_set_and_does_not_help(tmp_path: Path, version: str, archs: str) -> None:
    program = fake_ptxas(tmp_path / "ptxas", version, archs=archs)
    (note,) = triton_notes("triton", "3.4.0", old(), SPARK, {"TRITON_PTXAS_PATH": str(program)})
    assert note.code == "triton-ptxas-too-old"
    assert "does not help" in note.text


def test_older_and_incomplete_ones() -> None:
    assert triton_notes("triton", "3.2.0", None, SPARK, {})[0].hint == "take Triton 3.6 or newer"
    assert "which is not in it" in triton_notes("triton", "3.4.0", None, SPARK, {})[0].text
    assert triton_notes("triton", "3.4.0", None, ComputeCapability(9, 0), {}) == ()
