"""Finds tests of the compute capability in Python sources, by syntax tree.

`find_python_gates` is the only entrance. Which tests are gates is told in `judge`.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final

from shim.arch import ComputeCapability
from shim.source.gates.consequence import Consequences
from shim.source.gates.flow import Flow, Site
from shim.source.gates.forms import form_of
from shim.source.gates.judge import Case, Judgement, judge, outcomes_of
from shim.source.gates.model import Gate
from shim.source.gates.names import NOT_NVIDIA_PATH
from shim.source.gates.panel import panel
from shim.source.gates.parsing import parsing_gates
from shim.source.gates.tables import table_gates

_LARGEST: Final = 8 << 20  # bytes; generated tables beyond that hold no code
_LONGEST_LINE: Final = 200
# One of these words stands in every file that tests the capability or lists architectures.
_WORDS: Final = re.compile(
    rb"capabilit|get_device_prop|device_prop|\b_?sm_?\d\d|\bSM_?\d\d|compute_\d\d|\bcc\b|_cc\b|\bcc_|[Cc]ompute[_ ]?[Cc]ap|_arch\b|\barchs?\b|arch_list|GB10|sm_version|\bsm\b|\bcap\b"
)
_NUMBERS: Final = re.compile(rb"\b(1[0-3]\d|[5-9]\d|1[0-3]|[5-9])[af]?\b|_\d\d|sm\d\d|SM\d\d|GB10")


def find_python_gates(source: bytes, path: str, target: ComputeCapability) -> tuple[Gate, ...]:
    """Gates of one file, by line. A file that Python cannot read has none.

    Args:
        path: name of the file, kept in the gates; files for other makers' GPUs are told by it.
    """
    if len(source) > _LARGEST or not _WORDS.search(source) or not _NUMBERS.search(source) or NOT_NVIDIA_PATH.search(path):
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
    consequences = Consequences(tree)
    lines = source.decode("utf-8", "replace").split("\n")
    found: dict[tuple[int, str], Gate] = {}
    for site in Flow(tree, devices).sites():
        outcomes = outcomes_of(site.outcomes, site.live)
        if None in (outcomes[devices.index(target)],):
            continue
        scope = ".".join(getattr(node, "name", "") for node in site.scope)
        line = lines[site.node.lineno - 1].strip() if site.node.lineno <= len(lines) else ""
        case = Case(
            target=target,
            devices=devices,
            outcomes=outcomes,
            pair=consequences.of(site.node),
            node=site.node,
            around=f"{path} {scope} {line}",
        )
        judgement = judge(case)
        if judgement is not None:
            gate = _gate(site, judgement, path=path, scope=scope, text=line)
            found.setdefault((gate.line, ""), gate)
    for gate in (*parsing_gates(tree, path, lines, target), *table_gates(tree, path, lines, target)):
        found.setdefault((gate.line, ""), gate)
    return tuple(gate for _, gate in sorted(found.items()))


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
