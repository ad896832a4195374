"""Trigonometric and hyperbolic functions of elements, and their inverses."""

from __future__ import annotations

import numpy as np

from fgrad.core.bind import bind1
from fgrad.core.errors import refuse_out
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arithmetic import add, divide_no_nan, multiply_no_nan, negative, square, subtract
from fgrad.ops.declare import elementwise, stands_for
from fgrad.ops.exponential import sqrt
from fgrad.ops.special_values import evaluate_tanh

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "sin",
    "sinh",
    "tan",
    "tanh",
]


@stands_for(np.sin)
def sin(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The sine of x in radians, elementwise; the derivative is cos(x).

    >>> import fgrad as fg
    >>> fg.sin(fg.asarray([0.0, 1.0]))
    Tensor([0.        , 0.84147098], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.sin")
    return bind1(sin_p, x)


@stands_for(np.cos)
def cos(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The cosine of x in radians, elementwise; the derivative is -sin(x).

    >>> import fgrad as fg
    >>> fg.cos(fg.asarray([0.0, 1.0]))
    Tensor([1.        , 0.54030231], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.cos")
    return bind1(cos_p, x)


@stands_for(np.tan)
def tan(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The tangent of x in radians, elementwise; the derivative is 1 + tan(x)**2.

    >>> import fgrad as fg
    >>> fg.tan(fg.asarray([0.0, 1.0]))
    Tensor([0.        , 1.55740772], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.tan")
    return bind1(tan_p, x)


@stands_for(np.arcsin)
def arcsin(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The angle in radians whose sine is x, elementwise; the derivative is 1 / sqrt(1 - x**2).

    >>> import fgrad as fg
    >>> fg.arcsin(fg.asarray([0.0, 1.0]))
    Tensor([0.        , 1.57079633], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.arcsin")
    return bind1(arcsin_p, x)


@stands_for(np.arccos)
def arccos(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The angle in radians whose cosine is x, elementwise; the derivative is -1 / sqrt(1 - x**2).

    >>> import fgrad as fg
    >>> fg.arccos(fg.asarray([0.0, 1.0]))
    Tensor([1.57079633, 0.        ], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.arccos")
    return bind1(arccos_p, x)


@stands_for(np.arctan)
def arctan(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The angle in radians whose tangent is x, elementwise; the derivative is 1 / (1 + x**2).

    >>> import fgrad as fg
    >>> fg.arctan(fg.asarray([0.0, 1.0]))
    Tensor([0.        , 0.78539816], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.arctan")
    return bind1(arctan_p, x)


@stands_for(np.sinh)
def sinh(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The hyperbolic sine, elementwise; the derivative is cosh(x).

    >>> import fgrad as fg
    >>> fg.sinh(fg.asarray([0.0, 1.0]))
    Tensor([0.        , 1.17520119], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.sinh")
    return bind1(sinh_p, x)


@stands_for(np.cosh)
def cosh(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The hyperbolic cosine, elementwise; the derivative is sinh(x).

    >>> import fgrad as fg
    >>> fg.cosh(fg.asarray([0.0, 1.0]))
    Tensor([1.        , 1.54308063], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.cosh")
    return bind1(cosh_p, x)


@stands_for(np.tanh)
def tanh(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The hyperbolic tangent, elementwise; the derivative is 1 - tanh(x)**2.

    >>> import fgrad as fg
    >>> fg.tanh(fg.asarray([0.0, 1.0]))
    Tensor([0.        , 0.76159416], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.tanh")
    return bind1(tanh_p, x)


@stands_for(np.arcsinh)
def arcsinh(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The inverse of sinh, elementwise; the derivative is 1 / sqrt(x**2 + 1).

    >>> import fgrad as fg
    >>> fg.arcsinh(fg.asarray([0.0, 1.0]))
    Tensor([0.        , 0.88137359], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.arcsinh")
    return bind1(arcsinh_p, x)


@stands_for(np.arccosh)
def arccosh(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The inverse of cosh, elementwise; the derivative is 1 / sqrt(x**2 - 1).

    >>> import fgrad as fg
    >>> fg.arccosh(fg.asarray([1.0, 2.0]))
    Tensor([0.       , 1.3169579], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.arccosh")
    return bind1(arccosh_p, x)


@stands_for(np.arctanh)
def arctanh(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The inverse of tanh, elementwise; the derivative is 1 / (1 - x**2).

    >>> import fgrad as fg
    >>> fg.arctanh(fg.asarray([0.0, 0.5]))
    Tensor([0.        , 0.54930614], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.arctanh")
    return bind1(arctanh_p, x)


# The names of the array API standard.
asin = arcsin
acos = arccos
atan = arctan
asinh = arcsinh
acosh = arccosh
atanh = arctanh

sin_p = elementwise("sin", np.sin, lambda g, out, x: multiply_no_nan(g, cos(x)))
cos_p = elementwise("cos", np.cos, lambda g, out, x: negative(multiply_no_nan(g, sin(x))))
tan_p = elementwise("tan", np.tan, lambda g, out, x: multiply_no_nan(g, add(square(out), 1)))
arcsin_p = elementwise("arcsin", np.arcsin, lambda g, out, x: divide_no_nan(g, sqrt((1 - x) * (1 + x))))
arccos_p = elementwise("arccos", np.arccos, lambda g, out, x: negative(divide_no_nan(g, sqrt((1 - x) * (1 + x)))))
arctan_p = elementwise("arctan", np.arctan, lambda g, out, x: divide_no_nan(g, add(square(x), 1)))
sinh_p = elementwise("sinh", np.sinh, lambda g, out, x: multiply_no_nan(g, cosh(x)))
cosh_p = elementwise("cosh", np.cosh, lambda g, out, x: multiply_no_nan(g, sinh(x)))
tanh_p = elementwise(
    "tanh", np.tanh, lambda g, out, x: multiply_no_nan(g, subtract(1, square(out))), evaluate=evaluate_tanh
)
arcsinh_p = elementwise("arcsinh", np.arcsinh, lambda g, out, x: divide_no_nan(g, sqrt(add(square(x), 1))))
arccosh_p = elementwise("arccosh", np.arccosh, lambda g, out, x: divide_no_nan(g, sqrt((x - 1) * (x + 1))))
arctanh_p = elementwise("arctanh", np.arctanh, lambda g, out, x: divide_no_nan(g, (1 - x) * (1 + x)))
