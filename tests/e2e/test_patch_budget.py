"""`shim patch --budget`: what is left out, and how the next run goes on.

A budget of no time leaves out all that is not in the cache, so no test depends on how long anything takes.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from e2e.conftest import Shim

PATCHED = "demo-1.0-1sm121-py3-none-linux_x86_64.whl"
NO_TIME = "1e-9"
PROVENANCE = "demo-1.0.dist-info/shim/provenance.json"


def patch(shim: Shim, subject: Path, out: Path, *more: object, code: int = 0) -> dict[str, object]:
    ran = shim("patch", subject, "-o", out, "--format", "json", "--platform", "x86_64", *more)
    assert ran.code == code, ran.err
    return json.loads(ran.out)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def begun(shim: Shim, wheel: Path, tmp_path: Path) -> Path:
    """The machine code of the linked library is in the cache, and nothing else."""
    patch(shim, wheel, tmp_path / "only", "--only", "^_Z3usePf$")
    return wheel


def test_what_there_was_no_time_for_is_left_out(shim: Shim, begun: Path, tmp_path: Path) -> None:
    result = patch(shim, begun, tmp_path / "out", "--budget", NO_TIME, code=1)
    assert result["outcome"] == "partly-patched"
    assert [library["member"] for library in result["libraries"]] == ["demo/linked.so"]
    left = [(r["member"], r["code"], r["reason"]) for r in result["refusals"]]
    assert left == [("demo/jit.so", "left-out-by-budget", "left out by --budget: the time was used up")] * 2
    work = result["work"]
    assert (work["compiled"], work["cached"], work["left_out"], work["cpu_seconds"]) == (0, 2, 2, 0)
    assert work["cores"] >= 1
    assert shim("verify", tmp_path / "out" / PATCHED).code == 0
    with zipfile.ZipFile(tmp_path / "out" / PATCHED) as new, zipfile.ZipFile(begun) as old:
        assert new.read("demo/jit.so") == old.read("demo/jit.so")
        request = json.loads(new.read(PROVENANCE))["request"]
    assert [member for member, _ in request["left_out_by_budget"]] == ["demo/jit.so"] * 2
    assert "budget" not in request
    undone = shim("undo", tmp_path / "out" / PATCHED, "-o", tmp_path / "back")
    assert undone.code == 0, undone.err
    assert digest(tmp_path / "back" / begun.name) == digest(begun)


def test_the_text_says_how_to_go_on(shim: Shim, begun: Path, tmp_path: Path) -> None:
    ran = shim("patch", begun, "-o", tmp_path / "out", "--budget", NO_TIME)
    assert ran.code == 1
    assert "[left-out-by-budget] 2 containers: left out by --budget" in ran.out
    assert "run the same command again to go on" in ran.out
    assert "compiled 0, from the cache 2, left out by --budget 2" in ran.out
    assert "instead:" not in ran.out, "a rebuild is not what this calls for"


def test_the_next_run_goes_on_in_the_same_folder(shim: Shim, begun: Path, tmp_path: Path) -> None:
    """The same command again, without --force; the end is what a run without a budget gives, byte for byte."""
    out = tmp_path / "out"
    patch(shim, begun, out, "--budget", NO_TIME, code=1)
    result = patch(shim, begun, out, "--budget", "600")
    assert result["outcome"] == "patched"
    assert (result["work"]["compiled"], result["work"]["cached"], result["work"]["left_out"]) == (2, 2, 0)
    patch(shim, begun, tmp_path / "whole")
    assert digest(out / PATCHED) == digest(tmp_path / "whole" / PATCHED)


def test_equal_leftovers_give_equal_bytes(shim: Shim, begun: Path, tmp_path: Path) -> None:
    for folder, minutes in (("a", NO_TIME), ("b", "2e-9"), ("a", NO_TIME)):
        patch(shim, begun, tmp_path / folder, "--budget", minutes, code=1)
    assert digest(tmp_path / "a" / PATCHED) == digest(tmp_path / "b" / PATCHED)


def test_a_wheel_that_lacks_something_is_redone(shim: Shim, begun: Path, tmp_path: Path) -> None:
    patch(shim, begun, tmp_path / "out", "--budget", NO_TIME, code=1)
    result = patch(shim, tmp_path / "out" / PATCHED, tmp_path / "more")
    assert (result["outcome"], result["subject"]) == ("patched", begun.name)
    assert result["work"]["cached"] == 2


def test_a_wheel_that_lacks_nothing_is_done_whatever_the_budget(shim: Shim, begun: Path, tmp_path: Path) -> None:
    patch(shim, begun, tmp_path / "out", "--budget", "600")
    for more in ((), ("--budget", NO_TIME)):
        assert patch(shim, tmp_path / "out" / PATCHED, tmp_path / "again", *more)["outcome"] == "already-patched"


def test_a_complete_wheel_is_not_replaced_by_a_lesser_one(shim: Shim, begun: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    patch(shim, begun, out)
    before = digest(out / PATCHED)
    for entry in (tmp_path / "cache" / "compiled").rglob("*"):
        if entry.is_file():
            entry.unlink()
    patch(shim, begun, tmp_path / "only2", "--only", "^_Z3usePf$")
    ran = shim("patch", begun, "-o", out, "--budget", NO_TIME)
    assert (ran.code, "exists and is another file" in ran.err) == (3, True)
    assert digest(out / PATCHED) == before


def test_another_request_is_not_a_continuation(shim: Shim, begun: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    patch(shim, begun, out, "--budget", NO_TIME, code=1)
    ran = shim("patch", begun, "-o", out, "--only", "scale")
    assert (ran.code, "exists and is another file" in ran.err) == (3, True)


def test_with_only(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    """--only says what may be worked on, --budget how much of that: what --only leaves out is not left out by time."""
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--only", "scale", "--budget", NO_TIME)
    assert ran.code == 5
    assert "nothing can be done: [left-out-by-budget]" in ran.err
    assert "(and 1 more containers)" in ran.err


@pytest.mark.parametrize("minutes", ["0", "-1", "soon"])
def test_no_time_at_all_is_a_usage_error(shim: Shim, wheel: Path, tmp_path: Path, minutes: str) -> None:
    assert shim("patch", wheel, "-o", tmp_path / "out", "--budget", minutes).code == 2
