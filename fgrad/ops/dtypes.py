"""Dtypes: what they promote to, what can be cast to what, their kinds and the limits of their numbers."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import is_weak
from fgrad.core.errors import DtypeError, at_user_line
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.core.tensor import Tensor
from fgrad.ops.declare import stands_for

__all__ = ["FloatInfo", "IntegerInfo", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]


@stands_for(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that an operation on these would have: NumPy's promotion (NEP 50), of tensors, numbers and dtypes.

    Python numbers, and values inside a transform that stand for one, are weak: their partners decide the precision.

    Raises:
        DtypeError: there is no common dtype, or no argument.

    >>> import fgrad as fg
    >>> fg.result_type(fg.float32, fg.int8)
    dtype('float32')
    >>> fg.result_type(fg.asarray([1, 2], dtype="int16"), 2.5)
    dtype('float64')
    """
    try:
        return np.result_type(*map(_promotion_sample, arrays_and_dtypes))
    except (TypeError, ValueError) as error:
        message = f"[result_type] {', '.join(map(repr, arrays_and_dtypes)):.200}: {error}"
        raise DtypeError(at_user_line(message)) from None


def _promotion_sample(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.dtype.type(0).item() if is_weak(value) else value.dtype


def _dtype_of(value: Any) -> np.dtype[Any]:
    """The dtype of an array or a number, or the dtype that the value names."""
    if type(value) in PYTHON_NUMBERS:
        return np.dtype(type(value))
    return np.dtype(value) if isinstance(value, type) or not hasattr(value, "dtype") else value.dtype


@stands_for(np.can_cast)
def can_cast(from_: Any, to: Any, /, casting: str = "safe") -> bool:
    """Whether values of one dtype, or of an array's, can be cast to another under the rule `casting`.

    The rules are NumPy's: "no", "equiv", "safe" (no value changes), "same_kind" and "unsafe".

    >>> import fgrad as fg
    >>> fg.can_cast(fg.float32, fg.float64), fg.can_cast(fg.asarray([1.5]), fg.int64)
    (True, False)
    """
    return bool(np.can_cast(_dtype_of(from_), np.dtype(to), casting))  # type: ignore[arg-type] # NumPy judges the name


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind, or of one of a tuple of kinds.

    A kind is a dtype or one of "bool", "signed integer", "unsigned integer", "integral", "real floating",
    "complex floating" and "numeric".

    Raises:
        DtypeError: when the first argument is no dtype, or `kind` is none of these.

    >>> import fgrad as fg
    >>> fg.isdtype(fg.float32, "real floating"), fg.isdtype(fg.float32, (fg.float64, "integral"))
    (True, False)
    """
    try:
        return bool(np.isdtype(dtype, kind))
    except (TypeError, ValueError) as error:
        message = f"[isdtype] of {dtype!r:.80} and the kind {kind!r:.80}: {error}"
        raise DtypeError(at_user_line(message)) from None


@attrs.frozen
class FloatInfo:
    """The limits of a floating-point dtype, as Python floats: see `fgrad.finfo`.

    Attributes:
        bits: how many bits a number takes.
        eps: the distance from 1.0 to the next larger number.
        max: the largest number.
        min: the lowest number, -max.
        smallest_normal: the smallest positive number with full precision; `tiny` is its other name.
        dtype: the dtype itself; for a complex one, that of the real part.
        epsneg: the distance from 1.0 to the next smaller number.
        smallest_subnormal: the smallest positive number.
        precision: how many decimal digits are exact.
        resolution: ten to the power of -precision.
    """

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]
    epsneg: float
    smallest_subnormal: float
    precision: int
    resolution: float

    @property
    def tiny(self) -> float:
        """NumPy's other name of smallest_normal."""
        return self.smallest_normal


@attrs.frozen
class IntegerInfo:
    """The limits of an integer dtype: see `fgrad.iinfo`.

    Attributes:
        bits: how many bits a number takes.
        max: the largest number.
        min: the lowest number.
        dtype: the dtype itself.
    """

    bits: int
    max: int
    min: int
    dtype: np.dtype[Any]


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating-point dtype, or of an array's; for a complex one, those of the real part.

    They are Python floats, which leave the dtype of what they are combined with alone.

    Raises:
        DtypeError: when the dtype is neither floating-point nor complex.

    >>> import fgrad as fg
    >>> fg.finfo(fg.float32).eps
    1.1920928955078125e-07
    """
    dtype = _dtype_of(type)
    if dtype.kind not in "fc":
        message = f"[finfo] has the limits of floating-point dtypes, not of {dtype}; fg.iinfo has those of integers"
        raise DtypeError(at_user_line(message))
    limits = np.finfo(dtype)
    return FloatInfo(
        bits=int(limits.bits),
        eps=float(limits.eps),
        max=float(limits.max),
        min=float(limits.min),
        smallest_normal=float(limits.smallest_normal),
        dtype=np.dtype(limits.dtype),
        epsneg=float(limits.epsneg),
        smallest_subnormal=float(limits.smallest_subnormal),
        precision=int(limits.precision),
        resolution=float(limits.resolution),
    )


def iinfo(type: Any, /) -> IntegerInfo:
    """The limits of an integer dtype, or of an array's.

    Raises:
        DtypeError: when the dtype is not an integer's.

    >>> import fgrad as fg
    >>> fg.iinfo(fg.int8).max
    127
    """
    dtype = _dtype_of(type)
    if dtype.kind not in "iu":
        message = f"[iinfo] has the limits of integer dtypes, not of {dtype}; fg.finfo has those of floating-point ones"
        raise DtypeError(at_user_line(message))
    limits = np.iinfo(dtype)
    return IntegerInfo(bits=int(limits.bits), max=int(limits.max), min=int(limits.min), dtype=dtype)
