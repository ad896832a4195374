"""Linear systems: solve, triangular systems, inverses, Cholesky factors, and NumPy's tensor forms of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind1, bind2
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, shape_of
from fgrad.ops.arithmetic import multiply, negative, subtract
from fgrad.ops.contractions import matmul
from fgrad.ops.declare import lead_axes, stands_for, untraced_by
from fgrad.ops.matrices import (
    batch_matrices,
    conj_transpose,
    conjugate_of,
    hermitian_part,
    matrix_dtype,
    real_dtype,
    require_examples,
    require_square,
)
from fgrad.ops.shaping import matrix_transpose, moveaxis, tril, triu
from fgrad.ops.structure import fit_tangent, reshape_to, unbroadcast

__all__ = ["cho_solve", "cholesky", "inv", "solve", "solve_triangular", "tensorinv", "tensorsolve"]

Array = np.ndarray[Any, Any]


# The two primitives that solve systems share their rules. With T the matrix of the system (all of A, or its triangle),
# X = T^-1 B, so dX = T^-1 (dB - dT X), and the cotangents are W = T^-T G of B and -W X^T of T.


def _system_rule(a: ShapeDtype, b: ShapeDtype, **params: bool) -> ShapeDtype:
    shape = require_square(a, "the first")
    if not b.shape:
        message = "the second must be a vector, or a stack of matrices of as many rows as the first has"
        raise ShapeError(message)
    rows, place = (b.shape[0], "only axis") if b.ndim == 1 else (b.shape[-2], "second to last")
    if rows != shape[-1]:
        message = f"the matrices of the first have {shape[-1]} rows, the {place} of the second has length {rows}"
        if b.ndim > 1 and b.shape[-1] == shape[-1]:
            message += "; a stack of vectors is written b[..., None], since only a b of one axis is a vector"
        raise ShapeError(message)
    if b.ndim == 1:
        return ShapeDtype(shape[:-1], matrix_dtype(a, b))
    try:
        stack = np.broadcast_shapes(shape[:-2], b.shape[:-2])
    except ValueError:
        message = f"the leading axes {shape[:-2]} and {b.shape[:-2]} cannot be broadcast together"
        raise ShapeError(message) from None
    return ShapeDtype((*stack, *b.shape[-2:]), matrix_dtype(a, b))


def _transposed(params: dict[str, bool]) -> dict[str, bool]:
    return {**params, "lower": not params["lower"]} if params else params


def _read_part(a: Any, lower: bool | None = None, unit_diagonal: bool = False) -> Any:
    """What the system reads of a matrix: all of it, or a triangle with or without its diagonal."""
    if lower is None:
        return a
    return tril(a, -int(unit_diagonal)) if lower else triu(a, int(unit_diagonal))


def _as_column(x: Any) -> Any:
    return reshape_to(x, (*shape_of(x), 1))


def _outer_columns(w: Any, x: Any, a: Any) -> Any:
    """W X^T, summed over the axes of a stack along which one matrix `a` is repeated."""
    if len(shape_of(w)) == 1:
        return multiply(_as_column(w), x)
    if len(shape_of(a)) == 2 and len(shape_of(w)) > 2:
        rows = shape_of(a)[-1]
        w, x = (
            reshape_to(moveaxis(one, -2, 0), (rows, product(shape_of(one)) // rows if rows else 0)) for one in (w, x)
        )
    return matmul(w, matrix_transpose(x))


def _system_vjp(solver: Primitive, g: Any, needed: Any, out: Any, a: Any, b: Any, **params: bool) -> tuple[Any, Any]:
    if stacked_vector := len(shape_of(b)) == 1 < len(shape_of(a)) - 1:
        g, out = _as_column(g), _as_column(out)
    w = bind(solver, matrix_transpose(a), g, **_transposed(params))
    matrix_cotangent = None
    if needed[0]:
        matrix_cotangent = unbroadcast(_read_part(negative(_outer_columns(w, out, a)), **params), a)
    if not needed[1]:
        return matrix_cotangent, None
    return matrix_cotangent, unbroadcast(reshape_to(w, w.shape[:-1]) if stacked_vector else w, b)


def _system_jvp(solver: Primitive, tangents: Any, out: Any, a: Any, b: Any, **params: bool) -> Any:
    stacked_vector = len(shape_of(b)) == 1 < len(shape_of(a)) - 1
    matrix_tangent, right = tangents
    if right is not None and stacked_vector:
        right = _as_column(right)
    if matrix_tangent is not None:
        solution = _as_column(out) if stacked_vector else out
        moved = matmul(_read_part(matrix_tangent, **params), solution)
        right = negative(moved) if right is None else subtract(right, moved)
    found = bind(solver, a, right, **params)
    return fit_tangent(reshape_to(found, found.shape[:-1]) if stacked_vector else found, out)


def _batch_system(primitive: Primitive, batched: tuple[bool, ...], a: Any, b: Any, **params: bool) -> Any:
    require_examples(primitive, batched, a, b, **params)
    a_rank, b_rank = len(shape_of(a)) - batched[0], len(shape_of(b)) - batched[1]
    if not batched[0]:
        # The examples are columns of one system: the matrix is factorised once.
        if b_rank == 1:
            return moveaxis(bind(primitive, a, matrix_transpose(b), **params), -1, 0)
        size, *stack, rows, columns = shape_of(b)
        side_by_side = reshape_to(moveaxis(b, 0, -2), (*stack, rows, size * columns))
        found = bind(primitive, a, side_by_side, **params)
        return moveaxis(reshape_to(found, (*found.shape[:-1], size, columns)), -2, 0)
    if not batched[1]:
        return bind(primitive, lead_axes(a, b_rank) if b_rank > a_rank else a, b, **params)
    if b_rank == 1:
        found = bind(primitive, a, lead_axes(_as_column(b), a_rank), **params)
        return reshape_to(found, found.shape[:-1])
    rank = max(a_rank, b_rank)
    return bind(primitive, lead_axes(a, rank), lead_axes(b, rank), **params)


def _declare_solver(name: str, evaluate: Callable[..., Any]) -> Primitive:
    """A primitive that solves systems, with the rules that all of them share."""
    primitive = register(
        Primitive(
            name,
            evaluate,
            _system_rule,
            lambda *args, **params: _system_vjp(primitive, *args, **params),
            lambda *args, **params: _system_jvp(primitive, *args, **params),
            batch=_batch_system,
        )
    )
    return primitive


def _solve_side_by_side(solve: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """A stack of right sides of one matrix as the columns of one system, so that it is factorised once."""
    if a.ndim != 2 or b.ndim < 3 or not b.size:
        return solve(a, b)
    columns = np.moveaxis(b, -2, 0)
    return np.moveaxis(solve(a, columns.reshape(len(a), -1)).reshape(columns.shape), 0, -2)


def _evaluate_solve(a: Array, b: Array) -> Array:
    if b.ndim < 3 or a.shape[-1:] != b.shape[-2:-1]:
        return np.linalg.solve(a, b)
    return _solve_side_by_side(np.linalg.solve, a, b)


solve_p = _declare_solver("solve", _evaluate_solve)


@stands_for(np.linalg.solve)
def solve(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The solution x of the linear system a x = b.

    a (..., n, n) with b (n,) gives x (..., n); b (..., n, k) gives (..., n, k), with leading axes broadcast. As in
    NumPy 2 only a b of one axis is a vector; a stack of vectors is written ``b[..., None]``. The cotangent of b is
    w = a^-T g, by one more solve, and that of a is -w x^T. One matrix with many right sides is factorised once, under
    vmap too. Integers and booleans give float64.

    Raises:
        ShapeError: a is not square, b has another number of rows, or leading axes do not broadcast.
        DtypeError: float16 or extended precision.
        LinAlgError: a matrix is exactly singular; it is NumPy's class.

    >>> import fgrad as fg
    >>> fg.linalg.solve(fg.asarray([[3.0, 1.0], [1.0, 2.0]]), fg.asarray([9.0, 8.0]))
    Tensor([2., 3.], dtype=float64)
    """
    return bind2(solve_p, as_operand(a), as_operand(b))


# Triangular systems. LAPACK's general solver with partial pivoting finds every pivot of an upper triangle on the
# diagonal and has nothing to eliminate, so what it does is the backward substitution itself, with its accuracy; a lower
# triangle becomes an upper one when the order of rows and columns is reversed. Its elimination of zeros is cubic
# in the size, so large triangles are taken in diagonal blocks of this size, and the rest is matrix products.
_BLOCK = 64


def _evaluate_triangular(a: Array, b: Array, lower: bool, unit_diagonal: bool) -> Array:
    if b.ndim == 1:
        return _evaluate_triangular(a, b[:, np.newaxis], lower, unit_diagonal)[..., 0]
    if a.shape[-2] != b.shape[-2] or a.shape[-2] != a.shape[-1]:
        message = "the shapes do not fit"
        raise ValueError(message)
    if lower:
        a, b = a[..., ::-1, ::-1], b[..., ::-1, :]
    solve_upper = functools.partial(_solve_upper, unit_diagonal=unit_diagonal)
    found = _solve_side_by_side(solve_upper, a, b)
    return found[..., ::-1, :] if lower else found


def _solve_upper(a: Array, b: Array, unit_diagonal: bool) -> Array:
    size = a.shape[-1]
    if size <= _BLOCK:
        return np.linalg.solve(_upper_triangle(a, unit_diagonal), b)
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*stack, *b.shape[-2:]), matrix_dtype(a, b))
    for stop in range(size, 0, -_BLOCK):
        start = max(stop - _BLOCK, 0)
        known = a[..., start:stop, stop:] @ out[..., stop:, :]
        block = _upper_triangle(a[..., start:stop, start:stop], unit_diagonal)
        out[..., start:stop, :] = np.linalg.solve(block, b[..., start:stop, :] - known)
    return out


def _upper_triangle(a: Array, unit_diagonal: bool) -> Array:
    size = a.shape[-1]
    # where, and no product with a mask: what stands in the other triangle may be NaN.
    above: Array = np.where(np.tri(size, k=0 if unit_diagonal else -1, dtype=bool), a.dtype.type(0), a)
    return above + np.eye(size, dtype=a.dtype) if unit_diagonal else above


solve_triangular_p = _declare_solver("solve_triangular", _evaluate_triangular)

# SciPy's names of what is done to the matrix, as (transposed, conjugated).
_TRANSPOSITIONS = {
    0: (False, False), "N": (False, False), 1: (True, False), "T": (True, False), 2: (True, True), "C": (True, True)
}  # fmt: skip


def solve_triangular(
    a: ArrayLike,
    b: ArrayLike,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
) -> Tensor:
    """The solution x of t x = b, by substitution, with t a triangle of a; the other triangle is not read.

    a (..., n, n) with b (n,) or (..., n, k), leading axes broadcast, as in `solve`. The cotangents are those of
    `solve`; that of a is zero in the triangle that is not read, and on the diagonal if `unit_diagonal`.

    Args:
        a: the matrices.
        b: the right sides.
        trans: 0 or "N" for t x = b, 1 or "T" for t^T x = b, 2 or "C" for t^H x = b.
        lower: t is the lower triangle; the upper one otherwise.
        unit_diagonal: the diagonal is taken as ones and not read.

    Raises:
        ShapeError: shapes do not fit, as in `solve`, or `trans` is none of these.
        LinAlgError: there is a zero on the diagonal.

    >>> import fgrad as fg
    >>> fg.linalg.solve_triangular(fg.asarray([[2.0, 0.0], [1.0, 4.0]]), fg.asarray([2.0, 9.0]), lower=True)
    Tensor([1., 2.], dtype=float64)
    """
    if trans not in _TRANSPOSITIONS:
        message = f"[solve_triangular] trans is 0, 1, 2, 'N', 'T' or 'C', not {trans!r}"
        raise ShapeError(at_user_line(message))
    transposed, conjugated = _TRANSPOSITIONS[trans]
    matrix: Any = as_operand(a)
    if transposed and len(shape_of(matrix)) > 1:
        matrix = conj_transpose(matrix) if conjugated else matrix_transpose(matrix)
    read_lower = bool(lower) != transposed
    return bind(solve_triangular_p, matrix, as_operand(b), lower=read_lower, unit_diagonal=bool(unit_diagonal))


# Inverses.


def _square_rule(x: ShapeDtype) -> ShapeDtype:
    return ShapeDtype(require_square(x), matrix_dtype(x))


def _inv_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    adjoint = matrix_transpose(out)
    return (unbroadcast(negative(matmul(matmul(adjoint, g), adjoint)), x),)


def _inv_jvp(tangents: Any, out: Any, x: Any) -> Any:
    return fit_tangent(negative(matmul(matmul(out, tangents[0]), out)), out)


inv_p = register(Primitive("inv", np.linalg.inv, _square_rule, _inv_vjp, _inv_jvp, batch=batch_matrices))


@stands_for(np.linalg.inv)
def inv(a: ArrayLike) -> Tensor:
    """The inverse of a matrix, or of each matrix in a stack (..., n, n).

    The cotangent is -x^T g x^T, with x the inverse. To solve a system, `solve` is more accurate and takes less time.

    Raises:
        ShapeError: the last two axes differ, or there are fewer than two.
        DtypeError: float16 or extended precision.
        LinAlgError: a matrix is exactly singular.

    >>> import fgrad as fg
    >>> fg.linalg.inv(fg.asarray([[2.0, 0.0], [0.0, 4.0]]))
    Tensor([[0.5 , 0.  ],
            [0.  , 0.25]], dtype=float64)
    """
    return bind1(inv_p, as_operand(a))


# Cholesky factors. With A = L L^H, dL = L phi(L^-1 dA L^-H), where phi takes the lower triangle and half the diagonal
# (Murray, Differentiation of the Cholesky decomposition, 2016, section 3.1). Only one triangle is read, but the
# derivative is that of a function of Hermitian matrices: half of an entry's cotangent goes to each of its two places.


def _half_lower(x: Any) -> Any:
    size = shape_of(x)[-1]
    dtype = real_dtype(x.dtype)
    return multiply(x, np.tri(size, dtype=dtype) - np.eye(size, dtype=dtype) / dtype.type(2))


def _solve_lower(factor: Any, right: Any) -> Any:
    return bind(solve_triangular_p, factor, right, lower=True, unit_diagonal=False)


def _solve_upper_of(factor: Any, right: Any) -> Any:
    return bind(solve_triangular_p, factor, right, lower=False, unit_diagonal=False)


def _cholesky_vjp(g: Any, needed: Any, out: Any, x: Any, upper: bool) -> tuple[Any]:
    if upper:
        g, out = conj_transpose(g), conj_transpose(out)
    adjoint = matrix_transpose(out)
    # L^-T phi(L^T G) conj(L)^-1, the second factor by a solve with its transpose.
    left = _solve_upper_of(adjoint, _half_lower(matmul(adjoint, g)))
    both = matrix_transpose(_solve_upper_of(conjugate_of(adjoint), matrix_transpose(left)))
    return (unbroadcast(hermitian_part(both), x),)


def _cholesky_jvp(tangents: Any, out: Any, x: Any, upper: bool) -> Any:
    factor = conj_transpose(out) if upper else out
    left = _solve_lower(factor, hermitian_part(tangents[0]))
    found = matmul(factor, _half_lower(conj_transpose(_solve_lower(factor, conj_transpose(left)))))
    return fit_tangent(conj_transpose(found) if upper else found, out)


cholesky_p = register(
    Primitive(
        "cholesky",
        lambda x, upper: np.linalg.cholesky(x, upper=upper),
        lambda x, upper: _square_rule(x),
        _cholesky_vjp,
        _cholesky_jvp,
        batch=batch_matrices,
    )
)


@stands_for(np.linalg.cholesky)
def cholesky(a: ArrayLike, /, *, upper: bool = False) -> Tensor:
    """The Cholesky factor of a Hermitian positive definite matrix, or of each in a stack (..., n, n).

    It is the lower triangular l with a = l l^H and a positive diagonal; with `upper`, l^H. As in NumPy only the lower
    triangle of a is read, or the upper one. The derivative is that of a function of Hermitian matrices: the cotangent
    of a is Hermitian (symmetric for a real a), half of it in the triangle that is not read, and a tangent counts with
    its Hermitian part.

    Raises:
        ShapeError: the last two axes differ, or there are fewer than two.
        DtypeError: float16 or extended precision.
        LinAlgError: a matrix is not positive definite.

    >>> import fgrad as fg
    >>> fg.linalg.cholesky(fg.asarray([[4.0, 2.0], [2.0, 5.0]]))
    Tensor([[2., 0.],
            [1., 2.]], dtype=float64)
    """
    return bind(cholesky_p, as_operand(a), upper=bool(upper))


def cho_solve(c_and_lower: tuple[ArrayLike, bool], b: ArrayLike) -> Tensor:
    """The solution x of a x = b, from a Cholesky factor of a: two triangular systems.

    Args:
        c_and_lower: the factor c, and whether it is the lower one (a = c c^H) or the upper one (a = c^H c); only that
            triangle is read, and derivatives pass to it.
        b: the right sides, (n,) or (..., n, k), as in `solve`.

    Raises:
        ShapeError: shapes do not fit, as in `solve`.
        LinAlgError: there is a zero on the diagonal.

    >>> import fgrad as fg
    >>> factor = fg.linalg.cholesky(fg.asarray([[4.0, 2.0], [2.0, 5.0]]))
    >>> fg.linalg.cho_solve((factor, True), fg.asarray([6.0, 7.0]))
    Tensor([1., 1.], dtype=float64)
    """
    factor, lower = c_and_lower
    matrix, right = as_operand(factor), as_operand(b)
    vector = len(shape_of(right)) == 1 < len(shape_of(matrix)) - 1
    first = solve_triangular(matrix, right, 0 if lower else 2, lower)
    # The solutions of the first are a stack of vectors if the factors are a stack.
    second = solve_triangular(matrix, _as_column(first) if vector else first, 2 if lower else 0, lower)
    return reshape_to(second, second.shape[:-1]) if vector else second


# NumPy's forms for tensors of any rank: axes taken together as the rows and columns of one matrix.


@stands_for(np.linalg.tensorsolve)
@untraced_by(np.linalg.tensorsolve)
def tensorsolve(a: ArrayLike, b: ArrayLike, axes: Iterable[int] | None = None) -> Tensor:
    """The tensor x with ``tensordot(a, x, x.ndim) == b``: a linear system whose unknowns have several axes.

    Args:
        a: the coefficients: the axes of b, followed by those of x; their products must be equal.
        b: the right side, of any shape.
        axes: axes of a to move to its end first.

    Raises:
        ShapeError: the shapes do not make a square system.
        LinAlgError: the system is singular.

    >>> import fgrad as fg
    >>> a = fg.reshape(fg.eye(6), (2, 3, 6))
    >>> fg.linalg.tensorsolve(a, fg.ones((2, 3)))
    Tensor([1., 1., 1., 1., 1., 1.], dtype=float64)
    """
    coefficients: Any = as_operand(a)
    right = as_operand(b)
    rank = len(shape_of(coefficients))
    if axes is not None:
        moved = [axis_index(axis, rank, "tensorsolve") for axis in axes]
        coefficients = moveaxis(coefficients, moved, list(range(rank - len(moved), rank)))
    unknowns = shape_of(coefficients)[len(shape_of(right)) :]
    rows = product(shape_of(right))
    if product(unknowns) != rows or product(shape_of(coefficients)) != rows * rows:
        message = (
            f"[tensorsolve] on {shape_dtype_of(coefficients)} and {shape_dtype_of(right)}: {rows} equations for "
            f"{product(unknowns)} unknowns of shape {unknowns}; the axes of the first must be those of the second, "
            f"followed by those of the unknowns, and there must be as many unknowns as equations"
        )
        raise ShapeError(at_user_line(message))
    found = bind2(solve_p, reshape_to(coefficients, (rows, rows)), reshape_to(right, (rows,)))
    return reshape_to(found, unknowns)


@stands_for(np.linalg.tensorinv)
@untraced_by(np.linalg.tensorinv)
def tensorinv(a: ArrayLike, ind: int = 2) -> Tensor:
    """The inverse of a as a map from its last axes to its first `ind` ones: tensordot with it undoes tensordot with a.

    The result has the last axes of a first, then the first `ind` of them.

    Raises:
        ShapeError: `ind` is not positive, or the products of the two groups of axes differ.
        LinAlgError: the map is singular.

    >>> import fgrad as fg
    >>> fg.linalg.tensorinv(fg.reshape(fg.eye(6), (6, 2, 3)), ind=1).shape
    (2, 3, 6)
    """
    operand = as_operand(a)
    count = as_integer(ind, "tensorinv", "ind is an integer")
    shape = shape_of(operand)
    rows, columns = shape[:count], shape[count:]
    if count <= 0 or product(rows) != product(columns):
        message = (
            f"[tensorinv] on {shape_dtype_of(operand)}: the first ind={ind} axes, {rows}, and the others, {columns}, "
            f"must have as many elements, and ind must be positive"
        )
        raise ShapeError(at_user_line(message))
    found = bind1(inv_p, reshape_to(operand, (product(rows), product(columns))))
    return reshape_to(found, (*columns, *rows))
