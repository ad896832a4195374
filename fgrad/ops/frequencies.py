"""The frequencies of discrete Fourier transforms, and the shifts that put frequency 0 into the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.tensor import ArrayLike, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_operand, axis_tuple, numeric_dtype, shape_of
from fgrad.ops.arithmetic import multiply
from fgrad.ops.declare import stands_for
from fgrad.ops.fourier import transform_length
from fgrad.ops.shaping import roll_p
from fgrad.ops.structure import convert

__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq"]


def _frequencies(positions: Any, n: int, d: Any, dtype: Any, device: Any, operation: str) -> Any:
    if device not in (None, "cpu"):
        message = f"[{operation}] device is 'cpu' or None, not {device!r}"
        raise ShapeError(at_user_line(message))
    found = multiply(adopt(positions), 1.0 / (n * d))
    return found if dtype is None or found.dtype == dtype else convert(found, numeric_dtype(dtype))


def fftfreq(n: int, d: ArrayLike = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of the entries of a Fourier transform of n points at a distance d: (0, 1, ..., -2, -1) / (n d).

    Raises:
        ShapeError: n is less than 1, or the device is not "cpu".

    >>> import fgrad as fg
    >>> fg.fft.fftfreq(4)
    Tensor([ 0.  ,  0.25, -0.5 , -0.25], dtype=float64)
    """
    count = transform_length(n, "fftfreq")
    half = (count - 1) // 2 + 1
    positions = np.concatenate([np.arange(half), np.arange(-(count // 2), 0)])
    return _frequencies(positions, count, d, dtype, device, "fftfreq")


def rfftfreq(n: int, d: ArrayLike = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of the n // 2 + 1 entries of `rfft` of n points at a distance d: (0, 1, ..., n // 2) / (n d).

    Raises:
        ShapeError: n is less than 1, or the device is not "cpu".

    >>> import fgrad as fg
    >>> fg.fft.rfftfreq(4)
    Tensor([0.  , 0.25, 0.5 ], dtype=float64)
    """
    count = transform_length(n, "rfftfreq")
    return _frequencies(np.arange(count // 2 + 1), count, d, dtype, device, "rfftfreq")


def _shift(x: Any, axes: Any, operation: str, halves: Callable[[int], int]) -> Any:
    operand = as_operand(x)
    shape = shape_of(operand)
    places = axis_tuple(axes, len(shape), operation)
    if not places:
        return to_tensor(operand)
    return bind(roll_p, operand, shifts=tuple([halves(shape[place]) for place in places]), axes=places)


@stands_for(np.fft.fftshift)
def fftshift(x: ArrayLike, axes: int | Sequence[int] | None = None) -> Tensor:
    """The entries rolled so that the frequency 0 is in the middle of the axes, of all axes by default.

    Raises:
        ShapeError: an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.fft.fftshift(fg.fft.fftfreq(4))
    Tensor([-0.5 , -0.25,  0.  ,  0.25], dtype=float64)
    """
    return _shift(x, axes, "fftshift", lambda length: length // 2)


@stands_for(np.fft.ifftshift)
def ifftshift(x: ArrayLike, axes: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftshift`: the frequency 0 back to the start of the axes.

    Raises:
        ShapeError: an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.fft.ifftshift(fg.asarray([-1.0, 0.0, 1.0]))
    Tensor([ 0.,  1., -1.], dtype=float64)
    """
    return _shift(x, axes, "ifftshift", lambda length: -(length // 2))
