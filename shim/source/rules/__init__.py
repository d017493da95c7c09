"""Generic rules: what makes CUDA packages fail to build for a newer GPU, and works without a recipe.

Pure: a rule turns the bytes of a file into other bytes, or names a variable for the build. The table is in
docs/rebuild.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from shim.source.edits import FileEdit
from shim.source.rules.arch_variables import settings as arch_settings
from shim.source.rules.cuda13_headers import CODE as CUDA13_HEADERS
from shim.source.rules.cuda13_headers import edit as edit_headers
from shim.source.rules.cxx_standard import CODE as CXX_STANDARD
from shim.source.rules.cxx_standard import edit as edit_standard
from shim.source.rules.env_reads import env_reads
from shim.source.rules.files import build_files, cuda_files, read_small, uses_torch
from shim.source.rules.force_switches import settings as switch_settings
from shim.source.rules.missing_arch import CODE as MISSING_ARCH
from shim.source.rules.missing_arch import edit as edit_missing
from shim.source.rules.model import BuildSetting, RuleContext, known_to
from shim.source.rules.no_ptx import settings as ptx_settings
from shim.source.rules.retired_arch import CODE as RETIRED_ARCH
from shim.source.rules.retired_arch import edit as edit_retired
from shim.source.tree import SourceTree

__all__ = ["RULES", "BuildSetting", "RuleContext", "apply_rules", "build_settings", "known_to", "uses_torch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """files: which it reads. edit: (path, bytes, context) -> bytes, the same bytes when it does not fit."""

    code: str
    files: Callable[[SourceTree], tuple[str, ...]]
    edit: Callable[[str, bytes, RuleContext], bytes]


RULES: Final = (
    Rule(code=RETIRED_ARCH, files=build_files, edit=edit_retired),
    Rule(code=MISSING_ARCH, files=build_files, edit=edit_missing),
    Rule(code=CXX_STANDARD, files=build_files, edit=edit_standard),
    Rule(code=CUDA13_HEADERS, files=cuda_files, edit=edit_headers),
)


def apply_rules(tree: SourceTree, context: RuleContext) -> tuple[FileEdit, ...]:
    """Edits in the order in which they are to be made: a later one starts from what an earlier one made of the file."""
    current: dict[str, bytes] = {}
    edits = []
    if context.torch is not None and not uses_torch(tree):
        context = replace(context, torch=None)
    for rule in RULES:
        for path in rule.files(tree):
            before = current[path] if path in current else read_small(tree, path)
            after = rule.edit(path, before, context)
            if after != before:
                edits.append(FileEdit(path=path, before=before, after=after, origin=rule.code))
                current[path] = after
    return tuple(edits)


def build_settings(tree: SourceTree, context: RuleContext) -> tuple[BuildSetting, ...]:
    """Variables for the build: torch's and CMake's own lists, the project's lists, switches, PTX."""
    reads = env_reads(tree)
    why = "torch builds for the architectures of this list"
    general = [
        BuildSetting(name="TORCH_CUDA_ARCH_LIST", value=context.torch_list, origin=MISSING_ARCH, why=why),
        BuildSetting(name="CUDAARCHS", value=context.cmake_list, origin=MISSING_ARCH, why="CMake's own default"),
    ]
    return (
        *general,
        *arch_settings(tree, reads, context),
        *switch_settings(reads),
        *ptx_settings(context),
    )
