"""What the build files of a tree say about the GPU, as values that rules can edit by.

`read_facts` is the entrance; the values are those of `shim.source.buildfiles.model`, named here, too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import TypeVar

from shim.errors import InputError
from shim.source.buildfiles.choose import Choice, facts_of, root_of
from shim.source.buildfiles.model import (
    ArchMention,
    BuildFacts,
    BuildSystem,
    Download,
    FileFacts,
    GpuCheck,
    ListedSource,
    Mention,
    MentionKind,
    MissingSource,
    Quirk,
    RemovedHeader,
    StandardFlag,
    Variable,
)
from shim.source.buildfiles.sources import missing_sources, read_includes
from shim.source.tree import SourceTree

__all__ = [
    "ArchMention",
    "BuildFacts",
    "BuildSystem",
    "Download",
    "FileFacts",
    "GpuCheck",
    "ListedSource",
    "Mention",
    "MentionKind",
    "MissingSource",
    "Quirk",
    "RemovedHeader",
    "StandardFlag",
    "Variable",
    "read_facts",
]

M = TypeVar("M", bound=Mention)


def read_facts(tree: SourceTree) -> BuildFacts:
    """Read every build file of a tree. Files that cannot be read or understood say nothing; none is an error."""
    names = sorted(tree.names())
    choice = Choice(names)
    taken = [name for name in names if choice.takes(name)]
    files = [
        facts_of(_read(tree, name), name) for name in taken if choice.is_python(name) or choice.is_build_file(name)
    ]
    cuda = tuple(name for name in taken if choice.is_cuda(name) and name.endswith(".cu"))
    headers = [name for name in taken if choice.is_cuda(name)]
    removed, absent = read_includes(tree, headers, set(names))
    listed = [source for facts in files for source in facts.sources]
    root = root_of(names)
    return BuildFacts(
        root=root,
        system=build_system(tree, root, names),
        torch=any(facts.torch for facts in files),
        requires=_requires(tree, root, names),
        archs=_sorted([one for facts in files for one in facts.archs]),
        standards=_sorted([one for facts in files for one in facts.standards]),
        variables=_first([one for facts in files for one in facts.variables]),
        gpu_checks=_sorted([one for facts in files for one in facts.gpu_checks]),
        downloads=_sorted([one for facts in files for one in facts.downloads]),
        cuda_sources=cuda,
        missing_sources=_sorted([*missing_sources(listed, set(names)), *absent]),
        removed_headers=_sorted(removed),
        quirks=_sorted([one for facts in files for one in facts.quirks]),
        legacy_findcuda=_sorted([one for facts in files for one in facts.legacy_findcuda]),
    )


def _sorted(found: Sequence[M]) -> tuple[M, ...]:
    return tuple(sorted(found, key=attrgetter("path", "start", "end")))


def _first(found: Sequence[Variable]) -> tuple[Variable, ...]:
    """The first place of each variable."""
    kept: dict[str, Variable] = {}
    for variable in found:
        kept.setdefault(variable.name, variable)
    return tuple(kept.values())


def build_system(tree: SourceTree, root: str, names: Collection[str]) -> BuildSystem:
    """What builds the project whose setup.py or pyproject.toml stands in `root`."""
    own = f"{root}/" if root else ""
    stated = (
        facts_of(_read(tree, f"{own}pyproject.toml"), "pyproject.toml").system
        if f"{own}pyproject.toml" in names
        else None
    )
    script = facts_of(_read(tree, f"{own}setup.py"), "setup.py").system if f"{own}setup.py" in names else None
    if stated not in (None, BuildSystem.SETUPTOOLS):
        return stated
    return script or stated or BuildSystem.SETUPTOOLS


def _requires(tree: SourceTree, root: str, names: Sequence[str]) -> tuple[str, ...]:
    path = f"{root}/pyproject.toml" if root else "pyproject.toml"
    if path not in names:
        return ()
    try:
        requires = tomllib.loads(_read(tree, path).decode("utf-8")).get("build-system", {}).get("requires", [])
    except (ValueError, AttributeError, RecursionError):
        return ()
    return tuple(text for text in requires if isinstance(text, str)) if isinstance(requires, list) else ()


def _read(tree: SourceTree, name: str) -> bytes:
    try:
        return tree.read(name)
    except InputError:
        return b""
