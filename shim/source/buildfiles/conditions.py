"""Conditions of build scripts, judged for one machine: Linux, CUDA 13, a new torch, no ROCm.

Three-valued: None when the outcome depends on anything else, such as variables that a user may set.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

CUDA: Final = (13, 0)
TORCH: Final = (2, 14)

Condition = tuple[ast.expr, bool]
"""A test, and the outcome it must have."""

_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CUDA_VERSION: Final = re.compile(
    r"bare_metal|(cuda|nvcc|toolkit|ctk).*(ver|major|minor)|torch\.version\.cuda", re.IGNORECASE
)
_TORCH_VERSION: Final = re.compile(r"torch.*(ver|major|minor)", re.IGNORECASE)
_NOT_OURS: Final = re.compile(
    r"(?<![a-z])(hip|rocm|hcc|musa|xpu|sycl|npu|windows|win32|mac_?os|darwin|nt)(?![a-z])", re.IGNORECASE
)
_NOT_NOW: Final = re.compile(r"(?:skip|no|disable)_cuda(?!_check)|sdist", re.IGNORECASE)  # not for a build of CUDA code
_PRESENT: Final = frozenset({"CUDA_HOME", "CUDA_PATH", "cuda_home", "torch.version.cuda"})
_PLATFORMS: Final = {
    "sys.platform": "linux",
    "platform.system()": "Linux",
    "platform.system().lower()": "linux",
    "os.name": "posix",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is taken as known beside the machine.

    gpu: answer of `torch.cuda.is_available()`, None when open. unset: environment variables have their defaults.
    """

    gpu: bool | None = None
    unset: bool = False


def holds(conditions: Sequence[Condition], around: Surroundings | None = None) -> bool | None:
    """Whether all of them have the outcome asked for."""
    result: bool | None = True
    for test, wanted in conditions:
        value = truth(test, around or Surroundings())
        if value is None:
            result = None
        elif value is not wanted:
            return False
    return result


def words(conditions: Sequence[Condition]) -> str:
    """The conditions as written, on one line."""
    parts = [ast.unparse(test) if wanted else f"not ({ast.unparse(test)})" for test, wanted in conditions]
    return " and ".join(parts)[:200]


def truth(test: ast.expr, around: Surroundings) -> bool | None:
    """The outcome of a test."""
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.BoolOp(op=ast.And(), values=values):
            return _all([truth(value, around) for value in values])
        case ast.BoolOp(values=values):
            return _not(_all([_not(truth(value, around)) for value in values]))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _not(truth(operand, around))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _compare(left, op, right, around)
        case ast.Call(func=ast.Name(id="bool" | "int"), args=[inner]):
            return truth(inner, around)
        case ast.Call(func=ast.Attribute(value=value, attr="startswith"), args=[ast.Constant(value=str(prefix))]):
            known = _PLATFORMS.get(ast.unparse(value))
            return None if known is None else known.startswith(prefix)
    text = ast.unparse(test)
    if _asks_gpu(text):
        return around.gpu
    if text in _PRESENT:
        return True
    if isinstance(test, ast.Name | ast.Attribute | ast.Call) and (_NOT_OURS.search(text) or _NOT_NOW.search(text)):
        return False
    if around.unset and (default := env_default(test)) is not None:
        return default.strip().lower() not in ("", "0", "false", "off", "no")
    return None


def env_default(node: ast.expr) -> str | None:
    """What `os.getenv(NAME, DEFAULT)` gives when the variable is not set; None when it is no such call."""
    read = env_read(node)
    return None if read is None else (read[1] or "")


def env_read(node: ast.AST) -> tuple[str, str | None] | None:
    """(name, default) of an expression that reads an environment variable; None when it is another one."""
    match node:
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *rest], keywords=keywords):
            if not re.search(r"(?:^|\.)(getenv|environ\.get|environ\.pop|environ\.setdefault)$", _dotted(function)):
                return None
            defaults = [*rest, *(keyword.value for keyword in keywords)]
            value = defaults[0].value if defaults and isinstance(defaults[0], ast.Constant) else None
            return name, None if value is None else str(value)
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name)), ctx=ast.Load()) if _dotted(value).endswith(
            "environ"
        ):
            return name, None
    return None


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{_dotted(value)}.{attr}"
    return ""


def _asks_gpu(text: str) -> bool:
    return text.endswith("cuda.is_available()") or text in ("cuda_available", "self.cuda_available", "HAS_CUDA")


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr, around: Surroundings) -> bool | None:
    text = ast.unparse(left)
    if isinstance(right, ast.Constant) and right.value is None and isinstance(op, ast.Is | ast.IsNot):
        present = True if text in _PRESENT else (False if _NOT_OURS.search(text) else None)
        return present if present is None else present is isinstance(op, ast.IsNot)
    if text in _PLATFORMS and isinstance(right, ast.Constant) and type(op) in _COMPARE:
        return _COMPARE[type(op)](_PLATFORMS[text], str(right.value))
    if around.unset and isinstance(right, ast.Constant) and (default := env_default(left)) is not None:
        operation = _COMPARE.get(type(op))
        return operation(default, str(right.value)) if isinstance(op, ast.Eq | ast.NotEq) and operation else None
    return _versions(text, op, right)


def _versions(text: str, op: ast.cmpop, right: ast.expr) -> bool | None:
    operation = _COMPARE.get(type(op))
    if _CUDA_VERSION.search(text):
        known = CUDA
    elif _TORCH_VERSION.search(text):
        known = TORCH
    else:
        return None
    wanted = _version(right)
    if operation is None or wanted is None:
        return None
    if re.search(r"(\[0\]|\.major|major)\W*$", text, re.IGNORECASE):
        return operation(known[:1], wanted[:1])
    if re.search(r"(\[1\]|\.minor|minor)\W*$", text, re.IGNORECASE):
        return operation(known[1:], wanted[:1])
    return operation(_padded(known), _padded(wanted))


def _version(node: ast.expr) -> tuple[int, ...] | None:
    match node:
        case ast.Call(args=[ast.Constant(value=str(text))]) | ast.Constant(value=str(text)):
            match = re.match(r"\d+(\.\d+)*", text)
            return tuple(int(part) for part in match[0].split(".")) if match else None
        case ast.Tuple(elts=parts) | ast.List(elts=parts) if parts and all(
            isinstance(part, ast.Constant) and isinstance(part.value, int) for part in parts
        ):
            return tuple(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, int))
        case ast.Constant(value=float(number)):
            return _version(ast.Constant(value=str(number)))
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return (
                (number // 1000, number % 1000 // 10)
                if number >= 1000
                else divmod(number, 10)
                if number > 50
                else (number,)
            )
    return None


def _padded(version: tuple[int, ...]) -> tuple[int, ...]:
    return (*version, 0, 0)[:3]


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _all(values: Sequence[bool | None]) -> bool | None:
    if any(value is False for value in values):
        return False
    return True if all(value is True for value in values) else None
