"""Moments along axes (mean, variance, standard deviation) and logsumexp."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line, refuse_out
from fgrad.core.primitive import Primitive, register
from fgrad.core.protocols import UFUNC_REDUCTIONS
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt
from fgrad.ops.arguments import as_operand, axis_tuple, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import conj, multiply, multiply_no_nan, real, square, subtract
from fgrad.ops.declare import batch_over_axes, stands_for
from fgrad.ops.exponential import sqrt
from fgrad.ops.logic import equal, not_equal
from fgrad.ops.reductions import count_elements, in_dtype, is_given, masked, same_dtype_rule
from fgrad.ops.selection import maximum, select_p
from fgrad.ops.structure import broadcast, convert, fit_tangent, reduce_sum, reduced_shape, restore_axes

__all__ = ["logsumexp", "mean", "std", "var"]

_add_up: Any = np.add.reduce  # NumPy's stubs have no overload for a keepdims that is a variable

_FLOAT64 = np.dtype(np.float64)
_FLOAT32 = np.dtype(np.float32)
_FLOAT16 = np.dtype(np.float16)


def _inexact(x: Any) -> Any:
    """The operand in a dtype that can hold means: integers and booleans become float64, as NumPy has it."""
    return x if is_inexact(dtype_of(x)) else convert(x, _FLOAT64)


def _moment_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    dtype = x.dtype if is_inexact(x.dtype) else _FLOAT64
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), dtype)


def _evaluate_mean(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    count = count_elements(x.shape, axes)
    if count == 0 or x.dtype == _FLOAT16:
        # NumPy's own: its warning for no elements, and float16 added up in float32.
        return np.mean(x, axis=axes, keepdims=keepdims)
    return _add_up(x, axis=axes, keepdims=keepdims) / count


def _mean_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    shape = shape_of(x)
    count = count_elements(shape, axes)
    if count:
        # A count can exceed float16's largest number.
        g = convert(convert(g, _FLOAT32) / count, _FLOAT16) if g.dtype == _FLOAT16 else g / count
    return (broadcast(restore_axes(g, shape, axes, keepdims=keepdims), shape),)


def _mean_jvp(tangents: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    # The NaN that is the mean of no elements depends on none.
    return bind(mean_p, *tangents, axes=axes, keepdims=keepdims) if count_elements(shape_of(x), axes) else None


mean_p = register(Primitive("mean", _evaluate_mean, _moment_rule, _mean_vjp, _mean_jvp, batch=batch_over_axes))


def _masked_count(shape: Shape, where: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    mask = not_equal(as_operand(where), 0)
    return reduce_sum(broadcast(mask, shape), axes, keepdims=keepdims)


def _masked_mean(x: Any, axes: tuple[int, ...], keepdims: bool, where: Any) -> Any:
    if type(x) is ConcreteTensor and type(where) is ConcreteTensor and where.dtype == bool and where.shape == x.shape:
        options: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
        known = np.add.reduce(np.where(where._array, x._array, 0), **options)
        return adopt(np.asarray(known / np.add.reduce(where._array, **options).astype(known.dtype)))
    total = reduce_sum(masked(x, where, 0, "mean"), axes, keepdims=keepdims)
    return total / convert(_masked_count(shape_of(x), where, axes, keepdims), total.dtype)


@stands_for(np.mean, method="mean")
def mean(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The arithmetic mean over axes (all of them by default); the derivative by each of n elements is 1 / n.

    Means of integers and booleans are float64, float32 stays float32, and float16 is added up in float32. The mean of
    no elements is NaN, with NumPy's RuntimeWarning.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.mean(fg.asarray([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    Tensor([2., 4.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.mean")
    operand = in_dtype(as_operand(x), dtype)
    operand = _inexact(operand)
    axes = axis_tuple(axis, len(shape_of(operand)), "mean")
    if is_given(where):
        result = _masked_mean(operand, axes, keepdims, where)
    else:
        result = bind(mean_p, operand, axes=axes, keepdims=keepdims)
    return in_dtype(result, dtype)


def _evaluate_var(x: Any, axes: tuple[int, ...], keepdims: bool, correction: float) -> Any:
    count = count_elements(x.shape, axes)
    if count <= correction or x.dtype == _FLOAT16 or x.dtype.kind not in "fc":
        # NumPy's own: its warning for too few elements, and its choices for dtypes that cannot hold the count.
        return np.var(x, axis=axes, ddof=correction, keepdims=keepdims)
    deviation = x - _add_up(x, axis=axes, keepdims=True) / count
    squares = np.square(deviation.real)
    if x.dtype.kind == "c":
        squares += np.square(deviation.imag)
    return _add_up(squares, axis=axes, keepdims=keepdims) / (count - correction)


def _var_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool, correction: float) -> ShapeDtype:
    moment = _moment_rule(x, axes, keepdims)
    return ShapeDtype(moment.shape, np.empty(0, moment.dtype).real.dtype)


def _conjugate_deviation(x: Any, axes: tuple[int, ...], count: int, correction: float) -> Any:
    """conj(x - mean(x)), or NaN when there are too few elements for a variance."""
    deviation = subtract(x, bind(mean_p, x, axes=axes, keepdims=True)) if count else x
    if count <= correction:
        deviation = deviation * float("nan")
    return conj(deviation) if dtype_of(x).kind == "c" else deviation


def _var_vjp(
    g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool, correction: float
) -> tuple[Any]:
    shape = shape_of(x)
    count = count_elements(shape, axes)
    scale = 2.0 / (count - correction) if count > correction else 1.0
    deviation = _conjugate_deviation(x, axes, count, correction)
    return (multiply_no_nan(restore_axes(g, shape, axes, keepdims=keepdims) * scale, deviation),)


def _var_jvp(tangents: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool, correction: float) -> Any:
    (tangent,) = tangents
    count = count_elements(shape_of(x), axes)
    if not count:
        return None
    terms = multiply_no_nan(tangent, _conjugate_deviation(x, axes, count, correction))
    # A mean and not a sum: float16 is added up in float32 there.
    scale = 2.0 * count / (count - correction) if count > correction else 1.0
    return fit_tangent(bind(mean_p, real(terms), axes=axes, keepdims=keepdims) * scale, out)


var_p = register(Primitive("var", _evaluate_var, _var_rule, _var_vjp, _var_jvp, batch=batch_over_axes))


def _composed_var(x: Any, axes: tuple[int, ...], keepdims: bool, correction: float, where: Any, center: Any) -> Any:
    """The variance about a given mean, of a selection, or both."""
    selected = is_given(where)
    if center is None:
        center = _masked_mean(x, axes, True, where)
    deviation = subtract(x, center)
    squares: Any = square(deviation)
    if dtype_of(x).kind == "c":
        squares = real(multiply(deviation, conj(deviation)))
    if selected:
        squares = masked(squares, where, 0, "var")
        count = maximum(convert(_masked_count(shape_of(x), where, axes, keepdims), squares.dtype) - correction, 0)
        return reduce_sum(squares, axes, keepdims=keepdims) / count
    return reduce_sum(squares, axes, keepdims=keepdims) / (count_elements(shape_of(x), axes) - correction)


@stands_for(np.var, method="var")
def var(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: float | None = None,
    out: None = None,
) -> Tensor:
    """The variance over axes, sum |x - mean(x)|^2 / (n - ddof): in two passes, so a large mean costs no digits.

    The derivative by an element is 2 (x - mean(x)) / (n - ddof), for complex x the conjugate of that. Integers give
    float64, float32 stays float32. `mean` is a mean that is known already, of the shape that keepdims=True gives; it
    is a variable of its own then. `correction` is the array API's name of ddof. With n <= ddof the variance is NaN or
    inf, with NumPy's RuntimeWarning, and its gradient NaN.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.
        ValueError: both ddof and correction are given.

    >>> import fgrad as fg
    >>> fg.var(fg.asarray([1.0, 2.0, 3.0]), ddof=1)
    Tensor(1., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.var")
    if correction is not None and ddof != 0:
        message = "[var] ddof and correction are two names of one number; give one of them"
        raise ShapeError(at_user_line(message))
    # A Python number: one of NumPy's would decide the precision of the result.
    correction = float(ddof if correction is None else correction)
    operand = _inexact(in_dtype(as_operand(x), dtype))
    axes = axis_tuple(axis, len(shape_of(operand)), "var")
    if is_given(where) or mean is not None:
        return _composed_var(operand, axes, keepdims, correction, where, mean)
    return bind(var_p, operand, axes=axes, keepdims=keepdims, correction=correction)


@stands_for(np.std, method="std")
def std(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: float | None = None,
    out: None = None,
) -> Tensor:
    """The standard deviation over axes, the square root of `var`, whose arguments it takes.

    The derivative by an element is (x - mean(x)) / ((n - ddof) std(x)). Where all elements are equal, std has a kink
    like that of |x| at 0: every derivative is taken as 0 there.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.
        ValueError: both ddof and correction are given.

    >>> import fgrad as fg
    >>> fg.std(fg.asarray([1.0, 2.0, 3.0]), ddof=1)
    Tensor(1., dtype=float64)
    >>> fg.grad(fg.std)(fg.asarray([2.0, 2.0]))
    Tensor([0., 0.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.std")
    variance = var(x, axis, dtype, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction)
    if type(variance) is ConcreteTensor:
        return sqrt(variance)  # what follows matters to derivatives alone
    flat = equal(variance, 0)
    return bind(select_p, flat, 0, sqrt(bind(select_p, flat, 1, variance)))


# logsumexp, and softmax, which is its gradient. Both shift by the largest element, so that no exponential overflows.
# The gradient is softmax itself and not exp(x - logsumexp(x)): rounding a result near 1e4 to float32 would cost that
# one four digits.


def _shifted_exponentials(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """exp(x - shift), its sums, and the shift, which is the largest element where that is finite and 0 elsewhere."""
    shift = np.maximum.reduce(x.real, axis=axes, keepdims=True, initial=-np.inf)
    finite = np.isfinite(shift)
    if finite.all():
        exponentials = np.exp(x - shift)
    else:
        shift = np.where(finite, shift, 0)
        with np.errstate(over="ignore", invalid="ignore"):
            exponentials = np.exp(x - shift)
    return exponentials, _add_up(exponentials, axis=axes, keepdims=True), shift


def _widen_half(x: Any) -> Any:
    return x.astype(_FLOAT32) if x.dtype == _FLOAT16 else x


def _evaluate_logsumexp(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    _, total, shift = _shifted_exponentials(_widen_half(x), axes)
    if total.all():
        out = np.log(total) + shift
    else:
        with np.errstate(divide="ignore"):
            out = np.log(total) + shift
    return (out if keepdims else out.reshape(reduced_shape(x.shape, axes, keepdims=False))).astype(x.dtype, copy=False)


def _evaluate_softmax(x: Any, axes: tuple[int, ...]) -> Any:
    exponentials, total, _ = _shifted_exponentials(_widen_half(x), axes)
    if not (np.isfinite(total).all() and total.all()):
        infinite = np.isposinf(x.real)
        with np.errstate(over="ignore"):
            among = np.where(infinite.any(axis=axes, keepdims=True), infinite, exponentials)
        exponentials = np.where(np.isnan(total), total, among)
        total = _add_up(exponentials, axis=axes, keepdims=True)
        total = np.where(total == 0, 1, total)
    return (exponentials / total).astype(x.dtype, copy=False)


def _softmax_derivative(direction: Any, out: Any, axes: tuple[int, ...]) -> Any:
    """(diag(p) - p p^T) v with p the softmax; the matrix is symmetric, so it serves both modes."""
    weighted = multiply_no_nan(direction, out)
    return subtract(weighted, multiply_no_nan(reduce_sum(weighted, axes, keepdims=True), out))


def _logsumexp_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    return (multiply_no_nan(restore_axes(g, shape_of(x), axes, keepdims=keepdims), bind(softmax_p, x, axes=axes)),)


def _logsumexp_jvp(tangents: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    (tangent,) = tangents
    weighted = multiply_no_nan(tangent, bind(softmax_p, x, axes=axes))
    return fit_tangent(reduce_sum(weighted, axes, keepdims=keepdims), out)


softmax_p = register(
    Primitive(
        "softmax",
        _evaluate_softmax,
        lambda x, axes: ShapeDtype(x.shape, x.dtype),
        vjp=lambda g, needed, out, x, axes: (_softmax_derivative(g, out, axes),),
        jvp=lambda tangents, out, x, axes: _softmax_derivative(tangents[0], out, axes),
        batch=batch_over_axes,
    )
)
logsumexp_p = register(
    Primitive("logsumexp", _evaluate_logsumexp, same_dtype_rule, _logsumexp_vjp, _logsumexp_jvp, batch=batch_over_axes)
)


def logsumexp(x: ArrayLike, /, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over axes (all of them by default), without overflow; integers give float64.

    The gradient is softmax(x) = exp(x) / sum(exp(x)) =: p, and the Hessian diag(p) - p p^T. Of elements that are all
    -inf, and of none, the result is -inf with the gradient 0. Elements of +inf give +inf and share the cotangent
    evenly, which is the limit of softmax as they grow together. A NaN among the elements gives NaN.

    Raises:
        ShapeError: an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.logsumexp(fg.asarray([1000.0, 1000.0]))
    Tensor(1000.69314718, dtype=float64)
    >>> fg.grad(fg.logsumexp)(fg.asarray([0.0, 0.0]))
    Tensor([0.5, 0.5], dtype=float64)
    """
    operand = _inexact(as_operand(x))
    axes = axis_tuple(axis, len(shape_of(operand)), "logsumexp")
    return bind(logsumexp_p, operand, axes=axes, keepdims=keepdims)


UFUNC_REDUCTIONS[np.logaddexp] = logsumexp
