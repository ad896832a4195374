"""Least squares: the pseudo-inverse, and lstsq."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, TracerConversionError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_operand, dtype_of, shape_of
from fgrad.ops.arithmetic import abs as modulus
from fgrad.ops.arithmetic import add, negative, square, subtract
from fgrad.ops.contractions import matmul
from fgrad.ops.declare import as_batch, batch_size, lead_axes, stands_for
from fgrad.ops.decompositions import svdvals_p
from fgrad.ops.matrices import (
    conj_transpose,
    conjugate_of,
    hermitian_part,
    inexact_dtype,
    matrix_dtype,
    real_dtype,
    require_examples,
    require_matrix,
    require_square,
)
from fgrad.ops.shaping import matrix_transpose, moveaxis
from fgrad.ops.structure import fit_tangent, reduce_sum, reshape_to, unbroadcast

__all__ = ["lstsq", "pinv"]

Array = np.ndarray[Any, Any]


_EPSILON = float(np.finfo(np.float64).eps)

# The pseudo-inverse P of A has, where the rank does not change, the derivative
#     dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P
# (Golub and Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
# separate, SIAM J. Numer. Anal. 10, 1973, equation 4.12). A square or wide matrix of full rank has A P = I, and so on:
# the last two terms are zero there, up to rounding.


# NumPy's default cut-off of pinv.
_DEFAULT_CUTOFF = to_tensor(1e-15)


def _pinv_rule(x: ShapeDtype, rcond: ShapeDtype, hermitian: bool) -> ShapeDtype:
    *stack, rows, columns = require_square(x) if hermitian else require_matrix(x)
    whole = (*stack,)
    try:
        fits = np.broadcast_shapes(whole, rcond.shape) == whole
    except ValueError:
        fits = False
    if not fits:
        message = f"rcond has shape {rcond.shape}, which does not broadcast to the stack's {whole}"
        raise ShapeError(message)
    return ShapeDtype((*stack, columns, rows), matrix_dtype(x))


def _evaluate_pinv(x: Array, rcond: Array, hermitian: bool) -> Array:
    return np.linalg.pinv(x.astype(matrix_dtype(x), copy=False), rcond, hermitian)


def _pinv_vjp(g: Any, needed: Any, out: Any, x: Any, rcond: Any, hermitian: bool) -> tuple[Any, None]:
    if hermitian:
        x = hermitian_part(x)
    transposed = matrix_transpose(out)
    first = matmul(matmul(transposed, g), transposed)
    adjoint = conj_transpose(g)
    conjugate = conjugate_of(out)
    # conj(I - A P) G^H conj(P) P^T and P^T conj(P) G^H conj(I - P A), without the identity.
    from_left = matmul(matmul(adjoint, conjugate), transposed)
    from_left = subtract(from_left, matmul(conjugate_of(x), matmul(conjugate, from_left)))
    from_right = matmul(matmul(transposed, conjugate), adjoint)
    from_right = subtract(from_right, matmul(matmul(from_right, conjugate), conjugate_of(x)))
    found = subtract(add(from_left, from_right), first)
    return unbroadcast(hermitian_part(found) if hermitian else found, x), None


def _pinv_jvp(tangents: Any, out: Any, x: Any, rcond: Any, hermitian: bool) -> Any:
    change = tangents[0]
    if change is None:
        return None
    if hermitian:
        change, x = hermitian_part(change), hermitian_part(x)
    first = matmul(matmul(out, change), out)
    adjoint, inverse = conj_transpose(change), conj_transpose(out)
    from_left = matmul(out, matmul(inverse, adjoint))
    from_left = subtract(from_left, matmul(matmul(from_left, x), out))
    from_right = matmul(matmul(adjoint, inverse), out)
    from_right = subtract(from_right, matmul(out, matmul(x, from_right)))
    return fit_tangent(subtract(add(from_left, from_right), first), out)


def _batch_pinv(primitive: Primitive, batched: tuple[bool, ...], x: Any, rcond: Any, hermitian: bool) -> Any:
    require_examples(primitive, batched, x, rcond, hermitian=hermitian)
    if batched[1]:
        x = as_batch(x, batched[0], shape_of(rcond)[0])
        rcond = lead_axes(rcond, len(shape_of(x)) - 3)
    return bind(primitive, x, rcond, hermitian=hermitian)


pinv_p = register(Primitive("pinv", _evaluate_pinv, _pinv_rule, _pinv_vjp, _pinv_jvp, batch=_batch_pinv))


@stands_for(np.linalg.pinv)
def pinv(
    a: ArrayLike,
    rcond: ArrayLike | None = None,
    hermitian: bool = False,
    *,
    rtol: ArrayLike | str | None = "unset",
) -> Tensor:
    """The Moore-Penrose pseudo-inverse of a matrix, or of each in a stack: (..., m, n) to (..., n, m).

    Singular values up to `rcond` times the largest one count as zero. The derivative is that among matrices of the
    same rank, which is the only one that exists: at a matrix whose rank is less than min(m, n) the pseudo-inverse
    jumps in most directions.

    Args:
        a: the matrices.
        rcond: the cut-off, a number or one for each matrix of the stack; 1e-15 by default, as NumPy has it.
        hermitian: a is Hermitian, which takes less time; only its lower triangle is read, and the cotangent is
            Hermitian as that of `cholesky`.
        rtol: the array API's name of the same cut-off; None stands for max(m, n) times the machine precision.

    Raises:
        ShapeError: a has fewer than two axes, or `rcond` and `rtol` are both given.
        DtypeError: float16 or extended precision.

    >>> import fgrad as fg
    >>> fg.linalg.pinv(fg.asarray([[2.0, 0.0], [0.0, 0.0]]))
    Tensor([[0.5, 0. ],
            [0. , 0. ]], dtype=float64)
    """
    operand = as_operand(a)
    if rcond is None and isinstance(rtol, str):
        return bind(pinv_p, operand, _DEFAULT_CUTOFF, hermitian=bool(hermitian))
    cutoff: Any = rcond
    given = not isinstance(rtol, str)
    if given and rcond is not None:
        message = "[pinv] rcond and rtol are two names of one cut-off; give one of them"
        raise ShapeError(at_user_line(message))
    if cutoff is None:
        cutoff = rtol
    if cutoff is None:
        cutoff = max(shape_of(operand)[-2:], default=0) * float(np.finfo(inexact_dtype(dtype_of(operand))).eps)
    return bind(pinv_p, operand, as_operand(cutoff), hermitian=bool(hermitian))


# Least squares. With P the pseudo-inverse, X = P B and R = B - A X,
#     dX = P (dB - dA X) + P P^H dA^H R + (I - P A) dA^H P^H X.


def _lstsq_rule(a: ShapeDtype, b: ShapeDtype, rcond: float | None) -> tuple[ShapeDtype, ...]:
    *stack, rows, columns = require_matrix(a, "the first")
    *_, equations, count = require_matrix(b, "the second")
    if rows != equations:
        message = f"the first has {rows} rows and the second has {equations}"
        raise ShapeError(message)
    dtype = matrix_dtype(a, b)
    values = ShapeDtype((*stack, min(rows, columns)), real_dtype(dtype))
    return ShapeDtype((*stack, columns, count), dtype), ShapeDtype((*stack,), np.dtype(np.int32)), values


def _evaluate_lstsq(a: Array, b: Array, rcond: float | None) -> tuple[Any, Any, Any]:
    if a.ndim == 2:
        x, _, rank, values = np.linalg.lstsq(a, b, rcond)
        return x, np.asarray(rank, np.int32), values
    # NumPy has no stacks here; as in its method, by singular values, and in double precision.
    dtype = matrix_dtype(a, b)
    wide = np.promote_types(dtype, np.float64)
    u, s, vh = np.linalg.svd(a.astype(wide), full_matrices=False)
    large = s > _cutoff(a, rcond) * s.max(-1, keepdims=True, initial=0)
    inverse = np.divide(1, s, out=np.zeros_like(s), where=large)
    x = vh.conj().swapaxes(-1, -2) @ (inverse[..., np.newaxis] * (u.conj().swapaxes(-1, -2) @ b))
    return x.astype(dtype), large.sum(-1, dtype=np.int32), s.astype(real_dtype(dtype))


def _evaluate_without_residuals(a: Any, b: Any, rcond: float | None) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """What NumPy gives where there are no residuals; None where it refuses, which `lstsq` explains then."""
    try:
        x, rank, values = _evaluate_lstsq(a, b, rcond)
    except (TypeError, np.linalg.LinAlgError):
        return None
    return adopt(x), adopt(np.zeros(0, values.dtype)), adopt(rank), adopt(values)


def _cutoff(a: Any, rcond: float | None) -> float:
    """The cut-off that lstsq takes these numbers for, in double precision whatever the operands have."""
    if rcond is None:
        return _EPSILON * max(shape_of(a)[-2:])
    return _EPSILON if rcond < 0 else rcond


def _pseudo_inverse(a: Any, rcond: float | None) -> Any:
    return bind(pinv_p, a, as_operand(_cutoff(a, rcond)), hermitian=False)


def _lstsq_vjp(g: Any, needed: Any, out: Any, a: Any, b: Any, rcond: float | None) -> tuple[Any, Any]:
    by_solution, _, by_values = g
    x, _, values = out
    terms: list[Any] = []
    b_cotangent = None
    if by_solution is not None:
        inverse = _pseudo_inverse(a, rcond)
        w = matmul(matrix_transpose(inverse), by_solution)
        b_cotangent = unbroadcast(w, b) if needed[1] else None
        if needed[0]:
            terms += [
                negative(matmul(w, matrix_transpose(x))),
                matmul(conjugate_of(subtract(b, matmul(a, x))), matrix_transpose(matmul(inverse, conjugate_of(w)))),
                matmul(
                    conjugate_of(matmul(conj_transpose(inverse), x)),
                    conj_transpose(subtract(by_solution, matmul(matrix_transpose(a), w))),
                ),
            ]
    if by_values is not None and needed[0]:
        terms.append(svdvals_p.require_vjp()(by_values, (True,), values, a)[0])
    return unbroadcast(functools.reduce(add, terms), a) if terms else None, b_cotangent


def _lstsq_jvp(tangents: Any, out: Any, a: Any, b: Any, rcond: float | None) -> tuple[Any, None, Any]:
    by_a, by_b = tangents
    x, _, values = out
    inverse = _pseudo_inverse(a, rcond)
    if by_a is None:
        return fit_tangent(matmul(inverse, by_b), x), None, None
    adjoint = conj_transpose(by_a)
    moved = negative(matmul(by_a, x))
    rest = subtract(b, matmul(a, x))
    from_kernel = matmul(adjoint, matmul(conj_transpose(inverse), x))
    terms = [
        matmul(inverse, moved if by_b is None else add(by_b, moved)),
        matmul(inverse, matmul(conj_transpose(inverse), matmul(adjoint, rest))),
        subtract(from_kernel, matmul(inverse, matmul(a, from_kernel))),
    ]
    return fit_tangent(functools.reduce(add, terms), x), None, svdvals_p.require_jvp()((by_a,), values, a)


def _batch_lstsq(
    primitive: Primitive, batched: tuple[bool, ...], a: Any, b: Any, rcond: float | None
) -> tuple[tuple[Any, ...], tuple[bool, bool, bool]]:
    require_examples(primitive, batched, a, b, rcond=rcond)
    if not batched[0] and len(shape_of(a)) == 2:
        # The examples are right sides of one problem.
        size, rows, count = shape_of(b)
        side_by_side = reshape_to(moveaxis(b, 0, 1), (rows, size * count))
        x, rank, values = bind(primitive, a, side_by_side, rcond=rcond)
        return (moveaxis(reshape_to(x, (shape_of(a)[1], size, count)), 1, 0), rank, values), (True, False, False)
    size = batch_size(batched, (a, b))
    found = bind(primitive, as_batch(a, batched[0], size), as_batch(b, batched[1], size), rcond=rcond)
    return found, (True, True, True)


lstsq_p = register(
    Primitive("lstsq", _evaluate_lstsq, _lstsq_rule, _lstsq_vjp, _lstsq_jvp, batch=_batch_lstsq, multiple_results=True)
)


@stands_for(np.linalg.lstsq)
def lstsq(
    a: ArrayLike, b: ArrayLike, rcond: float | None = None, *, numpy_resid: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The x of least norm among those that make the norm of b - a x least, with residuals, rank and singular values.

    a (m, n) with b (m,) or (m, k) gives, as NumPy does, the tuple of x (n,) or (n, k); the sums of squares of the
    residuals b - a x of each column, (k,) or (1,), or an empty vector if the rank is less than n or m <= n; the rank of
    a; and its singular values. All but the rank are differentiable; derivatives are those among matrices of the same
    rank (see `pinv`).

    Args:
        a: the coefficients.
        b: the right sides.
        rcond: singular values up to `rcond` times the largest one count as zero; by default max(m, n) times the
            machine precision of float64, and that precision itself for -1.
        numpy_resid: with False the residuals of m > n have their full shape whatever the rank is. That shape does not
            depend on values, so lstsq works under vmap and in staged functions then.

    Raises:
        ShapeError: a is no matrix, b is neither a vector nor a matrix, or they have different numbers of rows.
        DtypeError: float16 or extended precision.
        TracerConversionError: the shape of the residuals depends on a rank that is not known inside vmap or a staged
            function.

    >>> import fgrad as fg
    >>> a = fg.asarray([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> x, residuals, rank, _ = fg.linalg.lstsq(a, fg.asarray([1.0, 3.0, 5.0]))
    >>> x.round(6), rank
    (Tensor([2., 1.], dtype=float64), Tensor(2, dtype=int32))
    """
    matrix, right = as_operand(a), as_operand(b)
    shape, rank_of_right = shape_of(matrix), len(shape_of(right))
    if len(shape) != 2 or rank_of_right not in (1, 2):
        message = (
            f"[lstsq] on {shape_dtype_of(matrix)} and {shape_dtype_of(right)}: the first must be a matrix, and the "
            f"second a vector or a matrix; fg.vmap takes lstsq over stacks"
        )
        raise ShapeError(at_user_line(message))
    cutoff = None if rcond is None else float(rcond)
    if type(matrix) is ConcreteTensor and type(right) is ConcreteTensor and shape[1] >= shape[0] == right.shape[0]:
        found = _evaluate_without_residuals(matrix._array, right._array, cutoff)
        if found is not None:
            return found
    columns = reshape_to(right, (*shape_of(right), 1)) if rank_of_right == 1 else right
    x: Any
    rank: Any
    x, rank, values = bind(lstsq_p, matrix, columns, rcond=cutoff)
    has_residuals = shape[0] > shape[1]
    if has_residuals and numpy_resid:
        try:
            has_residuals = int(rank) == shape[1]
        except TracerConversionError as error:
            message = (
                "[lstsq] the residuals are an empty vector if the rank is less than the number of columns, so their "
                f"shape depends on values; with numpy_resid=False they have their full shape always. {error}"
            )
            raise TracerConversionError(message) from None
    residuals: Any
    if has_residuals:
        rest = subtract(columns, matmul(matrix, x))
        residuals = reduce_sum(square(modulus(rest) if rest.dtype.kind == "c" else rest), (0,))
    else:
        residuals = adopt(np.zeros(0, values.dtype))
    return reshape_to(x, x.shape[:1]) if rank_of_right == 1 else x, residuals, rank, values
