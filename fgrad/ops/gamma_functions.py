"""The gamma function and its kin: gammaln, digamma, polygamma, beta and betaln.

The kernels work on flat float64 arrays. The references are to M. Abramowitz and I. A. Stegun, Handbook of Mathematical
Functions, chapters 6 and 23.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from fgrad.core.bind import bind, bind1, bind2
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_integer
from fgrad.ops.arithmetic import add, multiply, multiply_no_nan, subtract
from fgrad.ops.declare import batch_elementwise, elementwise, elementwise_jvp
from fgrad.ops.special import by_kernel, kernel_evaluator, kernel_rule

__all__ = ["beta", "betaln", "digamma", "gamma", "gammaln", "polygamma"]

Array: TypeAlias = np.ndarray[Any, Any]

# B_2, B_4, ... (23.1), and the coefficients B_2k / (2k (2k - 1)) of Stirling's series (6.1.41).
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_STIRLING = tuple([b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1)])
_LARGE = 10.0
_EULER = 0.5772156649015328606


def _stirling_correction(x: Array) -> Array:
    """log gamma(x) - ((x - 1/2) log(x) - x + log(2 pi) / 2) for x >= 10."""
    inverse = 1.0 / (x * x)
    value = np.full_like(x, _STIRLING[-1])
    for coefficient in _STIRLING[-2::-1]:
        value = value * inverse + coefficient
    return value / x


def _hurwitz_zeta(s: int, x: Array) -> Array:
    """The sum of (x + k)^-s over k >= 0, for x > 0, by Euler and Maclaurin's formula (23.1.30)."""
    total = np.zeros_like(x)
    for k in range(12):
        total = total + (x + k) ** -s
    far = x + 12
    total += far ** (1 - s) / (s - 1) + 0.5 * far**-s
    factor = s * far ** (-s - 1)
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        total += factor * (bernoulli / math.factorial(2 * k))
        factor = factor * (s + 2 * k - 1) * (s + 2 * k) / (far * far)
    return total


# (-1)^k (zeta(k) - 1) / k for k >= 2: log gamma(2 + z) = (1 - euler) z + the sum of these times z^k (6.1.33).
_NEAR_TWO = tuple([(-1) ** k * float(_hurwitz_zeta(k, np.array([2.0]))[0]) / k for k in range(2, 30)])


def _log_gamma_near_two(z: Array) -> Array:
    """log gamma(2 + z) for |z| <= 1/2."""
    value = np.full_like(z, _NEAR_TWO[-1])
    for coefficient in _NEAR_TWO[-2::-1]:
        value = value * z + coefficient
    return (value * z + (1 - _EULER)) * z


def _reduced(x: Array) -> tuple[Array, Array]:
    """z in [-1/2, 1/2] and p with gamma(x) = gamma(2 + z) p, for x in (0, 10)."""
    p = np.ones_like(x)
    while (up := x < 1.5).any():
        p, x = np.where(up, p / x, p), np.where(up, x + 1, x)
    while (down := x > 2.5).any():
        x = np.where(down, x - 1, x)
        p = np.where(down, p * x, p)
    return x - 2, p


def _log_gamma_positive(x: Array) -> Array:
    out = np.empty_like(x)
    small = x < _LARGE
    z, p = _reduced(x[small])
    # Near 1, where the logarithms of both factors are small, that of 1/x is taken without rounding x.
    one_step = (x[small] >= 0.5) & (x[small] < 1.5)
    logarithm = np.where(one_step, -np.log1p(np.where(one_step, x[small] - 1, 0)), np.log(p))
    out[small] = _log_gamma_near_two(z) + logarithm
    large = x[~small]
    out[~small] = (large - 0.5) * np.log(large) - large + 0.5 * math.log(2 * math.pi) + _stirling_correction(large)
    out[np.isposinf(x)] = np.inf
    return out


def _sine_of_pi(x: Array) -> Array:
    nearest = np.rint(x)
    return np.where(nearest % 2 == 0, 1.0, -1.0) * np.sin(np.pi * (x - nearest))


def _gammaln_block(x: Array) -> Array:
    out = np.full_like(x, np.nan)
    with np.errstate(all="ignore"):
        positive = x > 0
        out[positive] = _log_gamma_positive(x[positive])
        other = x <= 0
        y = x[other]
        reflected = math.log(math.pi) - np.log(np.abs(_sine_of_pi(y))) - _log_gamma_positive(1 - y)  # 6.1.17
        out[other] = np.where((y == np.rint(y)), np.inf, reflected)
    return out


def _gamma_positive(x: Array) -> Array:
    out = np.empty_like(x)
    small = x < _LARGE
    z, p = _reduced(x[small])
    out[small] = np.exp(_log_gamma_near_two(z)) * p
    large = np.minimum(x[~small], 172.0)  # the result is infinite from 171.7 on
    # The power is taken in two steps, since it overflows before the product does.
    root = large ** (0.5 * large - 0.25)
    out[~small] = root * np.exp(-large) * root * (math.sqrt(2 * math.pi) * np.exp(_stirling_correction(large)))
    return out


def _gamma_block(x: Array) -> Array:
    out = np.full_like(x, np.nan)
    with np.errstate(all="ignore"):
        positive = x > 0
        out[positive] = _gamma_positive(x[positive])
        negative = (x < 0) & (x != np.rint(x))
        y = x[negative]
        out[negative] = np.where(y < 0.5, math.pi / (_sine_of_pi(y) * _gamma_positive(1 - y)), 0.0)
        zero = x == 0
        out[zero] = np.copysign(np.inf, x[zero])
    return out


def _digamma_positive(x: Array) -> Array:
    out = np.empty_like(x)
    small = x < _LARGE
    z = x[small]
    shift = np.zeros_like(z)
    while (up := z < 1.5).any():
        shift, z = np.where(up, shift - 1 / z, shift), np.where(up, z + 1, z)
    while (down := z > 2.5).any():
        z = np.where(down, z - 1, z)
        shift = np.where(down, shift + 1 / z, shift)
    z = z - 2
    value = np.full_like(z, _NEAR_TWO[-1] * (len(_NEAR_TWO) + 1))
    for k in range(len(_NEAR_TWO) - 2, -1, -1):
        value = value * z + _NEAR_TWO[k] * (k + 2)
    out[small] = value * z + (1 - _EULER) + shift
    large = x[~small]
    inverse = 1 / (large * large)
    series = np.zeros_like(large)
    for k in range(len(_BERNOULLI), 0, -1):  # 6.3.18
        series = (series + _BERNOULLI[k - 1] / (2 * k)) * inverse
    out[~small] = np.log(large) - 0.5 / large - series
    return out


def _digamma_block(x: Array) -> Array:
    out = np.full_like(x, np.nan)
    with np.errstate(all="ignore"):
        positive = x > 0
        out[positive] = _digamma_positive(x[positive])
        negative = (x < 0) & (x != np.rint(x))
        y = x[negative]
        cotangent = np.pi / np.tan(np.pi * (y - np.rint(y)))  # 6.3.7
        out[negative] = _digamma_positive(1 - y) - cotangent
        zero = x == 0
        out[zero] = -np.copysign(np.inf, x[zero])
    return out


def _polygamma_block(x: Array, order: int) -> Array:
    sign = -((-1.0) ** order)
    out = np.full_like(x, np.nan)
    with np.errstate(all="ignore"):
        positive = x > 0
        out[positive] = sign * math.factorial(order) * _hurwitz_zeta(order + 1, x[positive])
        other = x <= 0
        y = x[other]
        # 6.4.7, with the derivatives of the cotangent c as polynomials in it, by c' = -pi (1 + c^2).
        polynomial = np.polynomial.Polynomial([0.0, 1.0])
        for _ in range(order):
            polynomial = polynomial.deriv() * np.polynomial.Polynomial([-1.0, 0.0, -1.0])
        cotangent = 1 / np.tan(np.pi * (y - np.rint(y)))
        derivative = math.pi ** (order + 1) * polynomial(cotangent)
        mirrored = sign * math.factorial(order) * _hurwitz_zeta(order + 1, 1 - y)
        values = (-1.0) ** order * mirrored - derivative
        out[other] = np.where(y == np.rint(y), np.inf, values)
    return out


def _betaln_pair(a: Array, b: Array) -> Array:
    small, large = np.minimum(a, b), np.maximum(a, b)
    with np.errstate(all="ignore"):
        plain = _gammaln_block(a.ravel()) + _gammaln_block(b.ravel()) - _gammaln_block((a + b).ravel())
        out = plain.reshape(a.shape)
        # log gamma(large) - log gamma(large + small), by Stirling's formula, without cancellation.
        far = (small > 0) & (large >= _LARGE)
        p, q = small[far], large[far]
        both = p + q
        ratio = -(q - 0.5) * np.log1p(p / q) - p * np.log(both) + p
        ratio += _stirling_correction(q) - _stirling_correction(both)
        out[far] = _gammaln_block(p) + ratio
    return out


def _of_pair(kernel: Any) -> Any:
    def evaluate(a: Any, b: Any) -> Array:
        dtype = np.result_type(*[x if isinstance(x, float | int) else np.asarray(x).dtype for x in (a, b)])
        dtype = dtype if dtype.kind == "f" else np.dtype(float)
        x, y = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
        out: Array = kernel(np.atleast_1d(x), np.atleast_1d(y)).reshape(x.shape)
        return out.astype(dtype, copy=False)

    return evaluate


def _beta_pair(a: Array, b: Array) -> Array:
    def sign(x: Array) -> Array:
        return np.where((x < 0) & (np.floor(x) % 2 == 1), -1.0, 1.0)

    with np.errstate(over="ignore"):
        return sign(a) * sign(b) * sign(a + b) * np.exp(_betaln_pair(a, b))


gammaln_p = by_kernel("gammaln", _gammaln_block, lambda g, out, x: multiply_no_nan(g, digamma(x)))
gamma_p = by_kernel("gamma", _gamma_block, lambda g, out, x: multiply_no_nan(g, multiply(out, digamma(x))))
digamma_p = by_kernel("digamma", _digamma_block, lambda g, out, x: multiply_no_nan(g, _polygamma(1, x)))


def _polygamma(order: int, x: Any) -> Any:
    return bind(polygamma_p, x, order=order)


def _next_order(g: Any, x: Any, order: int) -> Any:
    return multiply_no_nan(g, _polygamma(order + 1, x))


polygamma_p = register(
    Primitive(
        "polygamma",
        lambda x, order: kernel_evaluator(lambda block: _polygamma_block(block, order))(x),
        lambda x, order: kernel_rule(x),
        vjp=lambda g, needed, out, x, order: (_next_order(g, x, order),),
        jvp=lambda tangents, out, x, order: elementwise_jvp((lambda g, out, x: _next_order(g, x, order),))(
            tangents, out, x
        ),
        batch=batch_elementwise,
        takes_numbers=True,
    )
)
betaln_p = elementwise(
    "betaln",
    np.logaddexp,
    lambda g, out, a, b: multiply_no_nan(g, subtract(digamma(a), digamma(add(a, b)))),
    lambda g, out, a, b: multiply_no_nan(g, subtract(digamma(b), digamma(add(a, b)))),
    evaluate=_of_pair(_betaln_pair),
)
beta_p = elementwise(
    "beta",
    np.logaddexp,
    lambda g, out, a, b: multiply_no_nan(g, multiply(out, subtract(digamma(a), digamma(add(a, b))))),
    lambda g, out, a, b: multiply_no_nan(g, multiply(out, subtract(digamma(b), digamma(add(a, b))))),
    evaluate=_of_pair(_beta_pair),
)


def gammaln(x: ArrayLike, /) -> Tensor:
    """log |gamma(x)|, elementwise; the derivative is digamma(x). At 0 and the negative integers it is inf.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.gammaln(fg.asarray([1.0, 5.0]))
    Tensor([0.        , 3.17805383], dtype=float64)
    """
    return bind1(gammaln_p, x)


def gamma(x: ArrayLike, /) -> Tensor:
    """The gamma function, (x - 1)! of integers, elementwise; the derivative is gamma(x) digamma(x).

    At 0 it is an infinity of the sign of the zero, at the negative integers NaN.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.gamma(fg.asarray([1.0, 5.0]))
    Tensor([ 1., 24.], dtype=float64)
    """
    return bind1(gamma_p, x)


def digamma(x: ArrayLike, /) -> Tensor:
    """The derivative of log gamma(x), elementwise; its own derivative is polygamma(1, x). NaN at negative integers.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.digamma(fg.asarray([1.0]))
    Tensor([-0.57721566], dtype=float64)
    """
    return bind1(digamma_p, x)


def polygamma(n: int, x: ArrayLike, /) -> Tensor:
    """The n-th derivative of digamma, elementwise in x, for an integer n >= 0; its derivative is polygamma(n + 1, x).

    Raises:
        TypeError: when n is not an integer of Python or NumPy. ShapeError: when it is negative.
        DtypeError: for complex x.

    >>> import fgrad as fg
    >>> fg.special.polygamma(1, fg.asarray([1.0]))
    Tensor([1.64493407], dtype=float64)
    """
    order = as_integer(n, "polygamma", "the order is an integer")
    if order < 0:
        message = f"[polygamma] the order is {order}; it is at least 0"
        raise ShapeError(at_user_line(message))
    result: Tensor = digamma(x) if order == 0 else _polygamma(order, x)
    return result


def betaln(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """log |beta(a, b)|, elementwise with broadcasting; the partial by a is digamma(a) - digamma(a + b).

    >>> import fgrad as fg
    >>> fg.special.betaln(fg.asarray([2.0]), 3.0)
    Tensor([-2.48490665], dtype=float64)
    """
    return bind2(betaln_p, a, b)


def beta(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """gamma(a) gamma(b) / gamma(a + b), elementwise with broadcasting.

    The partial by a is beta(a, b) (digamma(a) - digamma(a + b)).

    >>> import fgrad as fg
    >>> fg.special.beta(fg.asarray([2.0]), 4.0)
    Tensor([0.05], dtype=float64)
    """
    return bind2(beta_p, a, b)
