"""What becomes of a call of nvcc.

Facts (`nvcc --dryrun`, CUDA 13.0.88): `-ptx`, `-cubin`, `-optix-ir`, `-ltoir` and `-dlto` allow one architecture, and
`-dlto` no `-gencode`; options files may name options files; nvcc reads NVCC_PREPEND_FLAGS and NVCC_APPEND_FLAGS itself.
"""

from __future__ import annotations

import os

from .archs import Found, Unreadable, bracketed, codes_of, is_known, pair
from .words import OPTIONS_FILE, describe, options, split_raw

TYPE_CHECKING = False  # type checkers take it for typing's own, which is slow to import
if TYPE_CHECKING:
    from typing import Any

    from .archs import Pair

ADD, REPLACE, DROP_ONLY = "add", "replace", "drop-only"
VARIABLES = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")
ONE_ARCH = ("ptx", "cubin", "optix-ir", "ltoir")
DEPTH = 8


class Call:
    """One command line, read; `rewrite` decides what becomes of it."""

    def __init__(self, words: list[str], environ: dict[str, str]) -> None:
        self.before = words
        self.after = words
        self.environ: dict[str, str] = {}  # variables to set for the real nvcc
        self.kind, self.output, self.inputs, self.dlto = describe(words)
        self.archs_before: list[str] = []
        self.archs_after: list[str] = []
        self.dropped: list[str] = []
        self.note = ""
        self._surrounding = environ

    def rewrite(self, config: dict[str, Any]) -> None:
        own = self._without(config["own"])
        if self.kind == "query":
            return
        found = Found()
        try:
            self._collect(found)
            main = found.main()
        except Unreadable as err:
            self.environ = own
            self.after, self.note = self.before, f"left to nvcc: {err}"
            return
        given = ([main] if main else []) + found.pairs
        special = found.arch if found.arch and not main else None
        self.archs_before = ([special] if special else []) + codes_of(given)
        kept = self._known(given, config["known"])
        result, special = self._choose(given, kept, special, config)
        if (result, special) == (given, found.arch if not main else None):
            self.environ = own
            self.after, self.archs_after = self.before, self.archs_before
            return
        self.archs_after = ([special] if special else []) + codes_of(result)
        flags = [f"-arch={special}"] if special else []
        if self._single(result):
            flags = [f"-arch={result[0][1][0]}"]
        else:
            flags += [f"-gencode=arch={virtual},code={bracketed(codes)}" for virtual, codes in result]
        self.after = flags + self.after

    def _without(self, own: str) -> dict[str, str]:
        """Take away what is in NVCC_APPEND_FLAGS for the sake of other nvccs than this one."""
        value = self._surrounding.get(VARIABLES[1], "")
        if own and value.endswith(own):
            self.environ[VARIABLES[1]] = value.removesuffix(own)
        return dict(self.environ)

    def _single(self, result: list[Pair]) -> bool:
        return (self.dlto or self.kind in ONE_ARCH) and len(result) == 1 and len(result[0][1]) == 1

    def _collect(self, found: Found) -> None:
        prepend, append = VARIABLES
        for name in (prepend, "", append):
            if name:
                rest = strip_text(self.environ.get(name, self._surrounding.get(name, "")), found)
                if rest is not None:
                    self.environ[name] = rest
            else:
                self.after, _ = strip_words(self.before, self.before, found, 0)

    def _known(self, given: list[Pair], known: list[int]) -> list[Pair]:
        kept = []
        for virtual, codes in given:
            good = tuple(code for code in codes if is_known(virtual, known) and is_known(code, known))
            self.dropped += [code for code in codes if code not in good]
            if good:
                kept.append((virtual, good))
        return kept

    def _choose(
        self,
        given: list[Pair],
        kept: list[Pair],
        special: str | None,
        config: dict[str, Any],
    ) -> tuple[list[Pair], str | None]:
        """What to ask nvcc for, and the `all`, `all-major` or `native` that stays."""
        mode = config["mode"]
        codes = codes_of(given)
        lto = bool(codes) and all(code.startswith("lto_") for code in codes)
        wanted = [pair(arch, "lto" if lto else "sm") for arch in config["sass"]]
        wanted += [pair(arch, "compute") for arch in config["ptx"]]
        if self.kind in ONE_ARCH or self.dlto:
            if mode != REPLACE and (kept or special in ("all", "all-major")):
                self.note = "one architecture only: the one given stays" if mode == ADD else ""
                return kept, special
            if mode == DROP_ONLY and not self.dropped:
                return kept, special
            return wanted[:1], None
        if mode == REPLACE:
            return wanted, None
        if mode == DROP_ONLY:
            return (kept or wanted if self.dropped and not special else kept), special
        if special == "native":
            self.note, special = "native stands for the target", None
        present = set(codes_of(kept))
        if special == "all":
            present |= {f"sm_{number}" for number in config["known"]}
        return kept + [extra for extra in wanted if not present.issuperset(extra[1])], special


def strip_text(text: str, found: Found, depth: int = 0) -> str | None:
    """Take the architecture options out of such a text; None if it holds none."""
    raw = split_raw(text)
    kept, changed = strip_words(raw, [word.replace('"', "") for word in raw], found, depth)
    return " ".join(kept) if changed else None


def strip_words(raw: list[str], plain: list[str], found: Found, depth: int) -> tuple[list[str], bool]:
    kept: list[str] = []
    changed = False
    index = 0
    for name, value, count in options(plain):
        words = raw[index : index + count]
        index += count
        if name in OPTIONS_FILE and value and depth < DEPTH:
            swapped = options_file(value, found, depth + 1)
            if swapped:
                words, changed = [name, swapped], True
        if found.take(name, value):
            changed = True
        else:
            kept += words
    return kept, changed


def options_file(value: str, found: Found, depth: int) -> str | None:
    """Like `strip_text` for options files. A changed one becomes a memory file, which the real nvcc inherits."""
    paths = value.split(",")
    changed = False
    for index, path in enumerate(paths):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(1 << 22)
        except OSError:
            continue  # nvcc's own words are better
        rest = strip_text(text, found, depth)
        if rest is not None:
            descriptor = os.memfd_create("options", 0)
            os.write(descriptor, rest.encode("utf-8", "surrogateescape"))
            paths[index], changed = f"/proc/self/fd/{descriptor}", True
    return ",".join(paths) if changed else None
