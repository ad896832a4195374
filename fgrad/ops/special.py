"""The error function, its inverse, and the normal distribution function and quantile that go with them.

The kernels work on float64 arrays in blocks that fit into the processor's cache; other precisions are rounded from
that. They use nothing but arithmetic, sqrt, exp and log, so that two platforms differ by no more than those do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fgrad.core.bind import bind1
from fgrad.core.errors import DtypeError
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arithmetic import divide_no_nan, multiply, multiply_no_nan, negative, square, subtract
from fgrad.ops.declare import batch_elementwise, elementwise_jvp, ufunc_shape_rule
from fgrad.ops.exponential import exp

__all__ = [
    "BLOCK",
    "by_kernel",
    "erf",
    "erfc",
    "erfinv",
    "kernel_evaluator",
    "kernel_rule",
    "log_ndtr",
    "ndtr",
    "ndtri",
    "normal_cdf",
    "normal_quantile",
]

Array: TypeAlias = np.ndarray[Any, Any]
Kernel: TypeAlias = Callable[[Array], Array]

# Elements that a kernel works on at a time: a few arrays of them stay in a core's cache.
BLOCK = 16384

# W. J. Cody, Rational Chebyshev approximations for the error function, Mathematics of Computation 23 (1969), 631-637:
# erf(x) = x P(x^2) / Q(x^2) up to 0.46875; erfc(x) = exp(-x^2) P(x) / Q(x) up to 4 and
# exp(-x^2) / x (1 / sqrt(pi) - P(1/x^2) / (x^2 Q(1/x^2))) beyond. Highest power first; Q's leading one is left out.
_NEAR = 0.46875
_FAR = 4.0
_NEAR_P = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_NEAR_Q = (2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_MIDDLE_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_MIDDLE_Q = (
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
_FAR_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_FAR_Q = (
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)

# M. J. Wichura, Algorithm AS 241: The percentage points of the normal distribution, Applied Statistics 37 (1988),
# 477-484, routine PPND16: z = q P(0.180625 - q^2) / Q(...) with q = p - 1/2 up to |q| = 0.425, and in the tails
# P(s) / Q(s) with s = r - 1.6 or r - 5, r = sqrt(-log(min(p, 1 - p))). Highest power first; Q ends with the constant 1.
_CENTRE = 0.425
_CENTRE_P = (
    2.5090809287301226727e3,
    3.3430575583588128105e4,
    6.7265770927008700853e4,
    4.5921953931549871457e4,
    1.3731693765509461125e4,
    1.9715909503065514427e3,
    1.3314166789178437745e2,
    3.3871328727963666080e0,
)
_CENTRE_Q = (
    5.2264952788528545610e3,
    2.8729085735721942674e4,
    3.9307895800092710610e4,
    2.1213794301586595867e4,
    5.3941960214247511077e3,
    6.8718700749205790830e2,
    4.2313330701600911252e1,
    1.0,
)
_TAIL_P = (
    7.74545014278341407640e-4,
    2.27238449892691845833e-2,
    2.41780725177450611770e-1,
    1.27045825245236838258e0,
    3.64784832476320460504e0,
    5.76949722146069140550e0,
    4.63033784615654529590e0,
    1.42343711074968357734e0,
)
_TAIL_Q = (
    1.05075007164441684324e-9,
    5.47593808499534494600e-4,
    1.51986665636164571966e-2,
    1.48103976427480074590e-1,
    6.89767334985100004550e-1,
    1.67638483018380384940e0,
    2.05319162663775882187e0,
    1.0,
)
_DEEP_P = (
    2.01033439929228813265e-7,
    2.71155556874348757815e-5,
    1.24266094738807843860e-3,
    2.65321895265761230930e-2,
    2.96560571828504891230e-1,
    1.78482653991729133580e0,
    5.46378491116411436990e0,
    6.65790464350110377720e0,
)
_DEEP_Q = (
    2.04426310338993978564e-15,
    1.42151175831644588870e-7,
    1.84631831751005468180e-5,
    7.86869131145613259100e-4,
    1.48753612908506148525e-2,
    1.36929880922735805310e-1,
    5.99832206555887937690e-1,
    1.0,
)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, highest power first."""
    value = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        value += coefficient
        value *= x
    value += coefficients[-1]
    return value


def _monic(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule for a polynomial whose leading coefficient, not given, is one."""
    value = x + coefficients[0]
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value


def in_blocks(kernel: Kernel, x: Array) -> Array:
    """The kernel over all elements of a float64 array, BLOCK of them at a time."""
    if x.size <= BLOCK:
        return kernel(x.ravel()).reshape(x.shape)
    flat = x.ravel()
    out = np.empty_like(flat)
    for start in range(0, flat.size, BLOCK):
        out[start : start + BLOCK] = kernel(flat[start : start + BLOCK])
    return out.reshape(x.shape)


def _erf_block(x: Array) -> Array:
    magnitude = np.abs(x)
    out = x.copy()  # NaN stays NaN
    near = np.flatnonzero(magnitude <= _NEAR)
    out[near] = _erf_near(x[near])
    outside = np.flatnonzero(magnitude > _NEAR)
    if outside.size:
        distant = np.minimum(magnitude[outside], 6.0)  # beyond 6, erf is 1 to the last bit
        out[outside] = np.copysign(1.0 - _erfc_outside(distant, _gaussian(distant, 1.0)), x[outside])
    return out


def _erf_near(x: Array) -> Array:
    squared = x * x
    return x * (_polynomial(_NEAR_P, squared) / _monic(_NEAR_Q, squared))


def _erfc_outside(y: Array, gaussian: Array) -> Array:
    """erfc(y) for y > 0.46875, given exp(-y^2)."""
    middle = np.minimum(y, _FAR)
    out = _polynomial(_MIDDLE_P, middle)
    out /= _monic(_MIDDLE_Q, middle)
    far = np.flatnonzero(y > _FAR)
    if far.size:
        distant = y[far]
        inverse_square = 1.0 / (distant * distant)
        series = inverse_square * (_polynomial(_FAR_P, inverse_square) / _monic(_FAR_Q, inverse_square))
        out[far] = (1.0 / math.sqrt(math.pi) - series) / distant
    out *= gaussian
    return out


def _gaussian(x: Array, scale: float) -> Array:
    """exp(-scale x^2), for a scale that is a power of two."""
    # The rounding error of x * x, which exp would magnify, is found exactly (the head's square is exact: 48 bits of it)
    # and made good to first order.
    squared = x * x
    head = x.astype(np.float32).astype(np.float64)
    error = (head * head - squared) + (x - head) * (x + head)
    with np.errstate(under="ignore"):
        out = np.exp(squared * -scale)
        out -= out * (error * scale)
    return out


def normal_cdf(x: Array) -> Array:
    """The standard normal distribution function, with full relative accuracy in its lower tail too.

    Works on one block of a flat array, without NaN.
    """
    magnitude = np.minimum(np.abs(x), 40.0)  # beyond 39 the tail is less than the smallest float64
    scaled = magnitude * math.sqrt(0.5)
    out = np.empty_like(x)
    near = np.flatnonzero(scaled <= _NEAR)
    out[near] = 0.5 + 0.5 * _erf_near(np.copysign(scaled[near], x[near]))
    outside = np.flatnonzero(scaled > _NEAR)
    with np.errstate(under="ignore"):
        half = 0.5 * _erfc_outside(scaled[outside], _gaussian(magnitude[outside], 0.5))
    out[outside] = np.where(x[outside] < 0, half, 1.0 - half)
    return out


def normal_quantile(centred: Array, tail: Array) -> Array:
    """The standard normal quantile of p, given p - 1/2 and min(p, 1 - p), each as accurately as it is known.

    A tail of 0 gives an infinity. Works on one block of a flat array, without NaN.
    """
    out = _centre_quantile(centred)
    outside = np.flatnonzero(np.abs(centred) > _CENTRE)
    if outside.size:
        with np.errstate(divide="ignore"):
            radius = np.sqrt(-np.log(tail[outside]))
        out[outside] = np.copysign(_tail_quantile(radius), centred[outside])
    return out


def _centre_quantile(centred: Array) -> Array:
    argument = centred * centred
    np.subtract(_CENTRE * _CENTRE, argument, out=argument)
    out = _polynomial(_CENTRE_P, argument)
    out /= _polynomial(_CENTRE_Q, argument)
    out *= centred
    return out


def _tail_quantile(radius: Array) -> Array:
    shifted = np.minimum(radius, 5.0) - 1.6
    out = _polynomial(_TAIL_P, shifted)
    out /= _polynomial(_TAIL_Q, shifted)
    deep = np.flatnonzero(radius > 5.0)
    if deep.size:
        shifted = np.minimum(radius[deep], 30.0) - 5.0
        values = _polynomial(_DEEP_P, shifted) / _polynomial(_DEEP_Q, shifted)
        out[deep] = np.where(np.isinf(radius[deep]), np.inf, values)
    return out


def _erfinv_block(x: Array) -> Array:
    magnitude = np.abs(x)
    valid = magnitude <= 1.0
    if valid.all():
        return normal_quantile(0.5 * x, 0.5 * (1.0 - magnitude)) * math.sqrt(0.5)
    out = np.full_like(x, np.nan)
    inside = x[valid]
    out[valid] = normal_quantile(0.5 * inside, 0.5 * (1.0 - magnitude[valid])) * math.sqrt(0.5)
    return out


_real_rule = ufunc_shape_rule(np.cbrt)


def kernel_rule(x: ShapeDtype) -> ShapeDtype:
    """The shape rule of what a kernel evaluates: real numbers, of at most 64 bits."""
    if x.dtype.kind == "c" or x.dtype.itemsize > 8:  # bytes of a float64
        message = f"it is defined for floats of up to 64 bits, not for dtype {x.dtype}"
        raise DtypeError(message)
    return _real_rule(x)


def kernel_evaluator(kernel: Kernel) -> Callable[[Any], Array]:
    """The evaluation by a kernel on float64, rounded to the dtype of the operand."""

    def evaluate(x: Any) -> Array:
        given = np.asarray(x)
        if given.dtype == np.float64:
            return in_blocks(kernel, given)
        dtype = kernel_rule(ShapeDtype((), given.dtype)).dtype
        return in_blocks(kernel, given.astype(np.float64)).astype(dtype)

    return evaluate


def by_kernel(name: str, kernel: Kernel, partial: Callable[..., Any]) -> Primitive:
    """An elementwise primitive of one operand, evaluated by a kernel, with its derivative written once."""
    return register(
        Primitive(
            name,
            kernel_evaluator(kernel),
            kernel_rule,
            vjp=lambda g, needed, out, x: (partial(g, out, x),),
            jvp=elementwise_jvp((partial,)),
            batch=batch_elementwise,
            takes_numbers=True,
        )
    )


erf_p = by_kernel(
    "erf",
    _erf_block,
    lambda g, out, x: multiply_no_nan(g, exp(negative(square(x))) * (2.0 / math.sqrt(math.pi))),
)
erfinv_p = by_kernel(
    "erfinv",
    _erfinv_block,
    lambda g, out, x: multiply_no_nan(g, exp(square(out)) * (0.5 * math.sqrt(math.pi))),
)


def erf(x: ArrayLike, /) -> Tensor:
    """The error function 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x, elementwise.

    The derivative is 2 / sqrt(pi) exp(-x**2). Accurate to a few units in the last place (Cody 1969); integers give
    the dtype that NumPy's ufuncs give them, float64 unless they are small.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.erf(fg.asarray([0.0, 0.5, -2.0]))
    Tensor([ 0.        ,  0.52049988, -0.99532227], dtype=float64)
    """
    return bind1(erf_p, x)


def erfinv(x: ArrayLike, /) -> Tensor:
    """The inverse of the error function, elementwise: erf(erfinv(x)) = x for x from -1 to 1, NaN outside.

    At -1 and 1 it is -inf and inf. The derivative is sqrt(pi) / 2 exp(erfinv(x)**2); where the cotangent is zero it
    contributes zero at the ends too. Accurate to a few units in the last place (Wichura 1988); integers give
    the dtype that NumPy's ufuncs give them, float64 unless they are small.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.erfinv(fg.asarray([0.0, 0.5, -1.0]))
    Tensor([0.        , 0.47693628,       -inf], dtype=float64)
    """
    return bind1(erfinv_p, x)


def _without_nan(kernel: Kernel) -> Kernel:
    def block(x: Array) -> Array:
        valid = ~np.isnan(x)
        if valid.all():
            return kernel(x)
        out = x.copy()
        out[valid] = kernel(x[valid])
        return out

    return block


def _erfc_block(x: Array) -> Array:
    magnitude = np.minimum(np.abs(x), 28.0)  # beyond 27.3 it is less than the smallest float64
    out = np.empty_like(x)
    near = magnitude <= _NEAR
    out[near] = 1.0 - _erf_near(x[near])
    with np.errstate(under="ignore"):
        tail = _erfc_outside(magnitude[~near], _gaussian(magnitude[~near], 1.0))
    out[~near] = np.where(x[~near] < 0, 2.0 - tail, tail)
    return out


def _ndtri_block(p: Array) -> Array:
    out = np.full_like(p, np.nan)
    valid = (p >= 0) & (p <= 1)
    inside = p[valid]
    out[valid] = normal_quantile(inside - 0.5, np.minimum(inside, 1.0 - inside))
    return out


def _scaled_tail(y: Array) -> Array:
    """erfc(y) exp(y^2) for y > 0.46875."""
    return _erfc_outside(y, np.ones_like(y))


def _log_ndtr_block(x: Array) -> Array:
    out = np.empty_like(x)
    low = x < -1.0
    y = x[low]
    # A quotient of erfc and its leading factor, so that nothing underflows.
    out[low] = np.log(0.5 * _scaled_tail(-y * math.sqrt(0.5))) - 0.5 * y * y
    out[~low] = np.log1p(-normal_cdf(-x[~low]))
    out[np.isneginf(x)] = -np.inf
    return out


def _slope_block(x: Array) -> Array:
    """The density of the normal distribution over its distribution function."""
    out = np.empty_like(x)
    low = x < -1.0
    with np.errstate(divide="ignore", under="ignore"):
        out[low] = math.sqrt(2.0 / math.pi) / _scaled_tail(-x[low] * math.sqrt(0.5))
        out[~low] = np.exp(-0.5 * x[~low] ** 2) * (1.0 / math.sqrt(2.0 * math.pi)) / normal_cdf(x[~low])
    return out


def _curvature_block(x: Array) -> Array:
    """s (x + s), with s the slope: minus the second derivative of log_ndtr, from 0 at inf to 1 at -inf."""
    slope = _slope_block(x)
    with np.errstate(invalid="ignore"):  # -inf + inf, which the continued fraction replaces
        excess = x + slope
    low = x < -3.0
    # Below, x + s is a difference of nearly equal numbers; the continued fraction of Mills' ratio (Laplace; A. and S.
    # 26.2.14) gives it as 1 / (t + 2 / (t + 3 / (t + ...))), t = -x. Forty terms suffice from t = 3 on.
    t = -x[low]
    fraction = np.zeros_like(t)
    for term in range(40, 0, -1):
        fraction = term / (t + fraction)
    excess[low] = fraction
    with np.errstate(invalid="ignore"):
        out = slope * excess
    out[np.isneginf(x)] = 1.0
    out[np.isposinf(x)] = 0.0
    return out


def _curvature_partial(g: Any, out: Any, x: Any) -> Any:
    # s' = -c and x + s = c / s, for the slope s and the curvature c.
    slope = bind1(log_ndtr_slope_p, x)
    change = subtract(multiply_no_nan(slope, subtract(1, out)), divide_no_nan(square(out), slope))
    return multiply_no_nan(g, change)


def _density(x: Any) -> Any:
    return exp(multiply(square(x), -0.5)) * (1.0 / math.sqrt(2.0 * math.pi))


erfc_p = by_kernel(
    "erfc",
    _without_nan(_erfc_block),
    lambda g, out, x: multiply_no_nan(g, exp(negative(square(x))) * (-2.0 / math.sqrt(math.pi))),
)
ndtr_p = by_kernel("ndtr", _without_nan(normal_cdf), lambda g, out, x: multiply_no_nan(g, _density(x)))
ndtri_p = by_kernel(
    "ndtri",
    _ndtri_block,
    lambda g, out, x: multiply_no_nan(g, exp(multiply(square(out), 0.5)) * math.sqrt(2.0 * math.pi)),
)
log_ndtr_p = by_kernel(
    "log_ndtr", _without_nan(_log_ndtr_block), lambda g, out, x: multiply_no_nan(g, bind1(log_ndtr_slope_p, x))
)
log_ndtr_slope_p: Primitive = by_kernel(
    "log_ndtr_slope",
    _without_nan(_slope_block),
    lambda g, out, x: negative(multiply_no_nan(g, bind1(log_ndtr_curvature_p, x))),
)
log_ndtr_curvature_p: Primitive = by_kernel("log_ndtr_curvature", _without_nan(_curvature_block), _curvature_partial)


def erfc(x: ArrayLike, /) -> Tensor:
    """1 - erf(x), elementwise, with full relative accuracy for large x; the derivative is -2 / sqrt(pi) exp(-x**2).

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.erfc(fg.asarray([0.0, 10.0]))
    Tensor([1.00000000e+00, 2.08848758e-45], dtype=float64)
    """
    return bind1(erfc_p, x)


def ndtr(x: ArrayLike, /) -> Tensor:
    """The standard normal distribution function, elementwise; the derivative is its density.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.ndtr(fg.asarray([0.0, 1.96]))
    Tensor([0.5      , 0.9750021], dtype=float64)
    """
    return bind1(ndtr_p, x)


def ndtri(p: ArrayLike, /) -> Tensor:
    """The inverse of `ndtr`, elementwise: infinite at 0 and 1, NaN outside.

    The derivative is sqrt(2 pi) exp(ndtri(p)**2 / 2).

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.ndtri(fg.asarray([0.5, 0.975]))
    Tensor([0.        , 1.95996398], dtype=float64)
    """
    return bind1(ndtri_p, p)


def log_ndtr(x: ArrayLike, /) -> Tensor:
    """log(ndtr(x)), elementwise, without underflow; the derivative is the density over ndtr(x).

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.log_ndtr(fg.asarray([-100.0, 0.0]))
    Tensor([-5.00552421e+03, -6.93147181e-01], dtype=float64)
    """
    return bind1(log_ndtr_p, x)
