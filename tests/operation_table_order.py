"""Rows of the operation table for order, quantiles, sets, counting and segments."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import (
    CLOSE,
    Constant,
    Row,
    arrays,
    call,
    complex_arrays,
    optional,
    over_axes,
    reordered,
    shrunk,
    smooth_arrays,
    thinned,
    with_shape,
)
from operation_table_shapes import PRIMITIVES, axis_of

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.testing import strategies

SIDE = st.integers(0, 3)
VALUES_DECIDE = "the shape of the result depends on values"

# Order.


def with_gaps(kinds, shape=None):
    """Arrays with NaN among the elements."""

    def put(array):
        flat = array.ravel()
        flat[1::3] = np.nan
        return flat.reshape(array.shape)

    return arrays(kinds, shape).map(put)


def along(operand, *args, none=True, **options):
    """Calls with an operand, more arguments and ``axis=``."""
    return with_shape(
        lambda s: optional(call(operand(s), *args), axis=axis_of(s) | st.none() if none else axis_of(s), **options),
        min_dims=1,
        min_side=1,
        max_dims=2,
    )


def _sort(x, axis=-1, descending=False, **_):
    found = np.sort(x, axis)
    return np.flip(found, -1 if axis is None else axis) if descending else found


def _argsort(x, axis=-1, descending=False, **_):
    if not descending:
        return np.argsort(x, axis, kind="stable")
    x = x.ravel() if axis is None else x
    axis = -1 if axis is None else axis
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


def _top_k(x, k, axis=-1, largest=True):
    places = np.take(_argsort(x, axis, largest), np.arange(k), axis)
    return np.take_along_axis(x, places, axis), places


def _partition(x, kth, axis=-1):
    x, axis = (x.ravel(), 0) if axis is None else (x, axis)
    return np.take_along_axis(x, np.argpartition(x, kth, axis), axis)


def _top(operand):
    return along(operand, st.integers(0, 1), none=False, largest=st.booleans())


PLACES = st.permutations(range(4)).map(lambda order: np.array(order[:3]))

ORDER = [
    Row(
        "sort",
        fg.sort,
        along(lambda s: arrays("fhciub", s) | with_gaps("fc", s)),
        _sort,
        along(smooth_arrays) | along(complex_arrays),
        ("sort",),
        np.sort,
    ),
    Row(
        "sort, descending",
        lambda x, **options: fg.sort(x, descending=True, **options),
        along(lambda s: arrays("fiub", s)),
        lambda x, axis=-1: _sort(x, axis, True),
        along(smooth_arrays),
    ),
    Row(
        "argsort, descending",
        lambda x, **options: fg.argsort(x, descending=True, **options),
        along(lambda s: arrays("fiub", s)),
        lambda x, axis=-1: _argsort(x, axis, True),
    ),
    Row(
        "sort_complex",
        fg.sort_complex,
        with_shape(lambda s: call(arrays("fciu", s)), min_dims=1),
        np.sort_complex,
        with_shape(lambda s: call(smooth_arrays(s)) | call(complex_arrays(s)), min_dims=1),
        counterpart=np.sort_complex,
    ),
    Row(
        "partition",
        fg.partition,
        along(lambda s: arrays("fhiu", s), st.integers(-1, 0)),
        _partition,
        along(smooth_arrays, st.integers(-1, 0)),
        ("partition",),
        np.partition,
    ),
    Row(
        "argpartition",
        fg.argpartition,
        along(lambda s: arrays("fiu", s), st.integers(-1, 0)),
        np.argpartition,
        None,
        ("argpartition",),
        np.argpartition,
    ),
    Row(
        "lexsort",
        fg.lexsort,
        with_shape(
            lambda s: optional(
                call(st.lists(arrays("iu", s, 0, 2), min_size=1, max_size=3).map(tuple)), axis=axis_of(s)
            ),
            min_dims=1,
            max_dims=2,
        ),
        np.lexsort,
        None,
        ("lexsort",),
        np.lexsort,
    ),
    Row("top_k", fg.top_k, _top(lambda s: arrays("fhiub", s)), _top_k, _top(smooth_arrays), ("top_places",)),
    Row(
        "read_places",
        lambda x, places: bind(PRIMITIVES["read_places"], x, places, axis=0),
        call(arrays("fc", (4,)), PLACES),
        lambda x, places: x[places],
        call(smooth_arrays((4,)), PLACES),
        ("read_places",),
        vary=reordered,
    ),
    Row(
        "write_places",
        lambda values, places: bind(PRIMITIVES["write_places"], values, places, axis=0, length=4),
        call(arrays("fc", (3,)), PLACES),
        lambda values, places: np.sum(
            [np.where(np.arange(4) == k, v, 0) for k, v in zip(places, values, strict=True)], 0
        ),
        call(smooth_arrays((3,)), PLACES),
        ("write_places",),
        vary=reordered,
    ),
]

# Quantiles.

METHODS = st.sampled_from(
    [
        *("linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf", "averaged_inverted_cdf"),
        *("closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased"),
        "normal_unbiased",
    ]
)
SHARES = st.sampled_from([0.25, 0.5, 0.6, 1.0, [0.1, 0.5], [[0.0], [0.9]]])
SMOOTH_METHODS = st.sampled_from(["linear", "hazen", "weibull", "interpolated_inverted_cdf"])


def quantiles(name, scale, operand):
    """The row of a function of the family of quantile, with q as a constant and as an operand."""
    numpy_function = getattr(np, name)
    share = SHARES.map(lambda q: np.multiply(q, scale).tolist())

    def calls(shape):
        axes = st.none() | strategies.axes(len(shape))
        return call(operand(shape), share, axes, method=METHODS, keepdims=st.booleans())

    place = st.sampled_from([np.array(0.45), np.array([0.42, 0.55])]).map(lambda q: q * scale)

    def reference(x, q, *more, **options):
        # NumPy 2.0 leaves the dtype of a q of shape () out of the promotion.
        promoted = x.astype(np.result_type(x, q)) if isinstance(q, np.ndarray | np.generic) else x
        if more == ((),):
            # Over no axes each element is its own quantile, where NumPy's nanquantile puts the axes of q last.
            return (np.quantile if scale == 1 else np.percentile)(promoted, q, *more, **options)
        return numpy_function(promoted, q, *more, **options)

    return Row(
        name,
        getattr(fg, name),
        with_shape(calls, min_dims=1, max_dims=2, min_side=1) | call(operand((4,)), place),
        reference,
        call(smooth_arrays((4,)), place, method=SMOOTH_METHODS)
        | call(smooth_arrays((4, 2)), 0.45 * scale, 0, method=METHODS),
        (),
        numpy_function,
        CLOSE,
    )


def medians(name, operand):
    numpy_function = getattr(np, name)
    return Row(
        name,
        getattr(fg, name),
        over_axes(operand, min_dims=1, min_side=1),
        numpy_function,
        over_axes(smooth_arrays, min_dims=1, min_side=1),
        (),
        numpy_function,
        CLOSE,
    )


QUANTILES = [
    quantiles("quantile", 1, lambda s: arrays("fi", s) | with_gaps("f", s)),
    quantiles("percentile", 100, lambda s: arrays("fi", s)),
    quantiles("nanquantile", 1, lambda s: arrays("f", s) | with_gaps("f", s)),
    quantiles("nanpercentile", 100, lambda s: with_gaps("f", s)),
    Row(
        "quantile with weights",
        lambda x, weights, q, **options: fg.quantile(x, q, method="inverted_cdf", weights=weights, **options),
        call(arrays("f", (4, 2)), arrays("f", (4, 2), 0.5, 2), SHARES, axis=st.sampled_from([0, 1, None])),
        lambda x, weights, q, axis: np.quantile(x, q, axis, method="inverted_cdf", weights=weights),
        call(smooth_arrays((4,)), Constant(np.array([1.0, 2.0, 0.0, 1.0])), 0.45),
        vary=shrunk,
    ),
    medians("median", lambda s: arrays("fhi", s) | with_gaps("f", s)),
    medians("nanmedian", lambda s: arrays("f", s) | with_gaps("f", s)),
]

# Counting.


def _nonzero(x, size, fill_value=0):
    return tuple(np.concatenate([p[:size], np.full(max(size - len(p), 0), fill_value)]) for p in np.nonzero(x))


def value_dependent(name, calls, smooth=None, reference=None):
    """The row of a function whose result has a shape that depends on values."""
    numpy_function = getattr(np, name)
    return Row(
        name,
        getattr(fg, name),
        calls,
        numpy_function if reference is None else reference,
        smooth,
        (),
        numpy_function,
        staged=False,
        unbatched=VALUES_DECIDE,
    )


SPARSE = with_shape(lambda s: call(arrays("fiub", s, 0, 2)), min_dims=1)
MASKS = st.lists(st.booleans(), min_size=3, max_size=3).map(lambda mask: Constant(np.array(mask)))
LABELS = arrays("iu", (4,), 0, 3)

COUNTING = [
    value_dependent("nonzero", SPARSE),
    value_dependent("flatnonzero", SPARSE),
    value_dependent("argwhere", SPARSE),
    Row(
        "nonzero of a size",
        lambda x, size, **options: fg.nonzero(x, size=size, **options),
        with_shape(
            lambda s: optional(call(arrays("fib", s, 0, 2), st.integers(0, 4)), fill_value=st.just(-1)), min_dims=1
        ),
        _nonzero,
        None,
        ("nonzero_places",),
        vary=thinned,
    ),
    Row(
        "count_nonzero",
        fg.count_nonzero,
        over_axes(lambda s: arrays("fciub", s, 0, 2)),
        lambda x, **options: np.asarray(np.count_nonzero(x, **options), np.intp),
        None,
        ("count_nonzero",),
        np.count_nonzero,
        vary=thinned,
    ),
    Row(
        "compress",
        fg.compress,
        call(MASKS, arrays("fci", (3, 3)), st.sampled_from([0, 1, None])),
        np.compress,
        call(MASKS, smooth_arrays((3, 2)), 0) | call(MASKS, complex_arrays((3,))),
        counterpart=np.compress,
    ),
    Row(
        "compress of a size",
        lambda mask, x, size: fg.compress(mask, x, 0, size=size, fill_value=7),
        call(arrays("b", (3,)), arrays("f", (3, 2)), st.integers(0, 4)),
        lambda mask, x, size: (
            np.concatenate([x[mask], np.full((4, 2), 7, x.dtype)])[:size] if mask.sum() <= size else x[mask][:size]
        ),
        call(arrays("b", (3,)), smooth_arrays((3, 2)), st.integers(0, 4)),
    ),
    Row(
        "extract",
        fg.extract,
        call(MASKS, arrays("fci", (3,))),
        np.extract,
        call(MASKS, smooth_arrays((3,))),
        counterpart=np.extract,
    ),
    value_dependent(
        "bincount",
        call(LABELS) | call(LABELS.map(np.int8), arrays("fi", (4,)), st.integers(0, 6)),
        reference=lambda x, *more: np.bincount(x.astype(int), *more),
    ),
    Row(
        "bincount of a length",
        lambda x, weights: fg.bincount(x, weights, length=3),
        call(LABELS, arrays("f", (4,))),
        lambda x, weights: np.bincount(x.astype(int), weights, 4)[:3],
        call(LABELS, smooth_arrays((4,))),
        rtol=CLOSE,
    ),
    Row(
        "digitize",
        fg.digitize,
        call(arrays("fi"), arrays("f", (3,)).map(np.sort), st.booleans())
        | call(arrays("f"), np.array([3.0, 1.0, 1.0])),
        np.digitize,
        None,
        ("digitize",),
        np.digitize,
        vary=shrunk,
    ),
    Row(
        "histogram_bin_edges",
        fg.histogram_bin_edges,
        call(arrays("fi", (4,)), st.integers(1, 3), st.sampled_from([None, (-1.0, 2.0)])),
        np.histogram_bin_edges,
        call(smooth_arrays((4,)), st.integers(1, 3)),
        counterpart=np.histogram_bin_edges,
        rtol=CLOSE,
    ),
    Row(
        "histogram",
        fg.histogram,
        call(arrays("f", (5,)), st.sampled_from([2, 3, [-1.0, 0.5, 2.0]]), None, st.booleans())
        | call(arrays("f", (5,)), 3, (-2, 2), False, arrays("fc", (5,))),
        np.histogram,
        call(Constant(np.array([0.5, 1.5, -1.0])), 2, (-2, 2), st.booleans(), smooth_arrays((3,), 1, 2)),
        ("histogram_bins",),
        np.histogram,
        CLOSE,
    ),
]

# Sets.

FEW = arrays("fiub", strategies.shapes(min_dims=1, max_dims=2), 0, 3)
INTEGERS = arrays("i", (4,), 0, 3)
BOTH = call(arrays("iu", (3,), 0, 3), arrays("iu", (4,), 0, 3))


def _unique(x, size):
    values, counts = np.unique(x, return_counts=True)
    free = max(size - len(values), 0)
    return np.append(values[:size], [9] * free).astype(x.dtype), np.append(counts[:size], [0] * free).astype(int)


def _unique_of_numpy(x, return_index=False, return_inverse=False, return_counts=False, axis=None):
    """np.unique with an inverse of one axis for axis=0, which NumPy 2.0 alone gives another shape."""
    found = np.unique(x, return_index, return_inverse, return_counts, axis)
    if not return_inverse:
        return found
    parts = list(found)
    place = 1 + return_index
    parts[place] = parts[place].reshape(x.shape if axis is None else x.shape[:1])
    return tuple(parts)


SETS = [
    value_dependent(
        "unique",
        optional(
            call(FEW),
            return_index=st.booleans(),
            return_inverse=st.booleans(),
            return_counts=st.booleans(),
            axis=st.sampled_from([None, 0]),
        ),
        reference=_unique_of_numpy,
    ),
    *[value_dependent(name, call(FEW)) for name in ("unique_all", "unique_counts", "unique_inverse")],
    Row(
        "unique_values",
        fg.unique_values,
        call(FEW),
        lambda x: np.unique(x, equal_nan=False),  # NumPy's own does not sort
        counterpart=np.unique_values,
        staged=False,
        unbatched=VALUES_DECIDE,
    ),
    Row(
        "unique of a size",
        lambda x, size: fg.unique_counts(x, size=size, fill_value=9),
        call(arrays("fi", (3,), 0, 3), st.integers(0, 4)),
        _unique,
        call(smooth_arrays((3,)), st.integers(0, 4)),
        ("unique_places",),
    ),
    Row(
        "isin",
        fg.isin,
        call(arrays("fi", None, 0, 3), arrays("fi", (2,), 0, 3), False, st.booleans()),
        np.isin,
        None,
        ("isin",),
        np.isin,
    ),
    *[value_dependent(name, BOTH) for name in ("intersect1d", "union1d", "setdiff1d", "setxor1d")],
]

# Segments.

IDS = arrays("i", (4,), -2, 4)
FULL = st.permutations([0, 1, 2, 1]).map(np.array)  # no segment is empty, whose extremum is infinite


def segments(name, reduce, empty, kinds, smooth=smooth_arrays, primitives=True):
    def reference(data, ids, count):
        rows = [data[ids == label] for label in range(count)]
        parts = [reduce(row, 0) if len(row) else np.full(data.shape[1:], empty(data.dtype)) for row in rows]
        return np.array(parts, reduce(data, 0).dtype if name == "segment_mean" else data.dtype)

    shapes = st.sampled_from([(4,), (4, 2)])
    return Row(
        name,
        getattr(fg, name),
        shapes.flatmap(lambda s: call(arrays(kinds, s, 0, 3), IDS, 3)),
        reference,
        shapes.flatmap(lambda s: call(smooth(s), FULL, 3)),
        (name,) if primitives else (),
        rtol=CLOSE,
    )


def _extreme(sign):
    def bound(dtype):
        if dtype.kind in "iu":
            return np.iinfo(dtype).min if sign > 0 else np.iinfo(dtype).max
        return -sign * np.inf

    return bound


SEGMENTS = [
    segments("segment_sum", np.sum, lambda dtype: 0, "fci"),
    segments("segment_max", np.max, _extreme(1), "fiu"),
    segments("segment_min", np.min, _extreme(-1), "fiu"),
    segments("segment_prod", np.prod, lambda dtype: 1, "fci"),
    segments("segment_mean", np.mean, lambda dtype: 0, "fci", primitives=False),
    Row(
        "segment_read",
        lambda x, ids: bind(PRIMITIVES["segment_read"], x, ids),
        call(arrays("fci", (3, 2)), IDS),
        lambda x, ids: np.where(((ids >= 0) & (ids < 3))[:, None], x[np.clip(ids, 0, 2)], 0).astype(x.dtype),
        call(smooth_arrays((3, 2)), IDS),
        ("segment_read",),
    ),
]

ORDER_ROWS: list[Row] = [*ORDER, *QUANTILES, *COUNTING, *SETS, *SEGMENTS]
