"""The JSON document of `scan --format json`, described by `report.schema.json` beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import shim
from shim.errors import ShimError
from shim.model import EnvironmentReport, WheelReport
from shim.scan.codec import encode

SCHEMA_VERSION: Final = 1
"""Goes up when a reader of the document has to change. New optional fields do not count."""


def document(
    reports: Sequence[WheelReport],
    environments: Sequence[EnvironmentReport],
    errors: Sequence[tuple[str, ShimError]],
    *,
    exit_code: int,
) -> dict[str, Any]:
    """Everything one `scan` found.

    Args:
        errors: (TARGET, error) for what could not be scanned.
        exit_code: what the command ends with.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "shim", "version": shim.__version__},
        "exit_code": exit_code,
        "reports": [encode(report) for report in reports],
        "environments": [encode(environment) for environment in environments],
        "errors": [
            {
                "target": target,
                "kind": type(error).__name__,
                "exit_code": error.exit_code,
                "message": error.message,
                "hint": error.hint or "",
            }
            for target, error in errors
        ],
    }


def schema_text() -> str:
    """The JSON schema of the document."""
    from importlib import resources  # a third of the start-up time of a scan that does not need it

    return resources.files("shim.scan").joinpath("report.schema.json").read_text("utf-8")
