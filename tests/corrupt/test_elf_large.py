"""A relocation table of a million records, and tables whose size alone is the attack."""

from __future__ import annotations

import struct
import time

import pytest

from shim import _core

BASE = 0x1000  # file offset and address of everything but the headers


def shared_object(relocations: bytes, slots: int, *, claim: int | None = None) -> bytes:
    """A minimal shared object: dynamic section, relocations, then `slots` zero pointers."""
    rela = BASE + 0x1000
    data = rela + len(relocations)
    size = data + 8 * slots
    tags = ((7, rela), (8, len(relocations) if claim is None else claim), (9, 24), (0, 0))
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, 0x1000)
    found = struct.pack("<IIQQQQQQ", 2, 6, BASE, BASE, BASE, len(dynamic), len(dynamic), 8)
    out = (header + load + found).ljust(BASE, b"\0") + dynamic
    return out.ljust(rela, b"\0") + relocations + bytes(8 * slots)


def test_a_million_relocations_take_one_pass() -> None:
    count, wanted = 1_000_000, 20_000
    first = BASE + 0x1000 + 24 * count
    # Descending, so that nothing gains from order; the slots are every 50th.
    records = b"".join(struct.pack("<QQQ", first + 8 * i, 8, i) for i in reversed(range(count)))
    data = shared_object(records, count)
    slots = [first + 8 * i for i in range(0, count, count // wanted)]
    started = time.process_time()
    found = _core.elf_slots(data, slots)
    seconds = time.process_time() - started
    assert [target for target, _, _ in found] == list(range(0, count, count // wanted))
    # 0.1 s on a slow core; a search of the table for each slot would take minutes.
    assert seconds < 5


@pytest.mark.parametrize("claim", [(256 << 20) + 24, 1 << 62])
def test_tables_beyond_reason_are_refused(claim: int) -> None:
    with pytest.raises(_core.ParseError, match=r"relocation table \(DT_RELA\): \d+ bytes is more than the limit"):
        _core.elf_slots(shared_object(b"", 1, claim=claim), [BASE + 0x1000])
