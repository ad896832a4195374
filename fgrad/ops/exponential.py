"""Powers, exponentials and logarithms of elements."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind1, bind2, make_operator
from fgrad.core.errors import refuse_out
from fgrad.core.methods import operations
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import dtype_of
from fgrad.ops.arithmetic import add, divide_no_nan, multiply, multiply_no_nan, subtract
from fgrad.ops.declare import elementwise, stands_for
from fgrad.ops.logic import equal
from fgrad.ops.selection import select_p
from fgrad.ops.special_values import evaluate_expm1
from fgrad.ops.structure import convert

__all__ = ["exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "pow", "power", "sqrt"]

_LOG_2 = math.log(2.0)
_LOG_10 = math.log(10.0)

exp_p = elementwise("exp", np.exp, lambda g, out, x: multiply_no_nan(g, out))
expm1_p = elementwise("expm1", np.expm1, lambda g, out, x: multiply_no_nan(g, add(out, 1)), evaluate=evaluate_expm1)
exp2_p = elementwise("exp2", np.exp2, lambda g, out, x: multiply_no_nan(g, multiply(out, _LOG_2)))
log_p = elementwise("log", np.log, lambda g, out, x: divide_no_nan(g, x))
log1p_p = elementwise("log1p", np.log1p, lambda g, out, x: divide_no_nan(g, add(x, 1)))
log2_p = elementwise("log2", np.log2, lambda g, out, x: divide_no_nan(g, multiply(x, _LOG_2)))
log10_p = elementwise("log10", np.log10, lambda g, out, x: divide_no_nan(g, multiply(x, _LOG_10)))
sqrt_p = elementwise("sqrt", np.sqrt, lambda g, out, x: divide_no_nan(g, multiply(out, 2)))


def power_by_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    if type(y) in PYTHON_NUMBERS and type(y) is not complex:
        if y == 2:
            return multiply_no_nan(g, multiply(x, 2))
        if y >= 1:
            return multiply_no_nan(g, y * power(x, y - 1))
    lowered = bind(select_p, equal(y, 0), 1, subtract(y, 1) if type(y) not in PYTHON_NUMBERS else y - 1)
    return multiply_no_nan(g, y * power(x, lowered))


def power_by_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    base = bind(select_p, equal(x, 0), 1, x)
    if dtype_of(out).kind == "c":
        base = convert(base, dtype_of(out))  # a negative number has no real logarithm
    return multiply_no_nan(g, multiply_no_nan(log(base), out))


def _raise_to_power(x: Any, y: Any) -> Any:
    # With a Python number for exponent NumPy's operator takes short cuts to squares and roots. Booleans it squares into
    # another dtype than np.power promises, and in NumPy 2.0 arrays of shape () too.
    short = type(y) in PYTHON_NUMBERS and type(x) not in PYTHON_NUMBERS and x.dtype.kind != "b"
    return operator.pow(x, y) if short else np.power(x, y)


power_p = elementwise(
    "power", np.power, power_by_base, power_by_exponent, evaluate=_raise_to_power, python=operator.pow
)


@stands_for(np.exp)
def exp(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """e**x, elementwise; the derivative is exp(x).

    >>> import fgrad as fg
    >>> fg.exp(fg.asarray([0.0, 1.0]))
    Tensor([1.        , 2.71828183], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.exp")
    return bind1(exp_p, x)


@stands_for(np.expm1)
def expm1(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """exp(x) - 1, elementwise, accurate near 0; the derivative is exp(x).

    >>> import fgrad as fg
    >>> fg.expm1(fg.asarray([0.0, 1e-10]))
    Tensor([0.e+00, 1.e-10], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.expm1")
    return bind1(expm1_p, x)


@stands_for(np.exp2)
def exp2(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """2**x, elementwise; the derivative is 2**x log(2).

    >>> import fgrad as fg
    >>> fg.exp2(fg.asarray([0.0, 3.0]))
    Tensor([1., 8.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.exp2")
    return bind1(exp2_p, x)


@stands_for(np.log)
def log(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The natural logarithm, elementwise; the derivative is 1 / x.

    At 0 the derivative is inf, as the limit is; a zero cotangent contributes zero there.

    >>> import fgrad as fg
    >>> fg.log(fg.asarray([1.0, 10.0]))
    Tensor([0.        , 2.30258509], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.log")
    return bind1(log_p, x)


@stands_for(np.log1p)
def log1p(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """log(1 + x), elementwise, accurate near 0; the derivative is 1 / (1 + x).

    >>> import fgrad as fg
    >>> fg.log1p(fg.asarray([0.0, 1e-10]))
    Tensor([0.e+00, 1.e-10], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.log1p")
    return bind1(log1p_p, x)


@stands_for(np.log2)
def log2(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The logarithm to base 2, elementwise; the derivative is 1 / (x log(2)).

    >>> import fgrad as fg
    >>> fg.log2(fg.asarray([1.0, 8.0]))
    Tensor([0., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.log2")
    return bind1(log2_p, x)


@stands_for(np.log10)
def log10(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The logarithm to base 10, elementwise; the derivative is 1 / (x log(10)).

    >>> import fgrad as fg
    >>> fg.log10(fg.asarray([1.0, 1000.0]))
    Tensor([0., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.log10")
    return bind1(log10_p, x)


@stands_for(np.sqrt)
def sqrt(x: ArrayLike, /, *, out: None = None) -> Tensor:
    """The square root, elementwise; the derivative is 1 / (2 sqrt(x)).

    At 0 the derivative is inf, as the limit is; a zero cotangent contributes zero there.

    >>> import fgrad as fg
    >>> fg.sqrt(fg.asarray([1.0, 9.0]))
    Tensor([1., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.sqrt")
    return bind1(sqrt_p, x)


@stands_for(np.power)
def power(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """x1**x2, elementwise with broadcasting; the partials are x2 x1**(x2 - 1) and x1**x2 log(x1).

    At x1 = 0 the partial by x2 is taken as 0; at x2 = 0 the partial by x1 is 0, also at x1 = 0.

    Raises:
        ShapeError: for an integer base and a negative integer exponent, as NumPy does.

    >>> import fgrad as fg
    >>> fg.power(fg.asarray([2.0, 3.0]), 3.0)
    Tensor([ 8., 27.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.power")
    return bind2(power_p, x1, x2)


pow = power

operations.power = make_operator(power_p)
