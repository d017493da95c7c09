"""From sources to a decision: architectures, edits, variables. Runs nothing of the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shim.building.effort import effort_of
from shim.building.metadata import read_metadata
from shim.building.recipes import recipe_work
from shim.building.request import Preparation, RebuildRequest
from shim.building.source import Source
from shim.building.strategy import Strategy, choose
from shim.building.suffix import suffix_signs
from shim.errors import InputError, PlanError
from shim.source.edits import FileEdit
from shim.source.overlay import EditedTree
from shim.source.rules import BuildSetting, RuleContext, apply_rules, build_settings, known_to
from shim.source.rules.files import cuda_files
from shim.source.tree import FolderTree, SourceTree


def prepare(
    root: Path, source: Source, request: RebuildRequest, *, toolkit: tuple[int, int], torch: tuple[int, int] | None
) -> Preparation:
    """Recipes first, since they know the package; then the generic rules, on what the recipes made.

    Raises:
        InputError: the sources cannot be built at all. RecipeError: see `recipe_work`.
        PlanError: there are no CUDA sources in it.
    """
    tree = FolderTree(root)
    metadata = read_metadata(tree, label=request.subject, filename=source.filename)
    signs = suffix_signs(tree) if request.strategy is not Strategy.SM80 else ()
    plan = choose(request.strategy, request.target.device, suffix=bool(signs), with_ptx=request.with_ptx)
    effort = effort_of(tree)
    if not effort.units and not _may_have_cuda(tree):
        raise PlanError(
            f"{request.subject}: holds no CUDA sources, so rebuilding it cannot help",
            hint="its sdist leaves them out, or it compiles at run time: name a folder with its full sources",
        )
    own = [BuildSetting(name=n, value=v, origin="--set", why="asked for") for n, v in request.settings.items()]
    if request.as_is:
        return Preparation(
            metadata=metadata,
            plan=plan,
            signs=signs,
            edits=(),
            settings=tuple(own),
            recipes=(),
            effort=effort,
            notes=("sources and variables are left as they are (--as-is)",),
        )
    work = recipe_work(
        tree,
        package=metadata.name,
        version=metadata.version,
        target=request.target,
        plan=plan,
        roots=request.recipe_roots,
        chosen=request.recipes,
    )
    context = RuleContext(arch=plan.arch, ptx=plan.ptx, toolkit=toolkit, known=known_to(toolkit), torch=torch)
    edited = EditedTree(tree, {}).with_edits(work.edits)
    return Preparation(
        metadata=metadata,
        plan=plan,
        signs=signs,
        edits=(*work.edits, *apply_rules(edited, context)),
        settings=(*build_settings(edited, context), *work.settings, *own),
        recipes=work.ids,
        effort=effort,
        notes=work.notes,
    )


def write_edits(root: Path, edits: Sequence[FileEdit]) -> None:
    """Make the edits in a copy of the sources. Raises InputError when a file is not what the edit starts from."""
    for edit in edits:
        path = root / edit.path
        if not path.resolve().is_relative_to(root.resolve()):
            raise InputError(f"{edit.path}: leads out of the sources", hint=f"{edit.origin} is not sound")
        found = path.read_bytes() if path.exists() else b""
        if found != edit.before:
            raise InputError(f"{edit.path}: changed while it was being edited", hint="run it again")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(edit.after)


def _may_have_cuda(tree: SourceTree) -> bool:
    """Generators of .cu files and CUDA in .cpp or headers."""
    return any(name.endswith((".cuh", ".cu.in", ".cu.j2", ".cu.jinja")) for name in tree.names()) or any(
        "cuda" in name.lower() for name in cuda_files(tree)
    )
