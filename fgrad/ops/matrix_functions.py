"""Functions of matrices: integer powers and the exponential."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, dtype_of
from fgrad.ops.arithmetic import add, positive
from fgrad.ops.contractions import matmul
from fgrad.ops.creation import eye
from fgrad.ops.declare import as_batch, batch_size, stands_for
from fgrad.ops.linear_systems import inv
from fgrad.ops.matrices import matrix_dtype, require_examples, require_square
from fgrad.ops.shaping import matrix_transpose
from fgrad.ops.structure import broadcast, fit_tangent, unbroadcast

__all__ = ["expm", "matrix_power"]

Array = np.ndarray[Any, Any]


@stands_for(np.linalg.matrix_power)
def matrix_power(a: ArrayLike, n: int) -> Tensor:
    """The n-th power of a square matrix, or of each in a stack (..., m, m), by repeated squaring.

    n = 0 gives the identity, a negative n the power of the inverse. Powers of integers are integers unless n is
    negative.

    Raises:
        ShapeError: the last two axes differ, or there are fewer than two.
        DtypeError: n is no integer.
        LinAlgError: n is negative and a matrix is singular.

    >>> import fgrad as fg
    >>> fg.linalg.matrix_power(fg.asarray([[1, 1], [1, 0]]), 10)
    Tensor([[89, 55],
            [55, 34]], dtype=int64)
    """
    operand: Any = as_operand(a)
    try:
        exponent = operator.index(n)
    except TypeError:
        message = f"[matrix_power] the exponent is an integer, not {n!r}"
        raise DtypeError(at_user_line(message)) from None
    shape = operand.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        message = f"[matrix_power] on {shape_dtype_of(operand)}: the last two axes must have one length"
        raise ShapeError(at_user_line(message))
    if exponent == 0:
        return broadcast(eye(shape[-1], dtype=dtype_of(operand)), tuple(shape))
    base: Any = inv(operand) if exponent < 0 else operand
    exponent = max(exponent, -exponent)
    if exponent == 1:
        return base if isinstance(base, Tensor) else positive(base)
    power: Any = None
    while exponent:
        if exponent % 2:
            power = base if power is None else matmul(power, base)
        exponent //= 2
        if exponent:
            base = matmul(base, base)
    result: Tensor = power
    return result


# The exponential, by scaling and squaring. The diagonal Pade approximants of degree m to e^x have the coefficients
#     b_j = (2m - j)! / ((m - j)! j!), up to a common factor,
# and are accurate to rounding up to these bounds on the norm (Higham, The scaling and squaring method for the matrix
# exponential revisited, SIAM J. Matrix Anal. Appl. 26, 2005, table 2.3). Al-Mohy and Higham, A new scaling and squaring
# algorithm for the matrix exponential, ibid. 31, 2009, algorithm 5.1, measure the norm of powers in its place, so that
# a matrix that is far from normal is not scaled too much; their bound for the degree 13 is 4.25.
_BOUNDS = {
    3: 1.495585217958292e-2,
    5: 2.539398330063230e-1,
    7: 9.504178996162932e-1,
    9: 2.097847961257068,
    13: 5.371920351148152,
}
_BOUND_BY_POWERS = 4.25

# The k-th derivative along directions D_1 ... D_k is the exponential in the algebra with one unit e_i of square zero
# for each of them, of X + e_1 D_1 + ... + e_k D_k, in its term e_1 ... e_k. (That of one direction is the upper right
# block of the exponential of [[X, D], [0, X]]; with blocks, one more direction is eight times the work, here it is
# three times.) Axis 0 counts the sets of units in bits. Differentiating k times multiplies the term 2m + 1 of the
# backward error by (2m + 1 over k), by which the bounds shrink; for k = 1 these are the bounds of Al-Mohy and Higham,
# Computing the Frechet derivative of the matrix exponential, ibid. 30, 2009, table 6.1.


def _multiply(left: Array, right: Array) -> Array:
    """The product in the algebra."""
    if len(left) == 1:
        return left @ right
    out = []
    for units in range(len(left)):
        part = units
        total = left[units] @ right[0]
        while part:
            part = (part - 1) & units
            total = total + left[part] @ right[units ^ part]
        out.append(total)
    return np.stack(out)


def _divide(left: Array, right: Array) -> Array:
    """The solution X of left X = right in the algebra."""
    out: list[Array] = []
    for units in range(len(left)):
        rest = right[units]
        part = units
        while part:
            rest = rest - left[part] @ out[units ^ part]
            part = (part - 1) & units
        out.append(np.linalg.solve(left[0], rest))
    return np.stack(out)


def _pade(x: Array, degree: int) -> Array:
    """The approximant of a degree: V - U is divided into V + U, its even and odd parts."""
    factorial = math.factorial
    b = [factorial(2 * degree - j) // (factorial(degree - j) * factorial(j)) for j in range(degree + 1)]
    scale = b[-1]
    identity = np.zeros_like(x)
    identity[0] = np.eye(x.shape[-1], dtype=x.dtype)
    powers = [identity, _multiply(x, x)]
    if degree < 13:
        while 2 * len(powers) < degree + 1:
            powers.append(_multiply(powers[-1], powers[1]))
        even = _combine(powers, b[0::2], scale)
        odd = _multiply(x, _combine(powers, b[1::2], scale))
    else:
        powers += [_multiply(powers[1], powers[1])]
        powers += [_multiply(powers[1], powers[2])]
        even = _multiply(powers[3], _combine(powers[1:], b[8::2], scale)) + _combine(powers, b[0:8:2], scale)
        inner = _multiply(powers[3], _combine(powers[1:], b[9::2], scale)) + _combine(powers, b[1:9:2], scale)
        odd = _multiply(x, inner)
    return _divide(even - odd, even + odd)


def _combine(powers: list[Array], coefficients: list[int], scale: int) -> Array:
    terms = [power * (coefficient / scale) for power, coefficient in zip(powers, coefficients, strict=True)]
    return functools.reduce(np.add, terms)


def _norm(x: Array) -> Array:
    """The largest sum of moduli of a column."""
    return np.asarray(np.abs(x).sum(-2).max(-1, initial=0.0))


def _extra_scaling(x: Array, norm: Array, degree: int) -> Array:
    """How many more halvings keep the backward error below rounding where |X| has larger powers than X (their l_m)."""
    power = np.ones((*x.shape[:-2], 1, x.shape[-1]))
    size = np.abs(x)
    for _ in range(2 * degree + 1):
        power = power @ size
    constant = math.factorial(degree) ** 2 / (math.factorial(2 * degree) * math.factorial(2 * degree + 1))
    ratio = constant * power.max((-1, -2), initial=0.0) / norm / (np.finfo(x.dtype).eps / 2)
    return np.asarray(np.maximum(np.ceil(np.log2(ratio) / (2 * degree)), 0))


def _plan_by_powers(x: Array) -> tuple[Array, Array]:
    """For each matrix the degree, and how many times it is halved."""
    norm = _norm(x)
    # Powers of a matrix of norm below 1 do not overflow.
    shift = np.where((norm > 0) & np.isfinite(norm), np.ceil(np.log2(norm)), 0.0)
    unit = np.ldexp(1.0, -shift.astype(int))[:, np.newaxis, np.newaxis] * x
    squared = unit @ unit
    fourth = squared @ squared
    sixth = fourth @ squared
    roots = {4: _norm(fourth) ** (1 / 4), 6: _norm(sixth) ** (1 / 6)}
    roots |= {8: _norm(fourth @ fourth) ** (1 / 8), 10: _norm(sixth @ fourth) ** (1 / 10)}
    bound = {power: np.ldexp(root, shift.astype(int)) for power, root in roots.items()}
    small = np.maximum(bound[4], bound[6])
    medium = np.maximum(bound[6], bound[8])
    large = np.minimum(medium, np.maximum(bound[8], bound[10]))
    degree = np.full(norm.shape, 13)
    for choice, measured in ((9, medium), (7, medium), (5, small), (3, small)):
        fits = measured <= _BOUNDS[choice]
        if fits.any():
            degree[fits & (_extra_scaling(x, norm, choice) == 0)] = choice
    degree[norm == 0] = 3
    halvings = np.zeros(norm.shape, int)
    rest = degree == 13
    if rest.any():
        first = np.maximum(np.ceil(np.log2(large[rest] / _BOUND_BY_POWERS)), 0.0)
        scaled = np.ldexp(1.0, -first.astype(int))
        halvings[rest] = first + _extra_scaling(scaled[:, np.newaxis, np.newaxis] * x[rest], scaled * norm[rest], 13)
    return degree, halvings


def _plan_by_norm(x: Array, order: int) -> tuple[Array, Array]:
    norm = _norm(x)
    degree = np.full(norm.shape, 13)
    bounds = {
        m: bound * math.comb(2 * m + 1, order) ** (-1 / (2 * m)) for m, bound in _BOUNDS.items() if 2 * m >= order
    }
    for choice in sorted(bounds, reverse=True):
        degree[norm <= bounds[choice]] = choice
    halvings = np.where(norm > bounds[13], np.ceil(np.log2(norm / bounds[13])), 0.0)
    return degree, halvings.astype(int)


def _evaluate_expm(x: Array, *directions: Array) -> Array:
    dtype = np.result_type(matrix_dtype(x), *directions)
    shape = np.broadcast_shapes(x.shape, *[one.shape for one in directions])
    if not math.prod(shape):
        return np.zeros(shape, dtype)
    terms = np.zeros((1 << len(directions), *shape), dtype)
    terms[0] = x
    for place, direction in enumerate(directions):
        terms[1 << place] = direction
    terms = terms.reshape(len(terms), -1, *shape[-2:])
    out = np.full(terms.shape[1:], np.nan, dtype)
    finite = np.isfinite(terms).all((0, -1, -2))
    with np.errstate(all="ignore"):
        plan = _plan_by_norm(terms[0], len(directions)) if directions else _plan_by_powers(terms[0])
    for degree in _BOUNDS:
        chosen = finite & (plan[0] == degree)
        if chosen.any():
            out[chosen] = _scale_and_square(terms[:, chosen], degree, plan[1][chosen])
    return out.reshape(shape)


def _scale_and_square(x: Array, degree: int, halvings: Array) -> Array:
    """The last term of the exponentials in the algebra."""
    found = _pade(x * np.ldexp(1.0, -halvings).astype(x.real.dtype)[:, np.newaxis, np.newaxis], degree)
    for step in range(halvings.max()):
        more = halvings > step
        found[:, more] = _multiply(found[:, more], found[:, more])
    return np.asarray(found[-1])


# The trace of a product of matrices does not change when they are rotated, so the adjoint of the derivative along
# directions, in one of them, is the same derivative at the transposes with the cotangent in its place.


def _expm_vjp(g: Any, needed: Any, out: Any, x: Any, *directions: Any) -> tuple[Any, ...]:
    transposed = [matrix_transpose(one) for one in (x, *directions)]
    cotangents: list[Any] = []
    for position, (primal, wanted) in enumerate(zip((x, *directions), needed, strict=True)):
        rest = transposed if position == 0 else transposed[:position] + transposed[position + 1 :]
        cotangents.append(unbroadcast(bind(expm_p, *rest, g), primal) if wanted else None)
    return tuple(cotangents)


def _expm_jvp(tangents: Any, out: Any, x: Any, *directions: Any) -> Any:
    by_x, *by_directions = tangents
    terms = [] if by_x is None else [bind(expm_p, x, *directions, by_x)]
    for position, tangent in enumerate(by_directions):
        if tangent is not None:
            terms.append(bind(expm_p, x, *directions[:position], tangent, *directions[position + 1 :]))
    return fit_tangent(functools.reduce(add, terms), out)


def _batch_expm(primitive: Primitive, batched: tuple[bool, ...], *operands: Any) -> Any:
    require_examples(primitive, batched, *operands)
    size = batch_size(batched, operands)
    return bind(primitive, *[as_batch(operand, own, size) for operand, own in zip(operands, batched, strict=True)])


expm_p = register(
    Primitive(
        "expm",
        _evaluate_expm,
        lambda x, *directions: ShapeDtype(
            require_square(x), np.result_type(matrix_dtype(x), *[one.dtype for one in directions])
        ),
        _expm_vjp,
        _expm_jvp,
        batch=_batch_expm,
    )
)


def expm(a: ArrayLike, /) -> Tensor:
    """The matrix exponential, sum_k a^k / k!, of a square matrix or of each in a stack (..., n, n).

    Scaling and squaring with Pade approximants (Al-Mohy and Higham, SIAM J. Matrix Anal. Appl. 31, 2009). The
    derivative along d is the Frechet derivative, the integral of exp((1 - t) a) d exp(t a) over t from 0 to 1, and the
    cotangent of a is that derivative of a^T along g; both, and every higher one, are computed in the same way as the
    value.

    Raises:
        ShapeError: the last two axes differ, or there are fewer than two.
        DtypeError: float16 or extended precision.

    >>> import fgrad as fg
    >>> fg.linalg.expm(fg.asarray([[0.0, 1.0], [0.0, 0.0]]))
    Tensor([[1., 1.],
            [0., 1.]], dtype=float64)
    """
    return bind(expm_p, as_operand(a))
