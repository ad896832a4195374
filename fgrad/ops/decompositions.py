"""Orthogonal decompositions: qr, svd and svdvals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fgrad.core.bind import bind, bind1
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt
from fgrad.ops.arguments import as_operand, dtype_of, shape_of
from fgrad.ops.arithmetic import abs as modulus
from fgrad.ops.arithmetic import add, multiply, negative, real, subtract
from fgrad.ops.contractions import matmul
from fgrad.ops.declare import stands_for
from fgrad.ops.eigen import (
    as_row,
    batch_decomposition,
    diagonal_of,
    eigh,
    eigvalsh,
    reciprocal_gaps_p,
)
from fgrad.ops.indexing import take_along_axis
from fgrad.ops.joining import concatenate
from fgrad.ops.linear_systems import solve_triangular_p
from fgrad.ops.logic import greater
from fgrad.ops.matrices import (
    batch_matrices,
    conj_transpose,
    conjugate_of,
    matrix_dtype,
    real_dtype,
    require_matrix,
)
from fgrad.ops.reductions import amax
from fgrad.ops.selection import where
from fgrad.ops.shaping import flip, matrix_transpose, triu
from fgrad.ops.sorting import argsort
from fgrad.ops.structure import convert, fit_tangent, reduce_sum, stop_gradient, unbroadcast

__all__ = ["QRResult", "SVDResult", "qr", "svd", "svdvals"]

Array = np.ndarray[Any, Any]

_EPSILON = float(np.finfo(np.float64).eps)


class QRResult(NamedTuple):
    """What `qr` returns: orthonormal columns Q and an upper triangle R."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """What `svd` returns: the left singular vectors as columns, the singular values, the right ones as rows."""

    U: Tensor
    S: Tensor
    Vh: Tensor


# How an orthonormal basis moves. Its first k columns turn among themselves by a skew-Hermitian matrix, and turn towards
# what is not in their span by the part of `change` (m, k) that is orthogonal to them. Columns that complete them to a
# basis of the whole space turn by what keeps all of it unitary, and not among themselves: that is the gauge.


def _turn(basis: Any, turning: Any, change: Any) -> Any:
    """The tangent of a basis, of k columns or of all m."""
    rows, columns = shape_of(basis)[-2:]
    count = shape_of(turning)[-1]
    if rows == count:
        return matmul(basis, turning)
    if columns == count:
        outside = subtract(change, matmul(basis, matmul(conj_transpose(basis), change)))
        return add(matmul(basis, turning), outside)
    first, rest = basis[..., :count], basis[..., count:]
    towards = matmul(conj_transpose(rest), change)
    tangent = add(matmul(first, turning), matmul(rest, towards))
    return concatenate([tangent, negative(matmul(first, conj_transpose(towards)))], axis=-1)


def _turn_back(basis: Any, g: Any, count: int) -> tuple[Any, Any]:
    """The cotangents of turning and change; the latter is None where the basis is of the whole space and k = m."""
    rows, columns = shape_of(basis)[-2:]
    if rows == count:
        return matmul(matrix_transpose(basis), g), None
    if columns == count:
        turning = matmul(matrix_transpose(basis), g)
        return turning, subtract(g, matmul(conjugate_of(basis), turning))
    first, rest = basis[..., :count], basis[..., count:]
    by_first, by_rest = g[..., :count], g[..., count:]
    towards = subtract(
        matmul(matrix_transpose(rest), by_first),
        conj_transpose(matmul(matrix_transpose(first), by_rest)),
    )
    return matmul(matrix_transpose(first), by_first), matmul(conjugate_of(rest), towards)


def _half_lower(size: int, dtype: np.dtype[Any]) -> Array:
    """Ones below the diagonal, halves on it."""
    parts = real_dtype(dtype)
    half: Array = np.tri(size, dtype=parts) - np.eye(size, dtype=parts) / parts.type(2)
    return half


# QR. With Y = dA R^-1 and C = Q^H Y, Q turns by W = L - L^H for the lower triangle L of C, with half of its diagonal,
# so that (C - W) R = dR is an upper triangle with a real diagonal; and Y is the change of Q. A wide A = [A1 A2] has
# Y = dA1 R1^-1, and the same dR = Q^H dA - W R. (Walter and Lehmann, Algorithmic differentiation of linear algebra
# functions with application in optimum experimental design, 2013, has the tall case.) A pivot of R that is zero up to
# rounding has no say in how Q turns: its column of Y is taken as 0.


def _qr_rule(x: ShapeDtype, complete: bool) -> tuple[ShapeDtype, ShapeDtype]:
    (*stack, rows, columns), dtype = require_matrix(x), matrix_dtype(x)
    count = rows if complete else min(rows, columns)
    return ShapeDtype((*stack, rows, count), dtype), ShapeDtype((*stack, count, columns), dtype)


def _pivoted(r: Any, rows: int) -> tuple[Any, Any]:
    """The square part of R, columns of the identity in place of those of zero pivots, and 1 for the others' places."""
    size, columns = shape_of(r)[-2:]
    size = min(size, columns)
    square_part = r[..., :size, :size]
    sizes = modulus(stop_gradient(r))
    largest = amax(sizes, axis=(-2, -1), keepdims=True, initial=0.0)
    kept = greater(as_row(diagonal_of(sizes)), multiply(largest, _EPSILON * max(rows, columns)))
    return where(kept, square_part, np.eye(size, dtype=dtype_of(r))), convert(kept, real_dtype(dtype_of(r)))


def _qr_tangents(tangent: Any, out: Any, shape: Shape) -> tuple[Any, Any]:
    q, r = out
    rows, columns = shape[-2:]
    size = min(rows, columns)
    triangle, kept = _pivoted(r, rows)
    system = matrix_transpose(multiply(tangent[..., :size], kept))
    change = matrix_transpose(
        bind(solve_triangular_p, matrix_transpose(triangle), system, lower=True, unit_diagonal=False)
    )
    adjoint = conj_transpose(q[..., :size])
    lower = multiply(matmul(adjoint, change), _half_lower(size, dtype_of(r)))
    turning = subtract(lower, conj_transpose(lower))
    upper = triu(subtract(matmul(adjoint, tangent), matmul(turning, r[..., :size, :])))
    return _turn(q, turning, change), _fill(upper, r, -2)


def _fill(part: Any, whole: Any, axis: int) -> Any:
    """The part, with zeros behind it along an axis up to the length of the whole."""
    shape = list(shape_of(part))
    shape[axis] = shape_of(whole)[axis] - shape[axis]
    return concatenate([part, np.zeros(shape, dtype_of(part))], axis=axis) if shape[axis] else part


def _qr_cotangent(g: Any, out: Any, x: Any) -> Any:
    (by_q, by_r), (q, r) = g, out
    rows, columns = shape_of(x)[-2:]
    size = min(rows, columns)
    triangle, kept = _pivoted(r, rows)
    conjugate = conjugate_of(q[..., :size])
    direct: Any = None
    by_turning: Any = None
    by_change: Any = None
    if by_q is not None:
        by_turning, by_change = _turn_back(q, by_q, size)
    if by_r is not None:
        upper = triu(by_r[..., :size, :])
        direct = matmul(conjugate, upper)
        moved = negative(matmul(upper, matrix_transpose(r[..., :size, :])))
        by_turning = moved if by_turning is None else add(by_turning, moved)
    skew = subtract(by_turning, conj_transpose(by_turning))
    inner = matmul(conjugate, multiply(skew, _half_lower(size, dtype_of(r))))
    by_change = inner if by_change is None else add(by_change, inner)
    system = matrix_transpose(by_change)
    solved = bind(solve_triangular_p, triangle, system, lower=False, unit_diagonal=False)
    through = _fill(multiply(matrix_transpose(solved), kept), x, -1)
    return unbroadcast(through if direct is None else add(through, direct), x)


def _qr_vjp(g: Any, needed: Any, out: Any, x: Any, complete: bool) -> tuple[Any]:
    return (_qr_cotangent(g, out, x),)


def _qr_jvp(tangents: Any, out: Any, x: Any, complete: bool) -> tuple[Any, ...]:
    found = _qr_tangents(tangents[0], out, shape_of(x))
    return tuple([fit_tangent(tangent, part) for tangent, part in zip(found, out, strict=True)])


qr_p = register(
    Primitive(
        "qr",
        lambda x, complete: np.linalg.qr(x, "complete" if complete else "reduced"),
        _qr_rule,
        _qr_vjp,
        _qr_jvp,
        batch=batch_decomposition,
        multiple_results=True,
    )
)


def _qr_triangle_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    return (_qr_cotangent((None, g), bind(qr_p, x, complete=False), x),)


def _qr_triangle_jvp(tangents: Any, out: Any, x: Any) -> Any:
    return fit_tangent(_qr_tangents(tangents[0], bind(qr_p, x, complete=False), shape_of(x))[1], out)


qr_triangle_p = register(
    Primitive(
        "qr_triangle",
        lambda x: np.linalg.qr(x, "r"),
        lambda x: _qr_rule(x, False)[1],
        _qr_triangle_vjp,
        _qr_triangle_jvp,
        batch=batch_matrices,
    )
)


@stands_for(np.linalg.qr)
def qr(a: ArrayLike, mode: str = "reduced") -> Any:
    """The decomposition a = q r into orthonormal columns q and an upper triangle r, of (..., m, n) in stacks.

    With k = min(m, n), mode "reduced" gives q (..., m, k) and r (..., k, n), and "complete" q (..., m, m) and
    r (..., m, n), as a named tuple of `Q` and `R`; "r" gives r (..., k, n) alone. LAPACK chooses the signs of the
    diagonal of r, which is real, and the derivative keeps them. Integers and booleans give float64.

    There are derivatives of tall, square and wide matrices. The columns of q beyond the k-th, in a complete q, are
    determined only up to a rotation among themselves; the derivative is in the gauge in which they do not turn into
    each other, so that it is right for functions of the space that they span. Where the first k columns of a are
    linearly dependent, up to rounding, q is not determined: a pivot of r that is 0 turns nothing (0 instead of 1/0),
    and every derivative stays finite.

    Args:
        a: the matrices.
        mode: "reduced", "complete" or "r". NumPy's "raw", the reflectors of LAPACK, has no counterpart.

    Raises:
        ShapeError: a has fewer than two axes, or there is no such mode.
        DtypeError: float16 or extended precision.

    >>> import fgrad as fg
    >>> q, r = fg.linalg.qr(fg.asarray([[3.0, 1.0], [4.0, 2.0]]))
    >>> fg.allclose(q @ r, fg.asarray([[3.0, 1.0], [4.0, 2.0]]))
    True
    """
    if mode == "r":
        return bind1(qr_triangle_p, as_operand(a))
    if mode not in ("reduced", "complete"):
        message = f"[qr] mode is 'reduced', 'complete' or 'r', not {mode!r}"
        if mode == "raw":
            message += "; LAPACK's reflectors have no derivative here, take them of np.asarray(fg.stop_gradient(a))"
        raise ShapeError(at_user_line(message))
    return QRResult(*bind(qr_p, as_operand(a), complete=mode == "complete"))


# Singular values. With A = U S V^H, X = U^H dA V, and X = H + K in its Hermitian and its skew part: dS = Re diag(X), U
# turns by H * D + K * E and V by H * D - K * E, where D_ij = 1 / (s_j - s_i) and E_ij = 1 / (s_j + s_i). The change of
# U is dA V S^-1, that of V is dA^H U S^-1. (The usual form, as in Giles 2008, section 3.2, divides by s_j^2 - s_i^2;
# this is the same with common factors cancelled.) The gauge: u^H du + v^H dv = 0 for every pair of vectors.


def _svd_rule(x: ShapeDtype, full_matrices: bool) -> tuple[ShapeDtype, ShapeDtype, ShapeDtype]:
    (*stack, rows, columns), dtype = require_matrix(x), matrix_dtype(x)
    count = min(rows, columns)
    return (
        ShapeDtype((*stack, rows, rows if full_matrices else count), dtype),
        ShapeDtype((*stack, count), real_dtype(dtype)),
        ShapeDtype((*stack, columns if full_matrices else count, columns), dtype),
    )


def _is_positive(s: Any) -> Any:
    """1 where a singular value is positive beyond rounding, 0 elsewhere: there it has a corner like that of abs."""
    s = stop_gradient(s)
    limit = multiply(amax(s, axis=-1, keepdims=True, initial=0.0), _EPSILON * shape_of(s)[-1])
    return convert(greater(s, limit), dtype_of(s))


def _svd_tangents(tangent: Any, u: Any, s: Any, vh: Any) -> tuple[Any, Any, Any]:
    count = shape_of(s)[-1]
    gaps, sums = bind(reciprocal_gaps_p, s, sums=False), bind(reciprocal_gaps_p, s, sums=True)
    v = conj_transpose(vh)
    left, right = matmul(tangent, v[..., :count]), matmul(conj_transpose(tangent), u[..., :count])
    moved = matmul(conj_transpose(u[..., :count]), left)
    adjoint = conj_transpose(moved)
    symmetric = multiply(multiply(add(moved, adjoint), gaps), 0.5)
    skew = multiply(multiply(subtract(moved, adjoint), sums), 0.5)
    reciprocal = as_row(multiply(diagonal_of(sums), 2.0))
    u_tangent = _turn(u, add(symmetric, skew), multiply(left, reciprocal))
    v_tangent = _turn(v, subtract(symmetric, skew), multiply(right, reciprocal))
    s_tangent = multiply(real(diagonal_of(moved)), _is_positive(s))
    return u_tangent, s_tangent, conj_transpose(v_tangent)


def _svd_vjp(g: Any, needed: Any, out: Any, x: Any, full_matrices: bool) -> tuple[Any]:
    by_u, by_s, by_vh = g
    u, s, vh = out
    count = shape_of(s)[-1]
    gaps, sums = bind(reciprocal_gaps_p, s, sums=False), bind(reciprocal_gaps_p, s, sums=True)
    reciprocal = as_row(multiply(diagonal_of(sums), 2.0))
    left, right = conjugate_of(u[..., :count]), conjugate_of(vh[..., :count, :])
    by_u_turning = by_v_turning = by_change_u = by_change_v = None
    if by_u is not None:
        by_u_turning, by_change_u = _turn_back(u, by_u, count)
    if by_vh is not None:
        by_v_turning, by_change_v = _turn_back(conj_transpose(vh), conj_transpose(by_vh), count)
    terms = []
    if by_u_turning is not None or by_v_turning is not None:
        terms.append(matmul(left, _by_moved(by_u_turning, by_v_turning, gaps, sums)))
    if by_s is not None:
        terms.append(multiply(left, as_row(multiply(by_s, _is_positive(s)))))
    if by_change_u is not None:
        terms.append(multiply(by_change_u, reciprocal))
    total = terms[0] if len(terms) == 1 else _total(terms)
    cotangent = matmul(total, right)
    if by_change_v is not None:
        cotangent = add(cotangent, matmul(left, conj_transpose(multiply(by_change_v, reciprocal))))
    return (unbroadcast(cotangent, x),)


def _total(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = add(total, term)
    return total


def _by_moved(by_u: Any, by_v: Any, gaps: Any, sums: Any) -> Any:
    """The cotangent of X out of those of how U and V turn."""
    if by_v is None:
        both, difference = by_u, by_u
    elif by_u is None:
        both, difference = by_v, negative(by_v)
    else:
        both, difference = add(by_u, by_v), subtract(by_u, by_v)
    symmetric, skew = multiply(both, gaps), multiply(difference, sums)
    found = add(add(symmetric, conj_transpose(symmetric)), subtract(skew, conj_transpose(skew)))
    return multiply(found, 0.5)


def _svd_jvp(tangents: Any, out: Any, x: Any, full_matrices: bool) -> tuple[Any, ...]:
    found = _svd_tangents(tangents[0], *out)
    return tuple([fit_tangent(tangent, part) for tangent, part in zip(found, out, strict=True)])


svd_p = register(
    Primitive(
        "svd",
        lambda x, full_matrices: np.linalg.svd(x, full_matrices=full_matrices),
        _svd_rule,
        _svd_vjp,
        _svd_jvp,
        batch=batch_decomposition,
        multiple_results=True,
    )
)


def svdvals_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    u, _, vh = bind(svd_p, x, full_matrices=False)
    scaled = multiply(conjugate_of(u), as_row(multiply(g, _is_positive(out))))
    return (unbroadcast(matmul(scaled, conjugate_of(vh)), x),)


def svdvals_jvp(tangents: Any, out: Any, x: Any) -> Any:
    u, _, vh = bind(svd_p, x, full_matrices=False)
    moved = multiply(conjugate_of(u), matmul(tangents[0], conj_transpose(vh)))
    along = real(reduce_sum(moved, (len(shape_of(moved)) - 2,)))
    return fit_tangent(multiply(along, _is_positive(out)), out)


svdvals_p = register(
    Primitive(
        "svdvals",
        lambda x: np.linalg.svd(x, compute_uv=False),
        lambda x: _svd_rule(x, False)[1],
        svdvals_vjp,
        svdvals_jvp,
        batch=batch_matrices,
    )
)


@stands_for(np.linalg.svd)
def svd(
    a: ArrayLike,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
) -> Any:
    """The singular value decomposition a = u diag(s) vh, of (..., m, n) in stacks.

    s (..., k), k = min(m, n), is real, not negative and descending. u is (..., m, m) and vh (..., n, n), both unitary,
    or, without `full_matrices`, u (..., m, k) and vh (..., k, n). The result is a named tuple of `U`, `S` and `Vh`.
    Integers and booleans give float64.

    A pair of singular vectors is determined up to a common sign, or phase in the complex case. The derivative is in the
    gauge u^H du + v^H dv = 0; functions that do not depend on signs and phases have the same derivative in every gauge,
    and others have none. Vectors that complete a full u or vh are determined up to a rotation among themselves; here
    they do not turn into each other, so that the derivative is right for functions of the space that they span.

    Terms 1 / (s_j - s_i) of equal and 1 / (s_j + s_i) of zero singular values, up to rounding, are taken as 0, so
    everything stays finite. A singular value of 0 has a corner, as abs has: its derivative is taken as 0. Functions
    that treat equal singular values alike have their derivative.

    Args:
        a: the matrices.
        full_matrices: whether u and vh are square.
        compute_uv: whether to return u and vh; otherwise s alone is returned, as by `svdvals`.
        hermitian: a is Hermitian, and `eigh` is used, which reads its lower triangle.

    Raises:
        ShapeError: a has fewer than two axes, or is not square though Hermitian.
        DtypeError: float16 or extended precision.
        LinAlgError: the iteration does not converge; it is NumPy's class.

    >>> import fgrad as fg
    >>> fg.linalg.svd(fg.asarray([[0.0, 2.0], [1.0, 0.0]])).S
    Tensor([2., 1.], dtype=float64)
    """
    operand = as_operand(a)
    if hermitian:
        return _hermitian_svd(operand) if compute_uv else _hermitian_svdvals(operand)
    if not compute_uv:
        return bind1(svdvals_p, operand)
    return SVDResult(*bind(svd_p, operand, full_matrices=bool(full_matrices)))


def _without_corners(values: Any) -> Any:
    """Eigenvalues, with no derivative where they are 0 up to rounding: there their moduli have corners."""
    return where(greater(_is_positive(modulus(values)), 0), values, stop_gradient(values))


def _hermitian_svd(a: Any) -> SVDResult:
    values, vectors = eigh(a)
    if type(values) is ConcreteTensor and type(vectors) is ConcreteTensor:
        return SVDResult(*map(adopt, _from_eigenvalues(values._array, vectors._array)))
    order = flip(argsort(modulus(values), stable=False), axis=-1)
    values = take_along_axis(values, order, -1)
    vectors = take_along_axis(vectors, as_row(order), -1)
    # The sign of a zero is taken as +.
    signs = where(greater(0, values), -1.0, 1.0).astype(values.dtype)
    return SVDResult(vectors, modulus(_without_corners(values)), conj_transpose(multiply(vectors, as_row(signs))))


def _from_eigenvalues(values: Any, vectors: Any) -> tuple[Any, Any, Any]:
    """What the rest of `_hermitian_svd` computes, with NumPy."""
    order = np.abs(values).argsort(-1)[..., ::-1]
    values = np.take_along_axis(values, order, -1)
    vectors = np.take_along_axis(vectors, order[..., np.newaxis, :], -1)
    signs = np.where(values < 0, -1.0, 1.0).astype(values.dtype)
    return vectors, np.abs(values), (vectors * signs[..., np.newaxis, :]).conj().swapaxes(-1, -2)


def _hermitian_svdvals(a: Any) -> Tensor:
    sizes = modulus(_without_corners(eigvalsh(a)))
    return take_along_axis(sizes, flip(argsort(sizes), axis=-1), -1)


@stands_for(np.linalg.svdvals)
def svdvals(x: ArrayLike, /) -> Tensor:
    """The singular values of a matrix, not negative and descending, or of each in a stack: (..., m, n) to (..., k).

    The cotangent of x is conj(u) diag(g) conj(vh), with the vectors that `svd` computes when a derivative is asked for.
    A singular value of 0, up to rounding, has a corner as abs has, and contributes nothing. The sum of the singular
    values therefore has, at a matrix of low rank, the smallest of its subgradients.

    Raises:
        ShapeError: x has fewer than two axes.
        DtypeError: float16 or extended precision.
        LinAlgError: the iteration does not converge.

    >>> import fgrad as fg
    >>> fg.grad(lambda x: fg.sum(fg.linalg.svdvals(x)))(fg.asarray([[0.0, 2.0], [-1.0, 0.0]]))
    Tensor([[ 0.,  1.],
            [-1.,  0.]], dtype=float64)
    """
    return bind1(svdvals_p, as_operand(x))
