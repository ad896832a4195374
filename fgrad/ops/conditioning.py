"""What singular values tell of a matrix: its rank, and its condition number."""

from __future__ import annotations

from collections.abc import Callable
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind1
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor
from fgrad.ops.arguments import as_operand, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import abs as modulus
from fgrad.ops.arithmetic import add, conj, divide, multiply, negative, real, square, subtract
from fgrad.ops.contractions import matmul
from fgrad.ops.declare import constant, stands_for, untraced_by
from fgrad.ops.decompositions import svd, svdvals, svdvals_jvp, svdvals_p, svdvals_vjp
from fgrad.ops.eigen import as_column
from fgrad.ops.exponential import sqrt
from fgrad.ops.logic import greater, isnan, logical_and, logical_not, not_equal
from fgrad.ops.matrices import batch_matrices, matrix_dtype, real_dtype, require_matrix, require_square
from fgrad.ops.reductions import amax, amin
from fgrad.ops.selection import where
from fgrad.ops.shaping import matrix_transpose
from fgrad.ops.structure import convert, fit_tangent, reduce_sum, reshape_to, stop_gradient, unbroadcast

__all__ = ["cond", "matrix_rank"]

Array = np.ndarray[Any, Any]


def _rank_rule(x: ShapeDtype, **params: Any) -> ShapeDtype:
    matrix_dtype(x)
    return ShapeDtype(x.shape[:-2], np.dtype(np.intp))


def _batch_rank(primitive: Primitive, batched: tuple[bool, ...], x: Any, **params: Any) -> Any:
    size, *shape = shape_of(x)
    if len(shape) < 2:
        # Vectors: matrices of one row have the rank 1 unless they are zero, if the tolerance is.
        x, params = reshape_to(x, (size, 1, product(shape))), {"tol": 0, "hermitian": False, "rtol": None}
    return bind(primitive, x, **params)


def _evaluate_rank(x: Array, tol: float | None, hermitian: bool, rtol: float | None) -> Any:
    if not x.size:
        return np.zeros(x.shape[:-2], np.intp)  # NumPy before 2.4 refuses it
    return np.asarray(np.linalg.matrix_rank(x, tol, hermitian, rtol=rtol), np.intp)


matrix_rank_p = constant("matrix_rank", _evaluate_rank, _rank_rule, batch=_batch_rank)


def _is_plain(tolerance: Any) -> bool:
    return tolerance is None or type(tolerance) in PYTHON_NUMBERS


@stands_for(np.linalg.matrix_rank)
def matrix_rank(
    A: ArrayLike,
    tol: ArrayLike | None = None,
    hermitian: bool = False,
    *,
    rtol: ArrayLike | None = None,
) -> Tensor:
    """The number of singular values above a tolerance, an integer, of a matrix or of each in a stack (..., m, n).

    It is constant wherever it does not jump, and carries no gradient. A vector or a number has rank 1, or 0 if it is
    zero.

    Args:
        A: the matrices.
        tol: the tolerance; it broadcasts against the stack.
        hermitian: A is Hermitian, and its eigenvalues serve.
        rtol: the tolerance relative to the largest singular value; by default max(m, n) times the distance of 1 to the
            next number of the dtype.

    Raises:
        ShapeError: both tol and rtol are given.
        DtypeError: float16 or extended precision.

    >>> import fgrad as fg
    >>> fg.linalg.matrix_rank(fg.asarray([[1.0, 2.0], [2.0, 4.0]]))
    Tensor(1, dtype=int64)
    """
    if tol is not None and rtol is not None:
        message = "[matrix_rank] tol is absolute and rtol relative to the largest singular value; give one of them"
        raise ShapeError(at_user_line(message))
    x: Any = as_operand(A)
    if _is_plain(tol) and _is_plain(rtol):
        return bind(matrix_rank_p, x, tol=tol, hermitian=bool(hermitian), rtol=rtol)
    x = stop_gradient(x)
    shape = shape_of(x)
    if len(shape) < 2:
        return amax(convert(not_equal(x, 0), np.dtype(np.int_)), initial=0)
    sizes: Any = svd(x, compute_uv=False, hermitian=bool(hermitian))
    limit: Any
    if tol is not None:
        limit = _over_axis(tol)
    else:
        limit = multiply(amax(sizes, axis=-1, keepdims=True, initial=0), _over_axis(rtol))
    above = greater(sizes, limit)
    return reduce_sum(above, (len(shape_of(above)) - 1,))


def _over_axis(tolerance: Any) -> Any:
    tolerance = stop_gradient(as_operand(tolerance))
    return as_column(tolerance)


# The inverse of a singular matrix, in place of an error: NaN, as NumPy has it inside of cond.


def _evaluate_inverse_or_nan(x: Array) -> Array:
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
            raise
    if x.ndim > 2:
        found = [_evaluate_inverse_or_nan(one) for one in x.reshape(-1, *x.shape[-2:])]
        return np.asarray(found).reshape(x.shape)
    return np.full(x.shape, np.nan, matrix_dtype(shape_dtype_of(x)))


def _inverse_or_nan_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    transposed = matrix_transpose(out)
    return (unbroadcast(negative(matmul(matmul(transposed, g), transposed)), x),)


inverse_or_nan_p = register(
    Primitive(
        "inverse_or_nan",
        _evaluate_inverse_or_nan,
        lambda x: ShapeDtype(require_square(x), matrix_dtype(x)),
        _inverse_or_nan_vjp,
        lambda tangents, out, x: fit_tangent(negative(matmul(matmul(out, tangents[0]), out)), out),
        batch=batch_matrices,
    )
)


def _frobenius(x: Any) -> Any:
    squares = real(multiply(x, conj(x))) if dtype_of(x).kind == "c" else square(x)
    return sqrt(reduce_sum(squares, (len(shape_of(x)) - 2, len(shape_of(x)) - 1)))


def _nuclear(x: Any) -> Any:
    """The sum of the singular values; NaN where an element is, which LAPACK refuses."""
    missing = isnan(_frobenius(stop_gradient(x)))
    total = reduce_sum(svdvals(where(as_column(as_column(missing)), 0, x)), (len(shape_of(x)) - 2,))
    return where(missing, np.nan, total)


def _sums(x: Any, axis: int) -> Any:
    return reduce_sum(modulus(x), (len(shape_of(x)) + axis,))


_NORMS: dict[Any, Callable[[Any], Any]] = {
    "fro": _frobenius,
    "nuc": _nuclear,
    1: lambda x: amax(_sums(x, -2), axis=-1),
    -1: lambda x: amin(_sums(x, -2), axis=-1),
    np.inf: lambda x: amax(_sums(x, -1), axis=-1),
    -np.inf: lambda x: amin(_sums(x, -1), axis=-1),
}


# The quotient c of the largest and the smallest singular value, s / t: dc = (ds - c dt) / t.


def _ends(s: Any, p: int) -> tuple[Any, Any]:
    first, last = s[..., 0], s[..., -1]
    return (last, first) if p == -2 else (first, last)


def _cond_vjp(g: Any, needed: Any, out: Any, x: Any, p: int) -> tuple[Any]:
    s = bind(svdvals_p, x)
    _, below = _ends(s, p)
    by_above = divide(g, below)
    by_below = negative(multiply(by_above, out))
    ends = np.eye(shape_of(s)[-1], dtype=dtype_of(s))
    above_place, below_place = (ends[-1], ends[0]) if p == -2 else (ends[0], ends[-1])
    by_s = add(multiply(as_column(by_above), above_place), multiply(as_column(by_below), below_place))
    return svdvals_vjp(by_s, needed, s, x)


def _cond_jvp(tangents: Any, out: Any, x: Any, p: int) -> Any:
    s = bind(svdvals_p, x)
    above, below = _ends(svdvals_jvp(tangents, s, x), p)
    return fit_tangent(divide(subtract(above, multiply(out, below)), _ends(s, p)[1]), out)


condition_number_p = register(
    Primitive(
        "condition_number",
        np.linalg.cond,
        lambda x, p: ShapeDtype(require_matrix(x)[:-2], real_dtype(matrix_dtype(x))),
        _cond_vjp,
        _cond_jvp,
        batch=batch_matrices,
    )
)


def _composed_cond(x: Any, p: float | str) -> Any:
    norm = _NORMS[p]
    # The squares and sums of small integers do not fit their dtype.
    x = x if is_inexact(dtype_of(x)) else convert(x, np.dtype(float))
    # As in NumPy, a singular matrix is no reason for a warning.
    with np.errstate(all="ignore"):
        found = multiply(norm(x), norm(bind1(inverse_or_nan_p, x)))
    if type(found) is ConcreteTensor and not np.isnan(found._array).any():
        return found
    # A NaN that does not come from x comes from its inverse.
    unexplained = logical_and(isnan(found), logical_not(isnan(_frobenius(stop_gradient(x)))))
    return where(unexplained, np.inf, found)


def _rounds_otherwise(x: Any, p: Any = None) -> bool:
    """Whether NumPy, in this release or another, takes the norm of the inverse in another dtype."""
    return p not in (None, 2, -2) and dtype_of(as_operand(x)).char not in "dilqbhBHILQ?"


@stands_for(np.linalg.cond)
@untraced_by(np.linalg.cond, unless=_rounds_otherwise)
def cond(x: ArrayLike, p: float | str | None = None) -> Tensor:
    """The condition number of a matrix, or of each in a stack: (..., m, n) to (...).

    For p None or 2 the largest singular value over the smallest, for -2 the reverse; the others are norm(x, p) times
    norm(inv(x), p), of square matrices. At a singular matrix it is infinite (0 for -2), a pole where no derivative is
    chosen.

    Args:
        x: the matrices.
        p: the order of the norm: None, 2, -2, 1, -1, inf, -inf, "fro" or "nuc".

    Raises:
        ShapeError: x has fewer than two axes, is not square for a p that needs it, or p is none of these.
        DtypeError: float16 or extended precision.
        LinAlgError: the matrix is empty; it is NumPy's class.

    >>> import fgrad as fg
    >>> fg.linalg.cond(fg.asarray([[4.0, 0.0], [0.0, 2.0]]))
    Tensor(2., dtype=float64)
    """
    operand = as_operand(x)
    shape = shape_of(operand)
    if 0 in shape and 0 in shape[-2:]:
        message = at_user_line(f"[cond] on {shape_dtype_of(operand)}: an empty matrix has no condition number")
        raise np.linalg.LinAlgError(message)
    if p is None or p in (2, -2):
        return bind(condition_number_p, operand, p=-2 if p == -2 else 2)
    if p not in _NORMS:
        message = f"[cond] p is None, 2, -2, 1, -1, inf, -inf, 'fro' or 'nuc', not {p!r}"
        raise ShapeError(at_user_line(message))
    if len(shape) < 2 or shape[-1] != shape[-2]:
        message = f"[cond] on {shape_dtype_of(operand)}: for p={p!r} a matrix must be square; p=2 takes any"
        raise ShapeError(at_user_line(message))
    return _composed_cond(operand, p)
