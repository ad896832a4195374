"""Random bits turned into draws of a distribution: one primitive for each, over the bits and the parameters.

They are primitives because a composition would write every intermediate array to memory, could not check the values of
its parameters while a function is staged, and would differentiate worse. Each works in blocks that stay in the cache.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.ops.arithmetic import square, subtract
from fgrad.ops.declare import constant
from fgrad.ops.exponential import exp
from fgrad.ops.random_bits import open_unit, require_shape, unit_interval, unit_interval_p
from fgrad.ops.special import BLOCK, in_blocks, normal_cdf, normal_quantile
from fgrad.ops.structure import unbroadcast

__all__ = ["bernoulli_p", "normal_p", "open_unit_p", "probabilities_p", "truncated_normal_p", "uniform_p"]

Array: TypeAlias = np.ndarray[Any, Any]

open_unit_p = constant("open_unit", open_unit, lambda bits: ShapeDtype(bits.shape, np.dtype(np.float64)))


def _bounds_rule(low_name: str, high_name: str) -> Any:
    def rule(bits: ShapeDtype, low: ShapeDtype, high: ShapeDtype, dtype: np.dtype[Any]) -> ShapeDtype:
        for name, bound in ((low_name, low), (high_name, high)):
            if bound.dtype.kind == "c":
                message = f"{name} must be real, not of dtype {bound.dtype}"
                raise DtypeError(message)
            require_shape(name, bound.shape, bits.shape)
        return ShapeDtype(bits.shape, dtype)

    return rule


# The uniform distribution.


def _evaluate_uniform(bits: Array, low: Any, high: Any, dtype: np.dtype[Any]) -> Array:
    first, last = np.asarray(low, dtype), np.asarray(high, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        width = last - first
    if not np.all(first < last):
        message = f"minval must be below maxval, in {dtype}"
        raise ValueError(message)
    if not np.all(np.isfinite(width)):
        message = f"maxval - minval must be finite, in {dtype}"
        raise ValueError(message)
    out = unit_interval(bits, dtype)
    np.multiply(out, width, out=out)
    np.add(out, first, out=out)
    # Rounding may reach maxval, which does not belong to the range.
    np.minimum(out, np.nextafter(last, first), out=out)
    return out


def _uniform_vjp(g: Any, needed: Any, out: Any, bits: Any, low: Any, high: Any, dtype: np.dtype[Any]) -> Any:
    unit = bind(unit_interval_p, bits, dtype=dtype)
    return (
        None,
        unbroadcast(g * subtract(1, unit), low) if needed[1] else None,
        unbroadcast(g * unit, high) if needed[2] else None,
    )


uniform_p = register(
    Primitive("uniform", _evaluate_uniform, _bounds_rule("minval", "maxval"), _uniform_vjp, takes_numbers=True)
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
    signed = bits.view(np.dtype(f"i{bits.dtype.itemsize}"))
    if width > 53:  # noqa: PLR2004 - the bits of the significand
        signed, width = np.right_shift(signed, width - 53), 53
    centred = signed.astype(np.float64)
    centred += 0.5
    centred *= 2.0**-width
    return normal_quantile(centred, 0.5 - np.abs(centred))


normal_p = constant("normal", _evaluate_normal, lambda bits, dtype: ShapeDtype(bits.shape, dtype))


def _evaluate_truncated(bits: Array, lower: Any, upper: Any, dtype: np.dtype[Any]) -> Array:
    low, high = np.broadcast_arrays(np.asarray(lower, dtype), np.asarray(upper, dtype))
    if not np.all(low < high):
        message = f"lower must be below upper, in {dtype}"
        raise ValueError(message)
    # An interval in the upper tail is drawn from as its mirror image, where probabilities keep their relative accuracy.
    mirrored = np.asarray(low > 0)
    below = np.where(mirrored, -high, low).astype(np.float64)
    above = np.where(mirrored, -low, high).astype(np.float64)
    start, end = in_blocks(normal_cdf, below), in_blocks(normal_cdf, above)
    if not np.all(end > 0):
        message = "the interval is so far out in a tail that its probability is less than the smallest float64"
        raise ValueError(message)
    unit = open_unit(bits)
    probability = start + np.where(mirrored, 1.0 - unit, unit) * (end - start)
    draws = in_blocks(_quantile_block, np.broadcast_to(probability, bits.shape))
    return np.clip(np.where(mirrored, -draws, draws), low, high).astype(dtype)


def _quantile_block(probability: Array) -> Array:
    return normal_quantile(probability - 0.5, np.minimum(probability, 1.0 - probability))


def _truncated_vjp(g: Any, needed: Any, out: Any, bits: Any, lower: Any, upper: Any, dtype: np.dtype[Any]) -> Any:
    # From cdf(z) = (1 - u) cdf(a) + u cdf(b): dz/da = (1 - u) pdf(a) / pdf(z) and dz/db = u pdf(b) / pdf(z), where the
    # quotient of the densities is one exponential that cannot overflow before it is multiplied.
    unit = bind(unit_interval_p, bits, dtype=dtype)

    def share(weight: Any, bound: Any) -> Any:
        ratio = exp((square(out) - square(bound)) * 0.5)
        return unbroadcast(g * weight * ratio, bound)

    return (
        None,
        share(subtract(1, unit), lower) if needed[1] else None,
        share(unit, upper) if needed[2] else None,
    )


truncated_normal_p = register(
    Primitive(
        "truncated_normal",
        _evaluate_truncated,
        _bounds_rule("lower", "upper"),
        _truncated_vjp,
        takes_numbers=True,
    )
)


# Decisions and choices.


def _evaluate_bernoulli(bits: Array, p: Any) -> Array:
    threshold = np.asarray(p, np.float64)
    if not np.all((threshold >= 0) & (threshold <= 1)):
        message = "p is a probability, from 0 to 1"
        raise ValueError(message)
    return unit_interval(bits, np.dtype(np.float64)) < threshold


def _bernoulli_rule(bits: ShapeDtype, p: ShapeDtype) -> ShapeDtype:
    if p.dtype.kind == "c":
        message = f"p must be real, not of dtype {p.dtype}"
        raise DtypeError(message)
    require_shape("p", p.shape, bits.shape)
    return ShapeDtype(bits.shape, np.dtype(bool))


bernoulli_p = register(
    Primitive("bernoulli", _evaluate_bernoulli, _bernoulli_rule, locally_constant=True, takes_numbers=True)
)


def _evaluate_probabilities(p: Array, count: int, distinct: int) -> Array:
    if p.shape != (count,) or p.dtype.kind == "c":
        message = "p does not fit"
        raise ValueError(message)
    if not np.all(p >= 0):
        message = "p has negative entries, or NaN"
        raise ValueError(message)
    resolution = np.finfo(p.dtype).eps if p.dtype.kind == "f" else 0.0
    probabilities = p.astype(np.float64)
    total = float(np.add.reduce(probabilities))
    if not abs(total - 1.0) <= max(math.sqrt(resolution), 1e-8):
        message = f"p sums to {total:.10g}, not to 1"
        raise ValueError(message)
    positive = int(np.count_nonzero(probabilities))
    if positive < distinct:
        message = f"p has {positive} positive entries, and {distinct} different ones are to be chosen (replace=False)"
        raise ValueError(message)
    return probabilities


def _probabilities_rule(p: ShapeDtype, count: int, distinct: int) -> ShapeDtype:
    if p.dtype.kind == "c":
        message = f"p must be real, not of dtype {p.dtype}"
        raise DtypeError(message)
    if p.shape != (count,):
        message = f"p needs shape ({count},), one probability for each of the choices, and has shape {p.shape}"
        raise ShapeError(message)
    return ShapeDtype(p.shape, np.dtype(np.float64))


probabilities_p = constant("choice", _evaluate_probabilities, _probabilities_rule)
