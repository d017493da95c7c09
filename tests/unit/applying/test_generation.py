"""Restamping is offered only when the compiler of the release confirms it."""

from __future__ import annotations

import pytest

from shim.applying.generation import Generations, confirm_with
from shim.applying.restamp import RestampRefused
from shim.toolchain import Survey, Tool, ask_version
from tests.builders.fake_tools import fake_ptxas, program
from tests.builders.kernels import tool

# Compiles with the real ptxas, but for 12.1a something else than for 12.0a: it appends an instruction.
OTHER = """#!/bin/sh
case "$*" in *-arch=sm_121a*)
  for word; do text=$word; done
  sed -i 's/^ret;/bar.sync 0; ret;/' "$(readlink -f "$text")" 2>/dev/null ||
    { sed 's/^ret;/bar.sync 0; ret;/' "$text" > "$PWD/other" && cat "$PWD/other" > "$text"; rm -f "$PWD/other"; } ;;
esac
exec %s "$@"
"""


def test_the_compiler_at_hand_confirms(store) -> None:
    ptxas = tool("ptxas")
    confirmed = Generations(store, ptxas.path, offline=True).confirm(ptxas.version[:2])
    assert confirmed.exact
    assert str(confirmed) == f"ptxas {'.'.join(map(str, ptxas.version))}, of the release that made it, gives equal " + (
        "bytes for 5 samples"
    )


def test_a_second_question_compiles_nothing(store) -> None:
    confirm_with(tool("ptxas"), store)
    kept = sorted(entry.key for entry in store.entries())
    assert len(kept) == 10
    confirm_with(tool("ptxas"), store)
    assert sorted(entry.key for entry in store.entries()) == kept


def test_a_compiler_that_writes_something_else_refuses(tmp_path) -> None:
    other = program(tmp_path / "ptxas", OTHER % tool("ptxas").path)
    with pytest.raises(RestampRefused, match="writes something else for sm_121a than for sm_120a"):
        confirm_with(ask_version(other, name="ptxas", origin="test"), None)


def test_a_compiler_that_does_not_compile_refuses(tmp_path) -> None:
    path = fake_ptxas(tmp_path / "ptxas", "12.8.93", isas="8.0 8.7", archs="sm_120 sm_120a")
    with pytest.raises(RestampRefused, match=r"does not compile sample .*Unsupported \.version"):
        confirm_with(ask_version(path, name="ptxas", origin="test"), None)


def test_without_a_compiler_it_is_refused_and_asked_once(tmp_path, monkeypatch) -> None:
    asked = []

    def none(release: tuple[int, int], **_: object) -> Tool:
        asked.append(release)
        raise RestampRefused("nothing there")

    monkeypatch.setattr("shim.applying.generation.ptxas_of_release", none)
    generations = Generations(None)
    for _ in range(2):
        with pytest.raises(RestampRefused, match="nothing there"):
            generations.confirm((13, 9))
    assert asked == [(13, 9)]


def test_offline_a_release_that_is_not_here_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SHIM_OFFLINE", "1")
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("shim.toolchain.generation.survey", lambda _: Survey(tools=(), broken=()))
    with pytest.raises(RestampRefused, match=r"CUDA 12\.9 made its machine code, and that cannot be asked: .*OFFLINE"):
        Generations(None).confirm((12, 9))


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ((12, 8), "lower confidence: ptxas {0} was asked in place of 12.8, which does not know 12.1"),
        ((13, 0), "lower confidence: ptxas {0} was asked in place of 13.0; equal"),
    ],
)
def test_a_stand_in_is_named(monkeypatch, release: tuple[int, int], words: str) -> None:
    present = tool("ptxas")
    newer = Tool(name="ptxas", path=present.path, version=(13, 9, 1), origin="test", banner=present.banner)
    monkeypatch.setattr("shim.applying.generation.ptxas_of_release", lambda *_, **__: newer)
    monkeypatch.setattr("shim.applying.generation.confirm_with", lambda *_: None)
    confirmed = Generations(None).confirm(release)
    assert not confirmed.exact
    assert str(confirmed).startswith(words.format("13.9.1"))
