"""The one exception tree. Each branch has its exit code (docs/cli.md has the table for users).

An error is for what shim cannot do; what it merely saw is a finding (`shim.model.Finding`). Messages say what, where
(file, member, offset), what was expected and found; `hint` says what to do next.
"""

from __future__ import annotations


class ShimError(Exception):
    """Root of every error shim raises on purpose.

    Attributes:
        exit_code: process exit code used by `shim.__main__`.
        hint: the next step for the user, or None.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ShimError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class InputError(ShimError):
    """A file is not what it claims to be, or cannot be read."""

    exit_code = 3


class RecipeError(ShimError):
    """A recipe is malformed or does not apply."""

    exit_code = 4


class PlanError(ShimError):
    """Nothing that shim may do would make the input work."""

    exit_code = 5


class ToolError(ShimError):
    """A program shim needs is missing or failed."""

    exit_code = 6


class VerifyError(ShimError):
    """A result does not keep what the plan promised."""

    exit_code = 7


class PublishError(ShimError):
    """An index could not be written or may not be published."""

    exit_code = 8


class DeviceError(ShimError):
    """No usable device, or the device refused."""

    exit_code = 9
