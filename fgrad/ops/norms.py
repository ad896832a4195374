"""Norms of vectors and matrices, of every order, with a derivative of 0 wherever a norm is 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, axis_tuple, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import abs as modulus
from fgrad.ops.arithmetic import conj, divide, divide_no_nan, multiply_no_nan, real, sign
from fgrad.ops.declare import batch_over_axes, stands_for
from fgrad.ops.decompositions import svdvals
from fgrad.ops.exponential import power
from fgrad.ops.logic import equal, logical_or, not_equal
from fgrad.ops.reductions import count_elements, max_p, min_p
from fgrad.ops.reductions import max as largest
from fgrad.ops.selection import where
from fgrad.ops.shaping import moveaxis
from fgrad.ops.structure import convert, fit_tangent, reduce_sum, reduced_shape, reshape_to, restore_axes

__all__ = ["matrix_norm", "norm", "vector_norm"]

_add_up: Any = np.add.reduce  # NumPy's stubs have no overload for a keepdims that is a variable
_FLOAT64 = np.dtype(np.float64)

# The primitive below is the norm (sum |x|^p)^(1/p) of every finite order p but 0. Its derivative is
# conj(x) / |x| (|x| / norm)^(p - 1): a quotient of two numbers of like size, which neither overflows nor underflows.


def _evaluate_norm(x: Any, axes: tuple[int, ...], keepdims: bool, order: float) -> Any:
    if order == 2:
        if len(axes) == x.ndim and not keepdims:
            flat = x.ravel()
            if x.dtype.kind != "c":
                return np.sqrt(flat.dot(flat))
            return np.sqrt(flat.real.dot(flat.real) + flat.imag.dot(flat.imag))
        squares = np.square(x) if x.dtype.kind != "c" else (x.conj() * x).real
        return np.sqrt(_add_up(squares, axis=axes, keepdims=keepdims))
    if order == 1:
        return _add_up(np.absolute(x), axis=axes, keepdims=keepdims)
    total = _add_up(np.absolute(x) ** order, axis=axes, keepdims=keepdims)
    return total ** np.reciprocal(order, dtype=total.dtype)


def _norm_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool, order: float) -> ShapeDtype:
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), np.empty(0, x.dtype).real.dtype)


def _norm_gradient(out: Any, x: Any, axes: tuple[int, ...], keepdims: bool, order: float) -> Any:
    """The derivative by each element, with every further derivative of it 0 where the norm, or the element, is 0."""
    conjugate = conj(x) if dtype_of(x).kind == "c" else x
    if order == 1:
        return sign(conjugate)
    restored = restore_axes(out, shape_of(x), axes, keepdims=keepdims)
    # Division by infinity gives 0, and derivatives that are 0.
    divisor = where(equal(restored, 0), np.inf, restored)
    if order == 2:
        return divide_no_nan(conjugate, divisor)
    size = modulus(x)
    flat = logical_or(equal(size, 0), equal(restored, 0))
    ratio = where(flat, 1, divide(size, divisor))
    return where(flat, 0, multiply_no_nan(sign(conjugate), power(ratio, order - 1)))


def _norm_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool, order: float) -> tuple[Any]:
    gradient = _norm_gradient(out, x, axes, keepdims, order)
    return (multiply_no_nan(restore_axes(g, shape_of(x), axes, keepdims=keepdims), gradient),)


def _norm_jvp(tangents: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool, order: float) -> Any:
    (tangent,) = tangents
    terms = multiply_no_nan(tangent, _norm_gradient(out, x, axes, keepdims, order))
    terms = real(terms) if dtype_of(terms).kind == "c" else terms
    return fit_tangent(reduce_sum(terms, axes, keepdims=keepdims), out)


norm_p: Primitive = register(
    Primitive("vector_norm", _evaluate_norm, _norm_rule, _norm_vjp, _norm_jvp, batch=batch_over_axes)
)


def _inexact_operand(x: Any) -> Any:
    operand = as_operand(x)
    return operand if is_inexact(dtype_of(operand)) else convert(operand, _FLOAT64)


def _extremum(x: Any, axes: tuple[int, ...], keepdims: bool, *, least: bool) -> Any:
    if least or count_elements(shape_of(x), axes):
        return bind(min_p if least else max_p, x, axes=axes, keepdims=keepdims)
    return largest(x, axes, keepdims=keepdims, initial=0)  # no elements have the norm 0, as in NumPy


def _refuse_order(operation: str, order: Any, kind: str, known: str) -> ShapeError:
    message = f"[{operation}] there is no norm of order {order!r} for {kind}; there are {known}"
    return ShapeError(at_user_line(message))


def _norm_of_vectors(x: Any, order: Any, axes: tuple[int, ...], keepdims: bool, operation: str) -> Any:
    if order is None or order == 2:
        return bind(norm_p, x, axes=axes, keepdims=keepdims, order=2.0)
    if isinstance(order, str):
        raise _refuse_order(operation, order, "vectors", "all numbers, inf and -inf")
    order = float(order)
    if math.isinf(order):
        return _extremum(modulus(x), axes, keepdims, least=order < 0)
    if order == 0:
        nonzero = convert(not_equal(x, 0), np.empty(0, dtype_of(x)).real.dtype)
        return reduce_sum(nonzero, axes, keepdims=keepdims)
    return bind(norm_p, x, axes=axes, keepdims=keepdims, order=order)


_MATRIX_ORDERS = "None, 'fro', 'nuc', 1, -1, 2, -2, inf and -inf"


def _norm_of_matrices(x: Any, order: Any, rows: int, columns: int, keepdims: bool, operation: str) -> Any:
    """The norms of the matrices whose axes are these two, which may stand in either order."""
    shape, both = shape_of(x), (min(rows, columns), max(rows, columns))
    if order is None or (isinstance(order, str) and order in ("fro", "f")):
        return bind(norm_p, x, axes=both, keepdims=keepdims, order=2.0)
    if order in (1, -1, math.inf, -math.inf):
        added, compared = (rows, columns) if order in (1, -1) else (columns, rows)
        sums = bind(norm_p, x, axes=(added,), keepdims=keepdims, order=1.0)
        place = compared - (compared > added and not keepdims)
        return _extremum(sums, (place,), keepdims, least=order < 0)
    if order in (2, -2) or (isinstance(order, str) and order == "nuc"):
        values = svdvals(x if (rows, columns) == (len(shape) - 2, len(shape) - 1) else moveaxis(x, both, (-2, -1)))
        last = (len(values.shape) - 1,)
        found = reduce_sum(values, last) if order == "nuc" else _extremum(values, last, False, least=order == -2)
    else:
        raise _refuse_order(operation, order, "matrices", _MATRIX_ORDERS)
    wanted = reduced_shape(shape, both, keepdims=keepdims)
    return found if found.shape == wanted else reshape_to(found, wanted)


@stands_for(np.linalg.norm)
def norm(x: ArrayLike, ord: Any = None, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    """The norm of a vector or of a matrix, or of those that lie along one axis or along two.

    Of vectors, the order p stands for (sum |x|^p)^(1/p), by default with p = 2; inf and -inf for the largest and the
    smallest |x|, 0 for the number of elements that are not 0. Of matrices, None and "fro" stand for the Frobenius norm
    (sum |x|^2)^(1/2), 1 and -1 for the largest and the smallest sum of |x| over a column, inf and -inf over a row, 2
    and -2 for the largest and the smallest singular value, "nuc" for the sum of all.

    The derivative by x of a vector's norm n is conj(x) / |x| (|x| / n)^(p - 1). It is taken as 0 by an element that is
    0 when p is not 2, and with every further one where n itself is 0. Sums or elements that are equally large, or
    small, share the cotangent evenly. Integers give float64; the norm of complex numbers is real.

    Args:
        x: the numbers.
        ord: the order.
        axis: the axis of the vectors or the two axes of the matrices. Without it x is a vector or a matrix; when `ord`
            is not given either, x has any shape, and its elements are one vector.
        keepdims: whether the axes stay, with length 1.

    Raises:
        ShapeError: an order that does not exist, more than two axes, an axis out of range or named twice, or the
            smallest of no elements.

    >>> import fgrad as fg
    >>> fg.linalg.norm(fg.asarray([3.0, 4.0]))
    Tensor(5., dtype=float64)
    >>> fg.grad(fg.linalg.norm)(fg.asarray([0.0, 0.0]))
    Tensor([0., 0.], dtype=float64)
    """
    operand = _inexact_operand(x)
    rank = len(shape_of(operand))
    if axis is None:
        axes = tuple(range(rank))
        if ord is None:
            return bind(norm_p, operand, axes=axes, keepdims=keepdims, order=2.0)
    else:
        axes = axis_tuple(axis, rank, "norm")
    if len(axes) == 1:
        return _norm_of_vectors(operand, ord, axes, keepdims, "norm")
    if len(axes) != 2:
        message = (
            f"[norm] on {shape_dtype_of(operand)}: a norm of an order is one of vectors, along one axis, or of "
            f"matrices, along two, and not along {len(axes)}; fg.linalg.vector_norm takes the elements of several "
            f"axes as one vector"
        )
        raise ShapeError(at_user_line(message))
    rows, columns = axes if axis is None else [place % rank for place in axis]  # type: ignore[union-attr]
    return _norm_of_matrices(operand, ord, rows, columns, keepdims, "norm")


@stands_for(np.linalg.vector_norm)
def vector_norm(
    x: ArrayLike,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    ord: Any = 2,
) -> Tensor:
    """The norm of the vectors of all elements along the axes, all of them by default; `norm` has the formulas.

    Raises:
        ShapeError: an order that is no number, an axis out of range or named twice, or the smallest of no elements.

    >>> import fgrad as fg
    >>> fg.linalg.vector_norm(fg.asarray([[3.0, -4.0], [1.0, 1.0]]), ord=1, axis=1)
    Tensor([7., 2.], dtype=float64)
    """
    operand = _inexact_operand(x)
    axes = axis_tuple(axis, len(shape_of(operand)), "vector_norm")
    return _norm_of_vectors(operand, ord, axes, keepdims, "vector_norm")


@stands_for(np.linalg.matrix_norm)
def matrix_norm(x: ArrayLike, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The norms of the matrices in the last two axes; `norm` has the formulas.

    Raises:
        ShapeError: an order that does not exist, fewer than two axes, or the smallest of no elements.

    >>> import fgrad as fg
    >>> fg.linalg.matrix_norm(fg.asarray([[1.0, -2.0], [3.0, 4.0]]), ord=1)
    Tensor(6., dtype=float64)
    """
    operand = _inexact_operand(x)
    rank = len(shape_of(operand))
    if rank < 2:
        message = f"[matrix_norm] on {shape_dtype_of(operand)}: a matrix has two axes"
        raise ShapeError(at_user_line(message))
    return _norm_of_matrices(operand, ord, rank - 2, rank - 1, keepdims, "matrix_norm")
