"""ShapeDtype: what is known of a value without its numbers, and how it is read off any value."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import numpy as np

Shape: TypeAlias = tuple[int, ...]

# A weak value is a Python number: its type says what kind of number it is, its partners decide the precision.
PYTHON_NUMBERS = frozenset((bool, int, float, complex))
_PYTHON_DTYPES = {kind: np.dtype(kind) for kind in PYTHON_NUMBERS}
_WEAK_TYPES = {"b": np.dtype(bool), "i": int, "f": float, "c": complex}


@attrs.frozen
class ShapeDtype:
    """The shape and dtype of an array, and whether it is weak (a Python number, see NEP 50)."""

    shape: Shape
    dtype: np.dtype[Any]
    weak: bool = False

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        product = 1
        for length in self.shape:
            product *= length
        return product

    @property
    def promotion_type(self) -> Any:
        """What NumPy's promotion takes for this value: the dtype, or the Python type of a weak number."""
        return _WEAK_TYPES[self.dtype.kind] if self.weak else self.dtype

    def __str__(self) -> str:
        weak = "*" if self.weak else ""
        return f"{self.dtype}{weak}[{','.join(map(str, self.shape))}]"


def shape_dtype_of(value: Any) -> ShapeDtype:
    """The ShapeDtype of a tensor, an array, a NumPy scalar or a Python number."""
    python = _PYTHON_DTYPES.get(type(value))
    if python is not None:
        return ShapeDtype((), python, weak=True)
    if isinstance(value, ShapeDtype):
        return value
    return ShapeDtype(tuple(value.shape), value.dtype, getattr(value, "weak", False))


def result_dtype(*avals: ShapeDtype) -> np.dtype[Any]:
    """The dtype that NumPy's promotion gives for these operands, weak numbers included."""
    return np.result_type(*(_promotion_sample(aval) for aval in avals))


def _promotion_sample(aval: ShapeDtype) -> Any:
    return aval.dtype.type(0).item() if aval.weak else aval.dtype
