"""A recipe file to start from: the gates that a scan found, as anchors and edits to fill in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from shim.recipes.model import AppliesTo
from shim.source.gates.model import Gate, Sign
from shim.source.tree import SourceTree

_TODO = "TODO"


def scaffold(
    identity: str, *, package: str, version: str, kind: AppliesTo, gates: Sequence[Gate], tree: SourceTree
) -> str:
    """TOML text. It does not load before every TODO is filled in: what is right cannot be told from a scan."""
    lines = [
        "schema = 1",
        f"id = {_text(identity)}",
        f"title = {_text(_TODO)}",
        f"package = {_text(package or _TODO)}",
        f"versions = {_text(f'=={version}' if version else _TODO)}",
        f"applies-to = [{_text(kind.value)}]",
        'targets = ["12.1"]',
        f'risk = "{_TODO}"  # low, medium or high',
        'why = """TODO: what fails, what the recipe does, what is unproven"""',
        f"evidence = [{_text(_TODO)}]  # threads such as owner/name#1, or words",
        f"ends-when = {{ probe = {_text(_TODO)} }}",
    ]
    changing = [gate for gate in gates if gate.changes]
    for (path, text), count in Counter((gate.path, gate.text) for gate in changing if gate.line).items():
        lines += ["", "[[anchor]]", f"path = {_text(path)}", *_anchor(tree, path, text, count)]
    if any(gate.sign is Sign.POSITIVE for gate in changing):
        lines += ["", "[[proof]]  # a positive gate is opened with a proof only", *_proof(kind)]
    for gate in changing:
        lines += [
            "",
            f"# {gate.path}:{gate.line}: {gate.form}, {gate.sign}, {gate.effect}: {gate.words}",
            *_action(gate),
        ]
    if not changing:
        lines += ["", "# The scan found no gate that treats the target otherwise.", "[[action]]", 'do = "TODO"']
    published = _text(version) if version else ""
    filename = "sdist" if kind is AppliesTo.SDIST else "manylinux aarch64"
    lines += ["", "[test]", f"published = [{published}]", "outside = []", f"filename = {_text(filename)}"]
    return "\n".join(lines) + "\n"


def _anchor(tree: SourceTree, path: str, text: str, gates: int) -> list[str]:
    found = tree.read(path).decode("utf-8", "replace").count(text)
    if not found:
        return [f"contains = {_text(_TODO)}  # the gate is {text!r}, written otherwise"]
    return [f"contains = {_text(text)}", *([f"occurrences = {found}"] if found > 1 else [])]


def _proof(kind: AppliesTo) -> list[str]:
    if kind is AppliesTo.SDIST:
        return ['kind = "source"', f"why = {_text(_TODO)}"]
    return ['kind = "kernel"', f"member = {_text(_TODO)}", f"name = {_text(_TODO)}", 'arch = "loads-on-target"']


def _action(gate: Gate) -> list[str]:
    sign = {Sign.POSITIVE: "positive", Sign.NEGATIVE: "negative"}.get(gate.sign, "none")
    is_python = gate.path.endswith((".py", ".pyi"))
    lines = ["[[action]]", f'do = "{"edit-python" if is_python else "replace-text"}"', f"path = {_text(gate.path)}"]
    if is_python and gate.scope:
        lines.append(f"scope = {_text(gate.scope)}")
    return [*lines, f"find = {_text(gate.text)}", f"replace = {_text(_TODO)}", f'gate = "{sign}"']


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are all TOML's too, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
