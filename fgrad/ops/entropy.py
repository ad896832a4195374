"""Logistic functions, products with logarithms, and the terms of entropies and divergences."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind1, bind2
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, axis_tuple, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import add, divide_no_nan, multiply_no_nan, negative, subtract
from fgrad.ops.declare import elementwise
from fgrad.ops.exponential import log, log1p
from fgrad.ops.moments import logsumexp, softmax_p
from fgrad.ops.pairs import logaddexp, logistic
from fgrad.ops.structure import convert

__all__ = [
    "entr",
    "expit",
    "kl_div",
    "log_expit",
    "log_softmax",
    "logit",
    "rel_entr",
    "softmax",
    "softplus",
    "xlog1py",
    "xlogy",
]

_FLOAT64 = np.dtype(float)


def _inexact(x: Any) -> Any:
    operand = as_operand(x)
    return operand if is_inexact(dtype_of(operand)) else convert(operand, _FLOAT64)


expit = logistic


def softplus(x: ArrayLike, /) -> Tensor:
    """log(1 + exp(x)), elementwise, without overflow; the derivative is expit(x).

    >>> import fgrad as fg
    >>> fg.special.softplus(fg.asarray([-1000.0, 1000.0]))
    Tensor([   0., 1000.], dtype=float64)
    """
    return logaddexp(_inexact(x), 0)


def log_expit(x: ArrayLike, /) -> Tensor:
    """log(expit(x)) = -log(1 + exp(-x)), elementwise, without overflow; the derivative is expit(-x).

    >>> import fgrad as fg
    >>> fg.special.log_expit(fg.asarray([-1000.0, 1000.0]))
    Tensor([-1000.,    -0.], dtype=float64)
    """
    return negative(logaddexp(negative(_inexact(x)), 0))


def _evaluate_logit(p: Any) -> Any:
    p = np.asarray(p)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Around 1/2, where the quotient is near 1, its logarithm is taken of the difference.
        near = np.abs(p - 0.5) < 0.2
        deviation = np.where(near, 2 * p - 1, 0)
        return np.where(near, np.log1p(deviation) - np.log1p(-deviation), np.log(p / (1 - p)))


def _dtype_kept(evaluate: Any) -> Any:
    def evaluate_kept(*operands: Any) -> Any:
        found = np.result_type(*[x if type(x) in PYTHON_NUMBERS else np.asarray(x).dtype for x in operands])
        dtype = found if found.kind in "fc" else _FLOAT64
        return np.asarray(evaluate(*[np.asarray(x, dtype) for x in operands])).astype(dtype, copy=False)

    return evaluate_kept


logit_p = elementwise(
    "logit",
    np.cbrt,
    # In partial fractions, whose derivatives at the ends are infinite, where those of the quotient are inf - inf.
    lambda g, out, p: add(divide_no_nan(g, p), divide_no_nan(g, 1 - p)),
    evaluate=_dtype_kept(_evaluate_logit),
)


def logit(p: ArrayLike, /) -> Tensor:
    """log(p / (1 - p)), elementwise, the inverse of expit; the derivative is 1 / (p (1 - p)). NaN outside of [0, 1].

    >>> import fgrad as fg
    >>> fg.special.logit(fg.asarray([0.0, 0.5]))
    Tensor([-inf,   0.], dtype=float64)
    """
    return bind1(logit_p, _inexact(p))


def _product_with(function: Any) -> Any:
    def evaluate(x: Any, y: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            product = x * function(y)
        return np.where(np.equal(x, 0) & ~np.isnan(y), 0, product)

    return _dtype_kept(evaluate)


xlogy_p = elementwise(
    "xlogy",
    np.divide,
    lambda g, out, x, y: multiply_no_nan(g, log(y)),
    lambda g, out, x, y: multiply_no_nan(g, divide_no_nan(x, y)),
    evaluate=_product_with(np.log),
)
xlog1py_p = elementwise(
    "xlog1py",
    np.divide,
    lambda g, out, x, y: multiply_no_nan(g, log1p(y)),
    lambda g, out, x, y: multiply_no_nan(g, divide_no_nan(x, add(y, 1))),
    evaluate=_product_with(np.log1p),
)


def xlogy(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x log(y), elementwise with broadcasting, and 0 where x is 0, whatever y is (NaN excepted).

    The partial derivatives are log(y) and x / y, the latter 0 where x is 0.

    >>> import fgrad as fg
    >>> fg.special.xlogy(fg.asarray([0.0, 2.0]), fg.asarray([0.0, 1.0]))
    Tensor([0., 0.], dtype=float64)
    """
    return bind2(xlogy_p, x, y)


def xlog1py(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x log(1 + y), elementwise with broadcasting, and 0 where x is 0, whatever y is (NaN excepted).

    The partial derivatives are log(1 + y) and x / (1 + y), the latter 0 where x is 0.

    >>> import fgrad as fg
    >>> fg.special.xlog1py(fg.asarray([0.0, 2.0]), fg.asarray([-1.0, 0.0]))
    Tensor([0., 0.], dtype=float64)
    """
    return bind2(xlog1py_p, x, y)


def _evaluate_entr(x: Any) -> Any:
    x = np.asarray(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x == 0, 0.0, np.where(x < 0, -np.inf, -x * np.log(x)))


def _evaluate_rel_entr(x: Any, y: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = x * np.log(np.divide(x, y))
    missing = np.isnan(x) | np.isnan(y)
    positive = np.greater(x, 0) & np.greater(y, 0)
    nothing = np.equal(x, 0) & np.greater_equal(y, 0)
    return np.where(missing, np.nan, np.where(positive, inside, np.where(nothing, 0.0, np.inf)))


entr_p = elementwise(
    "entr",
    np.cbrt,
    lambda g, out, x: negative(multiply_no_nan(g, add(log(x), 1))),
    evaluate=_dtype_kept(_evaluate_entr),
)
rel_entr_p = elementwise(
    "rel_entr",
    np.logaddexp,
    lambda g, out, x, y: multiply_no_nan(g, add(subtract(log(x), log(y)), 1)),
    lambda g, out, x, y: negative(multiply_no_nan(g, divide_no_nan(x, y))),
    evaluate=_dtype_kept(_evaluate_rel_entr),
)


def entr(x: ArrayLike, /) -> Tensor:
    """-x log(x), elementwise, 0 at 0 and -inf below; the derivative is -log(x) - 1, which is inf at 0.

    >>> import fgrad as fg
    >>> fg.special.entr(fg.asarray([0.0, 0.5]))
    Tensor([0.        , 0.34657359], dtype=float64)
    """
    return bind1(entr_p, _inexact(x))


def rel_entr(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x log(x / y), elementwise with broadcasting; 0 where x is 0 and y is not negative, inf outside of the domain.

    The partial derivatives are log(x / y) + 1 and -x / y.

    >>> import fgrad as fg
    >>> fg.special.rel_entr(fg.asarray([0.0, 0.5]), 0.25)
    Tensor([0.        , 0.34657359], dtype=float64)
    """
    return bind2(rel_entr_p, _inexact(x), _inexact(y))


def kl_div(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x log(x / y) - x + y, elementwise with broadcasting: `rel_entr` with terms that make it convex and positive.

    >>> import fgrad as fg
    >>> fg.special.kl_div(fg.asarray([0.0, 0.5]), 0.5)
    Tensor([0.5, 0. ], dtype=float64)
    """
    first, second = _inexact(x), _inexact(y)
    return add(subtract(rel_entr(first, second), first), second)


def softmax(x: ArrayLike, /, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) over axes (all of them by default), without overflow; the Jacobian is diag(p) - p p^T.

    >>> import fgrad as fg
    >>> fg.special.softmax(fg.asarray([1000.0, 1000.0]))
    Tensor([0.5, 0.5], dtype=float64)
    """
    operand = _inexact(x)
    result: Tensor = bind(softmax_p, operand, axes=axis_tuple(axis, len(shape_of(operand)), "softmax"))
    return result


def log_softmax(x: ArrayLike, /, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """x - logsumexp(x) over axes (all of them by default), without overflow.

    >>> import fgrad as fg
    >>> fg.special.log_softmax(fg.asarray([1000.0, 1000.0]))
    Tensor([-0.69314718, -0.69314718], dtype=float64)
    """
    operand = _inexact(x)
    return subtract(operand, logsumexp(operand, axis, keepdims=True))
