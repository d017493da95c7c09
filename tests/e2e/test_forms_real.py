"""Published wheels of Triton, cuFFT and flashinfer's cubins: what `scan` and `patch` say of what cannot be changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Downloads, kept for the session (or in SHIM_TEST_CACHE from run to run)."""
    kept = os.environ.get("SHIM_TEST_CACHE")
    return Path(kept) / "real" if kept else tmp_path_factory.mktemp("cache")


def shim(cache: Path, *arguments: object, code: int = 0, **variables: str) -> dict[str, Any]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
    done = subprocess.run(
        [sys.executable, "-m", "shim", *map(str, arguments), "--format", "json"],
        capture_output=True,
        text=True,
        env={**environ, "SHIM_CACHE_DIR": str(cache), **variables},
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def ptxas_hashes(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "/bin/ptxas" in name]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


@pytest.mark.parametrize(
    ("version", "platform", "code", "text"),
    [
        ("3.3.1", "x86_64", "triton-ptxas-too-old", "ptxas-blackwell 12.8.61"),
        ("3.4.0", "x86_64", "triton-ptxas-too-old", "ptxas 12.8.93"),
        ("3.5.1", "aarch64", "triton-ptxas-too-old", "ptxas 12.8.93"),
        ("3.6.0", "aarch64", "triton-ptxas-fits", "ptxas-blackwell 12.9.86"),
    ],
)
def test_tritons_ptxas(cache: Path, tmp_path: Path, version: str, platform: str, code: str, text: str) -> None:
    wanted = (f"triton=={version}", "--platform", platform, "--python", "3.12")
    report = shim(cache, "scan", *wanted)["reports"][0]
    (finding,) = [one for one in report["findings"] if one["code"].startswith("triton")]
    assert (finding["code"], finding["evidence"]) == (code, "by version")
    assert f"calls its own {text} for 12.1" in finding["text"]
    wheel = Path(report["file"])
    before = ptxas_hashes(wheel)
    planned = shim(cache, "patch", wheel, "--dry-run", TRITON_PTXAS_PATH="/nowhere/ptxas")
    assert text in planned["notes"][0]
    patched = shim(cache, "patch", wheel, "-o", tmp_path, "--copy")
    assert patched["outcome"] == "nothing-to-do"
    assert before == ptxas_hashes(tmp_path / wheel.name)
    assert before


def test_cufft_is_reported_and_left_alone(cache: Path) -> None:
    wanted = ("nvidia-cufft==12.3.0.29", "--platform", "x86_64")
    planned = shim(cache, "patch", *wanted, "--dry-run", "--allow-nvidia")
    notes = {one["member"].rpartition("/")[2]: one["notes"] for one in planned["plan"]}
    assert notes["libcufft.so.12"] == [
        "22,974 containers without a wrapper (.nv_fatbin, .ldata): loaded by the library itself, never changed"
    ]
    assert all(one["steps"] == [] for one in planned["plan"])


def test_flashinfer_cubins_are_counted_by_architecture(cache: Path) -> None:
    report = shim(cache, "scan", "flashinfer-cubin==0.6.13")["reports"][0]
    (library,) = report["libraries"]
    assert library["files"] == 15_970
    assert [(one["image"], one["fit"], one["count"]) for one in library["loose"]] == [
        ("sm_100", "nothing", 60),
        ("sm_100f", "other-arch-only", 13_646),
        ("sm_100a", "other-arch-only", 312),
        ("sm_103a", "other-arch-only", 1_952),
    ]
