"""Determinants, with derivatives of every order that are right at singular matrices too."""

from __future__ import annotations

import functools
import itertools
import string
from typing import Any, NamedTuple

import numpy as np

from fgrad.core.bind import bind, bind1
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, shape_of
from fgrad.ops.arithmetic import add, imag, multiply, multiply_no_nan, real
from fgrad.ops.declare import as_batch, batch_size, stands_for
from fgrad.ops.linear_systems import inv_p
from fgrad.ops.matrices import batch_matrices, matrix_dtype, real_dtype, require_examples, require_square
from fgrad.ops.shaping import matrix_transpose
from fgrad.ops.structure import fit_tangent, reduce_sum, reshape_to, unbroadcast

__all__ = ["SlogdetResult", "det", "slogdet"]

Array = np.ndarray[Any, Any]

# The derivative of a determinant by each entry is the entry's cofactor, and every further derivative is a matrix of
# polynomials of the entries as well. The primitive below is all of them: with k directions, the derivative of the
# determinant along those directions and by each entry. It is symmetric and linear in the directions, so it is its own
# derivative with one more of them.
#
# With X = U diag(s) V^H at the point, det X = det(U V^H) det(diag(s) + M) for M = U^H dX V, and the terms of order m
# of the second factor are, for all places i_1 ... i_m that differ and all permutations,
#     sign(p) M[i_1, i_p(1)] ... M[i_m, i_p(m)] times the product of the singular values at the other places.
# Nothing is divided by, so singular values that are zero are nothing special. The case of one direction is in Magnus
# and Neudecker, Matrix Differential Calculus, section 8.3 (there for matrices of every rank).


def _products_of_others(s: Array, order: int) -> Array:
    """For each tuple of different places the product of the values elsewhere; 0 where two places are one."""
    size = s.shape[-1]
    stack = s.shape[:-1]
    # between[i, j]: the product of the values strictly between places i and j, which count from 1; 0 unless i < j.
    places = np.arange(size + 2)
    shifted = np.ones((*stack, size + 2), s.dtype)
    shifted[..., 2:] = s
    started = np.where(places > places[:, np.newaxis] + 1, shifted[..., np.newaxis, :], 1)
    between = np.where(places > places[:, np.newaxis], np.cumprod(started, axis=-1), 0)
    letters = list(string.ascii_lowercase[:order])
    chain = ["..." + first + second for first, second in itertools.pairwise(letters)]
    inner = [between[..., 1:-1, 1:-1]] * (order - 1)
    terms = ",".join(["..." + letters[0], *chain, "..." + letters[-1]])
    ascending = np.einsum(f"{terms}->...{''.join(letters)}", between[..., 0, 1:-1], *inner, between[..., 1:-1, -1])
    orders = itertools.permutations(range(order))
    lead = tuple(range(len(stack)))
    found: Array = functools.reduce(
        np.add, [ascending.transpose(*lead, *[len(stack) + place for place in one]) for one in orders]
    )
    return found


def _sign_of(permutation: tuple[int, ...]) -> int:
    pairs = itertools.combinations(permutation, 2)
    return -1 if sum(first > second for first, second in pairs) % 2 else 1


def _gradient_at_diagonal(s: Array, along: list[Array]) -> Array:
    """The derivative of det(diag(s) + M) at 0 along the directions, by each entry of M."""
    order = len(along) + 1
    others = _products_of_others(s, order)
    letters = string.ascii_letters[:order]
    out = np.zeros((*s.shape, s.shape[-1]), np.result_type(s, *along))
    diagonal = np.arange(s.shape[-1])
    for permutation in itertools.permutations(range(order)):
        pairs = [letters[place] + letters[image] for place, image in enumerate(permutation)]
        terms = ",".join(["..." + letters, *["..." + pair for pair in pairs[:-1]]])
        row, column = letters[-1], letters[permutation[-1]]
        sign = _sign_of(permutation)
        if row == column:
            out[..., diagonal, diagonal] += sign * np.einsum(f"{terms}->...{row}", others, *along)
        else:
            out += sign * np.einsum(f"{terms}->...{row}{column}", others, *along)
    return out


def _by_singular_values(x: Array, directions: list[Array]) -> Array:
    u, s, vh = np.linalg.svd(x)
    left, right = u.conj().swapaxes(-1, -2), vh.conj().swapaxes(-1, -2)
    phase = (np.linalg.det(u) * np.linalg.det(vh))[..., np.newaxis, np.newaxis]
    found = _gradient_at_diagonal(s, [left @ direction @ right for direction in directions])
    return np.asarray(phase * (u.conj() @ found @ right.swapaxes(-1, -2)))


def _cofactors(x: Array) -> Array:
    """det(X) X^-T for the well conditioned among the matrices: the same, in a tenth of the time."""
    try:
        inverse = np.linalg.inv(x)
    except np.linalg.LinAlgError:
        return _by_singular_values(x, [])
    limit = np.finfo(x.dtype).eps ** -0.25
    with np.errstate(all="ignore"):
        condition = np.abs(x).sum(-2).max(-1, initial=0) * np.abs(inverse).sum(-2).max(-1, initial=0)
        found: Array = np.linalg.det(x)[..., np.newaxis, np.newaxis] * inverse.swapaxes(-1, -2)
    ill = ~(condition <= limit)
    if ill.any():
        found[ill] = _by_singular_values(x[ill], [])
    return found


def _evaluate_determinant_derivative(x: Array, *directions: Array) -> Array:
    dtype = np.result_type(matrix_dtype(x), *directions)
    # In double precision, as NumPy's own determinants are.
    wide = np.promote_types(dtype, np.float64)
    finite = np.isfinite(x).all((-1, -2))
    along = [np.asarray(direction, wide) for direction in directions]
    if finite.all():
        whole = np.asarray(x, wide)
        return (_by_singular_values(whole, along) if along else _cofactors(whole)).astype(dtype, copy=False)
    # LAPACK refuses what is not finite, and the derivative is not either.
    out = np.full(np.broadcast_shapes(x.shape, *[one.shape for one in along]), np.nan, dtype)
    out[finite] = _evaluate_determinant_derivative(x[finite], *[one[finite] for one in directions])
    return out


def _determinant_derivative_vjp(g: Any, needed: Any, out: Any, x: Any, *directions: Any) -> tuple[Any, ...]:
    cotangents: list[Any] = [None] * (1 + len(directions))
    if needed[0]:
        cotangents[0] = unbroadcast(bind(determinant_derivative_p, x, *directions, g), x)
    for position, direction in enumerate(directions):
        if needed[position + 1]:
            rest = directions[:position] + directions[position + 1 :]
            cotangents[position + 1] = unbroadcast(bind(determinant_derivative_p, x, *rest, g), direction)
    return tuple(cotangents)


def _determinant_derivative_jvp(tangents: Any, out: Any, x: Any, *directions: Any) -> Any:
    by_x, *by_directions = tangents
    terms = [] if by_x is None else [bind(determinant_derivative_p, x, *directions, by_x)]
    for position, tangent in enumerate(by_directions):
        if tangent is not None:
            rest = directions[:position] + directions[position + 1 :]
            terms.append(bind(determinant_derivative_p, x, *rest, tangent))
    return fit_tangent(functools.reduce(add, terms), out)


def _batch_of_all(primitive: Primitive, batched: tuple[bool, ...], *operands: Any) -> Any:
    require_examples(primitive, batched, *operands)
    size = batch_size(batched, operands)
    return bind(primitive, *[as_batch(operand, own, size) for operand, own in zip(operands, batched, strict=True)])


determinant_derivative_p = register(
    Primitive(
        "determinant_derivative",
        evaluate=_evaluate_determinant_derivative,
        shape_rule=lambda x, *directions: ShapeDtype(
            require_square(x), np.result_type(matrix_dtype(x), *[one.dtype for one in directions])
        ),
        vjp=_determinant_derivative_vjp,
        jvp=_determinant_derivative_jvp,
        batch=_batch_of_all,
    )
)


def _on_entries(g: Any) -> Any:
    """A number per matrix, to be multiplied with the entries."""
    return reshape_to(g, (*shape_of(g), 1, 1))


def _sum_entries(x: Any) -> Any:
    rank = len(x.shape)
    return reduce_sum(x, (rank - 2, rank - 1))


def _det_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    return (unbroadcast(multiply_no_nan(_on_entries(g), bind(determinant_derivative_p, x)), x),)


def _det_jvp(tangents: Any, out: Any, x: Any) -> Any:
    (tangent,) = tangents
    return fit_tangent(_sum_entries(multiply_no_nan(tangent, bind(determinant_derivative_p, x))), out)


det_p = register(
    Primitive(
        "det",
        np.linalg.det,
        lambda x: ShapeDtype(require_square(x)[:-2], matrix_dtype(x)),
        _det_vjp,
        _det_jvp,
        batch=batch_matrices,
    )
)


@stands_for(np.linalg.det)
def det(a: ArrayLike) -> Tensor:
    """The determinant of a matrix, or of each matrix in a stack (..., n, n); 1 of an empty one.

    The derivative by an entry is its cofactor. It is computed without dividing by the determinant, so it is right, to
    any order, for singular matrices of every rank. The k-th derivative takes time of order k! n^k beyond the
    singular value decomposition.

    Raises:
        ShapeError: the last two axes differ, or there are fewer than two.
        DtypeError: float16 or extended precision.

    >>> import fgrad as fg
    >>> a = fg.asarray([[1.0, 2.0], [2.0, 4.0]])
    >>> fg.grad(fg.linalg.det)(a).round(6)
    Tensor([[ 4., -2.],
            [-2.,  1.]], dtype=float64)
    """
    return bind1(det_p, as_operand(a))


# The logarithm of a determinant. Its derivative is X^-T, which is infinite at a singular matrix as the value is.


class SlogdetResult(NamedTuple):
    """What `slogdet` returns: the sign (the phase of a complex determinant), and the logarithm of the modulus."""

    sign: Tensor
    logabsdet: Tensor


def _evaluate_inverse_or_infinity(x: Array) -> Array:
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        if x.ndim == 2:
            return np.full(x.shape, np.inf, matrix_dtype(x))
        parts = [_evaluate_inverse_or_infinity(part) for part in x]
        return np.stack(parts)


inverse_or_infinity_p = register(
    Primitive(
        "inverse_or_infinity",
        _evaluate_inverse_or_infinity,
        inv_p.shape_rule,
        inv_p.vjp,
        inv_p.jvp,
        batch=batch_matrices,
    )
)


def _slogdet_rule(x: ShapeDtype) -> tuple[ShapeDtype, ShapeDtype]:
    dtype = matrix_dtype(x)
    stack = require_square(x)[:-2]
    return ShapeDtype(stack, dtype), ShapeDtype(stack, real_dtype(dtype))


def _slogdet_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    by_sign, by_logarithm = g
    sign = out[0]
    slope = by_logarithm
    if by_sign is not None and sign.dtype.kind == "c":
        # d sign = i sign Im tr(X^-1 dX)
        turn = multiply(imag(multiply(by_sign, sign)), 1j)
        slope = turn if slope is None else add(slope, turn)
    if slope is None:
        return (None,)
    inverse = bind1(inverse_or_infinity_p, x)
    return (unbroadcast(multiply_no_nan(_on_entries(slope), matrix_transpose(inverse)), x),)


def _slogdet_jvp(tangents: Any, out: Any, x: Any) -> tuple[Any, Any]:
    sign, logarithm = out
    inverse = bind1(inverse_or_infinity_p, x)
    change = _sum_entries(multiply_no_nan(tangents[0], matrix_transpose(inverse)))
    turned = None
    if sign.dtype.kind == "c":
        turned = fit_tangent(multiply(sign, multiply(imag(change), 1j)) if change.dtype.kind == "c" else change, sign)
    return turned, fit_tangent(real(change), logarithm)


def _batch_slogdet(primitive: Primitive, batched: tuple[bool, ...], x: Any) -> tuple[Any, tuple[bool, bool]]:
    return bind(primitive, x), (True, True)


slogdet_p = register(
    Primitive(
        "slogdet",
        lambda x: tuple(np.linalg.slogdet(x)),
        _slogdet_rule,
        _slogdet_vjp,
        _slogdet_jvp,
        batch=_batch_slogdet,
        multiple_results=True,
    )
)


@stands_for(np.linalg.slogdet)
def slogdet(a: ArrayLike) -> SlogdetResult:
    """The sign and the logarithm of the modulus of a determinant: det a = sign * exp(logabsdet), free of overflow.

    a (..., n, n) gives a namedtuple of two tensors (...), `sign` in the dtype of a and `logabsdet` real. The sign of a
    complex determinant is its phase, a number of modulus 1. The cotangent of a is g a^-T; the sign of a real
    determinant carries none. A singular matrix has sign 0 and logabsdet -inf, and a gradient whose entries are
    infinite, or zero where the cotangent is zero.

    Raises:
        ShapeError: the last two axes differ, or there are fewer than two.
        DtypeError: float16 or extended precision.

    >>> import fgrad as fg
    >>> sign, logabsdet = fg.linalg.slogdet(fg.asarray([[0.0, 1.0], [1.0, 0.0]]))
    >>> sign, logabsdet
    (Tensor(-1., dtype=float64), Tensor(0., dtype=float64))
    """
    return SlogdetResult(*bind(slogdet_p, as_operand(a)))
