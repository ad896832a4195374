"""Angles, the cardinal sine and the cube root of elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind1
from fgrad.core.errors import DtypeError, refuse_out
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, axis_index, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import divide_no_nan, imag, multiply, multiply_no_nan, real
from fgrad.ops.declare import batch_elementwise, batch_over_axis, elementwise, elementwise_jvp, stands_for, untraced_by
from fgrad.ops.pairs import arctan2
from fgrad.ops.structure import fit_tangent, unbroadcast

__all__ = ["angle", "cbrt", "deg2rad", "degrees", "rad2deg", "radians", "sinc", "unwrap"]

_FLOAT64 = np.dtype(float)

cbrt_p = elementwise("cbrt", np.cbrt, lambda g, out, x: divide_no_nan(divide_no_nan(g, out), multiply(out, 3)))
deg2rad_p: Primitive = elementwise("deg2rad", np.deg2rad, lambda g, out, x: bind1(deg2rad_p, g))
rad2deg_p: Primitive = elementwise("rad2deg", np.rad2deg, lambda g, out, x: bind1(rad2deg_p, g))


@stands_for(np.cbrt)
def cbrt(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The real cube root, elementwise; the derivative is 1 / (3 cbrt(x)**2).

    At 0 the derivative is inf, as the limit is; a zero cotangent contributes zero there.

    >>> import fgrad as fg
    >>> fg.cbrt(fg.asarray([8.0, -27.0]))
    Tensor([ 2., -3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.cbrt")
    return bind1(cbrt_p, x)


@stands_for(np.deg2rad, np.radians)
def deg2rad(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Degrees as radians, x pi / 180, elementwise.

    >>> import fgrad as fg
    >>> fg.deg2rad(fg.asarray([90.0, 180.0]))
    Tensor([1.57079633, 3.14159265], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.deg2rad")
    return bind1(deg2rad_p, x)


@stands_for(np.rad2deg, np.degrees)
def rad2deg(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """Radians as degrees, x 180 / pi, elementwise.

    >>> import fgrad as fg
    >>> fg.rad2deg(fg.asarray([fg.pi / 2, fg.pi]))
    Tensor([ 90., 180.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.rad2deg")
    return bind1(rad2deg_p, x)


radians = deg2rad
degrees = rad2deg


@stands_for(np.angle)
@untraced_by(np.angle)
def angle(z: ArrayLike, deg: bool = False) -> Tensor:
    """The argument of a complex number, arctan2(imag(z), real(z)), in radians or, with `deg`, in degrees.

    Of a real number it is 0, or pi where that is negative. The derivative is that of `arctan2`, 0 at 0.

    >>> import fgrad as fg
    >>> fg.angle(fg.asarray([1.0, 1.0j, -1.0 + 0.0j]), deg=True)
    Tensor([  0.,  90., 180.], dtype=float64)
    """
    operand = as_operand(z)
    is_complex = dtype_of(operand).kind == "c"
    radian = arctan2(imag(operand), real(operand)) if is_complex else arctan2(0, operand)
    return multiply(radian, 180 / math.pi) if deg else radian


# The cardinal sine sin(u) / u is smooth at 0, so that each of its derivatives is a primitive of its own: no quotient
# rule would be finite there.


def _sinc_rule(x: ShapeDtype, **params: Any) -> ShapeDtype:
    return ShapeDtype(x.shape, x.dtype if is_inexact(x.dtype) else _FLOAT64)


def _evaluate_sinc_derivative(x: Any, order: int) -> Any:
    given = np.asarray(x)
    u = np.asarray(given * math.pi, np.result_type(given.dtype, _FLOAT64)).reshape(-1)
    near = np.abs(u) <= order + 1
    out = np.empty_like(u)
    out[near] = _by_series(u[near], order)
    out[~near] = _by_recurrence(u[~near], order)
    scaled = out.reshape(given.shape) * math.pi**order
    return scaled.astype(given.dtype if is_inexact(given.dtype) else _FLOAT64, copy=False)


def _by_series(u: np.ndarray[Any, Any], order: int) -> np.ndarray[Any, Any]:
    """The derivatives of the series: sum of (-1)^k u^(2k-n) / ((2k-n)! (2k+1)) over 2k >= n."""
    first = (order + 1) // 2
    power = 2 * first - order
    term = u**power * (-1.0) ** first
    total = term / (2 * first + 1)
    squared = u * u
    for k in range(first + 1, first + 20 + 2 * order):
        power = 2 * k - order
        term = term * squared / (-power * (power - 1))
        total = total + term / (2 * k + 1)
    return total


def _by_recurrence(u: np.ndarray[Any, Any], order: int) -> np.ndarray[Any, Any]:
    """From u s(u) = sin(u), n times differentiated: u s_n + n s_(n-1) = sin(u + n pi / 2)."""
    sine, cosine = np.sin(u), np.cos(u)
    value = sine / u
    for n, shifted in enumerate([(cosine, -sine, -cosine, sine)[k % 4] for k in range(order)], 1):
        value = (shifted - n * value) / u
    return value


def _sinc_derivative(x: Any, order: int) -> Any:
    return bind(sinc_derivative_p, x, order=order)


def _sinc_derivative_jvp(tangents: Any, out: Any, x: Any, order: int) -> Any:
    return fit_tangent(multiply_no_nan(tangents[0], _sinc_derivative(x, order + 1)), out)


sinc_derivative_p = register(
    Primitive(
        "sinc_derivative",
        _evaluate_sinc_derivative,
        _sinc_rule,
        lambda g, needed, out, x, order: (unbroadcast(multiply_no_nan(g, _sinc_derivative(x, order + 1)), x),),
        _sinc_derivative_jvp,
        batch=batch_elementwise,
    )
)
sinc_p = register(
    Primitive(
        "sinc",
        np.sinc,
        _sinc_rule,
        lambda g, needed, out, x: (unbroadcast(multiply_no_nan(g, _sinc_derivative(x, 1)), x),),
        elementwise_jvp((lambda g, out, x: multiply_no_nan(g, _sinc_derivative(x, 1)),)),
        batch=batch_elementwise,
    )
)


@stands_for(np.sinc)
def sinc(x: ArrayLike, /) -> Tensor:
    """sin(pi x) / (pi x), elementwise, and 1 at 0; all derivatives are those of the smooth function, at 0 too.

    The n-th derivative comes from its power series near 0, and elsewhere from u s_n(u) = sin(u + n pi / 2) -
    n s_(n-1)(u), which is the definition, n times differentiated.

    >>> import fgrad as fg
    >>> fg.sinc(fg.asarray([0.0, 0.5]))
    Tensor([1.        , 0.63661977], dtype=float64)
    >>> fg.grad(fg.grad(fg.sinc))(0.0)
    Tensor(-3.28986813, dtype=float64)
    """
    return bind1(sinc_p, x)


def _unwrap_rule(p: ShapeDtype, discont: float | None, axis: int, period: float) -> ShapeDtype:
    if p.dtype.kind == "c":
        message = f"angles are real numbers, not of dtype {p.dtype}"
        raise DtypeError(message)
    return ShapeDtype(p.shape, np.result_type(p.dtype, period))


unwrap_p = register(
    Primitive(
        "unwrap",
        lambda p, discont, axis, period: np.unwrap(p, discont, axis, period=period),
        _unwrap_rule,
        lambda g, needed, out, p, **params: (unbroadcast(g, p),),
        lambda tangents, out, p, **params: fit_tangent(tangents[0], out),
        batch=batch_over_axis,
    )
)


@stands_for(np.unwrap)
def unwrap(p: ArrayLike, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi) -> Tensor:
    """Angles along an axis with multiples of the period added so that no step is larger than `discont`.

    The default of `discont` is half of the period. What is added is constant wherever the result is continuous, so the
    derivative is 1.

    Raises:
        ShapeError: when the axis is out of range.
        DtypeError: for complex numbers.
        TracerConversionError: a transform traces `discont` or `period`.

    >>> import fgrad as fg
    >>> fg.unwrap(fg.asarray([0.0, 3.0, -3.0]))
    Tensor([0.        , 3.        , 3.28318531], dtype=float64)
    """
    operand = as_operand(p)
    axis = axis_index(axis, len(shape_of(operand)), "unwrap")
    # They are no operands: reading a traced one raises, and says that its gradient would be lost.
    if isinstance(discont, Tensor):
        discont = discont.item()
    if isinstance(period, Tensor):
        period = np.asarray(period)[()]  # which keeps its dtype, and with it that of the result
    return bind(unwrap_p, operand, discont=discont, axis=axis, period=period)
