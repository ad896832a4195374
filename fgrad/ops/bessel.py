"""Modified Bessel functions of the first kind, of integer orders: i0, i1 and their scaled forms.

The references are to M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, chapter 9.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.primitive import Primitive, register
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, dtype_of
from fgrad.ops.arithmetic import add, multiply, multiply_no_nan, sign, subtract
from fgrad.ops.declare import batch_elementwise, elementwise_jvp, stands_for
from fgrad.ops.special import kernel_evaluator, kernel_rule
from fgrad.ops.structure import convert

__all__ = ["i0", "i0e", "i1", "i1e"]

Array: TypeAlias = np.ndarray[Any, Any]

_FAR = 25.0


def _scaled_block(x: Array, order: int) -> Array:
    """exp(-|x|) I_n(x)."""
    magnitude = np.abs(x)
    out = np.empty_like(x)
    far = magnitude > _FAR + order * order
    rest = ~far
    for limit in (1.0, 4.0, _FAR + order * order):
        # The bits of an element must not depend on the others of its block, so its own size says how many terms.
        near = rest & ~(magnitude > limit)
        if near.any():
            some = magnitude[near]
            out[near] = _by_power_series(some, order, limit) * np.exp(-some)
            rest &= ~near
    if far.any():
        out[far] = _by_asymptotic_series(magnitude[far], order)
    return np.where(x < 0, -out, out) if order % 2 else out


def _by_power_series(x: Array, order: int, limit: float) -> Array:
    """9.6.10, for x up to a limit: all terms are positive, so nothing cancels."""
    quarter = 0.25 * x * x
    # The first of the terms (limit / 2)^2k / (k! (k + n)!) that rounding swallows lies well before this one.
    terms = int(10 + 2 * limit)
    total = np.ones_like(x)
    for k in range(terms, 0, -1):
        total = 1.0 + total * quarter / (k * (k + order))
    return total * (0.5 * x) ** order / math.factorial(order)


def _by_asymptotic_series(x: Array, order: int) -> Array:
    """9.7.1, whose terms are smallest, and less than a rounding error, about the index 2 x."""
    total, term = np.ones_like(x), np.ones_like(x)
    for k in range(1, 40):
        term = term * -(4.0 * order * order - (2 * k - 1) ** 2) / (8.0 * k * x)
        total = total + term
    return total / np.sqrt(2 * np.pi * x)


def _evaluate(x: Any, order: int, scaled: bool) -> Array:
    def kernel(block: Array) -> Array:
        value = _scaled_block(block, order)
        if scaled:
            return value
        with np.errstate(over="ignore"):
            # In two steps: the exponential overflows before the product does.
            root = np.exp(0.5 * np.abs(block))
            return np.asarray(value * root * root)

    return kernel_evaluator(kernel)(x)


def _bessel(x: Any, order: int, *, scaled: bool) -> Any:
    # I_-n is I_n.
    return bind(bessel_i_p, x, order=max(order, -order), scaled=scaled)


def _partial(g: Any, out: Any, x: Any, order: int, scaled: bool) -> Any:
    # 9.6.26, which is finite at 0 where I_n - n / x I_n is not.
    mean = multiply(add(_bessel(x, order - 1, scaled=scaled), _bessel(x, order + 1, scaled=scaled)), 0.5)
    slope = subtract(mean, multiply_no_nan(sign(x), out)) if scaled else mean
    return multiply_no_nan(g, slope)


bessel_i_p: Primitive = register(
    Primitive(
        "bessel_i",
        _evaluate,
        lambda x, order, scaled: kernel_rule(x),
        vjp=lambda g, needed, out, x, order, scaled: (_partial(g, out, x, order, scaled),),
        jvp=lambda tangents, out, x, order, scaled: elementwise_jvp(
            (lambda g, out, x: _partial(g, out, x, order, scaled),)
        )(tangents, out, x),
        batch=batch_elementwise,
        takes_numbers=True,
    )
)


@stands_for(np.i0)
def i0(x: ArrayLike, /) -> Tensor:
    """The modified Bessel function of the first kind and order 0, elementwise; the derivative is i1(x).

    Integers and booleans give float64, as in NumPy.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.i0(fg.asarray([0.0, 1.0]))
    Tensor([1.        , 1.26606588], dtype=float64)
    """
    operand = as_operand(x)
    # NumPy's is no ufunc, and has no float16 for small integers.
    operand = operand if dtype_of(operand).kind in "fc" else convert(operand, np.dtype(float))
    result: Tensor = _bessel(operand, 0, scaled=False)
    return result


def i0e(x: ArrayLike, /) -> Tensor:
    """exp(-|x|) i0(x), elementwise, which does not overflow; the derivative is i1e(x) - sign(x) i0e(x), 0 at 0.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.i0e(fg.asarray([0.0, 1000.0]))
    Tensor([1.        , 0.01261724], dtype=float64)
    """
    result: Tensor = _bessel(x, 0, scaled=True)
    return result


def i1(x: ArrayLike, /) -> Tensor:
    """The modified Bessel function of the first kind and order 1, elementwise; the derivative is (I_0 + I_2) / 2.

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.i1(fg.asarray([0.0, 1.0]))
    Tensor([0.       , 0.5651591], dtype=float64)
    """
    result: Tensor = _bessel(x, 1, scaled=False)
    return result


def i1e(x: ArrayLike, /) -> Tensor:
    """exp(-|x|) i1(x), elementwise, which does not overflow.

    The derivative is exp(-|x|) (I_0(x) + I_2(x)) / 2 - sign(x) i1e(x).

    Raises:
        DtypeError: for complex numbers.

    >>> import fgrad as fg
    >>> fg.special.i1e(fg.asarray([0.0, 1000.0]))
    Tensor([0.        , 0.01261093], dtype=float64)
    """
    result: Tensor = _bessel(x, 1, scaled=True)
    return result
