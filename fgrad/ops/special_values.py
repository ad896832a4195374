"""Evaluations at infinities and signed zeros, where NumPy's ufuncs give other values than the array API standard.

Each looks first whether there is anything to mend, which costs little, and leaves every other element to NumPy.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fgrad.core.shape import PYTHON_NUMBERS

__all__ = ["all_finite", "evaluate_expm1", "evaluate_floor_divide", "evaluate_tanh"]

# Up to this many elements, counting zeros is the cheapest question; beyond, looking for what is not finite is.
COUNTING_LIMIT = 4096

# Without its dispatch on other classes of arrays, which takes longer than counting a few elements.
count_nonzero: Callable[[Any], int] = getattr(np.count_nonzero, "__wrapped__", np.count_nonzero)
_vdot: Callable[[Any, Any], Any] = getattr(np.vdot, "__wrapped__", np.vdot)
_ndarray = np.ndarray
_floor_divide = np.floor_divide


def all_finite(x: Any) -> bool:
    """Whether all elements are finite, by the sum of their squares; where that overflows element by element."""
    if type(x) is not _ndarray:
        return cmath.isfinite(x)
    # vdot, unlike dot, has no warning for what overflows.
    quick = x.dtype.char in "fd" and (x.size <= COUNTING_LIMIT or x.flags.c_contiguous)
    if quick and math.isfinite(_vdot(x, x)):
        return True
    return x.dtype.kind not in "fc" or count_nonzero(np.isfinite(x)) == x.size


def evaluate_floor_divide(x: Any, y: Any) -> Any:
    """floor(x / y), where one of them is infinite too: NumPy has NaN for inf // 1 and -1 for 1 // -inf."""
    if all_finite(x) and all_finite(y):
        return _floor_divide(x, y)
    if type(x) is not _ndarray or type(y) is not _ndarray:
        x, y = _as_operands(x, y)
    odd = np.isinf(x) ^ np.isinf(y)
    dtype = _floor_divide.resolve_dtypes((_operand_type(x), _operand_type(y), None))[-1]
    # Of an infinite quotient the floor is itself; that of one by infinity is a zero, whose sign the division gives.
    out = np.divide(x, y, out=np.empty(odd.shape, dtype), where=odd)
    return _floor_divide(x, y, out=out, where=~odd)


def _as_operands(x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands as arrays, except for a Python number beside an array, which stays weak."""
    return (
        x if type(x) in PYTHON_NUMBERS and type(y) is _ndarray else np.asarray(x),
        y if type(y) in PYTHON_NUMBERS and type(x) is _ndarray else np.asarray(y),
    )


def _operand_type(x: Any) -> Any:
    return x.dtype if type(x) is _ndarray else type(x)


def evaluate_expm1(x: Any) -> Any:
    """exp(x) - 1; of complex x that is 0 or not finite in two steps, because NumPy has NaN for parts of infinities."""
    if (type(x) is _ndarray and x.dtype.kind != "c") or not np.iscomplexobj(x):
        return np.expm1(x)
    value = np.asarray(x)
    odd = np.equal(value, 0) | ~np.isfinite(value)
    if not odd.any():
        return np.expm1(value)
    out = np.asarray(np.exp(value))
    # The real part alone: subtracting a complex 1 would turn an imaginary -0 into 0.
    out.real -= 1
    return np.expm1(value, out=out, where=~odd)


def evaluate_tanh(x: Any) -> Any:
    """tanh(x); of complex x with an infinite real part ±1 with a zero of the imaginary part's sign."""
    if (type(x) is _ndarray and x.dtype.kind != "c") or not np.iscomplexobj(x):
        return np.tanh(x)
    value = np.asarray(x)
    out = np.asarray(np.tanh(value))
    odd = np.isinf(value.real) & np.isfinite(value.imag)
    if odd.any():
        out.imag = np.where(odd, np.copysign(0, value.imag), out.imag)
    return out
