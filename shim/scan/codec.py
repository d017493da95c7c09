"""Reports as JSON values, and back. One rule for every dataclass of `shim.model`: field by field."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from shim.arch import ComputeCapability, Grade, Target
from shim.errors import InputError
from shim.scan.words import version_text

T = TypeVar("T")
Json = Any


def encode(value: object) -> Json:
    """A report, or any part of one, as what `json.dump` takes."""
    match value:
        case Target(device=device, driver_cuda=driver):
            return {"device": str(device), "driver_cuda": version_text(driver)}
        case Grade():
            return str(value)
        case Enum():
            return value.value
        case Mapping():
            return {str(encode(key)): encode(item) for key, item in value.items()}
        case tuple() | list():
            return [encode(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _ if dataclasses.is_dataclass(value):
            return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            raise TypeError(f"no JSON form for {type(value).__name__}")


def decode(kind: type[T], data: Json) -> T:
    """The dataclass that `encode` made this of.

    Raises:
        InputError: the data has another shape.
    """
    try:
        result: T = _decode(kind, data)
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise InputError(f"expected the JSON form of {kind.__name__}: {error}") from error
    return result


def _decode(kind: Any, data: Json) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Target:
        major, minor = data["driver_cuda"].split(".")
        return Target(device=ComputeCapability.parse(data["device"]), driver_cuda=(int(major), int(minor)))
    if kind is Grade:
        return Grade.parse(data)
    if origin in (Union, types.UnionType):
        inner = next(one for one in arguments if one is not type(None))
        return None if data is None else _decode(inner, data)
    if origin is tuple:
        return tuple(_decode(arguments[0], item) for item in data)
    if origin is Mapping or origin is dict:
        return {_decode(arguments[0], key): _decode(arguments[1], item) for key, item in data.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _decode(hints[name], data[name]) for name in hints})
    if issubclass(kind, Enum):
        return kind(data)
    if not isinstance(data, int | float if kind is float else kind):
        raise TypeError(f"expected {kind.__name__}, found {type(data).__name__}")
    return data


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
