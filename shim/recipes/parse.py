"""One parsed TOML document -> `Recipe`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from shim.arch import Arch, ComputeCapability
from shim.errors import ShimError
from shim.recipes.model import (
    SCHEMA,
    Anchor,
    AppliesTo,
    DependencyProof,
    EndsWhen,
    JitTableProof,
    KernelProof,
    NotAGate,
    Pattern,
    Proof,
    Recipe,
    Risk,
    SourceProof,
    Superseded,
    Trial,
)
from shim.recipes.parse_action import parse_action
from shim.recipes.rules import check_rules
from shim.recipes.table import Table

ID: Final = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_NAME: Final = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_FILENAME: Final = r"sdist|any|manylinux (?:aarch64|x86_64)"
_ANY_ARCH: Final = "loads-on-target"
_CAPABILITY: Final = r"\d{1,2}\.\d"


def parse_recipe(data: dict[str, object], file: Path) -> tuple[Recipe | None, list[str]]:
    """The recipe, or None and every fault, each with its key path."""
    faults: list[str] = []
    table = Table(data, "", faults)
    if (schema := table.number("schema", 0, least=0)) != SCHEMA and not faults:
        return None, [f"schema: expected {SCHEMA}, found {schema if table.has('schema') else 'none'}"]
    recipe = Recipe(
        id=table.text("id", pattern=ID),
        title=table.text("title"),
        packages=_packages(table),
        versions=table.parsed("versions", _specifiers, SpecifierSet(), required=True),
        applies_to=table.choices("applies-to", AppliesTo, tuple(AppliesTo)),
        targets=_targets(table),
        risk=table.choice("risk", Risk, tuple(Risk)),
        opt_in=table.flag("opt-in"),
        why=table.text("why"),
        evidence=table.texts("evidence", required=True),
        ends_when=_ends_when(table.table("ends-when", required=True)),
        after=table.texts("after", pattern=ID),
        conflicts=table.texts("conflicts", pattern=ID),
        anchors=tuple(_anchor(entry) for entry in table.tables("anchor")),
        superseded=tuple(_superseded(entry) for entry in table.tables("superseded")),
        proofs=tuple(proof for entry in table.tables("proof") if (proof := _proof(entry)) is not None),
        actions=tuple(action for entry in table.tables("action") if (action := parse_action(entry)) is not None),
        trial=_trial(table.table("test", required=True)),
        file=file,
    )
    table.end()
    if not faults:
        check_rules(recipe, table)
    return (None if faults else recipe), faults


def _packages(table: Table) -> tuple[str, ...]:
    one = [table.text("package")] if isinstance(table.peek("package"), str) else table.texts("package", required=True)
    for name in one:
        if name and re.fullmatch(_NAME, name) is None:
            table.fault("package", f"expected a normalised name ({canonicalize_name(name)!r}?), found {name!r}")
    return tuple(one)


def _specifiers(text: str) -> SpecifierSet:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"not a version range (PEP 440): {text!r}") from error


def _targets(table: Table) -> tuple[ComputeCapability, ...]:
    return tuple(ComputeCapability.parse(text) for text in table.texts("targets", required=True, pattern=_CAPABILITY))


def _pattern(table: Table, *, required: bool) -> Pattern | None:
    """`contains` or `pattern`, not both."""
    if table.has("contains") and table.has("pattern"):
        table.fault("pattern", "contains and pattern exclude each other")
    if table.has("pattern"):
        return Pattern(text=table.regex("pattern"), is_regex=True)
    table.regex("pattern", "")
    text = table.text("contains", None if required else "")
    return Pattern(text=text) if text else None


def _anchor(table: Table) -> Anchor:
    anchor = Anchor(
        path=table.path("path"),
        count=table.number("count", 1, least=1),
        find=_pattern(table, required=False),
        occurrences=table.number("occurrences", 1, least=0),
        sha256=frozenset(table.texts("sha256", pattern=r"[0-9a-f]{64}")),
    )
    if anchor.find is None and table.has("occurrences"):
        table.fault("occurrences", "says nothing without contains or pattern")
    table.end()
    return anchor


def _superseded(table: Table) -> Superseded:
    if table.has("lacks") and (table.has("contains") or table.has("pattern")):
        table.fault("lacks", "excludes contains and pattern")
    absent = table.text("lacks", "")
    path = table.path("path")
    find = Pattern(text=absent) if absent else _pattern(table, required=not table.has("lacks"))
    table.end()
    return Superseded(path=path, find=find or Pattern(text=""), absent=bool(absent))


def _ends_when(table: Table) -> EndsWhen:
    ends = EndsWhen(
        versions=table.parsed("version", _specifiers, None),
        probe=table.text("probe", ""),
        path=table.path("path", ""),
        find=_pattern(table, required=False),
    )
    if not (table.has("version") or table.has("probe")):
        table.fault("", "expected version or probe, found neither")
    if bool(ends.path) != (ends.find is not None):
        table.fault("path", "path and contains (or pattern) go together")
    table.end()
    return ends


def _arch(text: str) -> Arch | None:
    if text == _ANY_ARCH:
        return None
    try:
        return Arch.parse(text)
    except ShimError as error:
        raise ValueError(f"expected {_ANY_ARCH!r} or an architecture such as sm_121, found {text!r}") from error


def _kernel_proof(table: Table) -> Proof:
    return KernelProof(
        member=table.path("member"), name=table.regex("name"), arch=table.parsed("arch", _arch, None, required=True)
    )


def _jit_proof(table: Table) -> Proof:
    return JitTableProof(path=table.path("path"), find=_pattern(table, required=True) or Pattern(text=""))


def _dependency_proof(table: Table) -> Proof:
    proof = DependencyProof(
        distribution=table.text("distribution", pattern=_NAME),
        versions=table.parsed("versions", _specifiers, SpecifierSet()),
        library=table.path("library", "") or None,
        contains=table.text("contains", "") or None,
    )
    if (proof.library is None) != (proof.contains is None):
        table.fault("library", "library and contains go together")
    if proof.library is None and not table.has("versions"):
        table.fault("", "expected versions, or library and contains: a name alone proves nothing")
    return proof


_PROOFS: Final[dict[str, Callable[[Table], Proof]]] = {
    "kernel": _kernel_proof,
    "jit-arch-table": _jit_proof,
    "dependency": _dependency_proof,
    "source": lambda table: SourceProof(why=table.text("why")),
    "not-a-gate": lambda table: NotAGate(why=table.text("why")),
}


def _proof(table: Table) -> Proof | None:
    known = table.faults[:]
    kind = table.choice("kind", str, tuple(_PROOFS))
    if table.faults != known:
        return None
    proof = _PROOFS[kind](table)
    table.end()
    return proof


def _trial(table: Table) -> Trial:
    trial = Trial(
        published=table.texts("published"),
        outside=table.texts("outside"),
        shape_only=table.flag("shape-only"),
        filename=table.text("filename", "sdist", pattern=_FILENAME),
        python=table.text("python", "3.12", pattern=r"3\.\d{1,2}"),
    )
    table.end()
    return trial
