"""Precision and recall of gate detection on the labelled sites, against a regular expression on single lines."""

from __future__ import annotations

import sys
from pathlib import Path

import inputs
from measure import BenchError
from row import Row

NAME = "gates"
ROUNDS = 1
LEAST_PRECISION = 0.95
LEAST_RECALL = 0.9

_LABELS = Path(__file__).parents[1] / "tests" / "gates"


def run(rounds: int = ROUNDS) -> list[Row]:
    """Score both on the whole set and on the packages that were held out; `rounds` changes nothing."""
    sys.path.insert(0, str(_LABELS))
    import gate_labels

    from shim.errors import ShimError

    try:
        pairs = [(one, gate_labels.sources(one, inputs.cache() / "gates")) for one in gate_labels.packages()]
    except (ShimError, AssertionError, OSError) as error:
        raise BenchError(str(error)) from error
    held_out = [pair for pair in pairs if pair[0].group != "tune"]
    rows = []
    for what, some in (("gates in Python", pairs), ("gates in Python, held-out packages", held_out)):
        tree = gate_labels.score(gate_labels.by_tree, some)
        line = gate_labels.score(gate_labels.by_line, some)
        goal = what == "gates in Python"
        rows.append(
            Row(
                what=what,
                subject=f"{sum(len(one.sites) for one, _ in some)} sites of {len(some)} releases",
                shim=str(tree),
                peer=f"single-line regex: {line}",
                figure=f"{tree.missed} missed, {tree.false} false",
                goal=f"precision {LEAST_PRECISION}, recall {LEAST_RECALL}" if goal else "",
                reached=tree.precision >= LEAST_PRECISION and tree.recall >= LEAST_RECALL if goal else None,
            )
        )
    return rows
