"""Names of the forms in which a test of the capability is written. docs/gates.md has the table."""

from __future__ import annotations

import ast

from shim.source.gates.panel import capability_in


def form_of(node: ast.expr) -> str:
    """Stable kebab-case name of what was recognised."""
    if isinstance(node, ast.Subscript):
        return "table-lookup"
    if isinstance(node, ast.Call):
        return _call_form(node)
    if not isinstance(node, ast.Compare):
        return "expression"
    if any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops):
        return "device-name" if _is_device_name(node) else "membership"
    if len(node.ops) > 1 or any(isinstance(op, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for op in node.ops):
        return "range" if len(node.ops) > 1 else "bound"
    literals = [part for part in (node.left, *node.comparators) if not isinstance(part, (ast.Attribute, ast.Subscript))]
    for literal in literals:
        if isinstance(literal, ast.Tuple):
            return "compare-tuple"
        if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
            return "compare-string" if capability_in(literal.value) else "device-name"
        if isinstance(literal, ast.Constant) and isinstance(literal.value, int):
            return "compare-int" if literal.value >= 50 else "compare-part"
        if isinstance(literal, ast.Constant) and isinstance(literal.value, float):
            return "compare-float"
    return "compare"


def _call_form(node: ast.Call) -> str:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return {
        "get": "table-lookup",
        "startswith": "compare-string",
        "is_device_capability_family": "family-call",
    }.get(name, "capability-call")


def _is_device_name(node: ast.Compare) -> bool:
    return (
        isinstance(node.left, ast.Constant)
        and isinstance(node.left.value, str)
        and capability_in(node.left.value) is None
    )
