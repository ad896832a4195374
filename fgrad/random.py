"""Random numbers from explicit keys: the same key gives the same numbers, everywhere and for good.

A key is made once, from a seed, and every draw is given one. Keys for further draws come from `split` and `fold_in`:

>>> import fgrad as fg
>>> weight_key, noise_key = fg.random.split(fg.random.key(0))
>>> fg.random.normal(weight_key, (2,))
Tensor([-1.15218926, -0.05073579], dtype=float64)
>>> fg.random.uniform(noise_key, (2,))
Tensor([0.92091425, 0.27178109], dtype=float64)

What a key gives never changes: bits, integers, uniform numbers, masks, permutations and keys are the same to the bit on
every platform and in every later release. Normal numbers, which pass through a logarithm, are the same to 2 units in
the last place, and so are the probabilities that `truncated_normal` takes quantiles of. There is no global generator
and no global seed.

Two draws from one key give dependent numbers. That is noticed where two different source lines consume the same key
object: `KeyReuseWarning` names both. `split` and all draws consume a key, `fold_in` does not. The same line may run
again with the same key, as it does in a loop or a repeated call; in a function that is being staged, which runs once,
every second use of a key is reported. Two keys that were made from the same seed are two objects, and not seen as one.
`strict_keys` makes every second use an error.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod as product
from typing import Any, TypeAlias

import numpy as np

from fgrad.core.bind import bind, bind_creation
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, with_article
from fgrad.core.key import Key
from fgrad.core.reuse import StrictKeys, consume, strict_keys
from fgrad.core.shape import PYTHON_NUMBERS, Shape
from fgrad.core.tensor import ArrayLike, Tensor, adopt
from fgrad.ops.arguments import as_operand, axis_index, integer_or_none, shape_of, shape_tuple
from fgrad.ops.distributions import (
    bernoulli_p,
    choose,
    normal_p,
    random_order,
    truncated_normal_p,
    uniform_p,
)
from fgrad.ops.indexing import take, take_along_axis
from fgrad.ops.logic import less, less_equal
from fgrad.ops.random_bits import (
    SEEDS,
    SPLIT,
    draw_bits,
    draw_integers,
    fold_in_p,
    philox_words,
    random_bits_p,
    unit_interval_p,
)
from fgrad.ops.sorting import argsort

__all__ = [
    "Key",
    "StrictKeys",
    "bernoulli",
    "bits",
    "choice",
    "dropout_mask",
    "fold_in",
    "key",
    "normal",
    "permutation",
    "randint",
    "split",
    "strict_keys",
    "truncated_normal",
    "uniform",
]

ShapeLike: TypeAlias = int | Sequence[int]

_UINT16 = np.dtype(np.uint16)
_UINT32 = np.dtype(np.uint32)
_WORD = np.dtype(np.uint64)
_FLOAT64 = np.dtype(np.float64)
_BITS_OF_FLOAT: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(np.float16): _UINT16,
    np.dtype(np.float32): _UINT32,
    _FLOAT64: _WORD,
}
_WORD_LIMIT = 1 << 64


# Keys.


def key(seed: int) -> Key:
    """The key that a seed stands for.

    The words of the key are the seed's lowest 64 bits and its next 64 bits. Every further 64 bits of a larger seed are
    mixed in by Philox, so seeds of any size may be used (``secrets.randbits(256)``).

    Args:
        seed: an integer of at least 0.

    Raises:
        DtypeError: when the seed is not an integer.
        ShapeError: when it is negative.

    >>> import fgrad as fg
    >>> fg.random.key(42)
    Key([42, 0])
    """
    number = _count(seed, "random.key takes an integer seed")
    words = np.array([number % _WORD_LIMIT, (number >> 64) % _WORD_LIMIT], _WORD)
    number >>= 128
    while number:
        words = philox_words(words.tolist(), 2, SEEDS, number % _WORD_LIMIT)
        number >>= 64
    return Key(adopt(words))


def _count(value: Any, expectation: str) -> int:
    number = integer_or_none(value)
    if number is None:
        message = f"{expectation}, not {with_article(type(value))}: {value!r:.80}"
        raise DtypeError(at_user_line(message))
    if number < 0:
        message = f"{expectation}, and a negative one is none: {number}"
        raise ShapeError(at_user_line(message))
    return number


def split(key: Key, n: ShapeLike = 2) -> Key:
    """An array of `n` new keys, independent of each other; consumes the key.

    Key i holds words 2i and 2i + 1 of the key's stream for splitting, so a longer array starts with the shorter one.

    Args:
        key: a single key.
        n: how many, or the shape of the array of keys.

    Returns:
        An array of keys, to be indexed or unpacked.

    Raises:
        DtypeError: when `key` is not a key.
        ShapeError: when it is an array of keys, or `n` is negative.

    >>> import fgrad as fg
    >>> model_key, data_key = fg.random.split(fg.random.key(0))
    >>> keys = fg.random.split(data_key, 10)
    >>> fg.random.uniform(keys[3])
    Tensor(0.77794977, dtype=float64)
    """
    words = _words(key, "split")
    shape = shape_tuple(n, "split")
    children = bind_creation(random_bits_p, words, shape=(*shape, 2), dtype=_WORD, domain=SPLIT)
    consume(key)
    return Key(children)


def fold_in(key: Key, data: ArrayLike) -> Key:
    """The key made from a key and an integer; does not consume the key.

    For keys by number: of the i-th layer, epoch or sample. Different integers give independent keys, which are also
    independent of those that `split` makes.

    Args:
        key: a key, or an array of keys.
        data: an integer from 0 to 2**64 - 1, or a tensor of integers, which gives an array of keys; broadcasts
            against the shape of an array of keys.

    Raises:
        DtypeError: when `key` is not a key, or `data` not an integer.
        ShapeError: when an integer is out of range.

    >>> import fgrad as fg
    >>> key = fg.random.key(0)
    >>> [fg.random.randint(fg.random.fold_in(key, epoch), (), 0, 100).item() for epoch in range(4)]
    [52, 22, 85, 90]
    """
    if type(key) is not Key:
        _refuse_key(key, "fold_in")
    if type(data) is not int:
        data = operator.index(data) if isinstance(data, np.integer) else as_operand(data)
    return Key(bind_creation(fold_in_p, key.words, data))


def _words(key: Key, operation: str) -> Tensor:
    if type(key) is not Key:
        _refuse_key(key, operation)
    if len(key.words.shape) != 1:
        message = (
            f"random.{operation} takes one key, and this is an array of keys of shape {key.shape}: take one of them by "
            f"its index (keys[0]), or draw with each of them: fg.vmap(lambda key: random.{operation}(key, ...))(keys)"
        )
        raise ShapeError(at_user_line(message))
    return key.words


def _refuse_key(value: Any, operation: str) -> None:
    message = (
        f"random.{operation} takes a key as its first argument, not {with_article(type(value))}: make one with "
        f"random.key(seed)"
    )
    raise DtypeError(at_user_line(message))


def _float_dtype(dtype: Any, operation: str) -> np.dtype[Any]:
    found: np.dtype[Any] = np.dtype(dtype)
    if found not in _BITS_OF_FLOAT:
        message = f"random.{operation} draws float16, float32 or float64, not {found}"
        raise DtypeError(at_user_line(message))
    return found


def _draw_shape(shape: ShapeLike | None, operation: str, *parameters: Any) -> Shape:
    if shape is not None:
        return shape_tuple(shape, operation)
    shapes = [shape_of(parameter) for parameter in parameters]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        message = (
            f"random.{operation}: parameters of shapes {' and '.join(map(str, shapes))} cannot be broadcast together"
        )
        raise ShapeError(at_user_line(message)) from None


def _parameter(value: Any) -> Any:
    if isinstance(value, np.integer):
        return int(value)
    return value if type(value) in PYTHON_NUMBERS else as_operand(value)


# Bits and numbers.


def bits(key: Key, shape: ShapeLike = (), dtype: Any = np.uint64) -> Tensor:
    """Uniformly random unsigned integers of all their bits.

    Args:
        key: a single key; consumed.
        shape: the shape of the result.
        dtype: uint64, which gives the words of the stream, or uint32, uint16 or uint8, the words' little-endian parts.

    Raises:
        DtypeError: when `key` is not a key or `dtype` another one.
        ShapeError: when it is an array of keys, or the shape is negative.

    >>> import fgrad as fg
    >>> fg.random.bits(fg.random.key(0), (3,), "uint8")
    Tensor([155, 216, 228], dtype=uint8)
    """
    words = _words(key, "bits")
    lengths = shape_tuple(shape, "bits")
    found = np.dtype(dtype)
    if found.kind != "u":
        message = f"random.bits draws uint8, uint16, uint32 or uint64, not {found}"
        raise DtypeError(at_user_line(message))
    out = draw_bits(words, lengths, found)
    consume(key)
    return out


def uniform(
    key: Key,
    shape: ShapeLike = (),
    dtype: Any = np.float64,
    minval: ArrayLike = 0.0,
    maxval: ArrayLike = 1.0,
) -> Tensor:
    """Uniformly distributed numbers x with minval <= x < maxval, also after rounding.

    x = minval + u (maxval - minval), with u = k / 2**p in [0, 1) from the highest p bits of a word of the dtype's size:
    53 of 64, 24 of 32, 11 of 16. Differentiable by the bounds: dx/dminval = 1 - u, dx/dmaxval = u.

    Args:
        key: a single key; consumed.
        shape: the shape of the result.
        dtype: float64, float32 or float16.
        minval: the smallest number; broadcasts to `shape`.
        maxval: the end of the range, itself not drawn; broadcasts to `shape`.

    Raises:
        DtypeError: when `key` is not a key, the dtype another one, or a bound complex.
        ShapeError: when minval is not below maxval, or a bound does not broadcast to `shape`.

    >>> import fgrad as fg
    >>> fg.random.uniform(fg.random.key(0), (3,), minval=-1.0)
    Tensor([-0.97690649, -0.51690161, -0.77714829], dtype=float64)
    """
    words = _words(key, "uniform")
    found = _float_dtype(dtype, "uniform")
    drawn = draw_bits(words, shape_tuple(shape, "uniform"), _BITS_OF_FLOAT[found])
    if type(minval) is float and type(maxval) is float and minval == 0.0 and maxval == 1.0:
        out = bind(unit_interval_p, drawn, dtype=found)
    else:
        out = bind(uniform_p, drawn, _parameter(minval), _parameter(maxval), dtype=found)
    consume(key)
    return out  # type: ignore[no-any-return]


def normal(key: Key, shape: ShapeLike = (), dtype: Any = np.float64) -> Tensor:
    """Normally distributed numbers of mean 0 and variance 1; ``mean + std * normal(...)`` has others.

    z = quantile(1/2 + (k + 1/2) / 2**p), with k the highest p bits of a word as a signed integer: p = 53 for float64,
    and 32 for float32 and float16, which are computed in float64 and rounded. Each number takes one word and grows with
    it; the numbers reach to +-8.3 (float64) or +-6.3. The quantile function (Wichura 1988, Algorithm AS 241) is plain
    arithmetic for 85 % of the draws and takes a square root and a logarithm for the rest, so platforms agree more
    closely than on the Box-Muller transform, whose cosine differs from one library to the next.

    Args:
        key: a single key; consumed.
        shape: the shape of the result.
        dtype: float64, float32 or float16.

    Raises:
        DtypeError: when `key` is not a key, or the dtype another one.
        ShapeError: when it is an array of keys, or the shape is negative.

    >>> import fgrad as fg
    >>> fg.random.normal(fg.random.key(0), (3,), "float32")
    Tensor([ 0.08719543,  0.02894746, -1.2162216 ], dtype=float32)
    """
    words = _words(key, "normal")
    found = _float_dtype(dtype, "normal")
    drawn = draw_bits(words, shape_tuple(shape, "normal"), _WORD if found == _FLOAT64 else _UINT32)
    out = bind(normal_p, drawn, dtype=found)
    consume(key)
    return out  # type: ignore[no-any-return]


def truncated_normal(
    key: Key,
    lower: ArrayLike,
    upper: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: Any = np.float64,
) -> Tensor:
    """Normal numbers of mean 0 and variance 1, given that they are between two bounds, which no draw exceeds.

    z = quantile(cdf(lower) + u (cdf(upper) - cdf(lower))), with u in (0, 1). Intervals in either tail keep their
    accuracy. Differentiable by the bounds: dz/dlower = (1 - u) pdf(lower) / pdf(z), dz/dupper = u pdf(upper) / pdf(z).

    Args:
        key: a single key; consumed.
        lower: the lower bound, or -inf; broadcasts to the shape.
        upper: the upper bound, or inf; broadcasts to the shape.
        shape: the shape of the result; None is the shape that the bounds have together.
        dtype: float64, float32 or float16.

    Raises:
        DtypeError: when `key` is not a key, the dtype another one, or a bound complex.
        ShapeError: when `lower` is not below `upper`, a bound does not broadcast to the shape, or the interval is
            further than 38 from 0.

    >>> import fgrad as fg
    >>> fg.random.truncated_normal(fg.random.key(0), -2.0, 2.0, (3,))
    Tensor([-1.82804358, -0.66411368, -1.13062689], dtype=float64)
    """
    words = _words(key, "truncated_normal")
    found = _float_dtype(dtype, "truncated_normal")
    low, high = _parameter(lower), _parameter(upper)
    lengths = _draw_shape(shape, "truncated_normal", low, high)
    drawn = draw_bits(words, lengths, _WORD if found == _FLOAT64 else _UINT32)
    out = bind(truncated_normal_p, drawn, low, high, dtype=found)
    consume(key)
    return out  # type: ignore[no-any-return]


def bernoulli(key: Key, p: ArrayLike = 0.5, shape: ShapeLike | None = None) -> Tensor:
    """Booleans that are true with probability p: ``uniform(key, shape) < p``, in float64.

    Args:
        key: a single key; consumed.
        p: the probability, from 0 to 1; broadcasts to the shape.
        shape: the shape of the result; None is the shape of `p`.

    Raises:
        DtypeError: when `key` is not a key, or `p` complex.
        ShapeError: when `p` is outside 0 to 1 or does not broadcast to the shape.

    >>> import fgrad as fg
    >>> fg.random.bernoulli(fg.random.key(0), 0.5, (4,))
    Tensor([ True,  True,  True, False], dtype=bool)
    """
    words = _words(key, "bernoulli")
    probability = _parameter(p)
    drawn = draw_bits(words, _draw_shape(shape, "bernoulli", probability), _WORD)
    out = bind(bernoulli_p, drawn, probability)
    consume(key)
    return out  # type: ignore[no-any-return]


def dropout_mask(key: Key, keep_probability: float, shape: ShapeLike) -> tuple[Tensor, float]:
    """A boolean mask that is true with a probability of n / 65536, and that probability.

    Each element compares 16 random bits with n = round(65536 keep_probability), which takes a quarter of the random
    words that `bernoulli` takes. Dividing what is kept by the probability returned, and not by the one that was asked
    for, makes the scaling exact. A keep_probability above 0 is never rounded to 0.

    Args:
        key: a single key; consumed.
        keep_probability: the probability of True, from 0 to 1, as a number.
        shape: the shape of the mask.

    Returns:
        ``(mask, probability)``.

    Raises:
        DtypeError: when `key` is not a key.
        ShapeError: when it is an array of keys, or the probability is outside 0 to 1.

    >>> import fgrad as fg
    >>> mask, probability = fg.random.dropout_mask(fg.random.key(0), 0.8, (2, 3))
    >>> mask
    Tensor([[False,  True,  True],
            [ True,  True,  True]], dtype=bool)
    >>> probability
    0.8000030517578125
    """
    words = _words(key, "dropout_mask")
    probability = float(keep_probability)
    if not 0.0 <= probability <= 1.0:
        message = f"random.dropout_mask takes a probability from 0 to 1, not {probability}"
        raise ShapeError(at_user_line(message))
    count = max(round(probability * 65536.0), 1 if probability else 0)
    drawn = draw_bits(words, shape_tuple(shape, "dropout_mask"), _UINT16)
    mask = less(drawn, count) if count < 65536 else less_equal(drawn, 65535)
    consume(key)
    return mask, count / 65536.0


def randint(key: Key, shape: ShapeLike, minval: ArrayLike, maxval: ArrayLike, dtype: Any = np.int64) -> Tensor:
    """Uniformly distributed integers x with minval <= x < maxval.

    x = minval + floor(w (maxval - minval) / 2**b), with w of b = 64 random bits for ranges of up to 2**24 integers and
    of 128 for wider ones. The probability of every integer is right to a relative 2**-40.

    Args:
        key: a single key; consumed.
        shape: the shape of the result.
        minval: the smallest integer; broadcasts to `shape`.
        maxval: one above the largest integer, also where the dtype does not hold that; broadcasts to `shape`.
        dtype: any integer dtype.

    Raises:
        DtypeError: when `key` is not a key, the dtype not one of integers, or a bound not an integer.
        ShapeError: when minval is not below maxval, the dtype does not hold the range, or a bound does not broadcast to
            `shape`.

    >>> import fgrad as fg
    >>> fg.random.randint(fg.random.key(0), (5,), 1, 7)
    Tensor([1, 2, 1, 4, 4], dtype=int64)
    """
    words = _words(key, "randint")
    found = np.dtype(dtype)
    if found.kind not in "iu":
        message = f"random.randint draws integers, not {found}; random.uniform draws floats"
        raise DtypeError(at_user_line(message))
    out = draw_integers(words, shape_tuple(shape, "randint"), _parameter(minval), _parameter(maxval), found)
    consume(key)
    return out


# Orders and choices.


def permutation(key: Key, x: ArrayLike, axis: int = 0, independent: bool = False) -> Tensor:
    """The integers from 0 to x - 1, or the slices of an array along an axis, in random order.

    The order is the one that sorts a random 64-bit word for each entry. Differentiable by `x`.

    Args:
        key: a single key; consumed.
        x: an integer, or an array of at least one axis.
        axis: the axis to permute along.
        independent: permute every vector along the axis on its own, instead of whole slices.

    Raises:
        DtypeError: when `key` is not a key, or `x` is a number and not an integer.
        ShapeError: when `x` is a negative integer, or the axis is out of range.

    >>> import fgrad as fg
    >>> fg.random.permutation(fg.random.key(0), 5)
    Tensor([0, 2, 1, 4, 3], dtype=int64)
    >>> fg.random.permutation(fg.random.key(1), fg.asarray([[1, 2], [3, 4], [5, 6]]))
    Tensor([[5, 6],
            [1, 2],
            [3, 4]], dtype=int64)
    """
    words = _words(key, "permutation")
    operand, count = _population(x, "permutation")
    if operand is None:
        out = random_order(words, count)
    else:
        position = axis_index(axis, len(operand.shape), "permutation")
        if independent:
            order = argsort(draw_bits(words, tuple(operand.shape), _WORD), axis=position)
            out = take_along_axis(operand, order, axis=position)
        else:
            out = take(operand, random_order(words, operand.shape[position]), axis=position)
    consume(key)
    return out


def _population(x: Any, operation: str) -> tuple[Any, int]:
    """An array to choose from, or None and the number of integers that `x` stands for."""
    operand = None if isinstance(x, int | np.integer) else as_operand(x)
    if operand is not None and len(operand.shape):
        return operand, 0
    return None, _count(x, f"random.{operation} takes an integer or an array of at least one axis")


def choice(
    key: Key,
    a: ArrayLike,
    shape: ShapeLike = (),
    replace: bool = True,
    p: ArrayLike | None = None,
    axis: int = 0,
) -> Tensor:
    """Random entries of an array, or random integers from 0 to a - 1.

    With replacement and with probabilities p, a uniform number is looked up in their cumulative sum. Without
    replacement, entries come in random order; with p, in the order of exponential waiting times of rates p, which is
    that of drawing one after the other among those left, in proportion to p (Efraimidis and Spirakis, Weighted random
    sampling with a reservoir, 2006; the same as taking the largest of log p plus Gumbel noise).

    Args:
        key: a single key; consumed.
        a: an array to choose slices of, or an integer, which stands for the integers below it.
        shape: how many to choose, as the shape that takes the place of the axis.
        replace: whether an entry may be chosen more than once.
        p: the probabilities of the entries, which sum to 1 to the square root of their dtype's precision; None is
            uniform.
        axis: the axis of `a` to choose along.

    Raises:
        DtypeError: when `key` is not a key, or `a` is a number and not an integer.
        ShapeError: when there is nothing to choose from, or not enough without replacement; when `p` is not one
            probability for each entry, has negative entries, does not sum to 1 or has too few positive entries.

    >>> import fgrad as fg
    >>> key = fg.random.key(0)
    >>> fg.random.choice(fg.random.fold_in(key, 0), fg.asarray([10.0, 20.0, 30.0]), (4,))
    Tensor([20., 10., 20., 20.], dtype=float64)
    >>> fg.random.choice(fg.random.fold_in(key, 1), 3, (2,), replace=False, p=[0.5, 0.5, 0.0])
    Tensor([1, 0], dtype=int64)
    """
    words = _words(key, "choice")
    operand, count = _population(a, "choice")
    if operand is not None:
        axis = axis_index(axis, len(operand.shape), "choice")
        count = operand.shape[axis]
    lengths = shape_tuple(shape, "choice")
    size = product(lengths)
    if size and not count:
        message = f"random.choice cannot choose {size} entries: there are none to choose from"
        raise ShapeError(at_user_line(message))
    if size > count and not replace:
        message = f"random.choice cannot choose {size} different entries of {count}; with replace=True they may repeat"
        raise ShapeError(at_user_line(message))
    positions = choose(words, count, lengths, replace=replace, p=p)
    consume(key)
    return positions if operand is None else take(operand, positions, axis=axis)
