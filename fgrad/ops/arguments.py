"""Arguments of array functions: operands, axes, shapes and dtypes, checked and brought into one form."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from fgrad.core.errors import AxisError, DtypeError, FgradError, ShapeError, at_user_line
from fgrad.core.shape import PYTHON_NUMBERS, Shape
from fgrad.core.tensor import DEVICE, Tensor, to_tensor

__all__ = [
    "as_integer",
    "as_operand",
    "axis_index",
    "axis_tuple",
    "check_device",
    "dtype_of",
    "integer_or_none",
    "is_inexact",
    "number_of_dtype",
    "numeric_dtype",
    "shape_of",
    "shape_tuple",
]


# A tuple: a union would be built anew at every call.
_ARRAYS = (Tensor, np.ndarray)


def as_operand(value: Any) -> Any:
    """A Tensor or an array as it is; anything else (numbers, nested lists) as a Tensor."""
    return value if isinstance(value, _ARRAYS) else to_tensor(value)


def number_of_dtype(value: Any, dtype: np.dtype[Any], operation: str) -> Any:
    """An operand that goes into an array of a dtype; a Python number has that dtype, if there is such a number.

    Raises:
        DtypeError: a complex number is to be a real one.
        OverflowError: an integer does not fit into the dtype.
    """
    if type(value) not in PYTHON_NUMBERS:
        return as_operand(value)
    try:
        return np.asarray(value, dtype)
    except TypeError:
        message = f"[{operation}] {value!r} is no number of dtype {dtype}; convert the array with astype first"
        raise DtypeError(at_user_line(message)) from None


def numeric_dtype(dtype: Any) -> np.dtype[Any]:
    """What a user gave for a dtype, as one that a Tensor can have.

    Raises:
        DtypeError: it is none, or one of objects, strings or dates.
    """
    try:
        wanted: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise DtypeError(at_user_line(f"{dtype!r:.80} is not a dtype: {error}")) from None
    if wanted.kind not in "biufc":
        message = f"a Tensor holds booleans, integers, floats or complex numbers, not dtype {wanted}"
        raise DtypeError(at_user_line(message))
    return wanted


def shape_of(value: Any) -> Shape:
    """The shape of an operand; () for a Python number."""
    return () if type(value) in PYTHON_NUMBERS else tuple(value.shape)


def dtype_of(value: Any) -> np.dtype[Any]:
    """The dtype of an operand; NumPy's default for a Python number."""
    return np.dtype(type(value)) if type(value) in PYTHON_NUMBERS else value.dtype


def check_device(device: Any, operation: str) -> None:
    """Raises ShapeError unless the device is the one that there is, or None, which leaves the choice to fgrad."""
    if device is not None and device != DEVICE:
        message = f"[{operation}] there is one device, {DEVICE!r}, and no {device!r}: fgrad computes with NumPy"
        raise ShapeError(at_user_line(message))


def is_inexact(dtype: np.dtype[Any]) -> bool:
    """Whether values of the dtype can carry a gradient: floating point or complex."""
    return dtype.kind in "fc"


_PLAIN = frozenset((int, tuple))  # what is given mostly, and is told apart without a question to its class


def _is_one(value: Any) -> bool:
    """Whether it stands for one number, as an array without axes does, and not for several."""
    if type(value) in _PLAIN:
        return type(value) is int
    return not isinstance(value, Iterable) or isinstance(value, str) or getattr(value, "shape", None) == ()


def integer_or_none(value: Any) -> int | None:
    """The value as an int; None when it is no integer. One that is traced raises, and says what to do."""
    try:
        return operator.index(value)
    except FgradError:
        raise
    except TypeError:
        return None


def as_integer(value: Any, operation: str, rule: str) -> int:
    """An argument that must be an integer as an int; `rule` says so in the message, as "k is an integer" does.

    Raises:
        TypeError: when it is none.
    """
    integer = integer_or_none(value)
    if integer is None:
        message = f"[{operation}] {rule}, not {value!r:.80}"
        raise TypeError(at_user_line(message))
    return integer


def axis_index(axis: Any, ndim: int, operation: str) -> int:
    """An axis as a number from 0 to ndim - 1.

    Raises:
        AxisError: when the axis is out of range.
        TypeError: when it is not an integer.
    """
    position = as_integer(axis, operation, "an axis is an integer")
    if not -ndim <= position < ndim:
        message = f"[{operation}] axis {position} is out of bounds for a tensor with {ndim} axes"
        raise AxisError(at_user_line(message))
    return position % ndim


def axis_tuple(axis: Any, ndim: int, operation: str) -> tuple[int, ...]:
    """``axis=None | int | tuple`` as a sorted tuple of axes from 0 to ndim - 1; None is all of them.

    Raises:
        AxisError: when an axis is out of range.
        ShapeError: when one is named twice.
        TypeError: when an axis is not an integer.
    """
    if axis is None:
        return tuple(range(ndim))
    if _is_one(axis):
        return (axis_index(axis, ndim, operation),)
    axes = sorted(axis_index(one, ndim, operation) for one in axis)
    if len(set(axes)) != len(axes):
        message = f"[{operation}] axis {tuple(axis)} names an axis twice, for a tensor with {ndim} axes"
        raise ShapeError(at_user_line(message))
    return tuple(axes)


def shape_integers(shape: Any, operation: str) -> Shape:
    """``shape`` given as an int or as integers, as a tuple of Python ints of any sign.

    Raises:
        TypeError: when a length is not an integer.
    """
    lengths = (shape,) if _is_one(shape) else shape
    try:
        return tuple([operator.index(length) for length in lengths])
    except TypeError:
        return tuple([as_integer(length, operation, "a shape is made of integers") for length in lengths])


def shape_tuple(shape: Any, operation: str) -> Shape:
    """``shape`` given as an int or as integers, as a tuple of Python ints of at least 0.

    Raises:
        ShapeError: when a length is negative.
        TypeError: when a length is not an integer.
    """
    if type(shape) is int and shape >= 0:
        return (shape,)
    lengths = shape_integers(shape, operation)
    if any(length < 0 for length in lengths):
        message = f"[{operation}] a shape has no negative lengths: {lengths}"
        raise ShapeError(at_user_line(message))
    return lengths
