"""Whatever is put into the store, in any order, comes back or is missing: never anything else."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shim.store import ContentStore, make_key

parts = st.lists(st.one_of(st.binary(max_size=6), st.text(max_size=4)), max_size=4)


def as_bytes(items: list[bytes | str]) -> list[bytes]:
    return [item.encode() if isinstance(item, str) else item for item in items]


@given(parts, parts)
def test_keys_are_equal_only_for_equal_parts(one, two):
    assert (make_key(*one) == make_key(*two)) == (as_bytes(one) == as_bytes(two))


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3), st.binary(max_size=50)),
        st.tuples(st.just("damage"), st.integers(0, 3), st.binary(max_size=50)),
        st.tuples(st.just("prune"), st.integers(0, 120), st.just(b"")),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(operations)
def test_against_a_dictionary(steps):
    with tempfile.TemporaryDirectory() as folder:
        store = ContentStore(Path(folder) / "store")
        model: dict[str, bytes] = {}
        for action, number, data in steps:
            key = make_key(str(number))
            if action == "put":
                store.put(key, data)
                model.setdefault(key, data)
            elif action == "damage" and (path := store.get(key)):
                path.write_bytes(data)
                if data != model[key]:
                    del model[key]
            elif action == "prune":
                store.prune(max_bytes=number)
                left = {entry.key for entry in store.entries()}
                # A damaged value that nobody has read yet still counts as an entry: reading tells.
                model = {key: value for key, value in model.items() if key in left}
                assert sum(entry.size for entry in store.entries()) <= number
            for key in map(make_key, "0123"):
                assert store.read(key) == model.get(key)
