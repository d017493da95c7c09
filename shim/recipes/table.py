"""Reads values out of a parsed TOML table. Faults are collected with their key path, such as `action[2].find`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, TypeVar

T = TypeVar("T")

_MOST = 1_000_000
PATH: Final = r"(?!/)(?!.*(?:^|/)\.\.?(?:/|$))(?!.*//)[^\x00-\x1f\\]+"
"""A relative path or glob that stays below its root (the same text stands in the JSON schema)."""


class Table:
    """One table. Every read notes the key; `end` reports those that nobody asked for.

    A fault is noted and a harmless value returned, so that one pass finds all of them; the caller raises.
    """

    def __init__(self, data: Mapping[str, object], path: str, faults: list[str]) -> None:
        self._data = data
        self._path = path
        self._asked: dict[str, None] = {}
        self.faults = faults

    def fault(self, key: str, text: str) -> None:
        """Note a fault at a key of this table ("" for the table itself)."""
        where = f"{self._path}.{key}" if self._path and key else self._path or key
        self.faults.append(f"{where}: {text}" if where else text)

    def text(self, key: str, default: str | None = None, *, pattern: str = "", empty: bool = False) -> str:
        """A string; `pattern` must match all of it. Required when there is no default."""
        value = self._get(key, default, str)
        if value is None or (value == default and key not in self._data):
            return default or ""
        if not value.strip() and not empty:
            self.fault(key, "is empty")
        elif pattern and re.fullmatch(pattern, value) is None:
            self.fault(key, f"expected text that matches {pattern}, found {value!r}")
        return value

    def path(self, key: str, default: str | None = None) -> str:
        """A relative path or glob that cannot lead out of the tree."""
        value = self._get(key, default, str)
        if value is None or (value == default and key not in self._data):
            return default or ""
        if re.fullmatch(PATH, value) is None:
            self.fault(key, f"expected a relative path with / and without .. , found {value!r}")
        return value

    def regex(self, key: str, default: str | None = None) -> str:
        """A regular expression."""
        value = self.text(key, default)
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            self.fault(key, f"not a regular expression: {error}")
        return value

    def texts(self, key: str, *, required: bool = False, pattern: str = "") -> tuple[str, ...]:
        """A list of distinct strings, not empty when required."""
        value = self._get(key, None if required else [], list)
        if value is None:
            return ()
        if required and not value:
            self.fault(key, "expected at least one entry, found none")
        found = []
        for index, entry in enumerate(value):
            if not isinstance(entry, str):
                self.fault(f"{key}[{index}]", f"expected text, found {_kind(entry)}")
            elif not entry.strip() or (pattern and re.fullmatch(pattern, entry) is None):
                self.fault(f"{key}[{index}]", f"expected {_expected(pattern)}, found {entry!r}")
            elif entry in found:
                self.fault(f"{key}[{index}]", f"{entry!r} is there twice")
            else:
                found.append(entry)
        return tuple(found)

    def number(self, key: str, default: int, *, least: int) -> int:
        """A count."""
        value = self._get(key, default, int)
        if value is None:
            return default
        if not least <= value <= _MOST:
            self.fault(key, f"expected a number from {least} to {_MOST}, found {value}")
        return value

    def flag(self, key: str) -> bool:
        """true or false; false by default."""
        return bool(self._get(key, False, bool))

    def choice(self, key: str, kind: Callable[[str], T], values: Collection[str], default: str | None = None) -> T:
        """One of the words of an enumeration."""
        value = self._get(key, default, str)
        if value is None:
            return kind(next(iter(values)))
        if value not in values:
            self.fault(key, f"expected one of {', '.join(values)}, found {value!r}{_meant(value, values)}")
            return kind(next(iter(values)))
        return kind(value)

    def choices(self, key: str, kind: Callable[[str], T], values: Collection[str]) -> frozenset[T]:
        """A set of words of an enumeration, at least one."""
        found = []
        for index, entry in enumerate(self.texts(key, required=True)):
            if entry in values:
                found.append(kind(entry))
            else:
                expected = ", ".join(values)
                self.fault(f"{key}[{index}]", f"expected one of {expected}, found {entry!r}{_meant(entry, values)}")
        return frozenset(found)

    def parsed(self, key: str, parse: Callable[[str], T], default: T, *, required: bool = False) -> T:
        """A string in a notation of its own; `parse` raises ValueError for a bad one."""
        value = self.text(key, None if required else "")
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.fault(key, str(error))
            return default

    def table(self, key: str, *, required: bool = False) -> Table:
        """A sub-table, empty when it is absent."""
        value = self._get(key, None if required else {}, dict)
        return Table({} if value is None else value, f"{self._path}.{key}" if self._path else key, self.faults)

    def tables(self, key: str) -> Iterator[Table]:
        """An array of tables."""
        value = self._get(key, [], list) or []
        for index, entry in enumerate(value):
            where = f"{self._path}.{key}[{index}]" if self._path else f"{key}[{index}]"
            if isinstance(entry, dict):
                yield Table(entry, where, self.faults)
            else:
                self.fault(f"{key}[{index}]", f"expected a table, found {_kind(entry)}")

    def variables(self, key: str) -> dict[str, str]:
        """A table of environment variables, at least one."""
        value = self._get(key, None, dict)
        if value is None:
            return {}
        if not value:
            self.fault(key, "expected at least one variable, found none")
        found = {}
        for name, entry in value.items():
            if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
                self.fault(f"{key}.{name}", "not the name of an environment variable")
            elif not isinstance(entry, str) or "\0" in entry or "\n" in entry:
                self.fault(f"{key}.{name}", f"expected text of one line, found {_kind(entry)}")
            else:
                found[name] = entry
        return found

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._data

    def peek(self, key: str) -> object:
        """The value as it stands, None when it is absent; it counts as asked for by nobody."""
        return self._data.get(key)

    def end(self) -> None:
        """Report the keys that were never asked for."""
        for key in self._data:
            if key not in self._asked:
                self.fault(key, f"unknown key{_meant(key, self._asked)}")

    def _get(self, key: str, default: T | None, kind: type[T]) -> T | None:
        self._asked[key] = None
        if key not in self._data:
            if default is None:
                self.fault(key, f"is missing (expected {_NAMES[kind]})")
            return default
        value = self._data[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fault(key, f"expected {_NAMES[kind]}, found {_kind(value)}")
            return None
        return value


_NAMES: Final[Mapping[type, str]] = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    float: "a number",
}


def _kind(value: object) -> str:
    name = _NAMES.get(type(value), f"a {type(value).__name__}")
    return f"{name} ({value!r})"[:120] if not isinstance(value, list | dict) else name


def _expected(pattern: str) -> str:
    return f"text that matches {pattern}" if pattern else "text"


def _meant(value: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(value, known, n=1)
    return f" (did you mean {str(near[0])!r}?)" if near else ""
