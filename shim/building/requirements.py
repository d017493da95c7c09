"""What a build needs installed: what pyproject.toml names, and for old projects what setup.py imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from shim.building.metadata import SourceMetadata
from shim.errors import InputError
from shim.source.rules.files import build_files, parse_python, read_small
from shim.source.tree import SourceTree

# Modules that setup.py files import at their top, and the distribution that has each.
_DISTRIBUTIONS: Final = {
    "Cython": "cython",
    "numpy": "numpy",
    "pybind11": "pybind11",
    "nanobind": "nanobind",
    "skbuild": "scikit-build",
    "packaging": "packaging",
    "psutil": "psutil",
    "torch": "torch",
    "jax": "jax",
    "cffi": "cffi",
    "setuptools_scm": "setuptools-scm",
}
_MSVC: Final = re.compile(rb"^\s*from distutils import [^\n]*\bmsvccompiler\b", re.MULTILINE)


def build_requirements(tree: SourceTree, metadata: SourceMetadata, extra: Iterable[str] = ()) -> tuple[Requirement, ...]:
    """Requirements of the build, one a distribution; those of the user (`extra`) win.

    Beside what is declared: what setup.py imports at module level when pyproject.toml has no `[build-system]`, and an
    older setuptools where build files want what newer ones dropped: `pkg_resources` (gone in 82),
    `distutils.msvccompiler` (gone in 74).

    Raises:
        InputError: a requirement cannot be read.
    """
    texts = list(metadata.requires)
    if not metadata.declared:
        texts += _imported(tree)
    texts += _old_setuptools(tree)
    chosen: dict[str, Requirement] = {}
    for text in (*texts, *extra):
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise InputError(
                f"{metadata.name}: not a requirement: {text!r}", hint="pyproject.toml or --with is wrong"
            ) from error
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name = canonicalize_name(requirement.name)
        if name in chosen and text not in extra:
            chosen[name].specifier &= requirement.specifier
        else:
            chosen[name] = requirement
    return tuple(chosen.values())


def missing(requirements: Sequence[Requirement], packages: Mapping[str, str]) -> tuple[Requirement, ...]:
    """Those that an environment does not meet. `packages`: normalised name -> version."""
    return tuple(
        requirement
        for requirement in requirements
        if (version := packages.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(version, prereleases=True)
    )


def _imported(tree: SourceTree) -> list[str]:
    found = []
    for path in build_files(tree):
        if "/" in path or not path.endswith(".py"):
            continue
        module = parse_python(read_small(tree, path))
        for node in [] if module is None else module.body:
            if isinstance(node, ast.Import):
                found += [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.append(node.module.partition(".")[0])
    names = [_DISTRIBUTIONS[module] for module in dict.fromkeys(found) if module in _DISTRIBUTIONS]
    if "cython" not in names and any(name.endswith(".pyx") for name in tree.names()):
        names.append("cython")
    return names


def _old_setuptools(tree: SourceTree) -> list[str]:
    texts = [read_small(tree, path) for path in build_files(tree) if path.endswith(".py")]
    if any(_MSVC.search(text) for text in texts):
        return ["setuptools<74"]
    if any(b"import pkg_resources" in text or b"from pkg_resources" in text for text in texts):
        return ["setuptools<82"]
    return []
