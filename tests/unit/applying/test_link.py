"""Linking relocatable cubins."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile

import pytest
from elftools.elf.elffile import ELFFile

from shim.applying.failure import CompileFailure, FailureKind
from shim.applying.link import link_cubins
from shim.applying.units import LinkedUnit, LinkUnit
from shim.errors import InputError
from shim.store import ContentStore
from shim.toolchain import Tool, ask_version
from tests.builders import kernels
from tests.builders.fake_tools import banner, program

CALLER = b"""\
.version 8.0
.target sm_80
.address_size 64
.extern .func (.param .b32 r) twice (.param .b32 x);
.visible .entry caller(.param .u64 out) {
  .reg .b32 %v;
  .reg .b64 %a;
  { .param .b32 x; .param .b32 r;
    st.param.b32 [x], 7;
    call (r), twice, (x);
    ld.param.b32 %v, [r]; }
  ld.param.u64 %a, [out];
  st.global.b32 [%a], %v;
  ret;
}
"""
CALLEE = b"""\
.version 8.0
.target sm_80
.address_size 64
.visible .func (.param .b32 r) twice (.param .b32 x) {
  .reg .b32 %v;
  ld.param.b32 %v, [x];
  shl.b32 %v, %v, 1;
  st.param.b32 [r], %v;
  ret;
}
"""


@pytest.fixture(scope="module")
def objects() -> tuple[bytes, ...]:
    """As of a library: code that calls, code that is called, and a container without code."""
    empty = b".version 8.0\n.target sm_80\n.address_size 64\n"
    return tuple(kernels.build_cubin(ptx, options=["-c"]) for ptx in (CALLER, CALLEE, empty))


@pytest.fixture
def store(tmp_path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def unit(objects, **changes) -> LinkUnit:
    values = {"key": "k", "objects": objects, "target": "sm_121", "label": "lib.so"} | changes
    values.setdefault("tool", kernels.tool("nvlink"))
    return LinkUnit(**values)


def functions(cubin: bytes) -> set[str]:
    table = ELFFile(io.BytesIO(cubin)).get_section_by_name(".symtab")
    return {symbol.name for symbol in table.iter_symbols() if symbol["st_info"]["type"] == "STT_FUNC"}


def test_the_linked_cubin_holds_the_kernel(store, objects):
    got = link_cubins(unit(objects), store=store)
    assert isinstance(got, LinkedUnit)
    assert "caller" in functions(got.cubin)
    assert got.cubin[16] == 2, "ET_EXEC: nothing is left to link"
    assert got.sha256 == hashlib.sha256(got.cubin).hexdigest()
    assert not got.cached
    assert got.warnings == ""


def test_the_second_time_comes_from_the_cache(store, objects):
    first = link_cubins(unit(objects), store=store)
    second = link_cubins(unit(objects, key="other"), store=store)
    assert (second.cached, second.cubin, second.key, second.seconds) == (True, first.cubin, "other", 0.0)


def test_order_and_content_are_in_the_key(store, objects):
    link_cubins(unit(objects), store=store)
    assert not link_cubins(unit(objects[::-1]), store=store).cached
    assert not link_cubins(unit(objects[:2]), store=store).cached


def test_equal_input_gives_equal_bytes(objects, tmp_path, monkeypatch):
    first = link_cubins(unit(objects), store=None)
    held = [os.memfd_create("filler") for _ in range(5)]
    elsewhere = tmp_path / "a much longer name than before"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    second = link_cubins(unit(objects), store=None)
    for descriptor in held:
        os.close(descriptor)
    assert first.cubin == second.cubin
    assert list(elsewhere.iterdir()) == []


def test_a_damaged_cache_entry_is_linked_again(store, objects):
    first = link_cubins(unit(objects), store=store)
    (entry,) = store.entries()
    entry.path.write_bytes(b"")
    again = link_cubins(unit(objects), store=store)
    assert (again.cached, again.cubin) == (False, first.cubin)


def test_a_full_cache_disk_does_not_stop_the_work(store, objects, monkeypatch):
    def full(key: str, value: bytes) -> None:
        raise InputError("No space left on device")

    monkeypatch.setattr(store, "put", full)
    assert isinstance(link_cubins(unit(objects), store=store), LinkedUnit)


@pytest.mark.parametrize(
    ("pick", "words"),
    [
        ((0,), "Undefined reference to 'twice'"),
        ((0, 1, 1), "Multiple definition of 'twice'"),
    ],
)
def test_what_does_not_link(store, objects, pick, words):
    got = link_cubins(unit([objects[number] for number in pick]), store=store)
    assert isinstance(got, CompileFailure)
    assert got.kind is FailureKind.INVALID_INPUT
    assert words in got.text
    assert list(store.entries()) == []


def test_objects_of_another_target(objects):
    other = kernels.build_cubin(CALLEE, arch="sm_80", options=["-c"])
    got = link_cubins(unit([other]), store=None)
    assert got.kind is FailureKind.INVALID_INPUT
    assert "does not match target 'sm_121'" in got.text


@pytest.mark.parametrize("damage", [b"", b"!<arch>\n" + bytes(100), CALLEE, b"\x7fELF\x02\x01" + bytes(100)])
def test_what_is_no_object_is_not_passed_over(objects, damage):
    got = link_cubins(unit([objects[0], damage, objects[1]]), store=None)
    assert got.kind is FailureKind.INVALID_INPUT
    assert got.text == "object 1 of 3 is no cubin"


def test_a_cut_off_object(objects):
    """nvlink 13.0 ends with a segmentation fault."""
    got = link_cubins(unit([objects[1][:200]]), store=None)
    assert isinstance(got, CompileFailure)


def test_nothing_to_link():
    assert isinstance(link_cubins(unit([]), store=None), CompileFailure)


def fake(tmp_path, body: str) -> Tool:
    said = banner("13.0.88", "nvlink")
    text = f"#!/bin/sh\nif [ $1 = --version ]; then cat <<'END'\n{said}END\nexit; fi\n{body}\n"
    path = program(tmp_path / "nvlink", text)
    return ask_version(path, name="nvlink", origin="test")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("kill -11 $$", FailureKind.CRASH),
        ("exit 0", FailureKind.NO_OUTPUT),
        ("echo garbage > linked.cubin", FailureKind.NO_OUTPUT),
        ("sleep 600", FailureKind.TIMEOUT),
    ],
)
def test_a_tool_that_misbehaves(tmp_path, store, objects, body, kind):
    got = link_cubins(unit(objects, tool=fake(tmp_path, body)), store=store, seconds=0.5 if "sleep" in body else 60)
    assert (got.kind, got.label) == (kind, "lib.so")
    assert list(store.entries()) == []


def test_warnings_are_handed_on(tmp_path, objects):
    tool = fake(tmp_path, "cat 00000.cubin > linked.cubin; echo 'nvlink warning : hm' >&2")
    got = link_cubins(unit(objects, tool=tool), store=None)
    assert (got.warnings, got.cubin) == ("nvlink warning : hm", objects[0])
