"""Relocation tables made by hand: a million records, every shape of packed ones, sizes that are the attack."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim import _core

BASE = 0x1000  # file offset and address of everything but the headers


def shared_object(rela: bytes, slots: int, *, relr: bytes = b"", claim: int | None = None) -> bytes:
    """A minimal shared object: dynamic section, RELA and RELR tables, then `slots` zero pointers.

    claim: size of the RELA table according to the dynamic section.
    """
    start = BASE + 0x1000
    data = start + len(rela) + len(relr)
    size = data + 8 * slots
    tags = [(7, start), (8, len(rela) if claim is None else claim), (9, 24)]
    tags += [(36, start + len(rela)), (35, len(relr)), (37, 8), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, 0x1000)
    found = struct.pack("<IIQQQQQQ", 2, 6, BASE, BASE, BASE, len(dynamic), len(dynamic), 8)
    out = (header + load + found).ljust(BASE, b"\0") + dynamic
    return out.ljust(start, b"\0") + rela + relr + bytes(8 * slots)


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


def expand(words: list[int]) -> set[int]:
    """The addresses a DT_RELR table lists, one bit after the other, as the generic ABI describes it."""
    out: set[int] = set()
    base = 0
    for word in words:
        if word % 2 == 0:
            out.add(word)
            base = word + 8
        else:
            out |= {base + 8 * bit for bit in range(63) if word >> (bit + 1) & 1}
            base += 63 * 8
    return out


def bitmap(bits: set[int]) -> int:
    return sum(2 << bit for bit in bits) | 1


SLOTS = 300
_runs = st.lists(
    st.tuples(st.integers(0, SLOTS - 1), st.lists(st.sets(st.integers(0, 62), max_size=63).map(bitmap), max_size=4)),
    max_size=5,
)


@given(_runs)
def test_packed_relocations_mean_what_the_abi_says(runs: list[tuple[int, list[int]]]) -> None:
    length = 8 * sum(1 + len(maps) for _, maps in runs)
    first = BASE + 0x1000 + length
    words = [word for start, maps in runs for word in (first + 8 * start, *maps)]
    data = shared_object(b"", SLOTS, relr=struct.pack(f"<{len(words)}Q", *words))
    slots = [first + 8 * number for number in range(SLOTS)]
    listed = expand(words)
    found = _core.elf_slots(data, slots)
    assert [how for _, how, _ in found] == ["relr" if slot in listed else "in-place" for slot in slots]
