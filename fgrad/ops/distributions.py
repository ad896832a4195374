"""Random bits turned into draws of a distribution: one primitive for each, over the bits and the parameters.

They are primitives because a composition would write every intermediate array to memory, could not check the values of
its parameters while a function is staged, and would differentiate worse. Each works in blocks that stay in the cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from math import prod as product
from typing import Any, TypeAlias

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import Tensor
from fgrad.ops.arguments import as_operand, shape_of
from fgrad.ops.arithmetic import add, divide, multiply_no_nan, negative, square, subtract
from fgrad.ops.declare import batch_elementwise, constant
from fgrad.ops.exponential import exp, log
from fgrad.ops.logic import equal
from fgrad.ops.random_bits import (
    align_draw,
    draw_bits,
    draw_integers,
    open_unit,
    require_shape,
    unit_interval,
    unit_interval_p,
)
from fgrad.ops.reductions import cumsum
from fgrad.ops.selection import where
from fgrad.ops.sorting import argsort, searchsorted
from fgrad.ops.special import BLOCK, in_blocks, normal_cdf, normal_quantile
from fgrad.ops.structure import convert, fit_tangent, unbroadcast

__all__ = ["bernoulli_p", "choose", "normal_p", "random_order", "truncated_normal_p", "uniform_p"]

Array: TypeAlias = np.ndarray[Any, Any]

_WORD = np.dtype(np.uint64)
_INT64 = np.dtype(np.int64)
_FLOAT64 = np.dtype(np.float64)

open_unit_p = constant("open_unit", open_unit, lambda bits: ShapeDtype(bits.shape, _FLOAT64), batch=batch_elementwise)


def _bounds_rule(low_name: str, high_name: str) -> Any:
    def rule(bits: ShapeDtype, low: ShapeDtype, high: ShapeDtype, dtype: np.dtype[Any]) -> ShapeDtype:
        for name, bound in ((low_name, low), (high_name, high)):
            if bound.dtype.kind == "c":
                message = f"{name} must be real, not of dtype {bound.dtype}"
                raise DtypeError(message)
            require_shape(name, bound.shape, bits.shape)
        return ShapeDtype(bits.shape, dtype)

    return rule


def _batch_draw(primitive: Primitive, batched: tuple[bool, ...], bits: Any, *parameters: Any, **params: Any) -> Any:
    """The batching rule of a draw whose parameters broadcast to the shape of its bits."""
    repeated, aligned = align_draw(batched, bits, parameters, len(shape_of(bits)) - batched[0])
    return bind(primitive, repeated, *aligned, **params)


def _register_between(
    name: str, evaluate: Callable[..., Array], bound_names: tuple[str, str], weigh: Callable[..., Any]
) -> Primitive:
    """A draw between two bounds: ``weigh(g, share, out, bound)`` is g times the derivative by a bound.

    The share is 1 - u for the lower bound and u for the upper, with u the uniform number that the bits give.
    """

    def shares(bits: Any, dtype: np.dtype[Any]) -> tuple[Any, Any]:
        unit = bind(unit_interval_p, bits, dtype=dtype)
        return subtract(1, unit), unit

    def vjp(g: Any, needed: Any, out: Any, bits: Any, *bounds: Any, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        operands = zip(needed[1:], shares(bits, dtype), bounds, strict=True)
        cotangents = [unbroadcast(weigh(g, share, out, x), x) if wanted else None for wanted, share, x in operands]
        return (None, *cotangents)

    def jvp(tangents: Any, out: Any, bits: Any, *bounds: Any, dtype: np.dtype[Any]) -> Any:
        operands = zip(tangents[1:], shares(bits, dtype), bounds, strict=True)
        terms = [weigh(tangent, share, out, x) for tangent, share, x in operands if tangent is not None]
        return fit_tangent(functools.reduce(add, terms), out)

    rule = _bounds_rule(*bound_names)
    return register(Primitive(name, evaluate, rule, vjp, jvp, batch=_batch_draw, takes_numbers=True))


def _evaluate_uniform(bits: Array, low: Any, high: Any, dtype: np.dtype[Any]) -> Array:
    first, last = np.asarray(low, dtype), np.asarray(high, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        width = last - first
    if not (first < last).all():
        message = f"minval must be below maxval, in {dtype}"
        raise ValueError(message)
    if not np.isfinite(width).all():
        message = f"maxval - minval must be finite, in {dtype}"
        raise ValueError(message)
    out = unit_interval(bits, dtype)
    np.multiply(out, width, out=out)
    np.add(out, first, out=out)
    # Rounding may reach maxval, which does not belong to the range.
    np.minimum(out, np.nextafter(last, first), out=out)
    return out


uniform_p = _register_between(
    "uniform", _evaluate_uniform, ("minval", "maxval"), lambda g, share, out, bound: multiply_no_nan(g, share)
)


# The normal distribution.


def _evaluate_normal(bits: Array, dtype: np.dtype[Any]) -> Array:
    out = np.empty(bits.shape, dtype)
    flat_bits, flat = bits.ravel(), out.ravel()
    for start in range(0, flat.size, BLOCK):
        flat[start : start + BLOCK] = _normal_block(flat_bits[start : start + BLOCK])
    return out


def _normal_block(bits: Array) -> Array:
    # p - 1/2 = (k + 1/2) / 2**53, with k the bits as a signed integer of 53 bits, or 2**32 of 32: exact, never 0,
    # symmetric, and so is the smaller tail.
    width = 8 * bits.dtype.itemsize
    signed = bits.view(f"i{bits.dtype.itemsize}")
    if width > 53:  # the bits of the significand
        signed, width = np.right_shift(signed, width - 53), 53
    centred = signed.astype(np.float64)
    centred += 0.5
    centred *= 2.0**-width
    return normal_quantile(centred, 0.5 - np.abs(centred))


normal_p = constant(
    "normal", _evaluate_normal, lambda bits, dtype: ShapeDtype(bits.shape, dtype), batch=batch_elementwise
)


def _evaluate_truncated(bits: Array, lower: Any, upper: Any, dtype: np.dtype[Any]) -> Array:
    low, high = np.broadcast_arrays(np.asarray(lower, dtype), np.asarray(upper, dtype))
    if not (low < high).all():
        message = f"lower must be below upper, in {dtype}"
        raise ValueError(message)
    # An interval in the upper tail is drawn from as its mirror image, where probabilities keep their relative accuracy.
    mirrored = np.asarray(low > 0)
    below = np.where(mirrored, -high, low).astype(np.float64)
    above = np.where(mirrored, -low, high).astype(np.float64)
    start, end = in_blocks(normal_cdf, below), in_blocks(normal_cdf, above)
    if not (end > 0).all():
        message = "the interval is so far out in a tail that its probability is less than the smallest float64"
        raise ValueError(message)
    unit = open_unit(bits)
    probability = start + np.where(mirrored, 1.0 - unit, unit) * (end - start)
    # Rounding may reach 0 or 1, where an open side would give an infinity.
    probability = np.clip(probability, 5e-324, 1.0 - 2.0**-53)
    draws = in_blocks(_quantile_block, np.broadcast_to(probability, bits.shape))
    return np.clip(np.where(mirrored, -draws, draws), low, high).astype(dtype)


def _quantile_block(probability: Array) -> Array:
    return normal_quantile(probability - 0.5, np.minimum(probability, 1.0 - probability))


def _weigh_truncated(g: Any, share: Any, out: Any, bound: Any) -> Any:
    # From cdf(z) = (1 - u) cdf(a) + u cdf(b): dz/da = (1 - u) pdf(a) / pdf(z) and dz/db = u pdf(b) / pdf(z), where the
    # quotient of the densities is one exponential that cannot overflow before it is multiplied.
    return multiply_no_nan(multiply_no_nan(g, share), exp((square(out) - square(bound)) * 0.5))


truncated_normal_p = _register_between("truncated_normal", _evaluate_truncated, ("lower", "upper"), _weigh_truncated)


# Decisions and choices.


def _evaluate_bernoulli(bits: Array, p: Any) -> Array:
    threshold = np.asarray(p, np.float64)
    if not ((threshold >= 0) & (threshold <= 1)).all():
        message = "p is a probability, from 0 to 1"
        raise ValueError(message)
    # With `out`, NumPy refuses a p that does not broadcast to the shape of the draw.
    return np.less(unit_interval(bits, _FLOAT64), threshold, out=np.empty(bits.shape, bool))


def _bernoulli_rule(bits: ShapeDtype, p: ShapeDtype) -> ShapeDtype:
    if p.dtype.kind == "c":
        message = f"p must be real, not of dtype {p.dtype}"
        raise DtypeError(message)
    require_shape("p", p.shape, bits.shape)
    return ShapeDtype(bits.shape, np.dtype(bool))


bernoulli_p = register(
    Primitive(
        "bernoulli",
        _evaluate_bernoulli,
        _bernoulli_rule,
        batch=_batch_draw,
        locally_constant=True,
        takes_numbers=True,
    )
)


def _evaluate_probabilities(p: Array, count: int, distinct: int, stack: int) -> Array:
    if p.shape[stack:] != (count,) or p.dtype.kind == "c":
        message = "p does not fit"
        raise ValueError(message)
    if not (p >= 0).all():
        message = "p has negative entries, or NaN"
        raise ValueError(message)
    resolution = np.finfo(p.dtype).eps if p.dtype.kind == "f" else 0.0
    probabilities = p.astype(np.float64)
    totals = np.atleast_1d(np.add.reduce(probabilities, axis=-1))
    wrong = np.abs(totals - 1.0) > max(math.sqrt(resolution), 1e-8)
    if wrong.any():
        message = f"p sums to {totals[wrong][0]:.10g}, not to 1"
        raise ValueError(message)
    positive = np.atleast_1d(np.count_nonzero(probabilities, axis=-1))
    few = positive < distinct
    if few.any():
        found = positive[few][0]
        message = f"p has {found} positive entries, and {distinct} different ones are to be chosen (replace=False)"
        raise ValueError(message)
    return probabilities


def _probabilities_rule(p: ShapeDtype, count: int, distinct: int, stack: int) -> ShapeDtype:
    if p.dtype.kind == "c":
        message = f"p must be real, not of dtype {p.dtype}"
        raise DtypeError(message)
    if p.shape[stack:] != (count,):
        message = f"p needs shape ({count},), one probability for each of the choices, and has shape {p.shape}"
        raise ShapeError(message)
    return ShapeDtype(p.shape, _FLOAT64)


def _batch_probabilities(
    primitive: Primitive, batched: tuple[bool, ...], p: Any, count: int, distinct: int, stack: int
) -> Any:
    return bind(primitive, p, count=count, distinct=distinct, stack=stack + 1)


# `stack` counts the axes in front of that of the choices.
probabilities_p = constant("choice", _evaluate_probabilities, _probabilities_rule, batch=_batch_probabilities)


def random_order(words: Tensor, count: int) -> Tensor:
    """The integers below `count` in the order that sorts a random word for each."""
    return _as_int64(argsort(draw_bits(words, (count,), _WORD)))


def choose(words: Tensor, count: int, shape: Shape, *, replace: bool, p: Any) -> Tensor:
    """Integers below `count`, with equal probabilities or with those of `p`, with or without replacement."""
    size = product(shape)
    if p is None:
        if replace:
            return draw_integers(words, shape, 0, max(count, 1), _INT64)
        return random_order(words, count)[:size].reshape(shape)
    probabilities = bind(probabilities_p, as_operand(p), count=count, distinct=0 if replace else size, stack=0)
    if replace:
        ends = cumsum(probabilities)
        points = bind(uniform_p, draw_bits(words, shape, _WORD), 0.0, ends[-1], dtype=_FLOAT64)
        return _as_int64(searchsorted(ends, points, side="right"))
    never = equal(probabilities, 0)
    arrivals = negative(log(bind(open_unit_p, draw_bits(words, (count,), _WORD))))
    waiting = where(never, np.inf, divide(arrivals, where(never, 1.0, probabilities)))
    return _as_int64(argsort(waiting))[:size].reshape(shape)


def _as_int64(positions: Tensor) -> Tensor:
    return positions if positions.dtype == _INT64 else convert(positions, _INT64)
