"""What the operations on matrices share: dtypes, checks of shapes, conjugate transposes, Hermitian parts, batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError
from fgrad.core.primitive import Primitive
from fgrad.core.shape import Shape, ShapeDtype, shape_dtype_of
from fgrad.ops.arguments import dtype_of
from fgrad.ops.arithmetic import add, conj, multiply
from fgrad.ops.shaping import matrix_transpose

__all__ = [
    "batch_matrices",
    "conj_transpose",
    "conjugate_of",
    "hermitian_part",
    "inexact_dtype",
    "matrix_dtype",
    "real_dtype",
    "require_examples",
    "require_matrix",
    "require_square",
]

_FLOAT64: np.dtype[Any] = np.dtype(np.float64)
_DTYPES = {char: np.dtype(char) for char in "fdFD"}
_REAL_DTYPES: dict[str, np.dtype[Any]] = {
    "f": np.dtype("f"),
    "d": np.dtype("d"),
    "F": np.dtype("f"),
    "D": np.dtype("d"),
}


def matrix_dtype(*avals: Any) -> np.dtype[Any]:
    """The dtype of NumPy's linear algebra on operands: theirs, float64 for integers and booleans.

    Raises:
        DtypeError: for float16 and extended precision, which LAPACK does not have.
    """
    found: np.dtype[Any] = np.dtype(np.float32)
    for aval in avals:
        dtype = inexact_dtype(aval.dtype)
        if dtype.char not in _DTYPES:
            message = f"linear algebra has no {dtype}: convert with x.astype('float32') or x.astype('float64') first"
            raise DtypeError(message)
        found = np.promote_types(found, dtype)
    return found


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the parts of such numbers."""
    return _REAL_DTYPES[dtype.char]


def inexact_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype itself, float64 for integers and booleans."""
    return _FLOAT64 if dtype.kind in "biu" else dtype


def require_matrix(x: ShapeDtype, name: str = "the operand") -> Shape:
    """The shape, of at least two axes.

    Raises:
        ShapeError: when there are fewer.
    """
    if len(x.shape) < 2:
        message = f"{name} must be a matrix or a stack of matrices, of at least two axes"
        raise ShapeError(message)
    return x.shape


def require_square(x: ShapeDtype, name: str = "the operand") -> Shape:
    """The shape, whose last two axes have one length.

    Raises:
        ShapeError: when they have not.
    """
    shape = require_matrix(x, name)
    if shape[-1] != shape[-2]:
        message = f"{name} must be square in its last two axes, which have lengths {shape[-2]} and {shape[-1]}"
        raise ShapeError(message)
    return shape


def require_examples(primitive: Primitive, batched: tuple[bool, ...], *operands: Any, **params: Any) -> None:
    """Raises what the shape rule has against one example; a batch of vectors would pass for a matrix."""
    avals = [shape_dtype_of(operand) for operand in operands]
    primitive.shape_rule(
        *[ShapeDtype(aval.shape[own:], aval.dtype) for aval, own in zip(avals, batched, strict=True)], **params
    )


def batch_matrices(primitive: Primitive, batched: tuple[bool, ...], x: Any, **params: Any) -> Any:
    """The batching rule of an operation on matrices, whose leading axes are a stack already."""
    require_examples(primitive, batched, x, **params)
    return bind(primitive, x, **params)


def conjugate_of(x: Any) -> Any:
    """The complex conjugate; a real operand as it is."""
    return conj(x) if dtype_of(x).kind == "c" else x


def conj_transpose(x: Any) -> Any:
    """The conjugate transpose of each matrix."""
    return matrix_transpose(conjugate_of(x))


def hermitian_part(x: Any) -> Any:
    """(X + X^H) / 2 of each matrix: the projection on Hermitian matrices, which is its own adjoint."""
    return multiply(add(x, conj_transpose(x)), 0.5)
