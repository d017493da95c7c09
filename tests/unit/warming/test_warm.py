"""`shim warm` from arguments to output and store, with a compiler and a driver that stand in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders.fake_libcuda import build
from builders.fake_tools import program, ptxas_text

from shim.__main__ import main
from shim.warming.own_jit import TABLE, own_jit
from tests.builders.fatbin import container, ptx
from tests.unit.scan.files import install, library, sass, text, wheel

MEMBERS = {
    "demo/_C.so": library((sass("80"), text("80")), (text("80", ("other",)),), (sass("121"),)),
    "demo/k.fatbin": container(text("86")),
    "demo/raw.ptx": ptx("80").rstrip(b"\0"),
    "demo/dead.so": library((sass("90"),)),
}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel, an environment of it and a compiler that counts its calls; also the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SHIM_OFFLINE", "1")
    body = f'{WRITES}; case "$word" in unit.ptx) echo x >> {tmp_path}/calls;; esac'
    program(tmp_path / "ptxas", ptxas_text("13.0.88", body=body))
    install(tmp_path / "env", wheel(tmp_path, MEMBERS))
    install(tmp_path / "env", wheel(tmp_path, {"plain/__init__.py": "x = 1\n" * 300}, name="plain"))
    return tmp_path


WRITES = """printf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\276\\0%0200d' 0 > "$out\""""
WHEEL = "demo-1.0-cp312-cp312-manylinux_2_28_aarch64.whl"


def warm(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    assert main(["warm", "--ptxas", "ptxas", "--format", "json", *arguments]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "shim-warm/1"
    return document["packages"]


def calls(work: Path) -> int:
    path = work / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_wheel_is_compiled_into_the_store_once(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (work / WHEEL).read_bytes()
    (first,) = warm(capsys, WHEEL)
    assert (first["name"], first["modules"], first["compiled"], first["cached"]) == ("demo 1.0", 3, 3, 0)
    assert (first["ptx_files"], first["refusals"], first["own_compiler"]) == (1, [], None)
    assert calls(work) == 3
    (again,) = warm(capsys, WHEEL)
    assert (again["compiled"], again["cached"], calls(work)) == (0, 3, 3)
    assert (work / WHEEL).read_bytes() == before
    assert sorted(path.name for path in work.glob("*.whl")) == [WHEEL, WHEEL.replace("demo", "plain")]


def test_an_environment_and_a_file_share_the_store(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["name"]: one for one in warm(capsys, "--env", "env")}
    assert (found["demo 1.0"]["compiled"], found["plain 1.0"]["modules"]) == (3, 0)
    (single,) = warm(capsys, "env/lib/python3.12/site-packages/demo/k.fatbin")
    assert (single["name"], single["compiled"], single["cached"]) == ("k.fatbin", 0, 1)


def test_another_target_is_another_result(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warm(capsys, WHEEL)
    (other,) = warm(capsys, WHEEL, "--target", "12.0")
    assert (other["compiled"], other["cached"]) == (3, 0)


def test_what_ptxas_refuses_is_told(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = f"case $(cat unit.ptx 2>/dev/null) in *other*) echo 'ptxas fatal : no' >&2; exit 1;; esac; {WRITES}"
    program(work / "ptxas", ptxas_text("13.0.88", body=body))
    (found,) = warm(capsys, WHEEL, code=1)
    assert (found["modules"], found["compiled"]) == (3, 2)
    assert [(one["member"], one["container"]) for one in found["refusals"]] == [("demo/_C.so", 1)]


def test_libraries_of_nvidia_are_left_out(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel(work, {"x/libcufft.so.12": MEMBERS["demo/_C.so"]}, name="other")
    wheel(work, MEMBERS, name="nvidia_thing")
    bundled, whole = warm(capsys, WHEEL.replace("demo", "other"), WHEEL.replace("demo", "nvidia_thing"))
    assert (bundled["modules"], bundled["nvidia_libraries"]) == (0, 1)
    assert (whole["modules"], whole["nvidia_libraries"]) == (0, 2)
    assert calls(work) == 0


def test_packages_with_a_compiler_of_their_own(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel(work, {"triton/__init__.py": "x = 1\n"}, name="triton", version="3.6.0")
    name = WHEEL.replace("demo-1.0", "triton-3.6.0")
    (found,) = warm(capsys, name)
    assert found["own_compiler"]["cache"] == "~/.triton/cache (TRITON_CACHE_DIR)"
    assert main(["warm", name]) == 0
    assert "that needs its own code, so it is not done here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 2), (["env"], 2), (["gone.whl"], 3), (["./gone"], 3), (["!!"], 2), (["demo/x.so"], 3)],
)
def test_subjects_that_make_no_sense(
    work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    assert main(["warm", "--ptxas", "ptxas", *arguments, WHEEL] if arguments else ["warm"]) == code
    assert calls(work) == 0


def test_a_broken_wheel_does_not_keep_the_others(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "broken-1.0-py3-none-any.whl").write_bytes(b"no archive")
    assert main(["warm", "--ptxas", "ptxas", "broken-1.0-py3-none-any.whl", WHEEL]) == 3
    said = capsys.readouterr()
    assert "3 modules compiled" in said.out
    assert "not a zip archive" in said.err


def test_without_a_gpu_the_rest_is_done_and_one_line_says_so(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "none").mkdir()
    (work / "none" / "libcuda.so.1").write_text("no library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(work / "none"))
    assert main(["warm", "--ptxas", "ptxas", WHEEL, "--device"]) == 9
    said = capsys.readouterr()
    assert "3 modules compiled" in said.out
    assert said.err.startswith("error: no usable GPU: no CUDA driver")


def test_the_driver_gets_containers_and_texts(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(build(work / "driver")))
    monkeypatch.setenv("FAKE_LIBCUDA_LOG", str(work / "log"))
    (found,) = warm(capsys, WHEEL, "--device")
    assert (found["driver"]["loaded"], found["driver"]["failed"], found["driver"]["not_given"]) == (4, [], 0)
    assert sorted((work / "log").read_text().split()) == ["container", "container", "container", "text"]


def test_names_in_the_table() -> None:
    for spelling in ("triton", "PyTorch_Triton", "cupy-cuda13x", "deep_gemm", "warp-lang", "numba", "torch"):
        assert own_jit(spelling) is not None, spelling
    assert own_jit("vllm") is None
    names = [name for entry in TABLE for name in entry.names]
    assert len(names) == len(set(names))
    assert all(entry.evidence and entry.cache for entry in TABLE)
