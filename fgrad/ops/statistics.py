"""Statistics of samples: weighted averages, ranges, covariances and correlations."""

from __future__ import annotations

import operator
from math import prod as product
from typing import Any, cast

import numpy as np

from fgrad.core.bind import Tracer, bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, refuse_out
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, axis_index, axis_tuple, dtype_of, is_inexact, numeric_dtype, shape_of
from fgrad.ops.arithmetic import conj, divide, imag, multiply, real, subtract
from fgrad.ops.contractions import diagonal, matmul
from fgrad.ops.declare import stands_for, untraced_by
from fgrad.ops.exponential import sqrt
from fgrad.ops.joining import concatenate
from fgrad.ops.moments import mean
from fgrad.ops.reductions import max_p, min_p
from fgrad.ops.reductions import sum as sum_of
from fgrad.ops.selection import clip
from fgrad.ops.shaping import atleast_2d, transpose
from fgrad.ops.structure import broadcast, convert, reshape_to

__all__ = ["average", "corrcoef", "cov", "ptp"]


@stands_for(np.ptp)
@untraced_by(np.ptp)
def ptp(a: ArrayLike, axis: int | tuple[int, ...] | None = None, *, keepdims: bool = False, out: None = None) -> Tensor:
    """The range of the elements over axes, max - min; equal extrema share the cotangents as in `max` and `min`.

    Raises:
        ShapeError: there are no elements; an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.ptp(fg.asarray([1.0, 5.0, 3.0]))
    Tensor(4., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.ptp")
    x = as_operand(a)
    axes = axis_tuple(axis, len(shape_of(x)), "ptp")
    return subtract(bind(max_p, x, axes=axes, keepdims=keepdims), bind(min_p, x, axes=axes, keepdims=keepdims))


def _fitting_weights(weights: Any, x: Any, axis: Any) -> Any:
    shape, own = shape_of(x), shape_of(weights)
    if own == shape:
        return weights
    if axis is None:
        message = f"[average] weights of shape {own} for values of shape {shape}: say along which axis, with axis="
        raise DtypeError(at_user_line(message))
    named = axis if isinstance(axis, tuple) else (axis,)
    axes = [axis_index(one, len(shape), "average") for one in named]
    if own != tuple([shape[one] for one in axes]):
        message = f"[average] weights of shape {own} do not fit axis {axis} of values of shape {shape}"
        raise ShapeError(at_user_line(message))
    order = tuple(np.argsort(axes).tolist())
    arranged = weights if order == tuple(range(len(order))) else transpose(weights, order)
    return reshape_to(arranged, tuple([length if one in axes else 1 for one, length in enumerate(shape)]))


def _has_no_weights(a: Any, axis: Any = None, weights: Any = None, *args: Any, **kwargs: Any) -> bool:
    return weights is None


@stands_for(np.average)
@untraced_by(np.average, unless=_has_no_weights)  # without them it is `mean`, which is quick
def average(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    weights: ArrayLike | None = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The weighted average over axes, sum w a / sum w, differentiable by the values and by the weights.

    Args:
        a: the values.
        axis: the axis or axes, all of them by default.
        weights: of the shape of a, or of its shape along `axis`; without them all weigh the same.
        returned: whether to return the sums of the weights too.
        keepdims: whether the axes stay, with length 1.

    Raises:
        ShapeError: the weights do not fit the axis; an axis is out of range.
        DtypeError: weights of another shape were given without an axis.
        ZeroDivisionError: known weights add up to 0; inside a transform the average is then NaN or infinite.

    >>> import fgrad as fg
    >>> fg.average(fg.asarray([1.0, 2.0, 6.0]), weights=fg.asarray([1.0, 1.0, 2.0]))
    Tensor(3.75, dtype=float64)
    """
    x = as_operand(a)
    total: Any
    if weights is None:
        result = mean(x, axis, keepdims=keepdims)
        count = product(shape_of(x)) / max(product(result.shape), 1)
        total = np.full((), count).astype(result.dtype)
    else:
        factors = as_operand(weights)
        kinds = [dtype_of(x), dtype_of(factors)]
        dtype = np.result_type(*kinds, *([] if is_inexact(kinds[0]) else ["f8"]))
        factors = _fitting_weights(factors, x, axis)
        total = sum_of(factors, axis, dtype, keepdims=keepdims)
        if not isinstance(total, Tracer) and not np.all(np.asarray(total)):
            message = f"[average] the weights of shape {shape_of(as_operand(weights))} add up to 0"
            raise ZeroDivisionError(at_user_line(message))
        x, factors = [value if dtype_of(value) == dtype else convert(value, dtype) for value in (x, factors)]
        result = divide(sum_of(multiply(x, factors), axis, keepdims=keepdims), total)
    return (result, broadcast(total, result.shape)) if returned else result


# Covariance.


def _variables(m: Any, name: str, operation: str, rowvar: bool, dtype: np.dtype[Any]) -> Any:
    """The variables as rows."""
    x = as_operand(m)
    rank = len(shape_of(x))
    if rank > 2:
        message = f"[{operation}] {name} is a vector or a matrix, and has shape {shape_of(x)}"
        raise ShapeError(at_user_line(message))
    rows = atleast_2d(x if dtype_of(x) == dtype else convert(x, dtype))
    return transpose(rows) if not rowvar and rank == 2 else rows


def _weight(values: Any, name: str, count: int) -> Any:
    operand = as_operand(values)
    if shape_of(operand) != (count,):
        message = f"[cov] {name} has shape {shape_of(operand)}; it is a vector of a weight for each of {count} samples"
        raise ShapeError(at_user_line(message))
    if name == "fweights" and dtype_of(operand).kind not in "iu":
        message = f"[cov] fweights counts repetitions: integers, not {dtype_of(operand)}"
        raise DtypeError(at_user_line(message))
    if not isinstance(operand, Tracer) and (np.asarray(operand) < 0).any():
        message = f"[cov] {name} cannot be negative"
        raise ShapeError(at_user_line(message))
    return operand


@stands_for(np.cov)
def cov(
    m: ArrayLike,
    y: ArrayLike | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: ArrayLike | None = None,
    aweights: ArrayLike | None = None,
    *,
    dtype: Any = None,
) -> Tensor:
    """The covariances of variables: C_ij = sum_k w_k (x_ik - mean_i) conj(x_jk - mean_j) / f; float64 at least.

    Without weights w is 1 and f is n - ddof. With them the means are weighted, and f = sum w - ddof sum(w a) / sum w,
    where w is the product of `fweights` and of `aweights` = a. Differentiable by m, y and aweights.

    Args:
        m: a variable, or a matrix of them, one a row.
        y: further variables.
        rowvar: whether a row is a variable; with False, a column is.
        bias: whether ddof is 0 by default, and not 1.
        ddof: the degrees of freedom that are gone.
        fweights: integers, how often each sample occurred.
        aweights: the weight of each sample.
        dtype: the dtype of the result.

    Raises:
        ShapeError: m or y has more than two axes, the numbers of samples differ, or weights do not fit.
        DtypeError: fweights are no integers, or ddof is none.

    >>> import fgrad as fg
    >>> fg.cov(fg.asarray([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    Tensor([[ 1., -1.],
            [-1.,  1.]], dtype=float64)
    """
    if ddof is not None and ddof != int(ddof):
        message = f"[cov] ddof is an integer, not {ddof}"
        raise DtypeError(at_user_line(message))
    kinds = [dtype_of(as_operand(value)) for value in (m, y) if value is not None]
    wanted = np.result_type(*kinds, np.float64) if dtype is None else numeric_dtype(dtype)
    x = _variables(m, "m", "cov", rowvar, wanted)
    if y is not None:
        x = concatenate([x, _variables(y, "y", "cov", rowvar, wanted)], 0)
    count = shape_of(x)[1]
    freedom = operator.index(int(ddof)) if ddof is not None else 1 - bool(bias)
    repetitions = None if fweights is None else _weight(fweights, "fweights", count)
    weights = None if aweights is None else _weight(aweights, "aweights", count)
    both: Any = repetitions if weights is None else weights
    if repetitions is not None and weights is not None:
        both = multiply(repetitions, weights)
    factor: Any
    if both is None:
        center, factor = mean(x, 1, keepdims=True), count - freedom
        weighted = deviation = subtract(x, center)
    else:
        center, total = cast("tuple[Any, Any]", average(x, 1, both, returned=True, keepdims=True))
        total = total[0, 0]
        if not freedom:
            factor = total
        elif weights is None:
            factor = subtract(total, freedom)
        else:
            factor = subtract(total, divide(multiply(freedom, sum_of(multiply(both, weights))), total))
        deviation = subtract(x, center)
        weighted = multiply(deviation, both)
    if not isinstance(factor, Tensor):
        factor = max(factor, 0)
    found = matmul(deviation, transpose(conj(weighted) if dtype_of(x).kind == "c" else weighted))
    scaled = divide(found, factor)
    scaled = scaled if scaled.dtype == wanted else convert(scaled, wanted)
    return reshape_to(scaled, tuple([length for length in scaled.shape if length != 1]))


@stands_for(np.corrcoef)
def corrcoef(x: ArrayLike, y: ArrayLike | None = None, rowvar: bool = True, *, dtype: Any = None) -> Tensor:
    """The correlations of variables: R_ij = C_ij / sqrt(C_ii C_jj), with C their covariances (see `cov`).

    Values that rounding put outside of -1 to 1 are brought back. A constant variable has no correlation: NaN, with
    NumPy's warning.

    Args:
        x: a variable, or a matrix of them, one a row.
        y: further variables.
        rowvar: whether a row is a variable; with False, a column is.
        dtype: the dtype of the result.

    Raises:
        ShapeError: x or y has more than two axes, or the numbers of samples differ.

    >>> import fgrad as fg
    >>> fg.corrcoef(fg.asarray([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    Tensor([[ 1., -1.],
            [-1.,  1.]], dtype=float64)
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.shape:
        return divide(c, c)
    deviations = sqrt(real(diagonal(c)))
    found: Any = divide(divide(c, reshape_to(deviations, (c.shape[0], 1))), deviations)
    if found.dtype.kind != "c":
        return clip(found, -1, 1)
    return clip(real(found), -1, 1) + 1j * clip(imag(found), -1, 1)
