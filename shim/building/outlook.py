"""What a rebuild could do for a package, in one sentence, before anybody decides for it. Builds nothing."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from shim.building.effort import Effort, effort_of
from shim.building.metadata import read_metadata
from shim.building.source import Source, bring, fetch_source
from shim.errors import InputError, ShimError
from shim.source.tree import FolderTree
from shim.wheels.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOutlook:
    """possible: there are CUDA sources to build. text: one sentence. effort: None when there is no sdist."""

    possible: bool
    text: str
    effort: Effort | None = None


def outlook_of(name: str, version: str, *, python: str | None = None) -> RebuildOutlook:
    """Fetch the sdist of this very version (kept in the cache, none of its code runs) and look at its sources.

    Never raises: a package without an sdist, an index that does not answer or SHIM_OFFLINE are what it says then.
    """
    requirement = f"{name}=={version}"
    try:
        path = fetch_source(Requirement(requirement), python=python)
    except InputError:
        text = f"no source distribution of {requirement} on the index, so it cannot be rebuilt from there"
        return RebuildOutlook(possible=False, text=text)
    except ShimError as error:
        return RebuildOutlook(possible=False, text=f"whether it can be rebuilt is not known: {error.message}")
    return outlook_of_file(path)


def outlook_of_file(path: Path, *, limits: Limits | None = None) -> RebuildOutlook:
    """The same for an sdist that is at hand. A broken one is said to be so."""
    source = Source(path=path, filename=path.name, sha256="")
    with tempfile.TemporaryDirectory(prefix="shim-outlook-") as folder:
        try:
            tree = FolderTree(bring(source, Path(folder), limits or Limits()))
            read_metadata(tree, label=path.name, filename=path.name)
        except ShimError as error:
            return RebuildOutlook(possible=False, text=f"{path.name} cannot be rebuilt: {error.message}")
        effort = effort_of(tree)
    if not effort.units:
        text = f"{path.name} holds no CUDA sources, so it cannot be rebuilt from there"
        return RebuildOutlook(possible=False, text=text, effort=effort)
    return RebuildOutlook(possible=True, text=f"a rebuild from {path.name} would do: {effort}", effort=effort)


def rebuild_outlook(name: str, version: str) -> str:
    """The sentence of `outlook_of`."""
    return outlook_of(name, version).text
