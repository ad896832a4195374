"""Initial values of weight matrices, as functions of a random key.

Every initializer is called as ``initializer(key, fan_in, fan_out, gain=1.0, dtype=float32)`` and returns a Tensor of
shape ``(fan_in, fan_out)``: a layer computes ``x @ weight``, so fan_in counts the inputs of a unit and fan_out the
units. `gain` scales the values; the Kaiming initializers, whose gain follows from the nonlinearity, take
``nonlinearity="relu"`` in its place. `uniform`, `normal` and `constant` have further arguments of their own, by
keyword. `zeros`, `ones` and `constant` draw nothing and take any key, None too, so that each can stand where another
does.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

import fgrad as fg
from fgrad import random
from fgrad.core.errors import DtypeError, at_user_line
from fgrad.core.key import Key

__all__ = [
    "constant",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "one_hot",
    "ones",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


def xavier_uniform(key: Key, fan_in: int, fan_out: int, gain: float = 1.0, dtype: Any = np.float32) -> fg.Tensor:
    """Uniform on [-a, a) with a = gain sqrt(6 / (fan_in + fan_out)); the variance is 2 gain^2 / (fan_in + fan_out).

    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, equation 16.

    Raises:
        ValueError: fan_in or fan_out is not positive.
        DtypeError: the dtype is not a floating-point one. So do all initializers.

    >>> from fgrad import nn, random
    >>> nn.initializers.xavier_uniform(random.key(0), 4, 3).shape
    (4, 3)
    """
    shape = _matrix_shape("xavier_uniform", fan_in, fan_out)
    bound = float(gain) * math.sqrt(6.0 / (shape[0] + shape[1]))
    return _draw_uniform("xavier_uniform", key, shape, dtype, -bound, bound)


def xavier_normal(key: Key, fan_in: int, fan_out: int, gain: float = 1.0, dtype: Any = np.float32) -> fg.Tensor:
    """Normal with mean 0 and standard deviation gain sqrt(2 / (fan_in + fan_out)).

    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, equation 12.

    >>> from fgrad import nn, random
    >>> nn.initializers.xavier_normal(random.key(0), 4, 3).shape
    (4, 3)
    """
    shape = _matrix_shape("xavier_normal", fan_in, fan_out)
    return _draw_normal("xavier_normal", key, shape, dtype, 0.0, float(gain) * math.sqrt(2.0 / (shape[0] + shape[1])))


def kaiming_uniform(
    key: Key, fan_in: int, fan_out: int, nonlinearity: str = "relu", dtype: Any = np.float32
) -> fg.Tensor:
    """Uniform on [-a, a) with a = sqrt(2) sqrt(3 / fan_in); the variance is 2 / fan_in.

    He et al. (2015), Delving deep into rectifiers, equation 10: the variance that relu layers keep.

    Raises:
        ValueError: the nonlinearity is not "relu"; fan_in or fan_out is not positive.

    >>> from fgrad import nn, random
    >>> bool((abs(nn.initializers.kaiming_uniform(random.key(0), 6, 3)) <= 1.0).all())
    True
    """
    _require_relu("kaiming_uniform", nonlinearity)
    shape = _matrix_shape("kaiming_uniform", fan_in, fan_out)
    bound = math.sqrt(2.0) * math.sqrt(3.0 / shape[0])
    return _draw_uniform("kaiming_uniform", key, shape, dtype, -bound, bound)


def kaiming_normal(
    key: Key, fan_in: int, fan_out: int, nonlinearity: str = "relu", dtype: Any = np.float32
) -> fg.Tensor:
    """Normal with mean 0 and standard deviation sqrt(2) / sqrt(fan_in).

    He et al. (2015), Delving deep into rectifiers, equation 10: the variance that relu layers keep.

    Raises:
        ValueError: the nonlinearity is not "relu"; fan_in or fan_out is not positive.

    >>> from fgrad import nn, random
    >>> nn.initializers.kaiming_normal(random.key(0), 4, 3).shape
    (4, 3)
    """
    _require_relu("kaiming_normal", nonlinearity)
    shape = _matrix_shape("kaiming_normal", fan_in, fan_out)
    return _draw_normal("kaiming_normal", key, shape, dtype, 0.0, math.sqrt(2.0) / math.sqrt(shape[0]))


def uniform(
    key: Key,
    fan_in: int,
    fan_out: int,
    gain: float = 1.0,
    dtype: Any = np.float32,
    *,
    low: float = 0.0,
    high: float = 1.0,
) -> fg.Tensor:
    """Uniform on [gain low, gain high).

    Raises:
        ValueError: high is less than low; fan_in or fan_out is not positive.

    >>> from fgrad import nn, random
    >>> draws = nn.initializers.uniform(random.key(0), 4, 3, low=-0.1, high=0.1)
    >>> bool((abs(draws) <= 0.1).all())
    True
    """
    if not low <= high:
        message = f"initializers.uniform: high={high!r} is less than low={low!r}"
        raise ValueError(at_user_line(message))
    shape = _matrix_shape("uniform", fan_in, fan_out)
    first, last = float(gain) * float(low), float(gain) * float(high)
    return _draw_uniform("uniform", key, shape, dtype, min(first, last), max(first, last))


def normal(
    key: Key,
    fan_in: int,
    fan_out: int,
    gain: float = 1.0,
    dtype: Any = np.float32,
    *,
    mean: float = 0.0,
    std: float = 1.0,
) -> fg.Tensor:
    """Normal with mean gain mean and standard deviation gain std.

    Raises:
        ValueError: std is negative; fan_in or fan_out is not positive.

    >>> from fgrad import nn, random
    >>> nn.initializers.normal(random.key(0), 4, 3, std=0.02).shape
    (4, 3)
    """
    if not std >= 0.0:
        message = f"initializers.normal: std={std!r} is negative"
        raise ValueError(at_user_line(message))
    shape = _matrix_shape("normal", fan_in, fan_out)
    return _draw_normal("normal", key, shape, dtype, float(gain) * float(mean), float(gain) * float(std))


def zeros(key: Key | None, fan_in: int, fan_out: int, gain: float = 1.0, dtype: Any = np.float32) -> fg.Tensor:
    """Zeros, whatever the gain.

    >>> from fgrad import nn
    >>> nn.initializers.zeros(None, 1, 2)
    Tensor([[0., 0.]], dtype=float32)
    """
    return fg.zeros(_matrix_shape("zeros", fan_in, fan_out), _float_dtype("zeros", dtype))


def ones(key: Key | None, fan_in: int, fan_out: int, gain: float = 1.0, dtype: Any = np.float32) -> fg.Tensor:
    """The gain everywhere: ones by default.

    >>> from fgrad import nn
    >>> nn.initializers.ones(None, 1, 2)
    Tensor([[1., 1.]], dtype=float32)
    """
    return fg.full(_matrix_shape("ones", fan_in, fan_out), float(gain), _float_dtype("ones", dtype))


def constant(
    key: Key | None, fan_in: int, fan_out: int, gain: float = 1.0, dtype: Any = np.float32, *, value: float = 1.0
) -> fg.Tensor:
    """gain times value, everywhere.

    >>> from fgrad import nn
    >>> nn.initializers.constant(None, 1, 2, value=0.5)
    Tensor([[0.5, 0.5]], dtype=float32)
    """
    shape = _matrix_shape("constant", fan_in, fan_out)
    return fg.full(shape, float(gain) * float(value), _float_dtype("constant", dtype))


def one_hot(key: Key, fan_in: int, fan_out: int, gain: float = 1.0, dtype: Any = np.float32) -> fg.Tensor:
    """In each of the fan_in rows the gain at one column, which is drawn uniformly, and 0 elsewhere.

    Each input is sent to one unit. (The encoding of given labels is `fgrad.one_hot`.)

    >>> from fgrad import nn, random
    >>> nn.initializers.one_hot(random.key(0), 4, 3).sum(axis=1)
    Tensor([1., 1., 1., 1.], dtype=float32)
    """
    rows, columns = _matrix_shape("one_hot", fan_in, fan_out)
    chosen = random.randint(key, (rows,), 0, columns)
    return fg.one_hot(chosen, columns, _float_dtype("one_hot", dtype)) * float(gain)


def _matrix_shape(name: str, fan_in: int, fan_out: int) -> tuple[int, int]:
    shape = operator.index(fan_in), operator.index(fan_out)
    if min(shape) < 1:
        message = f"initializers.{name}: fan_in and fan_out are at least 1, not {shape[0]} and {shape[1]}"
        raise ValueError(at_user_line(message))
    return shape


def _float_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    wanted: np.dtype[Any] = np.dtype(dtype)
    if wanted.kind != "f":
        message = f"initializers.{name}: weights have a floating-point dtype, not {wanted}"
        raise DtypeError(at_user_line(message))
    return wanted


def _require_relu(name: str, nonlinearity: str) -> None:
    if nonlinearity != "relu":
        message = f"initializers.{name}: the nonlinearity {nonlinearity!r} is not supported; only 'relu' is"
        raise ValueError(at_user_line(message))


def _draw_uniform(name: str, key: Key, shape: tuple[int, int], dtype: Any, low: float, high: float) -> fg.Tensor:
    wanted = _float_dtype(name, dtype)
    # A gain of 0 leaves one number, and no range to draw from.
    return random.uniform(key, shape, wanted, low, high) if low < high else fg.full(shape, low, wanted)


def _draw_normal(name: str, key: Key, shape: tuple[int, int], dtype: Any, mean: float, std: float) -> fg.Tensor:
    return random.normal(key, shape, dtype=_float_dtype(name, dtype)) * std + mean
