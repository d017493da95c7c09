"""What provenance says of recipes: who asked for which edit, with the unified diff."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from shim.recipes.model import Recipe
from shim.source.edits import FileEdit
from shim.source.tree import SourceTree


def recipe_records(recipes: Iterable[Recipe], edits: Sequence[FileEdit]) -> list[dict[str, Any]]:
    """What provenance says of each recipe that edited files, in order."""
    return [
        {
            "id": recipe.id,
            "title": recipe.title,
            "risk": recipe.risk.value,
            "evidence": list(recipe.evidence),
            "edits": [
                {
                    "path": change.path,
                    "before": _sha256(change.before),
                    "after": _sha256(change.after),
                    "diff": change.diff,
                }
                for change in edits
                if change.origin == recipe.id
            ],
        }
        for recipe in recipes
        if any(change.origin == recipe.id for change in edits)
    ]


def diffs_from(edits: Sequence[FileEdit], tree: SourceTree) -> dict[str, str]:
    """The diff of each file from its original to its last edit."""
    names = set(tree.names())
    last = {change.path: change for change in edits}
    return {
        path: FileEdit(
            path=path, before=tree.read(path) if path in names else b"", after=change.after, origin=change.origin
        ).diff
        for path, change in last.items()
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
