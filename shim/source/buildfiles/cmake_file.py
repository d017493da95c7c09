"""Facts of a CMake file: CMakeLists.txt and modules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shim.source.buildfiles.archs import GENCODE, NVCC_ARCH, Named, read_gencode, read_list
from shim.source.buildfiles.cmake_conditions import cmake_truth
from shim.source.buildfiles.cmake_lexer import Argument, Command, commands
from shim.source.buildfiles.cmake_quirks import quirk_of
from shim.source.buildfiles.model import (
    ArchMention,
    Download,
    FileFacts,
    ListedSource,
    Mention,
    MentionKind,
    Quirk,
    StandardFlag,
)
from shim.source.buildfiles.spans import Text
from shim.source.buildfiles.variables import role_of

_LARGEST: Final = 1 << 20
_STANDARD_FLAG: Final = re.compile(rb"(?<![\w-])--?std=(?:c|gnu)\+\+(?P<number>\d\d)(?!\w)")
_STANDARD_NAMES: Final = re.compile(r"(?:CMAKE_)?(?P<language>CXX|CUDA)_STANDARD")
_SOURCES: Final = frozenset({"add_library", "add_executable", "target_sources", "cuda_add_library",
                             "pybind11_add_module", "nanobind_add_module", "python_add_library",
                             "python3_add_library"})  # fmt: skip
_SOURCE: Final = re.compile(r"(?:\$\{CMAKE_CURRENT_(?:SOURCE|LIST)_DIR\}/)?(?P<file>[\w./+-]+\.(?:cu|cpp|cc|cxx|c))")
_FETCH: Final = frozenset({"fetchcontent_declare", "externalproject_add", "cpmaddpackage"})
_FLOW: Final = frozenset({"if", "elseif", "else", "endif", "function", "macro", "endfunction", "endmacro"})


@dataclass(slots=True)
class _Flow:
    """Conditions and function around a command, while reading on."""

    tests: list[list[tuple[Command, bool]]]
    scope: list[str]

    def take(self, command: Command) -> None:
        match command.name:
            case "if":
                self.tests.append([(command, True)])
            case "elseif" | "else" if self.tests:
                last, _ = self.tests[-1][-1]
                self.tests[-1][-1] = (last, False)
                if command.name == "elseif":
                    self.tests[-1].append((command, True))
            case "endif" if self.tests:
                self.tests.pop()
            case "function" | "macro" if command.arguments:
                self.scope.append(command.arguments[0].text)
            case "endfunction" | "endmacro" if self.scope:
                self.scope.pop()

    def fields(self) -> dict[str, Any]:
        tests = [test for level in self.tests for test in level]
        outcome: bool | None = True
        for command, wanted in tests:
            value = cmake_truth(command.words)
            if value is None:
                outcome = None if outcome else outcome
            elif value is not wanted:
                outcome = False
        words = [" ".join(test.words) if wanted else f"NOT ({' '.join(test.words)})" for test, wanted in tests]
        scope = self.scope[-1] if self.scope else ""
        return {"condition": " AND ".join(words)[:200], "reached": outcome, "scope": scope}


def cmake_facts(source: bytes, path: str) -> FileFacts:
    """Facts of one file; none when it is too large to be written by people."""
    if len(source) > _LARGEST:
        return FileFacts()
    text = Text(source)
    flow = _Flow([], [])
    archs: list[ArchMention] = []
    standards: list[StandardFlag] = []
    downloads: list[Download] = []
    sources: list[ListedSource] = []
    quirks: list[Quirk] = []
    legacy: list[Mention] = []
    torch = False
    for command in commands(source):
        if command.name in _FLOW:
            flow.take(command)
            if command.name not in ("if", "elseif"):
                continue
        reader = _Reader(command, text, path, flow.fields() if command.name not in ("if", "elseif") else {})
        archs.extend(reader.archs())
        standards.extend(reader.standards())
        sources.extend(reader.sources())
        if (found := quirk_of(command)) is not None:
            form, argument, detail = found
            quirks.append(Quirk(**reader.place(argument.start, argument.end), form=form, detail=detail))
        if command.name in _FETCH or (command.name == "file" and command.words[:1] == ("DOWNLOAD",)):
            downloads.append(Download(**reader.place(command.start, command.end), what="source"))
        if _is_legacy(command):
            legacy.append(Mention(**reader.place(command.start, command.end)))
        torch = torch or (
            command.name != "message" and any(re.search(r"(?<![a-z])torch", word.lower()) for word in command.words)
        )
    return FileFacts(
        archs=tuple(archs),
        standards=tuple(standards),
        downloads=tuple(downloads),
        sources=tuple(sources),
        quirks=tuple(quirks),
        legacy_findcuda=tuple(legacy),
        torch=torch,
        builds=path.rpartition("/")[2] == "CMakeLists.txt",
    )


def _is_legacy(command: Command) -> bool:
    if command.name == "cuda_select_nvcc_arch_flags":
        return True
    return (command.name == "find_package" and command.words[:1] == ("CUDA",)) or (
        command.name == "include" and command.words[:1] == ("FindCUDA",)
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Facts of one command."""

    command: Command
    text: Text
    path: str
    flow: dict[str, Any]

    def place(self, start: int, end: int) -> dict[str, Any]:
        """The fields that every mention has."""
        own = {"path": self.path, "line": self.text.line(start), "start": start, "end": end}
        return {**own, "text": self.text.decode(start, end), **self.flow}

    def archs(self) -> Iterator[ArchMention]:
        for argument in self.command.arguments:
            for match in GENCODE.finditer(self.text.source, argument.start, argument.end):
                named = read_gencode(match["code"].decode())
                computed = any(sign in match[0] for sign in (b"{", b"%", b"$"))
                yield self._arch(MentionKind.GENCODE, named, *match.span(), computed=computed)
            for match in NVCC_ARCH.finditer(self.text.source, argument.start, argument.end):
                read = read_list(match["value"].decode(), bare_is_both=True)
                yield self._arch(MentionKind.NVCC_ARCH, read, *match.span("value"), computed=read is None)
        variable, values = _architectures(self.command)
        if values:
            joined = ";".join(value.text for value in values)
            cmake = variable.endswith("CUDA_ARCHITECTURES")
            read = read_list(joined, bare_is_both=cmake)
            kind = MentionKind.CMAKE if cmake else MentionKind.LIST
            if cmake or read is not None:
                words = self.command.words
                cached = "CACHE" in words and "FORCE" not in words
                asked = re.search(rf"\b{re.escape(variable)}\b", self.flow.get("condition", "")) is not None
                yield self._arch(
                    kind,
                    read,
                    values[0].start,
                    values[-1].end,
                    variable=variable,
                    overridable=cached or asked,
                    computed=read is None,
                )

    def _arch(
        self,
        kind: MentionKind,
        named: Named | None,
        start: int,
        end: int,
        *,
        variable: str = "",
        overridable: bool = False,
        computed: bool = False,
    ) -> ArchMention:
        return ArchMention(
            **self.place(start, end),
            kind=kind,
            archs=named.archs if named else (),
            sass=named.sass if named else (),
            virtual=named.virtual if named else (),
            variable=variable,
            overridable=overridable,
            computed=computed,
        )

    def standards(self) -> Iterator[StandardFlag]:
        words = self.command.words
        for position, argument in enumerate(self.command.arguments):
            for match in _STANDARD_FLAG.finditer(self.text.source, argument.start, argument.end):
                compiler = "nvcc" if any("CUDA" in word for word in words[:1]) else ""
                yield StandardFlag(**self.place(*match.span()), standard=int(match["number"]), compiler=compiler)
            if feature := re.fullmatch(r"(?P<language>cxx|cuda)_std_(?P<number>\d\d)", argument.text):
                compiler = "nvcc" if feature["language"] == "cuda" else "cxx"
                yield StandardFlag(
                    **self.place(argument.end - 2, argument.end), standard=int(feature["number"]), compiler=compiler
                )
            name = _STANDARD_NAMES.fullmatch(argument.text)
            following = self.command.arguments[position + 1] if position + 1 < len(words) else None
            if name and following and re.fullmatch(r"\d\d", following.text):
                compiler = "nvcc" if name["language"] == "CUDA" else "cxx"
                yield StandardFlag(
                    **self.place(following.start, following.end), standard=int(following.text), compiler=compiler
                )

    def sources(self) -> Iterator[ListedSource]:
        if self.command.name in _SOURCES:
            for argument in self.command.arguments[1:]:
                if match := _SOURCE.fullmatch(argument.text):
                    end = argument.end
                    yield ListedSource(**self.place(end - len(match["file"]), end))


def _architectures(command: Command) -> tuple[str, Sequence[Argument]]:
    """(variable or property, its values) of a command that sets architectures; ("", ()) for others."""
    words = command.words
    match command.name:
        case "set" if words and _names_archs(words[0]):
            return words[0], _until(command.arguments[1:], {"CACHE", "PARENT_SCOPE"})
        case "list" if words[:1] == ("APPEND",) and len(words) > 2 and _names_archs(words[1]):
            return words[1], command.arguments[2:]
        case "set_property" | "set_target_properties" if "CUDA_ARCHITECTURES" in words:
            start = words.index("CUDA_ARCHITECTURES") + 1
            values = command.arguments[start:]
            # Other properties follow in set_target_properties; values of this one are numbers.
            taken = [value for value in values if read_list(value.text)] if len(values) > 1 else list(values)
            return "CUDA_ARCHITECTURES", taken
    return "", ()


def _names_archs(name: str) -> bool:
    return role_of(name.upper()) == "archs" or re.fullmatch(r"\w+_ARCHS", name) is not None


def _until(arguments: Sequence[Argument], ends: set[str]) -> list[Argument]:
    taken = []
    for argument in arguments:
        if argument.text in ends:
            break
        taken.append(argument)
    return taken
