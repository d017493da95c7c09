"""What can go wrong with `patch`, `verify` and `undo`: one clear error, its exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from builders.wheels import make_wheel
from e2e.conftest import Shim

PATCHED = "demo-1.0-1sm121-py3-none-linux_x86_64.whl"


def patched(shim: Shim, wheel: Path, out: Path) -> Path:
    ran = shim("patch", wheel, "-o", out, "--platform", "x86_64")
    assert ran.code == 0, ran.err
    return out / PATCHED


def rewrite(wheel: Path, changes: dict[str, bytes | None]) -> None:
    """Replace or drop members without mending RECORD, as a careless tool would."""
    copy = wheel.with_suffix(".tmp")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            data = changes.get(item.filename, old.read(item.filename))
            if data is not None:
                new.writestr(item, data)
    copy.replace(wheel)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_not_a_zip(shim: Shim, tmp_path: Path) -> None:
    fake = tmp_path / "demo-1.0-py3-none-any.whl"
    fake.write_bytes(b"this is no archive" * 10)
    ran = shim("patch", fake, "-o", tmp_path / "out")
    assert ran.code == 3
    assert "demo-1.0-py3-none-any.whl" in ran.err
    assert "Traceback" not in ran.err


def test_lying_record_stops_before_any_work(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    rewrite(wheel, {"demo/data.txt": b"changed"})
    ran = shim("patch", wheel, "-o", tmp_path / "out")
    assert ran.code == 3
    assert "demo/data.txt" in ran.err
    assert "expected" in ran.err
    assert left_over(tmp_path / "out") == []


def test_existing_different_file_is_kept(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PATCHED).write_bytes(b"mine")
    ran = shim("patch", wheel, "-o", tmp_path / "out")
    assert ran.code == 3
    assert "--force" in ran.err
    assert (tmp_path / "out" / PATCHED).read_bytes() == b"mine"
    assert left_over(tmp_path / "out") == [PATCHED]
    assert shim("patch", wheel, "-o", tmp_path / "out", "--force").code == 0


def test_missing_file_and_folder_and_bad_options(shim: Shim, tmp_path: Path) -> None:
    assert shim("patch", tmp_path / "gone.whl").code == 3
    assert shim("patch", tmp_path).code == 2
    assert shim("patch", "not a requirement!").code == 2
    ran = shim("patch", tmp_path / "x.whl", "--target", "twelve")
    assert ran.code == 2
    assert "12.1" in ran.err


def test_broken_only_expression(shim: Shim, wheel: Path) -> None:
    ran = shim("patch", wheel, "--only", "(", "--dry-run")
    assert ran.code == 2
    assert "--only" in ran.err


def test_permission_denied(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    out = tmp_path / "file"
    out.write_text("a file where the folder should be")
    ran = shim("patch", wheel, "-o", out / "sub")
    assert ran.code in (2, 3)
    assert "Traceback" not in ran.err


def test_disk_full_leaves_nothing(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for a full disk: writes beyond it fail the same way (EFBIG instead of ENOSPC)."""
    out = tmp_path / "out"
    limited = ("bash", "-c", 'ulimit -f 300; trap "" XFSZ; exec "$@"', "-")
    ran = shim("patch", wheel, "-o", out, prefix=limited)
    assert ran.code != 0
    assert "Traceback" not in ran.err
    assert "too large" in ran.err or "space" in ran.err
    assert left_over(out) == []


def test_ptxas_that_fails_is_an_error(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    fake = tmp_path / "ptxas"
    fake.write_text('#!/bin/sh\necho "ptxas fatal : broken" >&2\nexit 255\n')
    fake.chmod(0o755)
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--ptxas", fake)
    assert ran.code in (5, 6)
    assert str(fake) in ran.err
    assert left_over(tmp_path / "out") == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_leaves_nothing(wheel: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C or SIGTERM while ptxas runs: the work folder is gone, no ptxas is left."""
    out = tmp_path / "out"
    slow = tmp_path / "ptxas"
    real = shutil.which("ptxas") or str(_extra_ptxas())
    asks = f'case "$*" in *--version*|*/dev/stdin*) exec {real} "$@";; esac'
    slow.write_text(f"#!/bin/sh\n{asks}\necho $$ >> {tmp_path}/pids\nsleep 60\n")
    slow.chmod(0o755)
    environment = {**os.environ, "SHIM_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "shim", "patch", str(wheel), "-o", str(out), "--ptxas", str(slow)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / "pids").exists():
        time.sleep(0.05)
    assert list(out.glob(".shim-*/old-*")), "the run never got to its work folder"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert left_over(out) == []
    started = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert started
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def _extra_ptxas() -> Path:
    from builders.kernels import tool

    return tool("ptxas").path


def test_undo_of_an_unpatched_wheel(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    ran = shim("undo", wheel, "-o", tmp_path / "back")
    assert ran.code == 3
    assert "not patched by shim" in ran.err


def test_undo_without_data(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    new = patched(shim, wheel, tmp_path / "out")
    new.with_name(new.name + ".undo").unlink(missing_ok=True)
    rewrite(new, {"demo-1.0.dist-info/shim/undo": None})
    ran = shim("undo", new, "-o", tmp_path / "back")
    assert ran.code == 3
    assert "no undo data" in ran.err
    assert left_over(tmp_path / "back") == []


def test_undo_of_a_changed_wheel(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    new = patched(shim, wheel, tmp_path / "out")
    rewrite(new, {"demo/data.txt": b"y" * 5000})
    ran = shim("undo", new, "-o", tmp_path / "back")
    assert ran.code in (3, 7)
    assert left_over(tmp_path / "back") == []


def test_verify_finds_changed_machine_code(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    new = patched(shim, wheel, tmp_path / "out")
    with zipfile.ZipFile(new) as archive:
        library = bytearray(archive.read("demo/jit.so"))
    library[-5000] ^= 0xFF
    rewrite(new, {"demo/jit.so": bytes(library)})
    ran = shim("verify", new)
    assert ran.code == 3
    assert "demo/jit.so" in ran.err


def test_verify_checks_the_provenance_itself(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    """RECORD mended by an attacker: the provenance still says which image should be there."""
    new = patched(shim, wheel, tmp_path / "out")
    with zipfile.ZipFile(new) as archive:
        members = {i.filename: archive.read(i.filename) for i in archive.infolist()}
    document = json.loads(members["demo-1.0.dist-info/shim/provenance.json"])
    document["members"][0]["containers"][0]["images"][0]["entry"]["sha256"] = "0" * 64
    members["demo-1.0.dist-info/shim/provenance.json"] = json.dumps(document).encode()
    members = {k: v for k, v in members.items() if not k.endswith(("RECORD", "METADATA", "WHEEL"))}
    (tmp_path / "forged").mkdir()
    forged = make_wheel(tmp_path / "forged", members, tag="py3-none-linux_x86_64", build="1sm121")
    ran = shim("verify", forged)
    assert ran.code == 7
    assert "is not the one that was made" in ran.err


def test_verify_of_an_unpatched_wheel(shim: Shim, wheel: Path) -> None:
    ran = shim("verify", wheel)
    assert ran.code == 0
    assert "not patched by shim" in ran.out
