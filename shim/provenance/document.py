"""The record of what was done to a wheel: `<dist-info>/shim/provenance.json`.

It names every changed member with hashes before and after, every new image with the PTX it came from and the program
that made it, and what was left alone and why. `shim verify` checks a wheel against it; `shim undo` needs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shim import __version__
from shim.applying.inject import NewEntry, PatchedContainer, PatchedFile
from shim.errors import InputError
from shim.planning import LibraryPlan, Refusal, Wanted

SCHEMA = "shim-provenance/1"
FOLDER = "shim"
FILE = "provenance.json"
LICENCE_WARNING = "its licence forbids changes, and passing on the result; changed because of --allow-nvidia"


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The file that was patched."""

    filename: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; equal requests on equal originals give equal results.

    only: the `--only` expression, "" for everything.
    recipes: ids asked for by name; () for all that are not opt-in, None for no recipes.
    allow_nvidia: files under NVIDIA's licence are changed too.
    left_out: (member, container) that `--budget` left no time for, once that is known. The budget itself is no part of
        a request: what it leaves depends on the machine, and one that leaves nothing gives what a run without it gives.
    """

    wanted: Wanted
    only: str = ""
    recipes: tuple[str, ...] | None = ()
    allow_nvidia: bool = False
    left_out: tuple[tuple[str, int], ...] = ()

    def document(self) -> dict[str, Any]:
        return {
            "targets": [str(target.device) for target in self.wanted.targets],
            "driver_cuda": "{}.{}".format(*self.wanted.targets[0].driver_cuda),
            "slim": self.wanted.slim.value,
            "restamp": self.wanted.restamp,
            "packing": self.wanted.packing.value,
            "recompress": self.wanted.repack_old,
            "layout": self.wanted.layout.value if self.wanted.layout else "auto",
            "only": self.only,
            "allow_nvidia": self.allow_nvidia,
            "recipes": None if self.recipes is None else sorted(self.recipes),
            "left_out_by_budget": [list(place) for place in sorted(self.left_out)],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """SHA-256 of a changed file, before and after, hex."""

    before: str
    after: str


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "code": refusal.code,
        "container": refusal.container,
        "offset": refusal.offset,
        "reason": refusal.reason,
        "advice": refusal.advice,
    }


def _container(patched: PatchedContainer) -> dict[str, Any]:
    return {
        "container": patched.step.container,
        "offset": {"before": patched.before, "after": patched.after},
        "size": patched.size,
        "images": [_image(entry) for entry in patched.entries],
        "dropped": list(patched.step.drops),
        "packed": [{"image": image, "size": size, "sha256": digest} for image, size, digest in patched.packed],
    }


def _image(entry: NewEntry) -> dict[str, Any]:
    return {
        "act": entry.make.act.value,
        "arch": entry.make.arch,
        "sha256": entry.cubin_sha256,
        "entry": {"size": entry.size, "sha256": entry.sha256},
        "sources_sha256": list(entry.source_sha256),
        "ptxas_options": entry.image.options,
        "tools": list(entry.image.tools),
        "kernels": entry.check.kernels,
        "objects": entry.check.objects,
        "notes": list(entry.check.notes),
        "remarks": list(entry.image.remarks),
        "reason": entry.make.reason,
    }


def _member(plan: LibraryPlan, patched: PatchedFile | None, digests: Mapping[str, Digests]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": plan.member,
        "grades": {str(p.target.device): {"before": str(p.before), "promised": str(p.after)} for p in plan.promises},
        "refusals": [_refusal(refusal) for refusal in plan.refusals],
        "left_out_by_only": plan.skipped,
    }
    if patched is not None and plan.licence:
        document["licence_warning"] = f"{plan.licence}: {LICENCE_WARNING}"
    if patched is not None:
        document |= {
            "original": {"sha256": digests[plan.member].before, "size": patched.original_size},
            "patched": {"sha256": digests[plan.member].after, "size": patched.size},
            "layout": patched.written.layout.value,
            "strip_unsafe": patched.written.strip_unsafe,
            "containers": [_container(container) for container in patched.containers],
        }
    return document


def make_document(
    original: Original,
    request: Request,
    libraries: Sequence[LibraryPlan],
    patched: Mapping[str, PatchedFile],
    digests: Mapping[str, Digests],
    *,
    dropped_signatures: Sequence[str] = (),
    compression: str = "",
    recipes: Sequence[Mapping[str, Any]] = (),
    edited: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The provenance of one patched wheel or file. Holds no time and no path, so that equal inputs give equal bytes.

    Args:
        compression: library, version and level that changed bytes were deflated with; "" for a single file.
        recipes: that edited files, with the diffs. edited: those files, with hashes before and after.
    """
    return {
        "schema": SCHEMA,
        "shim": __version__,
        "original": {"filename": original.filename, "sha256": original.sha256, "size": original.size},
        "request": request.document(),
        "members": [_member(plan, patched.get(plan.member), digests) for plan in libraries],
        "recipes": list(recipes),
        "edited": list(edited),
        "dropped_signatures": list(dropped_signatures),
        "compression": compression,
        "proof": "checked without a GPU; not run on a GB10",
    }


def dump(document: Mapping[str, Any]) -> bytes:
    """JSON as shim writes it: sorted keys, two spaces, one newline at the end."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def load(data: bytes, where: str) -> dict[str, Any]:
    """Read a provenance document.

    Raises:
        InputError: not JSON, or a schema this version does not know.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error})", hint="The wheel was changed after shim wrote it.") from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise InputError(
            f"{where}: expected schema {SCHEMA}, found {found!r}",
            hint="It was written by another version of shim; use that one.",
        )
    return dict(document)
