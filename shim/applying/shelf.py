"""Machine code that was made: in memory while there is room, else in the cache, so that a large plan fits anywhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from shim.errors import InputError
from shim.store import ContentStore

ROOM = 16 << 20
"""Bytes of machine code that one run holds in memory. vLLM's FlashAttention-2 library makes some 400 MB."""


class Cubin(Protocol):
    """Machine code that can be read as often as it is needed."""

    def read(self) -> bytes:
        """The bytes. Raises InputError when they are no longer there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCubin:
    """In memory."""

    data: bytes = field(repr=False)

    def read(self) -> bytes:
        return self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCubin:
    """In the cache, under `key`. sha256: what it must be."""

    store: ContentStore
    key: str
    sha256: str

    def read(self) -> bytes:
        data = self.store.read(self.key)
        if data is None or hashlib.sha256(data).hexdigest() != self.sha256:
            raise InputError(
                f"the cache {self.store.root} lost machine code that was in it a moment ago",
                hint="was it pruned or changed meanwhile? Run the command again: only what is missing is compiled",
            )
        return data


class Shelf:
    """Decides where the machine code of one run stays. For one thread."""

    def __init__(self, store: ContentStore | None, room: int = ROOM) -> None:
        self._store = store
        self._room = room

    def keep(self, key: str, data: bytes, sha256: str, *, stored: bool) -> Cubin:
        """Hold it while there is room, or when it is in no cache; else leave it there.

        Args:
            stored: the cache has it under `key`.
        """
        if self._store is not None and stored and len(data) > self._room:
            return StoredCubin(store=self._store, key=key, sha256=sha256)
        self._room -= len(data)
        return HeldCubin(data=data)
