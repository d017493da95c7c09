"""Finds tests of the compute capability in Python sources, by syntax tree.

`find_python_gates` is the only entrance. Which tests are gates is told in `judge`.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from typing import Final

from shim.arch import ComputeCapability
from shim.source.gates.consequence import Consequences
from shim.source.gates.flow import Flow, Site
from shim.source.gates.forms import form_of
from shim.source.gates.judge import Case, Judgement, judge, outcomes_of
from shim.source.gates.model import Gate
from shim.source.gates.names import NOT_NVIDIA_PATH
from shim.source.gates.panel import panel, sibling
from shim.source.gates.parsing import parsing_gates
from shim.source.gates.place import Place
from shim.source.gates.prefilter import may_hold_gates, telling_lines
from shim.source.gates.questions import lookup_parts
from shim.source.gates.tables import table_gates

_LARGEST: Final = 8 << 20  # bytes; generated tables beyond that hold no code
_LONGEST_LINE: Final = 200
# Files that write kernels carry the architecture they write for as a parameter.
_GENERATOR: Final = re.compile(r"generat|autogen|emit_|_library\.py|cutlass_library|codegen")


def find_python_gates(source: bytes, path: str, target: ComputeCapability) -> tuple[Gate, ...]:
    """Gates of one file, by line. A file that Python cannot read has none.

    Args:
        path: name of the file, kept in the gates; files for other makers' GPUs are told by it.
    """
    if len(source) > _LARGEST or NOT_NVIDIA_PATH.search(path):
        return ()
    if not may_hold_gates(source):
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the file's own doubtful escapes are not ours to report
            tree = ast.parse(source, filename=path)
        return _gates(tree, source, path, target)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def _gates(tree: ast.Module, source: bytes, path: str, target: ComputeCapability) -> tuple[Gate, ...]:
    devices = panel(target)
    place: Place | None = None
    telling = telling_lines(source)
    lines = source.decode("utf-8", "replace").split("\n")
    found: dict[tuple[int, str], Gate] = {}
    flow = Flow(tree, devices, telling, source, trusts_names=_GENERATOR.search(path) is None)
    for site in flow.sites():
        outcomes = outcomes_of(site.outcomes, site.live)
        if not _sets_apart(outcomes, devices, target):
            continue
        place = place or Place(tree)
        scope = ".".join(getattr(node, "name", "") for node in site.scope)
        line = lines[site.node.lineno - 1].strip() if site.node.lineno <= len(lines) else ""
        case = Case(
            target=target,
            devices=devices,
            outcomes=outcomes,
            pair=Consequences(place).of(site.node),
            node=site.node,
            around=f"{path} {scope} {line}",
            knows_target=_knows(site, flow, lines, target),
            conditional=place.is_conditional(site.node),
            numbers=_reads_numbers(site, place),
            one_shape=place.fits_one_shape(site.node),
            ladder=place.ladder(site.node),
        )
        judgement = judge(case)
        if judgement is not None:
            gate = _gate(site, judgement, path=path, scope=scope, text=line)
            found.setdefault((gate.line, ""), gate)
    for gate in (*parsing_gates(tree, path, lines, target), *table_gates(tree, path, lines, target)):
        found.setdefault((gate.line, ""), gate)
    return tuple(gate for _, gate in sorted(found.items()))


def _reads_numbers(site: Site, place: Place) -> bool:
    table, _ = lookup_parts(site.node)
    return table is not None and place.is_numbers(table)


def _knows(site: Site, flow: Flow, lines: Sequence[str], target: ComputeCapability) -> bool:
    """Whether the function around a test names the target, or has a twin of the same name for it."""
    function = site.scope[-1] if site.scope else None
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    twin = function.name.replace(str(sibling(target).sm), str(target.sm))
    if twin != function.name and twin in flow.functions:
        return True
    named = re.compile(
        rf"(?<![\d.]){target.major}\.{target.minor}(?!\d)|(?<!\d){target.sm}(?!\d)|\({target.major}, ?{target.minor}\)"
    )
    return any(named.search(line) for line in lines[function.lineno - 1 : function.end_lineno])


def _sets_apart(
    outcomes: Sequence[bool | None], devices: Sequence[ComputeCapability], target: ComputeCapability
) -> bool:
    """Whether the target comes out otherwise than some device that is not much older."""
    mine = outcomes[devices.index(target)]
    return mine is not None and any(
        outcome is not None and outcome != mine
        for device, outcome in zip(devices, outcomes, strict=True)
        if device.major >= 8
    )


def _gate(site: Site, judgement: Judgement, *, path: str, scope: str, text: str) -> Gate:
    return Gate(
        path=path,
        line=site.node.lineno,
        scope=scope,
        form=form_of(site.node),
        sign=judgement.sign,
        effect=judgement.effect,
        confidence=judgement.confidence,
        text=text[:_LONGEST_LINE],
        words=judgement.words,
    )
