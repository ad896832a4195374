"""Random bits out of keys: Philox words, keys made from keys, and the uniform numbers and integers that bits give.

Philox4x64-10 (Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011) turns a key of two
64-bit words and a counter of four into four random words. A stream is the sequence of blocks at the counters
(1, 0, 0, d), (2, 0, 0, d), ...; the highest counter word d separates what is drawn (0) from the keys of `split` (1) and
`fold_in` (2) and from seeds (3). NumPy promises that raw words never change, and nothing else of NumPy's generator is
used. Narrower bits are the little-endian halves, quarters and eighths of the words, in order.
"""

from __future__ import annotations

import threading
from math import prod as product
from typing import Any, TypeAlias

import numpy as np

from fgrad.core.bind import bind, bind_creation
from fgrad.core.errors import DtypeError, ShapeError
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import Tensor
from fgrad.ops.arguments import shape_of
from fgrad.ops.declare import as_batch, batch_elementwise, batch_size, batch_stacked, constant, lead_axes
from fgrad.ops.shaping import swapaxes
from fgrad.ops.special import BLOCK

__all__ = [
    "DRAWS",
    "FOLDED",
    "SEEDS",
    "SPLIT",
    "draw_bits",
    "draw_integers",
    "fold_in_p",
    "integers_p",
    "open_unit",
    "philox_words",
    "random_bits_p",
    "require_shape",
    "unit_interval",
    "unit_interval_p",
]

Array: TypeAlias = np.ndarray[Any, Any]

# The highest word of the counter: what a stream is used for.
DRAWS, SPLIT, FOLDED, SEEDS = range(4)

_WORD = np.dtype(np.uint64)
_LITTLE_WORD = np.dtype("<u8")
_WORD_LIMIT = 1 << 64
_NO_BUFFER = (0, 0, 0, 0)


class _Spare(threading.local):
    """The generators of one thread that are not in use; a handler that interrupts a draw finds none and makes one."""

    def __init__(self) -> None:
        self.generators: list[Any] = []


_spare = _Spare()


def philox_words(key: list[int], count: int, domain: int, counter: int = 0) -> Array:
    """The first `count` words of the stream of a key after block number `counter`, as uint64."""
    generators = _spare.generators
    # np.random is loaded at the first draw: it takes longer to load than all of fgrad.
    generator = generators.pop() if generators else np.random.Philox(0)
    # Every field of the state is set, so that nothing is left of what was buffered before.
    generator.state = {
        "bit_generator": "Philox",
        "state": {"counter": (counter, 0, 0, domain), "key": key},
        "buffer": _NO_BUFFER,
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    words: Array = generator.random_raw(count)
    generators.append(generator)
    return words


def _bits_of(key: list[int], count: int, dtype: np.dtype[Any], domain: int) -> Array:
    if dtype.itemsize == _WORD.itemsize:
        return philox_words(key, count, domain)
    words = philox_words(key, -(-count * dtype.itemsize // _WORD.itemsize), domain)
    narrow = words.astype(_LITTLE_WORD, copy=False).view(dtype.newbyteorder("<"))
    return narrow[:count].astype(dtype, copy=False)


def _evaluate_bits(words: Array, shape: Shape, dtype: np.dtype[Any], domain: int) -> Array:
    count = product(shape)
    if words.ndim == 1:
        return _bits_of(words.tolist(), count, dtype, domain).reshape(shape)
    rows = [_bits_of(key, count, dtype, domain) for key in words.reshape(-1, 2).tolist()]
    return np.array(rows, dtype).reshape(*words.shape[:-1], *shape)


def _require_words(words: ShapeDtype) -> None:
    if words.dtype != _WORD or words.shape[-1:] != (2,):
        message = f"the words of a key are uint64 of shape (..., 2), not {words}"
        raise DtypeError(message)


def _bits_rule(words: ShapeDtype, shape: Shape, dtype: np.dtype[Any], domain: int) -> ShapeDtype:
    _require_words(words)
    return ShapeDtype((*words.shape[:-1], *shape), dtype)


random_bits_p = constant("random_bits", _evaluate_bits, _bits_rule, batch=batch_stacked)


def draw_bits(words: Tensor, shape: Shape, dtype: np.dtype[Any]) -> Tensor:
    """The bits that a key gives for a draw: an operation, which is recorded while a function is staged."""
    return bind_creation(random_bits_p, words, shape=shape, dtype=dtype, domain=DRAWS)


# Keys folded with numbers.


def _evaluate_fold_in(words: Array, data: Any) -> Array:
    numbers = None if type(data) is int else np.asarray(data)
    if numbers is None:
        smallest = largest = data
    elif numbers.dtype.kind not in "iu":
        message = "a key is folded with integers"
        raise TypeError(message)
    else:
        smallest, largest = _extremes(numbers)
    if smallest < 0 or largest >= _WORD_LIMIT:
        message = f"a key is folded with integers from 0 to 2**64 - 1, not {smallest if smallest < 0 else largest}"
        raise ValueError(message)
    if words.ndim == 1 and (numbers is None or numbers.ndim == 0):
        return philox_words(words.tolist(), 2, FOLDED, smallest)
    counters = np.array(data, _WORD) if numbers is None else numbers
    shape = np.broadcast_shapes(words.shape[:-1], counters.shape)
    keys = np.broadcast_to(words, (*shape, 2)).reshape(-1, 2).tolist()
    pairs = zip(keys, np.broadcast_to(counters, shape).ravel().tolist(), strict=True)
    return np.array([philox_words(key, 2, FOLDED, counter) for key, counter in pairs], _WORD).reshape(*shape, 2)


def _extremes(integers: Array) -> tuple[int, int]:
    return (int(integers.min()), int(integers.max())) if integers.size else (0, 0)


def _fold_in_rule(words: ShapeDtype, data: ShapeDtype) -> ShapeDtype:
    _require_words(words)
    if data.dtype.kind not in "iu":
        message = f"a key is folded with integers, not with dtype {data.dtype}"
        raise DtypeError(message)
    return ShapeDtype((*_broadcast(words.shape[:-1], data.shape), 2), _WORD)


def _broadcast(keys: Shape, data: Shape) -> Shape:
    try:
        return np.broadcast_shapes(keys, data)
    except ValueError:
        message = f"keys of shape {keys} and integers of shape {data} cannot be broadcast together"
        raise ShapeError(message) from None


def _batch_fold_in(primitive: Primitive, batched: tuple[bool, ...], words: Any, data: Any) -> Any:
    own_words, own_data = batched
    key_rank = len(shape_of(words)) - own_words - 1
    rank = max(key_rank, len(shape_of(data)) - own_data)
    return bind(
        primitive,
        lead_axes(words, rank + 1) if own_words else words,
        lead_axes(data, rank) if own_data else data,
    )


fold_in_p = register(
    Primitive(
        "fold_in",
        _evaluate_fold_in,
        _fold_in_rule,
        batch=_batch_fold_in,
        locally_constant=True,
        takes_numbers=True,
    )
)


# Uniform numbers.

# The bits of the significand of a float of so many bytes.
_PRECISION = {2: 11, 4: 24, 8: 53}
_SIGNED = {2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}


def unit_interval(bits: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers k / 2**p in [0, 1), with k the highest p bits, as many as the dtype's significand has (53, 24 or 11)."""
    flat = bits.reshape(-1)
    if flat.size <= BLOCK:
        return _unit_block(flat, dtype).reshape(bits.shape)
    out = np.empty(flat.size, dtype)
    for start in range(0, flat.size, BLOCK):
        out[start : start + BLOCK] = _unit_block(flat[start : start + BLOCK], dtype)
    return out.reshape(bits.shape)


def _unit_block(bits: Array, dtype: np.dtype[Any]) -> Array:
    precision = _PRECISION[dtype.itemsize]
    highest = np.right_shift(bits, 8 * bits.dtype.itemsize - precision)
    out = highest.view(_SIGNED[bits.dtype.itemsize]).astype(dtype)  # from signed, which processors convert faster
    return np.multiply(out, 2.0**-precision, out=out)


def open_unit(bits: Array) -> Array:
    """Numbers (k + 1/2) / 2**w in (0, 1), exact in float64, with k the highest w bits: 52 of 64, or all of fewer."""
    width = 8 * bits.dtype.itemsize
    if width > 52:  # the significand has 53 bits, and the last one is the half
        bits, width = np.right_shift(bits, width - 52), 52
    out = bits.astype(np.float64)
    out += 0.5
    out *= 2.0**-width
    return out


unit_interval_p = constant(
    "unit_interval", unit_interval, lambda bits, dtype: ShapeDtype(bits.shape, dtype), batch=batch_elementwise
)


# Integers in a range.

_ONE = np.ones((), _WORD)
_NARROW_SPAN = 1 << 24
_HALF = np.uint64(32)
_HALF_MASK = np.uint64((1 << 32) - 1)


def _evaluate_integers(bits: Array, low: Any, high: Any, dtype: np.dtype[Any], wide: bool) -> Array:
    shape = bits.shape[1:] if wide else bits.shape
    # At least one axis everywhere: arithmetic on NumPy scalars would warn of the overflow that modular arithmetic is.
    first, second = (np.atleast_1d(bits[0]), np.atleast_1d(bits[1])) if wide else (bits.reshape(shape or (1,)), None)
    if type(low) is int and type(high) is int:
        _require_order(low < high)
        _require_within(low, high - 1, dtype)
        offset = _scale(first, second, np.array((high - low) % _WORD_LIMIT, _WORD))
        return np.add(offset, low % _WORD_LIMIT, out=offset).astype(dtype).reshape(shape)
    lowest, last = _inclusive_bounds(low, high, dtype)
    return (_scale(first, second, last - lowest + _ONE) + lowest).astype(dtype).reshape(shape)


def _scale(first: Array, second: Array | None, span: Array) -> Array:
    """Integers from 0 to span - 1, where span is modulo 2**64, so that 0 stands for 2**64."""
    narrow = (span <= _NARROW_SPAN) & (span != 0)
    if narrow.all():
        return _scale_narrow(first, span)
    if second is None:
        message = "a range of more than 2**24 integers takes two words for each draw"
        raise ValueError(message)
    offset = np.where(narrow, _scale_narrow(first, span), _scale_wide(first, second, span))
    return np.where(span == 0, first, offset)


def _inclusive_bounds(low: Any, high: Any, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """The first and the last integers of the ranges, modulo 2**64, when the dtype holds them and they are in order."""
    smallest, largest, first = _read_bound(low, 0)
    smallest_last, largest_last, last = _read_bound(high, -1)
    _require_within(smallest, largest_last, dtype)
    info = np.iinfo(dtype)
    comparable = largest <= info.max and smallest_last >= info.min
    _require_order(comparable and bool((first.astype(dtype) <= last.astype(dtype)).all()))
    return first, last


def _require_within(smallest: int, largest: int, dtype: np.dtype[Any]) -> None:
    info = np.iinfo(dtype)
    if smallest < info.min or largest > info.max:
        message = f"{dtype} holds integers from {info.min} to {info.max}, not all from {smallest} to {largest}"
        raise ValueError(message)


def _require_order(in_order: bool) -> None:
    if not in_order:
        message = "minval must be below maxval"
        raise ValueError(message)


def _read_bound(bound: Any, shift: int) -> tuple[int, int, Array]:
    """The smallest and the largest of the integers ``bound + shift``, and all of them modulo 2**64."""
    if type(bound) is int:
        shifted = bound + shift
        return shifted, shifted, np.array([shifted % _WORD_LIMIT], _WORD)
    array = np.asarray(bound)
    if array.dtype.kind not in "iu":
        message = "bounds must be integers"
        raise TypeError(message)
    words = np.atleast_1d(array.astype(_WORD)) + np.array(shift % _WORD_LIMIT, _WORD)
    if not array.size:  # nothing that could be out of range
        return 0, 0, words
    smallest, largest = _extremes(array)
    return smallest + shift, largest + shift, words


def _scale_narrow(word: Array, span: Array) -> Array:
    """floor(word * span / 2**64), for a span of at most 2**32."""
    return (((word & _HALF_MASK) * span >> _HALF) + (word >> _HALF) * span) >> _HALF


def _scale_wide(first: Array, second: Array, span: Array) -> Array:
    """floor((first * 2**64 + second) * span / 2**128)."""
    low_product = first * span
    carried = low_product + _high_product(second, span) < low_product
    return _high_product(first, span) + carried


def _high_product(x: Array, y: Array) -> Array:
    """floor(x * y / 2**64) by halves."""
    x_low, x_high = x & _HALF_MASK, x >> _HALF
    y_low, y_high = y & _HALF_MASK, y >> _HALF
    middle = x_high * y_low + (x_low * y_low >> _HALF)
    other = x_low * y_high + (middle & _HALF_MASK)
    return x_high * y_high + (middle >> _HALF) + (other >> _HALF)


def _integers_rule(bits: ShapeDtype, low: ShapeDtype, high: ShapeDtype, dtype: np.dtype[Any], wide: bool) -> ShapeDtype:
    shape = bits.shape[1:] if wide else bits.shape
    for name, bound in (("minval", low), ("maxval", high)):
        if bound.dtype.kind not in "iu":
            message = f"{name} must be integers, not dtype {bound.dtype}"
            raise DtypeError(message)
        require_shape(name, bound.shape, shape)
    return ShapeDtype(shape, dtype)


def require_shape(name: str, given: Shape, shape: Shape) -> None:
    """Raises ShapeError when an argument of a draw does not broadcast to the shape of the draw."""
    if len(given) > len(shape) or any(a not in (1, b) for a, b in zip(reversed(given), reversed(shape), strict=False)):
        message = f"{name} of shape {given} does not broadcast to the shape {shape} of the draw; pass shape="
        raise ShapeError(message)


def align_draw(batched: tuple[bool, ...], bits: Any, parameters: tuple[Any, ...], rank: int) -> tuple[Any, list[Any]]:
    """The bits of a draw of `rank` axes, and its parameters, brought into line for all examples at once.

    A draw has the shape of its bits, so those are repeated for every example where only a parameter is batched.
    """
    own_bits, *own_parameters = batched
    size = batch_size(batched, (bits, *parameters))
    if any(len(shape_of(x)) - own > rank for x, own in zip(parameters, own_parameters, strict=True)):
        # Its first axis would pass for that of the examples.
        message = "a parameter has more axes than the draw"
        raise ShapeError(message)
    aligned = [lead_axes(x, rank) if own else x for x, own in zip(parameters, own_parameters, strict=True)]
    return as_batch(bits, own_bits, size), aligned


def _batch_integers(
    primitive: Primitive, batched: tuple[bool, ...], bits: Any, *bounds: Any, dtype: np.dtype[Any], wide: bool
) -> Any:
    rank = len(shape_of(bits)) - batched[0] - wide
    repeated, aligned = align_draw(batched, bits, bounds, rank)
    # The two words of a wide draw lie in front of all other axes.
    arranged = swapaxes(repeated, 0, 1) if wide else repeated
    return bind(primitive, arranged, *aligned, dtype=dtype, wide=wide)


integers_p = register(
    Primitive(
        "randint",
        _evaluate_integers,
        _integers_rule,
        batch=_batch_integers,
        locally_constant=True,
        takes_numbers=True,
    )
)


def draw_integers(words: Tensor, shape: Shape, low: Any, high: Any, dtype: np.dtype[Any]) -> Tensor:
    """Integers from low to high - 1, which are Python integers or operands."""
    # Ranges that are not known to be narrow take a second word for each draw. It does not matter to those that are.
    wide = not (type(low) is int and type(high) is int and high - low <= _NARROW_SPAN)
    bits = draw_bits(words, (2, *shape) if wide else shape, _WORD)
    return bind(integers_p, bits, low, high, dtype=dtype, wide=wide)
