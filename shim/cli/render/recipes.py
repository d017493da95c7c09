"""What `shim recipes` says."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from shim.recipes.model import (
    Action,
    AppendPython,
    BuildEnv,
    CMakeOverlay,
    DependencyProof,
    EditPython,
    InjectSass,
    JitTableProof,
    KernelProof,
    NotAGate,
    Proof,
    Recipe,
    Refuse,
    ReplaceText,
    Retarget,
    RunEnv,
    SetArchList,
    SourceProof,
    Superseded,
    Toolchain,
)
from shim.scan.words import plural

_WIDTH: Final = 100


def list_lines(recipes: Sequence[Recipe]) -> list[str]:
    """A table, and how many there are."""
    rows = [("ID", "PACKAGE", "VERSIONS", "APPLIES TO", "RISK", "STATE")]
    rows += [
        (
            recipe.id,
            ",".join(recipe.packages),
            str(recipe.versions) or "any",
            ",".join(sorted(recipe.applies_to)),
            recipe.risk.value,
            state_of(recipe),
        )
        for recipe in recipes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join((*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[5])) for row in rows]
    packages = {package for recipe in recipes for package in recipe.packages}
    return [*lines, f"{plural(len(recipes), 'recipe')} for {plural(len(packages), 'package')}"]


def state_of(recipe: Recipe) -> str:
    """ "on", "opt-in" or "refuses"; "shape-only" beside it where no published file was had."""
    word = "refuses" if recipe.refusal is not None else "opt-in" if recipe.opt_in else "on"
    return f"{word}, shape-only" if recipe.trial.shape_only else word


def show_lines(recipe: Recipe) -> list[str]:
    """Everything about one recipe."""
    lines = [
        f"{recipe.id}: {recipe.title}",
        f"  package     {', '.join(recipe.packages)} {recipe.versions}",
        f"  applies to  {', '.join(sorted(recipe.applies_to))}, for {', '.join(map(str, recipe.targets))}",
        f"  risk        {recipe.risk}, {state_of(recipe)}",
        f"  ends when   {_ends(recipe)}",
        f"  file        {recipe.file}",
    ]
    for label, names in (("after", recipe.after), ("conflicts", recipe.conflicts)):
        if names:
            lines.append(f"  {label:<11} {', '.join(names)}")
    lines += ["why", *_wrapped(recipe.why)]
    lines += ["evidence", *(f"  {entry}" for entry in recipe.evidence)]
    if recipe.anchors:
        lines += ["must be there", *(f"  {line}" for line in _anchor_lines(recipe))]
    if recipe.superseded:
        lines += ["upstream has it when", *map(_sign_words, recipe.superseded)]
    if recipe.proofs:
        lines += ["proof", *(f"  {_proof_words(proof)}" for proof in recipe.proofs)]
    lines.append("does")
    for action in recipe.actions:
        lines += [f"  {line}" for line in _action_lines(action)]
    tried = ", ".join(recipe.trial.published) or "none"
    return [
        *lines,
        f"tried on  {tried} ({recipe.trial.filename}); must leave alone {', '.join(recipe.trial.outside) or '-'}",
    ]


def recipe_document(recipe: Recipe) -> Mapping[str, Any]:
    """A recipe as JSON values."""
    return {
        "id": recipe.id,
        "title": recipe.title,
        "packages": list(recipe.packages),
        "versions": str(recipe.versions),
        "applies_to": sorted(recipe.applies_to),
        "targets": [str(device) for device in recipe.targets],
        "risk": recipe.risk.value,
        "state": state_of(recipe),
        "why": recipe.why,
        "evidence": list(recipe.evidence),
        "ends_when": _ends(recipe),
        "after": list(recipe.after),
        "conflicts": list(recipe.conflicts),
        "proofs": [_proof_words(proof) for proof in recipe.proofs],
        "actions": [{"do": _name(action), **_plain(dataclasses.asdict(action))} for action in recipe.actions],
        "published": list(recipe.trial.published),
        "file": str(recipe.file),
    }


def _plain(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: str(value) if key == "gate" else value for key, value in values.items()}


def _ends(recipe: Recipe) -> str:
    ends = recipe.ends_when
    parts = [f"version {ends.versions}" if ends.versions is not None else "", ends.probe]
    return "; ".join(part for part in parts if part)


def _wrapped(text: str) -> Iterable[str]:
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _anchor_lines(recipe: Recipe) -> Iterable[str]:
    for anchor in recipe.anchors:
        what = f" with {anchor.find.text!r}" if anchor.find is not None else ""
        times = f" ({anchor.occurrences} times)" if anchor.find is not None and anchor.occurrences != 1 else ""
        known = f", one of {plural(len(anchor.sha256), 'known file')}" if anchor.sha256 else ""
        yield f"{plural(anchor.count, 'file')} {anchor.path}{what}{times}{known}"


def _sign_words(sign: Superseded) -> str:
    return f"  {sign.path} {'lacks' if sign.absent else 'has'} {sign.find.text!r}"


def _proof_words(proof: Proof) -> str:
    match proof:
        case KernelProof(member=member, name=name, arch=arch):
            return f"a kernel {name!r} with a body in {member} {'that loads' if arch is None else f'for sm_{arch}'}"
        case JitTableProof(path=path, find=find):
            return f"the JIT table {path} has {find.text!r}"
        case DependencyProof(distribution=name, versions=versions, library=library, contains=contains):
            what = f", whose {library} has {contains!r}" if library else ""
            return f"{name} {versions} beside it{what}"
        case SourceProof(why=why):
            return f"compiled by the rebuild: {why}"
        case NotAGate(why=why):
            return f"opens no gate: {why}"


_DO: Final[Mapping[type[Action], str]] = {
    EditPython: "edit-python",
    AppendPython: "append-python",
    ReplaceText: "replace-text",
    SetArchList: "set-arch-list",
    BuildEnv: "build-env",
    RunEnv: "run-env",
    CMakeOverlay: "cmake-overlay",
    Toolchain: "toolchain",
    InjectSass: "inject-sass",
    Retarget: "retarget",
    Refuse: "refuse",
}


def _name(action: Action) -> str:
    return _DO[type(action)]


def _action_lines(action: Action) -> list[str]:
    match action:
        case EditPython() | ReplaceText():
            scope = f" in {action.scope}" if isinstance(action, EditPython) and action.scope else ""
            head = f"{_name(action)} {action.path}{scope} ({plural(action.count, 'place')}, gate: {action.gate})"
            return [head, *_marked("-", action.find), *_marked("+", action.replace)]
        case AppendPython():
            scope = f" in {action.scope}" if action.scope else ""
            head = f"append-python {action.path}{scope}: {action.target} (gate: {action.gate})"
            return [head, *_marked("+", action.add)]
        case SetArchList():
            return [f"set-arch-list {action.path}: {action.variable} = {action.value}"]
        case BuildEnv() | RunEnv():
            return [f"{_name(action)} {name}={value}" for name, value in action.set.items()]
        case CMakeOverlay():
            return [f"cmake-overlay {action.module} at {action.path}"]
        case Toolchain():
            return [f"toolchain {action.variable} = the path of {action.tool} {action.version}"]
        case InjectSass() | Retarget():
            return [f"{_name(action)} {action.members}"]
        case Refuse():
            return [f"refuse: {action.reason}", f"  instead: {action.advice}"]


def _marked(sign: str, text: str) -> list[str]:
    return [f"  {sign} {line}" for line in text.splitlines()]
