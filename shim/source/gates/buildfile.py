"""Gates in build files: what a build on Linux with CUDA 13 and a new torch gives the target, or why it fails.

Facts come from `shim.source.buildfiles`; this module says what they do. Sources of the rules: the architectures that
nvcc 13.0 lists (7.5 and newer), torch's own `#error` for C++17 from 2.12 on, and FindCUDA's select_compute_arch.cmake.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from shim.arch import ComputeCapability
from shim.model import Confidence
from shim.source.buildfiles.archs import Coverage, cover, listed, retired
from shim.source.buildfiles.choose import facts_of
from shim.source.buildfiles.model import (
    ArchMention,
    FileFacts,
    Mention,
    MentionKind,
    MissingSource,
    RemovedHeader,
)
from shim.source.gates.facts import read_facts
from shim.source.gates.model import Effect, Gate, Sign
from shim.source.gates.quirks import quirk_gates
from shim.source.tree import SourceTree

_LONGEST: Final = 200
_TORCH_STANDARD: Final = 20  # C++20: cpp_extension's default, and what torch's headers ask for, from 2.12 on
_ASIDE: Final = re.compile(r"tegra|jetson|old|deprecated|removed|legacy|exclude|skip", re.IGNORECASE)
_CLOSED: Final = ("support", "allow", "valid", "known", "admissible")  # names of lists that refuse what is not in them


def find_build_gates(source: bytes, path: str, target: ComputeCapability) -> tuple[Gate, ...]:
    """Gates of one build file, by line. A file that is none, or that cannot be understood, has none."""
    return gates_of(facts_of(source, path), source, target)


def gates_of(facts: FileFacts, source: bytes, target: ComputeCapability) -> tuple[Gate, ...]:
    """Gates of a file whose facts are known."""
    found = [*_arch_gates(facts, target), *_other_gates(facts, target)]
    broken = {gate.line for gate in found if gate.effect is Effect.BREAKS_BUILD}
    found = [gate for gate in found if gate.effect is not Effect.DROPS or gate.line not in broken]
    lines = source.splitlines()
    return tuple(sorted((_with_line(gate, lines) for gate in found), key=lambda gate: (gate.line, gate.form)))


def find_tree_gates(tree: SourceTree, target: ComputeCapability) -> tuple[Gate, ...]:
    """Gates that need the whole tree: sources that are missing, headers that CUDA 13 does not have."""
    facts = read_facts(tree)
    return (*missing_gates(facts.missing_sources), *header_gates(facts.removed_headers))


def missing_gates(missing: Iterable[MissingSource]) -> Iterator[Gate]:
    """One gate a file that lists or includes what is not there."""
    by_file: dict[str, list[MissingSource]] = defaultdict(list)
    for one in missing:
        by_file[one.path].append(one)
    for found in by_file.values():
        first, names = found[0], [one.text for one in found]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        how = "lists" if first.file else "includes"
        yield _gate(
            first,
            "missing-source" if first.file else "missing-include",
            Effect.BREAKS_BUILD,
            Confidence.HIGH if first.reached else Confidence.MEDIUM,
            f"{how} {names[0]}{more}, which the package does not hold: it cannot be built from this file",
            text=", ".join(names),
        )


def header_gates(removed: Iterable[RemovedHeader]) -> Iterator[Gate]:
    """Includes of headers that are gone."""
    for header in removed:
        advice = f"; {header.instead} takes its place" if header.instead else ""
        words = f"includes {header.text}, which CUDA 13 does not have{advice}"
        yield _gate(header, "removed-header", Effect.BREAKS_BUILD, Confidence.HIGH, words)


def _arch_gates(facts: FileFacts, target: ComputeCapability) -> Iterator[Gate]:
    groups: dict[tuple[str, ...], list[ArchMention]] = defaultdict(list)
    for mention in facts.archs:
        # A list in a module that builds nothing is a table of the running program (`find_python_gates` has those).
        table = mention.kind is MentionKind.LIST and (not facts.builds or _ASIDE.search(mention.variable))
        if mention.reached is not False and not table:
            groups[_group(mention)].append(mention)
    for mentions in groups.values():
        yield from _retired(mentions)
        yield from _coverage(mentions, target)


def _group(mention: ArchMention) -> tuple[str, ...]:
    """Mentions that make one list together."""
    match mention.kind:
        case MentionKind.GENCODE | MentionKind.NVCC_ARCH:
            return "nvcc", mention.scope
        case MentionKind.ENV:
            return "env", mention.variable, str(mention.start)
        case _:
            return mention.kind, mention.scope, mention.variable


def _retired(mentions: Sequence[ArchMention]) -> Iterator[Gate]:
    for mention in mentions:
        old = retired(mention.archs)
        if old and not _is_closed(mention.variable):
            names = ", ".join(f"compute_{name}" for name in old)
            words = f"names {names}: nvcc of CUDA 13 refuses it (Unsupported gpu architecture)"
            if mention.overridable:
                words = f"unless {mention.variable} is set, {words}"
            form = {MentionKind.GENCODE: "gencode-retired", MentionKind.NVCC_ARCH: "nvcc-arch-retired"}.get(
                mention.kind, "arch-list-retired"
            )
            yield _gate(mention, form, Effect.BREAKS_BUILD, _confidence(mention), words)


def _coverage(mentions: Sequence[ArchMention], target: ComputeCapability) -> Iterator[Gate]:
    named = [name for mention in mentions for name in mention.archs]
    last = mentions[-1]
    if not named or any(mention.computed for mention in mentions):
        return
    sass = [name for mention in mentions for name in mention.sass]
    virtual = [name for mention in mentions for name in mention.virtual]
    shown = ", ".join(sorted(dict.fromkeys(named), key=lambda name: (int(name.rstrip("af")), name)))
    form = {
        MentionKind.GENCODE: "gencode-list",
        MentionKind.NVCC_ARCH: "nvcc-arch",
        MentionKind.CMAKE: "cmake-archs",
        MentionKind.ENV: "arch-variable",
    }.get(last.kind, "arch-list")
    unless = f" unless {last.variable} is set" if all(mention.overridable for mention in mentions) else ""
    if _is_closed(last.variable):
        if not listed(named, target):
            words = f"knows {shown}: a build that names {target} is refused or gets nothing"
            yield _gate(last, "arch-list-closed", Effect.DROPS, Confidence.MEDIUM, words)
        return
    coverage = cover(sass, virtual, target)
    if coverage is not Coverage.SASS and _made_for_others(last.path, named, target):
        words = f"compiles for {shown}: kernels of other families, {target} has no such code"
        yield _gate(last, form, Effect.NONE, Confidence.MEDIUM, words, sign=Sign.EXACT)
        return
    match coverage:
        case Coverage.PTX:
            best = max(virtual, key=lambda name: int(name.rstrip("af")))
            words = (
                f"compiles for {shown}{unless}: {target} gets PTX {best} only, which the driver compiles on first use"
            )
            yield _gate(last, form, Effect.DROPS, _confidence(last), words)
        case Coverage.NOTHING:
            words = f"compiles for {shown}{unless}: nothing that {target} can load"
            yield _gate(last, form, Effect.DROPS, _confidence(last), words)
        case Coverage.SASS:
            words = f"compiles for {shown}{unless}: {target} runs it"
            yield _gate(last, form, Effect.NONE, _confidence(last), words)


def _made_for_others(path: str, named: Sequence[str], target: ComputeCapability) -> bool:
    """Whether a list is for single families on purpose: all its names have a suffix, or the path says which."""
    families = {int(number) // 10 for number in re.findall(r"sm_?(\d{2,3})", path.lower())}
    return all(name[-1] in "af" for name in named) or bool(families and target.major not in families)


def _is_closed(variable: str) -> bool:
    return any(word in variable.lower() for word in _CLOSED)


def _confidence(mention: Mention) -> Confidence:
    return Confidence.HIGH if mention.reached else Confidence.MEDIUM


def _other_gates(facts: FileFacts, target: ComputeCapability) -> Iterator[Gate]:
    for flag in facts.standards:
        judged = facts.torch and flag.reached is not False and not flag.path.startswith("torch/")
        if judged and flag.standard < _TORCH_STANDARD:
            words = f"asks for C++{flag.standard}: the headers of torch 2.12 and newer need C++20"
            yield _gate(flag, "cxx-standard", Effect.BREAKS_BUILD, _lower(_confidence(flag), flag.path), words)
    for check in facts.gpu_checks:
        if check.outcome == "archs" or check.reached is False:
            continue
        forced = f" unless {' or '.join(check.forced_by)} is set" if check.forced_by else ""
        if check.outcome == "raises":
            words = f"where the build sees no GPU it stops{forced}"
            yield _gate(check, "gpu-check-raises", Effect.REFUSES, Confidence.HIGH, words)
        else:
            words = f"where the build sees no GPU it leaves the CUDA part out and reports success{forced}"
            yield _gate(check, "gpu-check-cpu-only", Effect.DISABLES, Confidence.HIGH, words)
    for download in facts.downloads:
        if download.what == "wheel":
            forced = f"; {' or '.join(download.prevented_by)} makes it compile" if download.prevented_by else ""
            words = f"takes a prebuilt wheel, if there is one, whatever it was built for{forced}"
            yield _gate(download, "wheel-download", Effect.MISLEADS, Confidence.MEDIUM, words)
    yield from quirk_gates(facts.quirks, target, _gate)


def _lower(confidence: Confidence, path: str) -> Confidence:
    """What CMake code asks for may be overruled by what Torch's own files set."""
    return confidence if path.endswith(".py") else Confidence.MEDIUM


def _gate(
    mention: Mention,
    form: str,
    effect: Effect,
    confidence: Confidence,
    words: str,
    *,
    sign: Sign = Sign.POSITIVE,
    text: str = "",
) -> Gate:
    return Gate(
        path=mention.path,
        line=mention.line,
        scope=mention.scope,
        form=form,
        sign=sign,
        effect=effect,
        confidence=confidence,
        text=" ".join((text or mention.text).split())[:_LONGEST],
        words=words,
    )


def _with_line(gate: Gate, lines: Sequence[bytes]) -> Gate:
    """The gate with the whole line as its text."""
    if not 0 < gate.line <= len(lines):
        return gate
    return replace(gate, text=lines[gate.line - 1].decode("utf-8", "replace").strip()[:_LONGEST])
