"""Medians, quantiles and percentiles, by every method of NumPy, and those of what is not NaN."""

from __future__ import annotations

from collections.abc import Callable
from math import prod as product
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, refuse_out
from fgrad.core.shape import Shape
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt
from fgrad.ops.arguments import as_operand, axis_index, axis_tuple, dtype_of, is_inexact, shape_of
from fgrad.ops.declare import stands_for, untraced_by
from fgrad.ops.indexing import getitem, take, take_along_axis
from fgrad.ops.joining import concatenate
from fgrad.ops.known_values import is_traced, plain
from fgrad.ops.logic import isnan, less, logical_not
from fgrad.ops.moments import mean
from fgrad.ops.reductions import cumsum
from fgrad.ops.selection import maximum, minimum, select_p
from fgrad.ops.shaping import moveaxis, ravel, transpose
from fgrad.ops.sorting import argsort, sort_p
from fgrad.ops.structure import broadcast, convert, reduce_sum, reduced_shape, reshape_to

__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]

_INTP = np.dtype(np.intp)
_FLOAT64 = np.dtype(float)


def _sort_lanes(lanes: Any, axis: int = 0) -> Any:
    return bind(sort_p, lanes, axis=axis, descending=False)


@attrs.frozen(eq=False)
class Lanes:
    """An operand with the axes that a statistic goes over as its first one, and the shape of the others."""

    values: Any
    rest: Shape
    kept: Shape


def _lanes(operand: Any, axis: Any, operation: str) -> Lanes:
    shape = shape_of(operand)
    axes = axis_tuple(axis, len(shape), operation)
    rest, kept = reduced_shape(shape, axes, keepdims=False), reduced_shape(shape, axes, keepdims=True)
    if len(axes) == len(shape):
        values = operand if len(shape) == 1 else ravel(operand)
    elif len(axes) == 1:
        values = operand if axes == (0,) else moveaxis(operand, axes[0], 0)
    else:
        others = [place for place in range(len(shape)) if place not in axes]
        length = product([shape[place] for place in axes])
        values = reshape_to(transpose(operand, (*axes, *others)), (length, *rest))
    return Lanes(values, rest, kept)


# The methods: the place of a quantile among n sorted values, counted from 0, after R. J. Hyndman and Y. Fan, Sample
# quantiles in statistical packages, The American Statistician 50, 1996, whose numbers stand beside them.


def _between(alpha: float, beta: float) -> Callable[[Any, Any], Any]:
    return lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1


_CONTINUOUS: dict[str, Callable[[Any, Any], Any]] = {
    "averaged_inverted_cdf": lambda n, q: n * q - 1,  # 2
    "interpolated_inverted_cdf": _between(0, 1),  # 4
    "hazen": _between(0.5, 0.5),  # 5
    "weibull": _between(0, 0),  # 6
    "linear": lambda n, q: (n - 1) * q,  # 7
    "median_unbiased": _between(1 / 3.0, 1 / 3.0),  # 8
    "normal_unbiased": _between(3 / 8.0, 3 / 8.0),  # 9
    "midpoint": lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
}


def _closest_observation(n: Any, q: Any) -> Any:
    place = n * q - 1 - 0.5
    before = np.floor(place)
    return before + np.where((place == before) & (before % 2 == 1), 0, 1)


_DISCRETE: dict[str, Callable[[Any, Any], Any]] = {
    "inverted_cdf": lambda n, q: np.ceil(n * q - 1),  # 1
    "closest_observation": _closest_observation,  # 3
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "nearest": lambda n, q: np.round((n - 1) * q),
}


def _require_method(method: str, operation: str) -> None:
    if method not in _CONTINUOUS and method not in _DISCRETE:
        names = ", ".join([*_CONTINUOUS, *_DISCRETE])
        message = f"[{operation}] {method!r} is not a valid method; it is one of {names}"
        raise ShapeError(at_user_line(message))


def _checked_probabilities(q: Any, operation: str, scale: float) -> Any:
    """q as a Tensor that is traced, or as a NumPy array with its dtype; values that are known lie in their range."""
    if type(q) is float and 0 <= q <= scale:
        return np.asarray(q / scale if scale != 1 else q)
    operand = as_operand(q)
    if dtype_of(operand).kind == "c":
        message = f"[{operation}] q is real, not {dtype_of(operand)}"
        raise DtypeError(at_user_line(message))
    if is_traced(operand):
        return operand / scale if scale != 1 else operand
    known = plain(operand)
    known = known / scale if scale != 1 else known
    if not ((known >= 0) & (known <= 1)).all():
        message = f"[{operation}] q lies between 0 and {scale:g}, and is {np.array2string(plain(operand), threshold=6)}"
        raise ShapeError(at_user_line(message))
    return np.asarray(known)


def _mark_fraction(fraction: Any, place: Any, method: str) -> Any:
    """How far to go from the value before to the value after, where the method does not say the fraction itself."""
    if method == "averaged_inverted_cdf":
        return np.where(fraction == 0, 0.5, 1.0).astype(place.dtype)
    return np.where(place % 1 == 0, 0.0, 0.5).astype(place.dtype) if method == "midpoint" else fraction


def _read(ordered: Any, place: Any, per_lane: bool) -> Any:
    """The values at places in the sorted lanes; `per_lane` says that each lane has places of its own."""
    if not per_lane:
        if type(ordered) is ConcreteTensor and type(place) is np.ndarray:
            return adopt(np.asarray(ordered._array[place]))
        return take(ordered, place, 0) if shape_of(place) else getitem(ordered, place)
    rest = shape_of(ordered)[1:]
    counts = shape_of(place)[: len(shape_of(place)) - len(rest)]
    found = take_along_axis(ordered, reshape_to(place, (product(counts), *rest)), 0)
    return reshape_to(found, (*counts, *rest))


def _interpolate(ordered: Any, count: Any, q: Any, weak: bool, method: str) -> Any:
    """The quantiles of sorted lanes of which the first `count` values are there: a number, or one for each lane."""
    per_lane = not isinstance(count, int)
    known = not per_lane and not isinstance(q, Tensor)
    rest = (1,) * (len(shape_of(ordered)) - 1)
    if per_lane:
        q = reshape_to(as_operand(q), (*shape_of(q), *rest))
    least: Any
    most: Any
    integers: Any
    least, most, integers = (np.maximum, np.minimum, _as_integers) if known else (maximum, minimum, _as_positions)
    last = least(count - 1, 0) if per_lane else count - 1
    if per_lane and dtype_of(q).kind == "f":
        count = convert(count, dtype_of(q))  # numbers of elements do not widen q, as a Python number does not

    def read(place: Any) -> Any:
        # Before the first value and behind the last one there is nothing to go between.
        return _read(ordered, integers(most(least(place, 0), last)), per_lane)

    if method in _DISCRETE or (method == "linear" and dtype_of(q).kind in "iu"):
        return read((_DISCRETE.get(method) or _CONTINUOUS[method])(count, q))
    place = _CONTINUOUS[method](count, q)
    before = np.floor(place)
    fraction = _mark_fraction(place - before, place, method)
    return _lerp(read(before), read(before + 1), fraction if per_lane else _spread(fraction, rest), weak)


def _spread(fraction: Any, rest: Shape) -> Any:
    return fraction.reshape(*fraction.shape, *rest) if rest else fraction


def _as_integers(place: Any) -> Any:
    return np.asarray(place).astype(_INTP)


def _as_positions(place: Any) -> Any:
    return convert(place, _INTP)


def _lerp(low: Any, high: Any, fraction: Any, weak: bool) -> Any:
    """low + (high - low) t, computed from the nearer end, as NumPy does."""
    way = high - low
    remaining = 1 - fraction
    near_end = fraction >= 0.5
    if weak and is_inexact(way.dtype):
        fraction, remaining = (convert(as_operand(part), way.dtype) for part in (fraction, remaining))
    if not isinstance(near_end, Tensor) and near_end.ndim == 0:
        return high - way * remaining if near_end else low + way * fraction
    return bind(select_p, near_end, high - way * remaining, low + way * fraction)


def _has_nan(ordered: ConcreteTensor) -> bool:
    return bool(np.isnan(ordered._array[-1]).any())


def _keep_nan(result: Any, ordered: Any) -> Any:
    """NaN for the lanes with a NaN among their values, which sorting has put last."""
    if not is_inexact(dtype_of(ordered)) or not shape_of(ordered)[0]:
        return result
    if type(ordered) is ConcreteTensor and not _has_nan(ordered):
        return result
    last = getitem(ordered, -1)
    return bind(select_p, isnan(last), last, result)


def _operand_of(x: Any, operation: str) -> Any:
    operand = as_operand(x)
    if dtype_of(operand).kind == "c":
        message = f"[{operation}] quantiles are of real numbers, not {dtype_of(operand)}"
        raise DtypeError(at_user_line(message))
    return operand


def _weighted(values: Any, weights: Any, q: Any) -> Any:
    """The first of the sorted values up to which there lies the share q of the weights, which lie as the values do."""
    order = argsort(values, 0)
    ordered, sorted_weights = take_along_axis(values, order, 0), take_along_axis(weights, order, 0)
    below: Any = cumsum(convert(sorted_weights, _FLOAT64), 0)
    below = below / getitem(below, -1)
    below = convert(below, dtype_of(q)) if dtype_of(q).kind == "f" and dtype_of(q) != _FLOAT64 else below
    # The share 0 is the first value with a weight, and not the first value.
    below = bind(select_p, below == 0, -1, below)
    places = as_operand(q)
    rank = len(shape_of(values))
    passed = less(below, reshape_to(places, (*shape_of(places), *[1] * rank)))
    count = reduce_sum(passed, (len(shape_of(places)),))
    return _keep_nan(_read(ordered, minimum(count, shape_of(values)[0] - 1), True), ordered)


def _weight_lanes(weights: Any, operand: Any, axis: Any, lanes: Lanes, operation: str) -> Any:
    given = as_operand(weights)
    shape, own = shape_of(operand), shape_of(given)
    if not is_traced(given) and (
        (plain(given) < 0).any() or not np.isfinite(plain(given)).all() or not plain(given).any()
    ):
        message = f"[{operation}] weights are finite, none is negative and not all are zero"
        raise ShapeError(at_user_line(message))
    if own == shape:
        return _lanes(given, axis, operation).values
    if len(own) == 1 and isinstance(axis, int) and own[0] == shape[axis_index(axis, len(shape), operation)]:
        return broadcast(reshape_to(given, (own[0], *[1] * len(lanes.rest))), (own[0], *lanes.rest))
    message = (
        f"[{operation}] weights of shape {own} for values of shape {shape}: both have one shape, or the weights are a "
        f"vector along the one axis that is given"
    )
    raise ShapeError(at_user_line(message))


@attrs.frozen(eq=False)
class Options:
    """What all quantiles can be asked for; `scale` is what q = 1 is called there."""

    operation: str
    scale: float
    skips_nan: bool
    method: str
    keepdims: bool
    weights: Any


def _quantiles(x: Any, q: Any, axis: Any, options: Options) -> Any:
    name = options.operation
    operand = _operand_of(x, name)
    _require_method(options.method, name)
    weak = type(q) in (int, float) or getattr(q, "weak", False)
    shares = _checked_probabilities(q, name, options.scale)
    lanes = _lanes(operand, axis, name)
    count = shape_of(lanes.values)[0]
    if not count:
        message = f"[{name}] there is no quantile of no elements: shape {shape_of(operand)}, axis {axis}"
        raise ShapeError(at_user_line(message))
    if options.weights is not None:
        if options.method != "inverted_cdf":
            message = f"[{name}] weights go with the method 'inverted_cdf' only, not with {options.method!r}"
            raise ShapeError(at_user_line(message))
        weights = _weight_lanes(options.weights, operand, axis, lanes, name)
        values = lanes.values
        if options.skips_nan and is_inexact(dtype_of(values)):
            missing = isnan(values)
            # Beyond all others, and without a weight.
            weights, values = bind(select_p, missing, 0, weights), bind(select_p, missing, np.inf, values)
        found = _weighted(values, weights, shares)
        return _with_axes(found, lanes, options.keepdims, shape_of(shares))
    ordered = _sort_lanes(lanes.values)
    whole = type(ordered) is ConcreteTensor and (not is_inexact(ordered.dtype) or not _has_nan(ordered))
    if options.skips_nan and is_inexact(dtype_of(ordered)) and not whole:
        present = reduce_sum(logical_not(isnan(ordered)), (0,))
        found = _interpolate(ordered, present, shares, weak, options.method)
    else:
        found = _keep_nan(_interpolate(ordered, count, shares, weak, options.method), ordered)
    return _with_axes(found, lanes, options.keepdims, shape_of(shares))


def _with_axes(found: Any, lanes: Lanes, keepdims: bool, counts: Shape = ()) -> Any:
    return reshape_to(found, (*counts, *lanes.kept)) if keepdims else found


def _differs_in_some_release(a: Any, q: Any, *args: Any, method: str = "linear", **kwargs: Any) -> bool:
    """Whether there are releases of NumPy, such as 2.0, that interpolate in another dtype, or by another rule."""
    return method != "linear" or isinstance(q, Tensor) or dtype_of(as_operand(a)) != _FLOAT64


@stands_for(np.quantile)
@untraced_by(np.quantile, unless=_differs_in_some_release)
def quantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    *,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    weights: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The value below which the share q of the elements lies, over axes (all of them by default).

    With the elements sorted, x_0 <= ... <= x_(n - 1), the method "linear" gives x_i + (v - i) (x_(i + 1) - x_i) with
    v = (n - 1) q and i = floor(v). The derivatives by x are 1 - (v - i) and v - i, for the elements that became x_i and
    x_(i + 1); of equal elements the first is x_i. The derivative by q is (n - 1) (x_(i + 1) - x_i), at an element that
    towards the next one, and 0 at the last. The discrete methods give an element as it is.

    Args:
        a: real numbers.
        q: a share between 0 and 1, or several, whose axes come first in the result.
        axis: the axis or axes to go over.
        overwrite_input: accepted as NumPy does, and not made use of: tensors do not change.
        method: one of NumPy's methods, such as "linear", "lower", "higher", "midpoint", "nearest", "median_unbiased".
        keepdims: whether the axes stay, with length 1.
        weights: for the method "inverted_cdf": a weight for each element, or a vector of them along the axis.

    Raises:
        ShapeError: a share is out of range, the method is unknown, the weights do not fit, or there are no elements.
        DtypeError: a or q is complex.

    >>> import fgrad as fg
    >>> fg.quantile(fg.asarray([3.0, 1.0, 2.0, 5.0]), 0.5)
    Tensor(2.5, dtype=float64)
    >>> fg.grad(fg.quantile)(fg.asarray([3.0, 1.0, 2.0, 5.0]), 0.5)
    Tensor([0.5, 0. , 0.5, 0. ], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.quantile")
    return _quantiles(a, q, axis, Options("quantile", 1, False, method, keepdims, weights))


@stands_for(np.percentile)
@untraced_by(np.percentile, unless=_differs_in_some_release)
def percentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    *,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    weights: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The quantile of q / 100: see `quantile`, whose arguments and errors these are.

    Raises:
        ShapeError: a percentage is out of range, the method is unknown, or the weights do not fit.

    >>> import fgrad as fg
    >>> fg.percentile(fg.asarray([3.0, 1.0, 2.0, 5.0]), 50)
    Tensor(2.5, dtype=float64)
    """
    if out is not None:
        refuse_out("fg.percentile")
    return _quantiles(a, q, axis, Options("percentile", 100, False, method, keepdims, weights))


@stands_for(np.nanquantile)
def nanquantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    *,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    weights: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The quantile of the elements that are not NaN: see `quantile`; NaN, without a warning, where all are NaN.

    Raises:
        ShapeError: a share is out of range, the method is unknown, or the weights do not fit.

    >>> import fgrad as fg
    >>> fg.nanquantile(fg.asarray([3.0, float("nan"), 2.0]), 0.5)
    Tensor(2.5, dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanquantile")
    return _quantiles(a, q, axis, Options("nanquantile", 1, True, method, keepdims, weights))


@stands_for(np.nanpercentile)
def nanpercentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    *,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    weights: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The quantile of q / 100 of the elements that are not NaN: see `nanquantile`.

    Raises:
        ShapeError: a percentage is out of range, the method is unknown, or the weights do not fit.

    >>> import fgrad as fg
    >>> fg.nanpercentile(fg.asarray([3.0, float("nan"), 2.0]), 50)
    Tensor(2.5, dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanpercentile")
    return _quantiles(a, q, axis, Options("nanpercentile", 100, True, method, keepdims, weights))


# Medians.


@stands_for(np.median)
def median(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    *,
    overwrite_input: bool = False,
    keepdims: bool = False,
    out: None = None,
) -> Tensor:
    """The middle of the sorted elements over axes (all of them by default), or the mean of the middle two.

    The cotangent goes to the element in the middle, or half to each of the two; of equal elements the first counts as
    the smaller. A NaN among the elements gives NaN and takes the cotangent. Medians of integers and booleans are
    float64; the median of no elements is NaN, with NumPy's RuntimeWarning.

    Args:
        a: numbers; complex ones are ordered by their real parts and then by their imaginary ones.
        axis: the axis or axes to go over.
        overwrite_input: accepted as NumPy does, and not made use of: tensors do not change.
        keepdims: whether the axes stay, with length 1.

    Raises:
        ShapeError: an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.median(fg.asarray([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]]), axis=1)
    Tensor([2., 5.], dtype=float64)
    >>> fg.grad(fg.median)(fg.asarray([3.0, 1.0, 2.0, 7.0]))
    Tensor([0.5, 0. , 0.5, 0. ], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.median")
    lanes = _lanes(as_operand(a), axis, "median")
    ordered = _sort_lanes(lanes.values)
    return _with_axes(_keep_nan(_middle(ordered), ordered), lanes, keepdims)


def _middle(ordered: Any) -> Any:
    half, odd = divmod(shape_of(ordered)[0], 2)
    return mean(getitem(ordered, slice(half if odd else max(half - 1, 0), half + 1)), 0)


@stands_for(np.nanmedian)
def nanmedian(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    *,
    overwrite_input: bool = False,
    keepdims: bool = False,
    out: None = None,
) -> Tensor:
    """The median of the elements that are not NaN: see `median`; NaN, without a warning, where all are NaN.

    Raises:
        ShapeError: an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.nanmedian(fg.asarray([3.0, float("nan"), 2.0]))
    Tensor(2.5, dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanmedian")
    operand = as_operand(a)
    if not is_inexact(dtype_of(operand)):
        return median(operand, axis, keepdims=keepdims)
    lanes = _lanes(operand, axis, "nanmedian")
    if not shape_of(lanes.values)[0]:
        return _with_axes(mean(lanes.values, 0), lanes, keepdims)
    ordered = _sort_lanes(lanes.values)
    if type(ordered) is ConcreteTensor and not _has_nan(ordered):
        return _with_axes(_middle(ordered), lanes, keepdims)
    present = reduce_sum(logical_not(isnan(ordered)), (0,))
    places = [maximum((present - 1) // 2, 0), present // 2]
    two = [take_along_axis(ordered, reshape_to(place, (1, *lanes.rest)), 0) for place in places]
    return _with_axes(mean(concatenate(two), 0), lanes, keepdims)
