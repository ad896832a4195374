"""Hyper-parameters of optimizers: attrs fields that take any real number, check its range and compare by value."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad.core.bind import Tracer

__all__ = ["as_number", "learning_rate_at", "learning_rate_field", "number_field", "positive_field"]


def as_number(value: Any, name: str) -> float:
    """A Python number, NumPy scalar, or array or Tensor of shape (), as a float.

    Raises:
        TypeError: when it is none of these.
        ValueError: when it is infinite or NaN.
    """
    if isinstance(value, fg.Tensor | np.ndarray | np.generic):
        real, what = value.shape == () and value.dtype.kind in "iuf", f"{value.dtype} of shape {value.shape}"
    else:
        real, what = (
            isinstance(value, int | float) and not isinstance(value, bool),
            f"the {type(value).__name__} {value!r}",
        )
    if not real:
        message = f"{name} must be a real number; it is {what}"
        raise TypeError(message)
    number = float(value)
    if not math.isfinite(number):
        message = f"{name} must be finite; it is {number}"
        raise ValueError(message)
    return number


def number_field(name: str, default: float | None = None, *, below: float = math.inf) -> Any:
    """An attrs field for a number of at least 0 and less than `below`; without a default it must be given."""

    def convert(value: Any) -> float:
        number = as_number(value, name)
        if not 0 <= number < below:
            limit = "" if below == math.inf else f" and less than {below:g}"
            message = f"{name} must be at least 0{limit}; it is {number:g}"
            raise ValueError(message)
        return number

    return attrs.field(default=attrs.NOTHING if default is None else default, converter=convert)


def positive_field(name: str) -> Any:
    """An attrs field for a number above 0, which must be given."""

    def convert(value: Any) -> float:
        number = as_number(value, name)
        if number <= 0:
            message = f"{name} must be above 0; it is {number:g}"
            raise ValueError(message)
        return number

    return attrs.field(converter=convert)


def learning_rate_field(default: float) -> Any:
    """An attrs field for a learning rate: a number of at least 0, or a schedule, ``step -> number``.

    A value that a transform is tracing stays as it is, so that a result can be differentiated by the learning rate.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, Tracer) or callable(value):
            return value
        rate = as_number(value, "learning_rate")
        if rate < 0:
            message = f"learning_rate must be at least 0; it is {rate:g}"
            raise ValueError(message)
        return rate

    # == of two Tensors is a Tensor, so traced learning rates are compared by identity.
    return attrs.field(
        default=default, converter=convert, eq=lambda rate: id(rate) if isinstance(rate, Tracer) else rate
    )


def learning_rate_at(learning_rate: Any, step_count: Any) -> Any:
    """The learning rate of a step, as a Python float or a Tensor of shape ().

    Raises:
        TypeError: when a schedule does not give a real number.
    """
    rate = learning_rate(step_count) if callable(learning_rate) else learning_rate
    if isinstance(rate, fg.Tensor):
        if rate.shape != () or rate.dtype.kind not in "iuf":
            message = f"a schedule must give a real number; {learning_rate!r} gave {rate.dtype} of shape {rate.shape}"
            raise TypeError(message)
        return rate
    return as_number(rate, f"the learning rate that {learning_rate!r} gives")
