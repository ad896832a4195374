"""Functions of two elements: distances and angles, logarithms of sums, remainders, signs, steps and divisors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fgrad.core.bind import bind2
from fgrad.core.errors import refuse_out
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import dtype_of
from fgrad.ops.arithmetic import (
    divide,
    divide_no_nan,
    floor_divide,
    multiply,
    multiply_no_nan,
    negative,
    remainder,
    sign,
    subtract,
)
from fgrad.ops.declare import batch_elementwise, elementwise, stands_for, ufunc_shape_rule
from fgrad.ops.exponential import power_by_base, power_by_exponent
from fgrad.ops.logic import equal, isinf, rint
from fgrad.ops.selection import where
from fgrad.ops.structure import convert, fit_tangent, unbroadcast

__all__ = [
    "arctan2",
    "atan2",
    "copysign",
    "divmod",
    "float_power",
    "fmax",
    "fmin",
    "fmod",
    "gcd",
    "heaviside",
    "hypot",
    "lcm",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "logistic",
    "nextafter",
]

_LOG_2 = math.log(2.0)


# Logarithms of sums.


def _evaluate_share(x: Any, y: Any) -> Any:
    """1 / (1 + exp(y - x)); of two infinities that are equal, the half or, when both are negative, nothing."""
    with np.errstate(invalid="ignore", under="ignore"):
        difference = np.subtract(x, y)
        decayed = np.exp(-np.abs(difference))
        share = np.where(difference >= 0, 1, decayed).astype(decayed.dtype, copy=False) / (decayed + 1)
    missing = np.isnan(share)
    if missing.any():
        alike = missing & np.equal(x, y)
        return np.where(alike, np.where(np.greater(x, 0), 0.5, 0.0), share).astype(share.dtype)
    return share


def _share(x: Any, y: Any) -> Any:
    return bind2(logaddexp_share_p, x, y)


# The share of exp(x) in exp(x) + exp(y), by which logaddexp grows with x. 1 - share(x, y) is share(y, x).
logaddexp_share_p = elementwise(
    "logaddexp_share",
    np.logaddexp,
    lambda g, out, x, y: multiply_no_nan(g, multiply(out, _share(y, x))),
    lambda g, out, x, y: negative(multiply_no_nan(g, multiply(out, _share(y, x)))),
    evaluate=_evaluate_share,
)
logaddexp_p = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda g, out, x, y: multiply_no_nan(g, _share(x, y)),
    lambda g, out, x, y: multiply_no_nan(g, _share(y, x)),
)
logaddexp2_p = elementwise(
    "logaddexp2",
    np.logaddexp2,
    lambda g, out, x, y: multiply_no_nan(g, _share(multiply(x, _LOG_2), multiply(y, _LOG_2))),
    lambda g, out, x, y: multiply_no_nan(g, _share(multiply(y, _LOG_2), multiply(x, _LOG_2))),
)


def logistic(x: ArrayLike, /) -> Tensor:
    """1 / (1 + exp(-x)), elementwise, without overflow; the derivative is logistic(x) logistic(-x).

    >>> import fgrad as fg
    >>> from fgrad.ops.pairs import logistic
    >>> logistic(fg.asarray([-1000.0, 0.0, 1000.0]))
    Tensor([0. , 0.5, 1. ], dtype=float64)
    """
    return bind2(logaddexp_share_p, x, 0)


@stands_for(np.logaddexp)
def logaddexp(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """log(exp(x1) + exp(x2)), elementwise with broadcasting, without overflow.

    The partial derivatives are the shares exp(x1) / (exp(x1) + exp(x2)) and exp(x2) / (exp(x1) + exp(x2)). Two that
    are +inf share evenly; of two that are -inf both partials are 0, as in `logsumexp`.

    >>> import fgrad as fg
    >>> fg.logaddexp(fg.asarray([1000.0, 0.0]), fg.asarray([1000.0, float("-inf")]))
    Tensor([1000.69314718,    0.        ], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.logaddexp")
    return bind2(logaddexp_p, x1, x2)


@stands_for(np.logaddexp2)
def logaddexp2(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """log2(2**x1 + 2**x2), elementwise with broadcasting, without overflow.

    The partial derivatives are the shares 2**x1 / (2**x1 + 2**x2) and 2**x2 / (2**x1 + 2**x2); at infinities they are
    those of `logaddexp`.

    >>> import fgrad as fg
    >>> fg.logaddexp2(fg.asarray([3.0, 10.0]), fg.asarray([3.0, 10.0]))
    Tensor([ 4., 11.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.logaddexp2")
    return bind2(logaddexp2_p, x1, x2)


# Distances and angles.


def _cosine(x: Any, radius: Any) -> Any:
    """x / radius, 0 at the origin; 1 or -1 for an infinite x, whatever the other leg is."""
    infinite = isinf(x)
    return divide_no_nan(where(infinite, sign(x), x), where(infinite, 1, radius))


hypot_p = elementwise(
    "hypot",
    np.hypot,
    lambda g, out, x, y: multiply_no_nan(g, _cosine(x, out)),
    lambda g, out, x, y: multiply_no_nan(g, _cosine(y, out)),
)


def _inverse_radius(leg: Any, x: Any, y: Any) -> Any:
    # Divided twice, since the square of the radius overflows long before the radius does.
    radius = hypot(x, y)
    return divide_no_nan(divide_no_nan(leg, radius), radius)


arctan2_p = elementwise(
    "arctan2",
    np.arctan2,
    lambda g, out, y, x: multiply_no_nan(g, _inverse_radius(x, x, y)),
    lambda g, out, y, x: negative(multiply_no_nan(g, _inverse_radius(y, x, y))),
)


@stands_for(np.hypot)
def hypot(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """sqrt(x1**2 + x2**2), elementwise with broadcasting, without overflow.

    The partial derivatives are x1 / hypot(x1, x2) and x2 / hypot(x1, x2), and 0 at the origin, the middle of the
    slopes of the cone.

    >>> import fgrad as fg
    >>> fg.hypot(fg.asarray([3.0, 0.0]), fg.asarray([4.0, 0.0]))
    Tensor([5., 0.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.hypot")
    return bind2(hypot_p, x1, x2)


@stands_for(np.arctan2)
def arctan2(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The angle of the point (x2, x1) in radians from -pi to pi, elementwise with broadcasting.

    The partial derivatives are x2 / r**2 and -x1 / r**2 with r the distance from the origin, and 0 at the origin.

    >>> import fgrad as fg
    >>> fg.arctan2(fg.asarray([1.0, 0.0]), fg.asarray([1.0, -1.0]))
    Tensor([0.78539816, 3.14159265], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.arctan2")
    return bind2(arctan2_p, x1, x2)


atan2 = arctan2


# Remainders and powers.

# What was taken off is a whole number of divisors, up to rounding; trunc(x / y) may be one more than that.
fmod_p = elementwise(
    "fmod",
    np.fmod,
    lambda g, out, x, y: g,
    lambda g, out, x, y: negative(multiply_no_nan(g, rint(divide(subtract(x, out), y)))),
)


def _wide(x: Any) -> Any:
    if type(x) in PYTHON_NUMBERS:
        return x
    dtype = dtype_of(x)
    wide = np.dtype(complex) if dtype.kind == "c" else np.dtype(float)
    return x if dtype.kind in "fc" and dtype.itemsize >= wide.itemsize else convert(x, wide)


float_power_p = elementwise(
    "float_power",
    np.float_power,
    lambda g, out, x, y: power_by_base(g, out, _wide(x), _wide(y)),
    lambda g, out, x, y: power_by_exponent(g, out, _wide(x), _wide(y)),
)


@stands_for(np.fmod)
def fmod(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 - trunc(x1 / x2) * x2, elementwise, of the sign of x1; the partials are 1 and -trunc(x1 / x2).

    >>> import fgrad as fg
    >>> fg.fmod(fg.asarray([7.0, -7.0]), 3.0)
    Tensor([ 1., -1.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.fmod")
    return bind2(fmod_p, x1, x2)


@stands_for(np.float_power)
def float_power(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1**x2, elementwise with broadcasting, in float64 or complex128 at least: integers have negative powers too.

    The partial derivatives are those of `power`.

    >>> import fgrad as fg
    >>> fg.float_power(fg.asarray([2, 4]), -1)
    Tensor([0.5 , 0.25], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.float_power")
    return bind2(float_power_p, x1, x2)


@stands_for(np.divmod)
def divmod(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> tuple[Tensor, Tensor]:
    """``(floor_divide(x1, x2), remainder(x1, x2))``, elementwise, with the derivatives of these two.

    >>> import fgrad as fg
    >>> fg.divmod(fg.asarray([7.0, -7.0]), 3.0)
    (Tensor([ 2., -3.], dtype=float64), Tensor([1., 2.], dtype=float64))
    """
    if out is not None:
        refuse_out("fg.divmod")
    return floor_divide(x1, x2), remainder(x1, x2)


# The larger and the smaller one of what is not NaN.


def _share_of_winner(g: Any, out: Any, x: Any, y: Any) -> Any:
    return where(equal(x, y), g * 0.5, where(equal(x, out), g, 0))


fmax_p = elementwise(
    "fmax",
    np.fmax,
    _share_of_winner,
    lambda g, out, x, y: _share_of_winner(g, out, y, x),
)
fmin_p = elementwise(
    "fmin",
    np.fmin,
    _share_of_winner,
    lambda g, out, x, y: _share_of_winner(g, out, y, x),
)


@stands_for(np.fmax)
def fmax(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The larger of x1 and x2, elementwise with broadcasting; where one is NaN, the other one.

    The cotangent goes to the one that is returned; where both are equal each takes half.

    >>> import fgrad as fg
    >>> fg.fmax(fg.asarray([1.0, float("nan")]), 3.0)
    Tensor([3., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.fmax")
    return bind2(fmax_p, x1, x2)


@stands_for(np.fmin)
def fmin(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The smaller of x1 and x2, elementwise with broadcasting; where one is NaN, the other one.

    The cotangent goes to the one that is returned; where both are equal each takes half.

    >>> import fgrad as fg
    >>> fg.fmin(fg.asarray([1.0, float("nan")]), 3.0)
    Tensor([1., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.fmin")
    return bind2(fmin_p, x1, x2)


# Functions that vary smoothly with one of their two operands alone.


def _by_one(name: str, ufunc: np.ufunc, place: int, partial: Callable[..., Any]) -> Primitive:
    """An elementwise primitive of two operands whose derivative by the one that is not at `place` is zero."""

    def vjp(g: Any, needed: Any, out: Any, *operands: Any) -> tuple[Any, Any]:
        if not needed[place]:
            return None, None
        cotangent = unbroadcast(partial(g, out, *operands), operands[place])
        return (cotangent, None) if place == 0 else (None, cotangent)

    def jvp(tangents: Any, out: Any, *operands: Any) -> Any:
        tangent = tangents[place]
        return None if tangent is None else fit_tangent(partial(tangent, out, *operands), out)

    rule = ufunc_shape_rule(ufunc)
    return register(Primitive(name, ufunc, rule, vjp, jvp, batch=batch_elementwise, takes_numbers=True))


copysign_p: Primitive = _by_one(
    "copysign", np.copysign, 0, lambda g, out, x, y: multiply_no_nan(g, multiply(sign(x), bind2(copysign_p, 1, y)))
)
heaviside_p: Primitive = _by_one("heaviside", np.heaviside, 1, lambda g, out, x, y: where(equal(x, 0), g, 0))
nextafter_p: Primitive = _by_one("nextafter", np.nextafter, 0, lambda g, out, x, y: g)
ldexp_p: Primitive = _by_one("ldexp", np.ldexp, 0, lambda g, out, x, y: bind2(ldexp_p, g, y))


@stands_for(np.copysign)
def copysign(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """|x1| with the sign of x2, elementwise with broadcasting; a zero and a NaN have signs too.

    The partial derivative by x1 is 1 where the signs agree and -1 where they differ, and 0 at x1 = 0, as that of `abs`
    is. That by x2 is zero.

    >>> import fgrad as fg
    >>> fg.copysign(fg.asarray([1.0, 2.0]), fg.asarray([-0.0, 5.0]))
    Tensor([-1.,  2.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.copysign")
    return bind2(copysign_p, x1, x2)


@stands_for(np.heaviside)
def heaviside(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The step function: 0 for x1 < 0, 1 for x1 > 0 and x2 for x1 = 0, elementwise with broadcasting.

    The partial derivative by x1 is zero, at the step too. That by x2 is 1 where x1 = 0 and 0 elsewhere.

    >>> import fgrad as fg
    >>> fg.heaviside(fg.asarray([-1.5, 0.0, 2.0]), 0.5)
    Tensor([0. , 0.5, 1. ], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.heaviside")
    return bind2(heaviside_p, x1, x2)


@stands_for(np.nextafter)
def nextafter(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The next floating-point number after x1 towards x2, elementwise with broadcasting.

    The partial derivatives are those of x1, from which it differs by rounding: 1 and 0.

    >>> import fgrad as fg
    >>> fg.nextafter(fg.asarray([1.0]), 2.0) - 1.0
    Tensor([2.22044605e-16], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nextafter")
    return bind2(nextafter_p, x1, x2)


@stands_for(np.ldexp)
def ldexp(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1 * 2**x2 for integers x2, elementwise with broadcasting; the partial derivative by x1 is 2**x2.

    Raises:
        DtypeError: when x2 is not of integers.

    >>> import fgrad as fg
    >>> fg.ldexp(fg.asarray([1.0, 3.0]), fg.asarray([3, -1]))
    Tensor([8. , 1.5], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.ldexp")
    return bind2(ldexp_p, x1, x2)


# Divisors of integers.

gcd_p = elementwise("gcd", np.gcd, locally_constant=True)
lcm_p = elementwise("lcm", np.lcm, locally_constant=True)


@stands_for(np.gcd)
def gcd(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The greatest common divisor of integers, elementwise with broadcasting.

    Raises:
        DtypeError: for what is not an integer.

    >>> import fgrad as fg
    >>> fg.gcd(fg.asarray([12, 18]), 8)
    Tensor([4, 2], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.gcd")
    return bind2(gcd_p, x1, x2)


@stands_for(np.lcm)
def lcm(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The least common multiple of integers, elementwise with broadcasting.

    Raises:
        DtypeError: for what is not an integer.

    >>> import fgrad as fg
    >>> fg.lcm(fg.asarray([4, 6]), 10)
    Tensor([20, 30], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.lcm")
    return bind2(lcm_p, x1, x2)


# What np.maximum.accumulate and the like compute.
