"""Eigenvalues and eigenvectors: eigh and eigvalsh of Hermitian matrices, eig and eigvals of any."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fgrad.core.bind import bind, bind1
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, shape_of
from fgrad.ops.arithmetic import add, multiply, negative, real, square, subtract
from fgrad.ops.contractions import diagonal_p, matmul
from fgrad.ops.declare import as_batch, batch_size, batch_stacked, constant, stands_for
from fgrad.ops.indexing import take_along_axis
from fgrad.ops.linear_systems import solve_p
from fgrad.ops.matrices import (
    batch_matrices,
    conj_transpose,
    conjugate_of,
    hermitian_part,
    matrix_dtype,
    real_dtype,
    require_square,
)
from fgrad.ops.shaping import matrix_transpose
from fgrad.ops.structure import fit_tangent, reduce_sum, reshape_to, unbroadcast

__all__ = ["EigResult", "EighResult", "eig", "eigh", "eigvals", "eigvalsh"]

Array = np.ndarray[Any, Any]


class EighResult(NamedTuple):
    """What `eigh` returns: the eigenvalues, real and ascending, and the eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EigResult(NamedTuple):
    """What `eig` returns: the eigenvalues and the eigenvectors as columns, both complex."""

    eigenvalues: Tensor
    eigenvectors: Tensor


# What the rules share.


def as_row(values: Any) -> Any:
    """The last axis as rows of one-row matrices: it scales the columns of what it multiplies."""
    *stack, length = shape_of(values)
    return reshape_to(values, (*stack, 1, length))


def as_column(values: Any) -> Any:
    """The last axis as columns of one-column matrices: it scales the rows of what it multiplies."""
    return reshape_to(values, (*shape_of(values), 1))


def diagonal_of(x: Any) -> Any:
    """The diagonal of each matrix."""
    rank = len(shape_of(x))
    return bind(diagonal_p, x, offset=0, axis1=rank - 2, axis2=rank - 1)


def batch_decomposition(primitive: Primitive, batched: tuple[bool, ...], x: Any, **params: Any) -> Any:
    """`batch_matrices` with multiple results."""
    found = batch_matrices(primitive, batched, x, **params)
    return found, [True] * len(found)


# Eigenvectors turn into each other at rates 1 / (w_j - w_i), singular vectors at those and at 1 / (s_j + s_i). A gap
# that is zero up to the rounding of the decomposition, which is relative to the largest of the numbers (Golub and Van
# Loan, Matrix Computations, 4th edition, section 8.1), tells nothing of the rate; 0 takes its place. NumPy computes in
# double precision, and rounds each result to its dtype.

_EPSILON = float(np.finfo(np.float64).eps)


def _evaluate_reciprocal_gaps(w: Array, sums: bool) -> Array:
    column, row = w[..., :, np.newaxis], w[..., np.newaxis, :]
    gaps = row + column if sums else row - column
    sizes = np.abs(w)
    largest = sizes.max(axis=-1, initial=0, keepdims=True)[..., np.newaxis] * (_EPSILON * w.shape[-1])
    pairs = np.maximum(sizes[..., :, np.newaxis], sizes[..., np.newaxis, :]) * np.finfo(w.dtype).eps
    out = np.zeros_like(gaps)
    return np.divide(1, gaps, out=out, where=~(np.abs(gaps) <= largest + pairs))


def _reciprocal_gaps_vjp(g: Any, needed: Any, out: Any, w: Any, sums: bool) -> tuple[Any]:
    rate = negative(multiply(g, square(out)))
    rank = len(shape_of(rate))
    by_row, by_column = reduce_sum(rate, (rank - 2,)), reduce_sum(rate, (rank - 1,))
    return (add(by_row, by_column) if sums else subtract(by_row, by_column),)


def _reciprocal_gaps_jvp(tangents: Any, out: Any, w: Any, sums: bool) -> Any:
    row, column = as_row(tangents[0]), as_column(tangents[0])
    return negative(multiply(square(out), add(row, column) if sums else subtract(row, column)))


reciprocal_gaps_p = register(
    Primitive(
        "reciprocal_gaps",
        _evaluate_reciprocal_gaps,
        lambda w, sums: ShapeDtype((*w.shape, w.shape[-1]), w.dtype),
        _reciprocal_gaps_vjp,
        _reciprocal_gaps_jvp,
        batch=batch_stacked,
    )
)


# Hermitian matrices. With A = V W V^H and M = V^H dA V: dW = diag(M), and dV = V (F * M) with F_ij = 1 / (w_j - w_i)
# and 0 on the diagonal (Giles, An extended collection of matrix derivative results, 2008, section 3.1). V^H dV has the
# diagonal 0: that is the gauge.


def _eigh_rule(x: ShapeDtype, lower: bool) -> tuple[ShapeDtype, ShapeDtype]:
    shape, dtype = require_square(x), matrix_dtype(x)
    return ShapeDtype(shape[:-1], real_dtype(dtype)), ShapeDtype(shape, dtype)


def _eigh_vjp(g: Any, needed: Any, out: Any, x: Any, lower: bool) -> tuple[Any]:
    by_values, by_vectors = g
    values, vectors = out
    conjugate = conjugate_of(vectors)
    terms: Any = None
    if by_vectors is not None:
        rates = bind(reciprocal_gaps_p, values, sums=False)
        terms = matmul(conjugate, multiply(rates, matmul(matrix_transpose(vectors), by_vectors)))
    if by_values is not None:
        scaled = multiply(conjugate, as_row(by_values))
        terms = scaled if terms is None else add(terms, scaled)
    return (unbroadcast(hermitian_part(matmul(terms, matrix_transpose(vectors))), x),)


def _eigh_jvp(tangents: Any, out: Any, x: Any, lower: bool) -> tuple[Any, Any]:
    values, vectors = out
    moved = matmul(matmul(conj_transpose(vectors), hermitian_part(tangents[0])), vectors)
    turned = matmul(vectors, multiply(bind(reciprocal_gaps_p, values, sums=False), moved))
    return fit_tangent(real(diagonal_of(moved)), values), fit_tangent(turned, vectors)


eigh_p = register(
    Primitive(
        "eigh",
        lambda x, lower: np.linalg.eigh(x, "L" if lower else "U"),
        _eigh_rule,
        _eigh_vjp,
        _eigh_jvp,
        batch=batch_decomposition,
        multiple_results=True,
    )
)


def _eigvalsh_vjp(g: Any, needed: Any, out: Any, x: Any, lower: bool) -> tuple[Any]:
    _, vectors = bind(eigh_p, x, lower=lower)
    scaled = multiply(conjugate_of(vectors), as_row(g))
    return (unbroadcast(hermitian_part(matmul(scaled, matrix_transpose(vectors))), x),)


def _eigvalsh_jvp(tangents: Any, out: Any, x: Any, lower: bool) -> Any:
    _, vectors = bind(eigh_p, x, lower=lower)
    moved = multiply(conjugate_of(vectors), matmul(hermitian_part(tangents[0]), vectors))
    return fit_tangent(real(reduce_sum(moved, (len(shape_of(moved)) - 2,))), out)


eigvalsh_p = register(
    Primitive(
        "eigvalsh",
        lambda x, lower: np.linalg.eigvalsh(x, "L" if lower else "U"),
        lambda x, lower: _eigh_rule(x, lower)[0],
        _eigvalsh_vjp,
        _eigvalsh_jvp,
        batch=batch_matrices,
    )
)

_TRIANGLES = {"L": True, "l": True, "U": False, "u": False}


def _reads_lower(triangle: str, operation: str) -> bool:
    if triangle not in _TRIANGLES:
        message = f"[{operation}] UPLO is 'L' for the lower or 'U' for the upper triangle, not {triangle!r}"
        raise ShapeError(at_user_line(message))
    return _TRIANGLES[triangle]


@stands_for(np.linalg.eigh)
def eigh(a: ArrayLike, UPLO: str = "L") -> EighResult:
    """The eigenvalues and eigenvectors of a Hermitian (symmetric) matrix, or of each in a stack (..., n, n).

    a = v diag(w) v^H with w (..., n) real and ascending, and v (..., n, n) unitary, the eigenvectors its columns; the
    result is a named tuple of `eigenvalues` and `eigenvectors`. As in NumPy only one triangle of a is read. Integers
    and booleans give float64.

    The derivative is that of a function of Hermitian matrices: the cotangent of a is Hermitian (symmetric for a real
    a), half of it in the triangle that is not read, and a tangent counts with its Hermitian part. To differentiate by
    one triangle alone, build the whole matrix from it first.

    An eigenvector is determined up to its sign, or its phase in the complex case. The derivative is in the gauge in
    which v^H dv has a diagonal of zeros; functions that do not depend on signs and phases have the same derivative in
    every gauge, and others have no derivative. Eigenvectors of equal eigenvalues, up to rounding, may be exchanged for
    any others that span the same space; the term 1 / (w_j - w_i) by which they turn into each other is taken as 0. So
    everything stays finite, functions of the eigenvalues that treat them alike have their derivative, as have those
    of the space, and the second derivative leaves out what those two would contribute to each other.

    Args:
        a: the matrices.
        UPLO: the triangle that is read, "L" for the lower or "U" for the upper one.

    Raises:
        ShapeError: the last two axes differ, there are fewer than two, or UPLO is neither.
        DtypeError: float16 or extended precision.
        LinAlgError: the iteration does not converge; it is NumPy's class.

    >>> import fgrad as fg
    >>> fg.linalg.eigh(fg.asarray([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    Tensor([1., 2.], dtype=float64)
    """
    return EighResult(*bind(eigh_p, as_operand(a), lower=_reads_lower(UPLO, "eigh")))


@stands_for(np.linalg.eigvalsh)
def eigvalsh(a: ArrayLike, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a Hermitian (symmetric) matrix, real and ascending, or of each in a stack (..., n, n).

    The cotangent of a is conj(v) diag(g) v^T with the eigenvectors v, which `eigh` computes when a derivative is asked
    for; see there for the triangle that is read and for equal eigenvalues. Sums of functions of the eigenvalues have
    their derivative wherever eigenvalues meet.

    Args:
        a: the matrices.
        UPLO: the triangle that is read, "L" for the lower or "U" for the upper one.

    Raises:
        ShapeError: the last two axes differ, there are fewer than two, or UPLO is neither.
        DtypeError: float16 or extended precision.
        LinAlgError: the iteration does not converge.

    >>> import fgrad as fg
    >>> fg.grad(lambda a: fg.linalg.eigvalsh(a)[1])(fg.asarray([[0.0, 1.0], [1.0, 0.0]]))
    Tensor([[0.5, 0.5],
            [0.5, 0.5]], dtype=float64)
    """
    return bind(eigvalsh_p, as_operand(a), lower=_reads_lower(UPLO, "eigvalsh"))


# Any matrices. With A V = V W and M = V^-1 dA V: dW = diag(M), and dV = V (F * M) as above, but for the multiple of
# each column that keeps v^H dv = 0, and so the length 1.


def _complex_dtype(x: ShapeDtype) -> np.dtype[Any]:
    return np.dtype(matrix_dtype(x).char.upper())


def _eig_rule(x: ShapeDtype) -> tuple[ShapeDtype, ShapeDtype]:
    shape, dtype = require_square(x), _complex_dtype(x)
    return ShapeDtype(shape[:-1], dtype), ShapeDtype(shape, dtype)


_COMPLEX = {char: np.dtype(char.upper()) for char in "fdgFDG"}


def _as_complex(x: Array) -> Array:
    return x.astype(_COMPLEX[x.dtype.char], copy=False)


def _evaluate_eig(x: Array) -> tuple[Array, Array]:
    values, vectors = np.linalg.eig(x)
    return _as_complex(values), _as_complex(vectors)


def _column_sums(x: Any) -> Any:
    return as_row(reduce_sum(x, (len(shape_of(x)) - 2,)))


def _eig_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    by_values, by_vectors = g
    values, vectors = out
    rows = matrix_transpose(vectors)
    terms: Any = None
    if by_vectors is not None:
        along = _column_sums(multiply(by_vectors, vectors))
        across = subtract(by_vectors, multiply(conjugate_of(vectors), along))
        terms = matmul(multiply(bind(reciprocal_gaps_p, values, sums=False), matmul(rows, across)), rows)
    if by_values is not None:
        scaled = multiply(as_column(by_values), rows)
        terms = scaled if terms is None else add(terms, scaled)
    return (unbroadcast(bind(solve_p, rows, terms), x),)


def _eig_jvp(tangents: Any, out: Any, x: Any) -> tuple[Any, Any]:
    values, vectors = out
    moved = bind(solve_p, vectors, matmul(tangents[0], vectors))
    turned = matmul(vectors, multiply(bind(reciprocal_gaps_p, values, sums=False), moved))
    along = _column_sums(multiply(conjugate_of(vectors), turned))
    return (
        fit_tangent(diagonal_of(moved), values),
        fit_tangent(subtract(turned, multiply(vectors, along)), vectors),
    )


eig_p = register(
    Primitive("eig", _evaluate_eig, _eig_rule, _eig_vjp, _eig_jvp, batch=batch_decomposition, multiple_results=True)
)


# LAPACK may return the eigenvalues in another order when it is not asked for eigenvectors, so the rules of eigvals
# pair the two up: nearest first, and equal ones in their order.


def _evaluate_nearest_order(values: Array, others: Array) -> Array:
    size = values.shape[-1]
    distances = np.abs(values[..., :, np.newaxis] - others[..., np.newaxis, :]).reshape(-1, size, size)
    order = np.zeros(distances.shape[:2], np.intp)
    example = np.arange(len(distances))
    for _ in range(size):
        place, other = np.divmod(distances.reshape(-1, size * size).argmin(axis=1), size)
        order[example, place] = other
        distances[example, place, :] = np.inf
        distances[example, :, other] = np.inf
    return order.reshape(values.shape)


def _batch_nearest_order(primitive: Primitive, batched: tuple[bool, ...], *operands: Any) -> Any:
    size = batch_size(batched, operands)
    return bind(primitive, *[as_batch(operand, own, size) for operand, own in zip(operands, batched, strict=True)])


nearest_order_p = constant(
    "nearest_order",
    _evaluate_nearest_order,
    lambda values, others: ShapeDtype(values.shape, np.dtype(np.intp)),
    batch=_batch_nearest_order,
)


def _vectors_in_order(values: Any, x: Any) -> Any:
    others, vectors = bind(eig_p, x)
    order = bind(nearest_order_p, values, others)
    return take_along_axis(vectors, as_row(order), -1)


def _eigvals_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    rows = matrix_transpose(_vectors_in_order(out, x))
    return (unbroadcast(bind(solve_p, rows, multiply(as_column(g), rows)), x),)


def _eigvals_jvp(tangents: Any, out: Any, x: Any) -> Any:
    vectors = _vectors_in_order(out, x)
    return fit_tangent(diagonal_of(bind(solve_p, vectors, matmul(tangents[0], vectors))), out)


eigvals_p = register(
    Primitive(
        "eigvals",
        lambda x: _as_complex(np.linalg.eigvals(x)),
        lambda x: _eig_rule(x)[0],
        _eigvals_vjp,
        _eigvals_jvp,
        batch=batch_matrices,
    )
)


@stands_for(np.linalg.eig)
def eig(a: ArrayLike) -> EigResult:
    """The eigenvalues and right eigenvectors of a square matrix, or of each in a stack (..., n, n).

    a v = v diag(w), the columns of v of length 1; the result is a named tuple of `eigenvalues` (..., n), in no order in
    particular, and `eigenvectors` (..., n, n). Both are always complex, complex64 for float32 and complex64 and
    complex128 otherwise. NumPy makes them real when all imaginary parts happen to be zero; here a dtype never depends
    on values, so that `grad`, `vmap` and graphs see what one sees without them. ``fg.real(w)`` takes the real parts,
    and `eigh` is for Hermitian matrices.

    The derivative is in the gauge v^H dv = 0: the length 1 is kept, and the phase is. Functions that do not depend on
    the phases of the eigenvectors have the same derivative in every gauge, and others have no derivative. The term
    1 / (w_j - w_i) of equal eigenvalues, up to rounding, is taken as 0, as in `eigh`. Where a matrix has no basis of
    eigenvectors (at [[0, 1], [0, 0]]) the eigenvalues move like a square root and have no derivative.

    Raises:
        ShapeError: the last two axes differ, or there are fewer than two.
        DtypeError: float16 or extended precision.
        LinAlgError: a has NaN or infinite elements, or the iteration does not converge; in a derivative, the
            eigenvectors are no basis. It is NumPy's class.

    >>> import fgrad as fg
    >>> fg.linalg.eig(fg.asarray([[0.0, 1.0], [-1.0, 0.0]])).eigenvalues
    Tensor([0.+1.j, 0.-1.j], dtype=complex128)
    """
    return EigResult(*bind(eig_p, as_operand(a)))


@stands_for(np.linalg.eigvals)
def eigvals(a: ArrayLike) -> Tensor:
    """The eigenvalues of a square matrix, in no order in particular, or of each in a stack (..., n, n).

    Always complex, see `eig`. With the eigenvectors v, which are computed when a derivative is asked for, the cotangent
    of a is v^-T diag(g) v^T; for a real a its real part.

    Raises:
        ShapeError: the last two axes differ, or there are fewer than two.
        DtypeError: float16 or extended precision.
        LinAlgError: as for `eig`.

    >>> import fgrad as fg
    >>> fg.grad(lambda a: fg.sum(fg.real(fg.linalg.eigvals(a) ** 2)))(fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([[2., 6.],
            [4., 8.]], dtype=float64)
    """
    return bind1(eigvals_p, as_operand(a))
