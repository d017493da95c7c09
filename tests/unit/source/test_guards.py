"""Known texts of compiled guards."""

from __future__ import annotations

from shim.arch import ComputeCapability
from shim.source.gates.guards import concerning, gate_of, guards, longest, search
from shim.source.gates.model import CHANGES

SPARK = ComputeCapability(12, 1)


def test_the_data_is_sound():
    known = guards()
    assert len({guard.id for guard in known}) == len(known) > 5
    for guard in known:
        assert guard.place in ("device", "host")
        assert guard.effect in CHANGES
        assert guard.evidence
        assert 12 <= len(guard.needle) <= 120
        assert guard.words[0].islower() or guard.words[0].isupper()


def test_which_concern_a_target():
    names = {guard.id for guard in concerning(SPARK, "device")}
    assert {"mem-efficient-attention", "kernel-only-sm120"} <= names
    assert "kernel-only-sm120" not in {guard.id for guard in concerning(ComputeCapability(9, 0), "device")}
    assert names.isdisjoint(guard.id for guard in concerning(SPARK, "host"))


def test_search_in_machine_code_and_in_ptx():
    known = concerning(SPARK, "device")
    (guard,) = [one for one in known if one.id == "kernel-only-sm120"]
    assert search(b"\0\1" + guard.needle + b"\n\0", known) == ((guard, 2),)
    ptx = b".global .align 1 .b8 $str[30] = {" + ", ".join(str(byte) for byte in guard.needle).encode() + b", 0};"
    assert [found for found, _ in search(ptx, known, ptx=True)] == [guard]
    assert search(ptx, known) == ()


def test_the_gate():
    guard = guards()[0]
    gate = gate_of(guard, "lib/x.so", 0x1000, count=3, where="sm_120")
    assert (gate.path, gate.line, gate.offset, gate.form) == ("lib/x.so", 0, 0x1000, f"compiled-{guard.id}")
    assert gate.words.endswith("(in 3 images for sm_120)")
    assert gate.changes
    assert longest(guards()) >= len(guard.needle)
