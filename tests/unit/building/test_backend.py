"""Backends that misbehave: each is stopped or reported, and leaves no wheel."""

from __future__ import annotations

import sys
import textwrap
import time
from pathlib import Path

import pytest

from shim.building.backend import BackendRun, BuildError, build_wheel
from shim.building.environment import build_environment
from shim.building.network import refusing
from tests.unit.building.packages import folder, with_backend


def run_backend(tmp_path: Path, body: str, *, timeout: float = 60.0, port: int | None = None) -> BackendRun:
    work = tmp_path / "work"
    source = folder(work / "source", with_backend(textwrap.indent(textwrap.dedent(body), "    ")))
    run = BackendRun(
        program=Path(sys.executable),
        source=source,
        environ=build_environment(work, present={"PATH": "/usr/bin:/bin", "TOKEN": "secret"}),
        writable=(work,),
        port=port,
        log=work / "build.log",
        timeout=timeout,
    )
    build_wheel(run, work / "dist")
    return run


def failure(tmp_path: Path, body: str, **options: float) -> BuildError:
    with pytest.raises(BuildError) as caught:
        run_backend(tmp_path, body, **options)  # type: ignore[arg-type]
    assert list((tmp_path / "work").glob("dist/*")) == []
    return caught.value


def test_an_exception_is_the_error(tmp_path: Path) -> None:
    error = failure(tmp_path, "raise RuntimeError('CUDA is not available')")
    assert "RuntimeError: CUDA is not available" in error.message
    assert error.diagnosis is not None
    assert error.diagnosis.code == "exception"
    assert "build.log" in (error.hint or "")


def test_output_is_bounded_and_its_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shim.building.backend.LOG_HEAD", 100_000)
    monkeypatch.setattr("shim.building.backend.LOG_TAIL", 50_000)
    body = """
        for number in range(400_000):
            print("noise", number)
        print("unit.cu(3): error: identifier \\"x\\" is undefined", flush=True)
        os._exit(3)
    """
    error = failure(tmp_path, body)
    assert "unit.cu(3): error" in error.message
    log = tmp_path / "work" / "build.log"
    assert log.stat().st_size < 300_000
    assert "bytes left out" in log.read_text()


def test_a_build_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    body = """
        import subprocess, time
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(4); open('late', 'w')"])
        time.sleep(60)
    """
    started = time.monotonic()
    error = failure(tmp_path, body, timeout=2.0)
    assert "did not end within 2 s" in error.message
    assert time.monotonic() - started < 10
    time.sleep(4)
    assert not (tmp_path / "work" / "source" / "late").exists()


def test_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    error = failure(tmp_path, f"open({str(victim)!r}, 'w').write('x')")
    assert "Permission denied" in error.message
    assert error.diagnosis is not None
    assert error.diagnosis.code == "write-refused"
    assert not victim.exists()


def test_a_home_and_temporary_folder_of_its_own(tmp_path: Path) -> None:
    body = """
        import pathlib, tempfile
        (pathlib.Path.home() / "marker").write_text("x")
        tempfile.mkstemp()
        print("seen", sorted(os.environ))
        os._exit(1)
    """
    failure(tmp_path, body)
    assert (tmp_path / "work" / "home" / "marker").exists()
    assert "TOKEN" not in (tmp_path / "work" / "build.log").read_text()


def test_the_network_is_refused_and_reported(tmp_path: Path) -> None:
    with refusing() as refuser:
        body = f"""
            import socket, urllib.request
            os.environ["https_proxy"] = "http://127.0.0.1:{refuser.port}"
            try:
                urllib.request.urlopen("https://example.com/wheel.whl?token=x")
            except OSError as error:
                print("refused", error)
            try:
                socket.create_connection(("127.0.0.1", 9), timeout=2)
            except PermissionError:
                print("no way out")
            os._exit(1)
        """
        failure(tmp_path, body, port=refuser.port)
        assert refuser.asked == ("example.com",)
    log = (tmp_path / "work" / "build.log").read_text()
    assert "403 the build may not use the network" in log
    assert "no way out" in log


def test_a_killed_compiler_is_no_success(tmp_path: Path) -> None:
    error = failure(tmp_path, "import signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "exit code 137" in error.message


def test_a_broken_backend_is_one_error(tmp_path: Path) -> None:
    error = failure(tmp_path, "import no_such_module")
    assert error.diagnosis is not None
    assert error.diagnosis.code == "missing-module"
    assert "--with no_such_module" in (error.hint or "")
