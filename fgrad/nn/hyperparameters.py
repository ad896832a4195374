"""Hyper-parameters of modules: the converters and validators of attrs fields, and how a record is shown."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias

import attrs
import numpy as np
from numpy.typing import DTypeLike

from fgrad.core.errors import DtypeError, at_user_line

__all__ = [
    "FLOAT32",
    "describe_record",
    "integer_from",
    "number_between",
    "require_float",
    "to_dtype",
    "to_integer",
    "to_number",
]


def describe_record(record: Any) -> str:
    """The call that makes the record, without what has its default: ``Linear(64, 10, bias=False)``."""
    parts = []
    for field in attrs.fields(type(record)):
        value = getattr(record, field.name)
        if field.init and field.default is attrs.NOTHING:
            parts.append(_describe_value(value))
        elif field.init and value != field.default:
            parts.append(f"{field.name}={_describe_value(value)}")
    return f"{type(record).__name__}({', '.join(parts)})"


def _describe_value(value: Any) -> str:
    if isinstance(value, np.dtype):
        return repr(value.name)
    return value.__name__ if isinstance(value, type) else repr(value)


# The converters leave what they do not know to the validators, which can name the record and the field.

Validator: TypeAlias = Callable[[Any, Any, Any], None]


def to_integer(value: SupportsIndex) -> int:
    """An integer of any kind, but no boolean, as a Python int."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value  # type: ignore[return-value]  # the validator refuses it
    return operator.index(value)


def integer_from(least: int) -> Validator:
    """A validator for an integer of at least `least`."""

    def validate(record: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if type(value) is not int:
            message = f"{type(record).__name__}: {field.name} is an integer, not {value!r:.80}"
            raise TypeError(at_user_line(message))
        if value < least:
            message = f"{type(record).__name__}: {field.name} is at least {least}, not {value}"
            raise ValueError(at_user_line(message))

    return validate


def to_number(value: SupportsFloat) -> float:
    """A real number of any kind as a Python float, which never promotes the dtype of what it meets."""
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    return value  # type: ignore[return-value]  # the validator refuses it


def number_between(low: float, high: float) -> Validator:
    """A validator for a number from `low` to `high`; NaN is none."""

    def validate(record: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if type(value) is not float:
            message = f"{type(record).__name__}: {field.name} is a number, not {value!r:.80}"
            raise TypeError(at_user_line(message))
        if not low <= value <= high:
            limits = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
            message = f"{type(record).__name__}: {field.name} is {limits}, not {value!r}"
            raise ValueError(at_user_line(message))

    return validate


FLOAT32: np.dtype[Any] = np.dtype(np.float32)


def to_dtype(value: DTypeLike) -> np.dtype[Any]:
    """What ``dtype=`` may be given as: a dtype, a scalar type or a name."""
    return np.dtype(value)


def require_float(record: Any, field: attrs.Attribute[Any], value: np.dtype[Any]) -> None:
    """A validator for a floating-point dtype."""
    if value.kind != "f":
        message = f"{type(record).__name__}: parameters have a floating-point dtype, not {value}"
        raise DtypeError(at_user_line(message))
