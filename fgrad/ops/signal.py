"""Convolution and correlation of vectors, interpolation in a table, and polynomials by their coefficients."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, dtype_of, shape_of
from fgrad.ops.arithmetic import abs, add, conj, divide, multiply, multiply_no_nan, negative, remainder, subtract
from fgrad.ops.cumulative import cumprod_p
from fgrad.ops.declare import as_batch, batch_by_example, batch_size, bilinear, lead_axes, stands_for
from fgrad.ops.index import FLAT
from fgrad.ops.indexing import getitem_p, scatter_add_p
from fgrad.ops.joining import concatenate
from fgrad.ops.logic import equal, greater, less, logical_or
from fgrad.ops.selection import maximum, minimum, select_p
from fgrad.ops.shaping import flip, flip_p
from fgrad.ops.sorting import argsort, searchsorted
from fgrad.ops.structure import broadcast, convert, fit_tangent, reduce_sum, reshape_to, unbroadcast

__all__ = ["convolve", "correlate", "interp", "polyval"]

Array = np.ndarray[Any, Any]

# Convolution sums a_i v_j over i + j = k, correlation over i - j = k, and each is the other with v read backwards. One
# primitive is both: `backwards` says that v is read so, which is convolution. Operands with leading axes are stacks of
# vectors. The adjoints are correlations and convolutions that cost what the operation does.


def _evaluate_slide(a: Array, v: Array, mode: Any, backwards: bool) -> Any:
    kernel = v[..., ::-1] if backwards else v
    if kernel.dtype.kind == "c":
        kernel = kernel.conj()
    if a.ndim == 1:
        return np.correlate(a, kernel, mode)
    aval = _slide_rule(shape_dtype_of(a), shape_dtype_of(v), mode, backwards)
    out = np.empty(aval.shape, aval.dtype)
    for place in np.ndindex(a.shape[:-1]):
        out[place] = np.correlate(a[place], kernel[place], mode)
    return out


def _slide_rule(a: ShapeDtype, v: ShapeDtype, mode: str, backwards: bool) -> ShapeDtype:
    first, second = a.shape[-1], v.shape[-1]
    longest, shortest = max(first, second), min(first, second)
    length = {"full": first + second - 1, "same": longest, "valid": longest - shortest + 1}[mode]
    return ShapeDtype((*a.shape[:-1], length), np.result_type(a.dtype, v.dtype))


def _as_full(g: Any, a: Any, v: Any, mode: str) -> tuple[Any, str]:
    """The cotangent of mode "same" as that of mode "full", which has more entries on both sides."""
    if mode != "same":
        return g, mode
    length = shape_of(v)[-1]
    before = (length - 1) // 2
    lead = shape_of(g)[:-1]
    parts = [np.zeros((*lead, before), g.dtype), g, np.zeros((*lead, length - 1 - before), g.dtype)]
    return concatenate(parts, len(lead)), "full"


def _slide_left(g: Any, a: Any, v: Any, mode: str, backwards: bool) -> Any:
    g, mode = _as_full(g, a, v, mode)
    return bind(slide_p, g, v, mode="valid" if mode == "full" else "full", backwards=not backwards)


def _slide_right(g: Any, a: Any, v: Any, mode: str, backwards: bool) -> Any:
    g, mode = _as_full(g, a, v, mode)
    if mode == "full":
        found = bind(slide_p, g, a, mode="valid", backwards=False)
    else:
        found = bind(slide_p, a, g, mode="valid", backwards=False)
    return bind(flip_p, found, axes=(len(shape_of(found)) - 1,)) if backwards != (mode == "full") else found


def _batch_slide(primitive: Primitive, batched: tuple[bool, ...], a: Any, v: Any, mode: str, backwards: bool) -> Any:
    size = batch_size(batched, (a, v))
    stacks = [as_batch(operand, own, size) for operand, own in zip((a, v), batched, strict=True)]
    return bind(primitive, *stacks, mode=mode, backwards=backwards)


# In the modes "same" and "valid" the first operand is at least as long as the second.
slide_p = bilinear("slide", _evaluate_slide, _slide_rule, _slide_left, _slide_right, batch=_batch_slide)


def _vectors(a: Any, v: Any, mode: str, operation: str) -> tuple[Any, Any]:
    if mode not in ("full", "same", "valid"):
        message = f"[{operation}] mode is 'full', 'same' or 'valid', not {mode!r}"
        raise ShapeError(at_user_line(message))
    operands = []
    for value, name in ((a, "a"), (v, "v")):
        operand = as_operand(value)
        shape = shape_of(operand)
        if not shape:
            operand, shape = reshape_to(operand, (1,)), (1,)
        if len(shape) > 1 or not shape[0]:
            message = f"[{operation}] takes vectors of at least one element, and {name} has shape {shape}"
            raise ShapeError(at_user_line(message))
        operands.append(operand)
    return operands[0], operands[1]


@stands_for(np.convolve)
def convolve(a: ArrayLike, v: ArrayLike, mode: str = "full") -> Tensor:
    """The convolution of two vectors: c_k = sum_i a_i v_(k-i), as polynomials are multiplied.

    Bilinear: the cotangent of one operand is the correlation of the result's with the other operand.

    Args:
        a: a vector of length n.
        v: a vector of length m.
        mode: "full", all n + m - 1 sums; "same", the max(n, m) in their middle; "valid", the
            max(n, m) - min(n, m) + 1 in which no vector reaches over the end of the other.

    Raises:
        ShapeError: an operand is no vector or empty, or `mode` is none of these.

    >>> import fgrad as fg
    >>> fg.convolve(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0.0, 1.0, 0.5]))
    Tensor([0. , 1. , 2.5, 4. , 1.5], dtype=float64)
    """
    x, y = _vectors(a, v, mode, "convolve")
    if shape_of(y)[0] > shape_of(x)[0]:
        x, y = y, x
    return bind(slide_p, x, y, mode=mode, backwards=True)


@stands_for(np.correlate)
def correlate(a: ArrayLike, v: ArrayLike, mode: str = "valid") -> Tensor:
    """The correlation of two vectors: c_k = sum_i a_(i+k) conj(v_i).

    Args:
        a: a vector of length n.
        v: a vector of length m, which is conjugated.
        mode: "full", "same" or "valid", as in `convolve`.

    Raises:
        ShapeError: an operand is no vector or empty, or `mode` is none of these.

    >>> import fgrad as fg
    >>> fg.correlate(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0.0, 1.0, 0.5]))
    Tensor([3.5], dtype=float64)
    >>> fg.correlate(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0.0, 1.0, 0.5]), "same")
    Tensor([2. , 3.5, 3. ], dtype=float64)
    """
    x, y = _vectors(a, v, mode, "correlate")
    y = conj(y) if dtype_of(y).kind == "c" else y
    if shape_of(y)[0] > shape_of(x)[0]:
        return flip(bind(slide_p, y, x, mode=mode, backwards=False))
    return bind(slide_p, x, y, mode=mode, backwards=False)


# Interpolation. Between the neighbours (x0, f0) and (x1, f1), with t = (x - x0) / (x1 - x0) and the slope
# s = (f1 - f0) / (x1 - x0), the value is f0 + s (x - x0) and its differential
# s dx + (1 - t) df0 + t df1 - s (1 - t) dx0 - s t dx1.


def _evaluate_interp(x: Any, xp: Any, fp: Any, *ends: Any, has_left: bool, has_right: bool) -> Any:
    left, right = _named_ends(ends, has_left, has_right)
    # NumPy takes the ends as Python numbers of the kind that the values have.
    kind: Any = complex if fp.dtype.kind == "c" else float
    named = [None if end is None else kind(end) for end in (left, right)]
    return np.interp(x, xp, fp, named[0], named[1])


def _named_ends(ends: tuple[Any, ...], has_left: bool, has_right: bool) -> tuple[Any, Any]:
    return (ends[0] if has_left else None), (ends[-1] if has_right else None)


def _interp_rule(x: ShapeDtype, xp: ShapeDtype, fp: ShapeDtype, *ends: ShapeDtype, **named: bool) -> ShapeDtype:
    if len(xp.shape) != 1 or xp.shape != fp.shape or not xp.shape[0]:
        message = f"the table's places have shape {xp.shape} and its values {fp.shape}; both are vectors of one length"
        raise ShapeError(message)
    return ShapeDtype(x.shape, np.dtype(complex if fp.dtype.kind == "c" else float))


def _at_places(table: Any, places: Any) -> Any:
    return bind(getitem_p, table, places, index=FLAT)


def _interp_parts(x: Any, xp: Any, fp: Any) -> tuple[Any, ...]:
    """Where each x lies: the places before and after it, t, the slope, and whether it is left or right of all."""
    length = shape_of(xp)[0]
    before = maximum(minimum(subtract(searchsorted(xp, x, "right"), 1), length - 2), 0)
    after = minimum(add(before, 1), length - 1)
    start, stop = _at_places(xp, before), _at_places(xp, after)
    width = subtract(stop, start)
    # One point, or the last one twice: nothing lies between.
    width = bind(select_p, equal(width, 0), 1, width)
    outside = [less(x, _at_places(xp, np.asarray(0))), greater(x, _at_places(xp, np.asarray(length - 1)))]
    fraction = divide(subtract(x, start), width)
    slope = divide(subtract(_at_places(fp, after), _at_places(fp, before)), width)
    inside = [bind(select_p, logical_or(*outside), 0, part) for part in (fraction, slope)]
    return before, after, *inside, *outside


def _interp_vjp(
    g: Any, needed: Any, out: Any, x: Any, xp: Any, fp: Any, *ends: Any, has_left: bool, has_right: bool
) -> tuple[Any, ...]:
    before, after, fraction, slope, left, right = _interp_parts(x, xp, fp)
    by_line = multiply_no_nan(g, slope)
    cotangents: list[Any] = [unbroadcast(by_line, x) if needed[0] else None]

    def total(values: Any, places: Any) -> Any:
        return bind(scatter_add_p, values, places, index=FLAT, shape=shape_of(xp))

    if needed[1]:
        by_after = multiply_no_nan(by_line, fraction)
        moved = add(total(subtract(by_line, by_after), before), total(by_after, after))
        cotangents.append(unbroadcast(negative(moved), xp))
    else:
        cotangents.append(None)
    if needed[2]:
        # Left of the table t is 0 before its first place, and right of it the last place is the one after.
        constant = [[given, side] for given, side in ((has_left, left), (has_right, right))]
        inner = g
        for given, side in constant:
            inner = bind(select_p, side, 0, inner) if given else inner
        at_stop = bind(select_p, right, 1, fraction)
        by_after = multiply_no_nan(inner, at_stop)
        cotangents.append(unbroadcast(add(total(subtract(inner, by_after), before), total(by_after, after)), fp))
    else:
        cotangents.append(None)
    sides = [side for given, side in ((has_left, left), (has_right, right)) if given]
    every = tuple(range(len(shape_of(out))))
    for end, side, wanted in zip(ends, sides, needed[3:], strict=True):
        cotangents.append(unbroadcast(reduce_sum(bind(select_p, side, g, 0), every), end) if wanted else None)
    return tuple(cotangents)


def _interp_jvp(tangents: Any, out: Any, x: Any, xp: Any, fp: Any, *ends: Any, has_left: bool, has_right: bool) -> Any:
    before, after, fraction, slope, left, right = _interp_parts(x, xp, fp)
    by_x, by_places, by_values, *by_ends = tangents

    def mean(table: Any, weight: Any) -> Any:
        rest = multiply_no_nan(_at_places(table, before), subtract(1, weight))
        return add(rest, multiply_no_nan(_at_places(table, after), weight))

    terms = [] if by_x is None else [multiply_no_nan(by_x, slope)]
    if by_places is not None:
        terms.append(negative(multiply_no_nan(mean(by_places, fraction), slope)))
    if by_values is not None:
        moved = mean(by_values, bind(select_p, right, 1, fraction))
        for given, side in ((has_left, left), (has_right, right)):
            moved = bind(select_p, side, 0, moved) if given else moved
        terms.append(moved)
    sides = [side for given, side in ((has_left, left), (has_right, right)) if given]
    terms.extend([bind(select_p, side, end, 0) for end, side in zip(by_ends, sides, strict=True) if end is not None])
    return fit_tangent(functools.reduce(add, terms), out)


def _batch_interp(primitive: Primitive, batched: tuple[bool, ...], *operands: Any, **named: bool) -> Any:
    if not any(batched[1:]):
        return bind(primitive, *operands, **named)
    return batch_by_example(primitive, batched, *operands, **named)


interp_p = register(Primitive("interp", _evaluate_interp, _interp_rule, _interp_vjp, _interp_jvp, batch=_batch_interp))


@stands_for(np.interp)
def interp(
    x: ArrayLike,
    xp: ArrayLike,
    fp: ArrayLike,
    left: ArrayLike | None = None,
    right: ArrayLike | None = None,
    period: float | None = None,
) -> Tensor:
    """The piecewise linear function through the points (xp_i, fp_i), at x; float64, or complex128 for complex values.

    It is differentiable by x, xp, fp, `left` and `right`. By x the derivative is the slope of the interval that x lies
    in, and 0 outside of the table; at a knot it is that of the interval to the right, at the last knot that of the
    last interval.

    Args:
        x: where to evaluate, of any shape.
        xp: the places of the table, a vector that ascends (which is not checked).
        fp: the values there.
        left: the value for x < xp[0]; fp[0] by default.
        right: the value for x > xp[-1]; fp[-1] by default.
        period: x and xp are taken modulo this number, xp in any order, and `left` and `right` do not matter.

    Raises:
        ShapeError: xp and fp are not vectors of one length of at least 1, or the period is 0.
        DtypeError: x or xp is complex.

    >>> import fgrad as fg
    >>> fg.interp(2.5, fg.asarray([1.0, 2.0, 3.0]), fg.asarray([3.0, 2.0, 0.0]))
    Tensor(1., dtype=float64)
    >>> fg.grad(fg.interp)(2.5, fg.asarray([1.0, 2.0, 3.0]), fg.asarray([3.0, 2.0, 0.0]))
    Tensor(-2., dtype=float64)
    """
    points, places, values = as_operand(x), as_operand(xp), as_operand(fp)
    if dtype_of(points).kind == "c" or dtype_of(places).kind == "c":
        message = f"[interp] takes real x and xp, not {dtype_of(points)} and {dtype_of(places)}"
        raise DtypeError(at_user_line(message))
    if period is not None:
        points, places, values = _periodic(points, places, values, period)
        left = right = None
    ends = [as_operand(end) for end in (left, right) if end is not None]
    return bind(interp_p, points, places, values, *ends, has_left=left is not None, has_right=right is not None)


def _periodic(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    if type(period) in {int, float} and period == 0:
        message = "[interp] the period cannot be 0"
        raise ShapeError(at_user_line(message))
    if len(shape_of(xp)) != 1 or shape_of(xp) != shape_of(fp):
        message = f"[interp] xp of shape {shape_of(xp)} and fp of shape {shape_of(fp)} must be vectors of one length"
        raise ShapeError(at_user_line(message))
    period = abs(period)
    float64 = np.dtype(float)
    folded = remainder(convert(xp, float64), period)
    order = argsort(folded)
    places, values = _at_places(folded, order), _at_places(fp, order)
    last = shape_of(xp)[0] - 1
    ends = [reshape_to(_at_places(places, np.asarray(place)), (1,)) for place in (last, 0)]
    wrapped = concatenate([subtract(ends[0], period), places, add(ends[1], period)])
    edges = [reshape_to(_at_places(values, np.asarray(place)), (1,)) for place in (last, 0)]
    return remainder(convert(x, float64), period), wrapped, concatenate([edges[0], values, edges[1]])


# Polynomials.


def _evaluate_polyval(p: Array, x: Array) -> Any:
    """Horner's rule; axes of p before the last, which is that of the coefficients, broadcast against x."""
    out = np.zeros(np.broadcast_shapes(p.shape[:-1], x.shape), np.result_type(p, x))
    for k in range(p.shape[-1]):
        out = out * x + p[..., k]
    return out


def _polyval_rule(p: ShapeDtype, x: ShapeDtype) -> ShapeDtype:
    if not p.shape:
        message = "the coefficients are a vector, not a number"
        raise ShapeError(message)
    return ShapeDtype(np.broadcast_shapes(p.shape[:-1], x.shape), np.result_type(p.dtype, x.dtype))


def _slope(p: Any, x: Any) -> Any:
    """The derivative of the polynomial, at x."""
    degree = shape_of(p)[-1] - 1
    powers = np.arange(degree, 0, -1).astype(dtype_of(p))
    lead = (slice(None),) * (len(shape_of(p)) - 1)
    return bind(polyval_p, multiply(p[(*lead, slice(0, -1))], powers), x)


def powers_of(x: Any, count: int, *, increasing: bool) -> Any:
    """1, x, x**2, ... along a new last axis, so many of them; without logarithms, so right at 0 too."""
    shape = shape_of(x)
    one = np.ones((*shape, 1), dtype_of(x))
    if count <= 1:
        return broadcast(one, (*shape, count)) if count else reshape_to(x, (*shape, 1))[..., :0]
    factors = concatenate([one, broadcast(reshape_to(x, (*shape, 1)), (*shape, count - 1))], len(shape))
    powers = bind(cumprod_p, factors, axis=len(shape))
    return powers if increasing else bind(flip_p, powers, axes=(len(shape),))


def _polyval_vjp(g: Any, needed: Any, out: Any, p: Any, x: Any) -> tuple[Any, Any]:
    by_coefficients = by_x = None
    count = shape_of(p)[-1]
    if needed[0]:
        weighted = multiply_no_nan(reshape_to(g, (*shape_of(g), 1)), powers_of(x, count, increasing=False))
        by_coefficients = unbroadcast(weighted, p)
    if needed[1]:
        by_x = unbroadcast(multiply_no_nan(g, _slope(p, x)), x) if count > 1 else None
    return by_coefficients, by_x


def _polyval_jvp(tangents: Any, out: Any, p: Any, x: Any) -> Any:
    by_coefficients, by_x = tangents
    terms = [] if by_coefficients is None else [bind(polyval_p, by_coefficients, x)]
    if by_x is not None and shape_of(p)[-1] > 1:
        terms.append(multiply_no_nan(by_x, _slope(p, x)))
    return fit_tangent(functools.reduce(add, terms), out) if terms else None


def _batch_polyval(primitive: Primitive, batched: tuple[bool, ...], p: Any, x: Any) -> Any:
    rank = max(len(shape_of(p)) - 1 - batched[0], len(shape_of(x)) - batched[1])
    return bind(primitive, lead_axes(p, rank + 1) if batched[0] else p, lead_axes(x, rank) if batched[1] else x)


polyval_p = register(
    Primitive("polyval", _evaluate_polyval, _polyval_rule, _polyval_vjp, _polyval_jvp, batch=_batch_polyval)
)


@stands_for(np.polyval)
def polyval(p: ArrayLike, x: ArrayLike) -> Tensor:
    """The polynomial p_0 x**(n-1) + ... + p_(n-2) x + p_(n-1) at every x, by Horner's rule.

    The derivative by x is the polynomial's, the one by p_k is x**(n-1-k).

    Args:
        p: the coefficients, a vector, the highest power first.
        x: where to evaluate, of any shape.

    Raises:
        ShapeError: the coefficients are not a vector.

    >>> import fgrad as fg
    >>> fg.polyval(fg.asarray([3.0, 0.0, 1.0]), 5.0)
    Tensor(76., dtype=float64)
    """
    coefficients, points = as_operand(p), as_operand(x)
    if len(shape_of(coefficients)) != 1:
        message = f"[polyval] the coefficients are a vector, and have shape {shape_of(coefficients)}"
        raise ShapeError(at_user_line(message))
    if not shape_of(coefficients)[0]:
        return multiply(points, 0)
    return bind(polyval_p, coefficients, points)
