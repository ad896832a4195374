"""Creation: tensors out of data, constants, ranges and grids."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import Tracer, bind_creation, is_weak, staging
from fgrad.core.errors import DtypeError, ShapeError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor, adopt, as_numeric_array, to_tensor
from fgrad.ops.arguments import as_integer, as_operand, check_device, numeric_dtype, shape_tuple
from fgrad.ops.declare import constant, stands_for, untraced_by
from fgrad.ops.joining import stack
from fgrad.ops.logic import floor
from fgrad.ops.reductions import any as any_of
from fgrad.ops.selection import where
from fgrad.ops.shaping import astype, moveaxis
from fgrad.ops.structure import broadcast, convert

__all__ = [
    "arange",
    "array",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "identity",
    "linspace",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]


def asarray(data: Any, dtype: Any = None, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """The data as a Tensor: a Tensor of that dtype as it is, a read-only array without a copy, all else copied.

    Args:
        data: a tensor, an array, a number, or nested lists of these (tensors inside a transform keep their gradient).
        dtype: the dtype of the result; NumPy's choice for the data by default.
        device: None or "cpu", where every tensor is.
        copy: as in NumPy; a Tensor is immutable and is never copied for True.

    Raises:
        DtypeError: when the data are not numbers.
        ShapeError: for another device.
        ValueError: when ``copy=False`` and a copy is needed.

    >>> import fgrad as fg
    >>> fg.asarray([[1, 2], [3, 4]])
    Tensor([[1, 2],
            [3, 4]], dtype=int64)
    """
    if device is not None:
        check_device(device, "asarray")
    if isinstance(data, list | tuple) and _holds_tracer(data):
        tensor = stack([asarray(item) for item in data])
    elif dtype is not None and (type(data) in PYTHON_NUMBERS or isinstance(data, list | tuple)):
        tensor = _numbers_in_dtype(data, numeric_dtype(dtype))
    else:
        tensor = to_tensor(data)
    if copy is False and isinstance(data, Tensor) and dtype is not None and numeric_dtype(dtype) != data.dtype:
        message = f"asarray(copy=False) would have to copy: the tensor has dtype {data.dtype}"
        raise ValueError(message)
    if copy is False and not isinstance(data, Tensor) and not np.shares_memory(np.asarray(tensor), np.asarray(data)):
        message = "asarray(copy=False) would have to copy: the data are not a read-only array"
        raise ValueError(message)
    if dtype is None:
        return convert(tensor, tensor.dtype) if tensor.weak else tensor
    return astype(tensor, dtype)


def _numbers_in_dtype(data: Any, dtype: np.dtype[Any]) -> Tensor:
    """Numbers that are not an array yet, in this dtype at once: on the way through another one digits could go."""
    plain = _plain_array(data)
    is_numeric = plain is not None and (
        plain.dtype.kind in "biufc" or (plain.dtype.kind == "O" and all(type(item) is int for item in plain.flat))
    )
    if not is_numeric:
        return to_tensor(data)  # which says what is wrong
    if plain is not None and plain.dtype.kind == "c" and dtype.kind != "c":
        message = f"complex numbers do not fit dtype {dtype}; take fg.real(...) of them"
        raise DtypeError(at_user_line(message))
    return adopt(np.array(data, dtype))


def _plain_array(data: Any) -> np.ndarray[Any, Any] | None:
    try:
        return np.asarray(data)
    except (ValueError, TypeError):
        return None


def _holds_tracer(data: Any) -> bool:
    return any(isinstance(item, Tracer) or (isinstance(item, list | tuple) and _holds_tracer(item)) for item in data)


def array(data: Any, dtype: Any = None, *, copy: bool = True) -> Tensor:
    """The data as a Tensor of its own: arrays are always copied (tensors, being immutable, are not).

    >>> import fgrad as fg
    >>> fg.array([1.0, 2.0], dtype="float32")
    Tensor([1., 2.], dtype=float32)
    """
    if copy and isinstance(data, np.ndarray):
        return adopt(np.array(as_numeric_array(data), dtype))
    return asarray(data, dtype)


def _evaluate_full(shape: Shape, value: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    # Zeros come from the operating system for free, and are written only when something else is asked for.
    return np.zeros(shape, dtype) if value.is_zero else np.full(shape, value.number, dtype)


@attrs.frozen(eq=False, repr=False)
class _Constant:
    """A number as a parameter, compared by type and bits: 0.0 is not -0.0, 1 is not 1.0, NaN is itself."""

    number: Any

    def _bits(self) -> tuple[Any, bytes]:
        return type(self.number), np.asarray(self.number).tobytes()

    @property
    def is_zero(self) -> bool:
        """Whether every bit is zero."""
        return not any(self._bits()[1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Constant) and self._bits() == other._bits()

    def __hash__(self) -> int:
        return hash(self._bits())

    def __repr__(self) -> str:
        return repr(self.number)


# Here and below there is no batching rule: what has no operands is never batched.
full_p = constant("full", _evaluate_full, lambda shape, value, dtype: ShapeDtype(shape, dtype), batch=None)


@stands_for(np.full)
def full(shape: Any, fill_value: ArrayLike, dtype: Any = None, *, device: Any = None) -> Tensor:
    """A tensor of this shape filled with a value; the value may be a tensor, which keeps its gradient.

    >>> import fgrad as fg
    >>> fg.full((2,), 7.0)
    Tensor([7., 7.], dtype=float64)
    """
    return _fill("full", shape, fill_value, dtype, device)


def _fill(operation: str, shape: Any, fill_value: Any, dtype: Any, device: Any) -> Tensor:
    if device is not None:
        check_device(device, operation)
    lengths = shape_tuple(shape, operation)
    if type(fill_value) in PYTHON_NUMBERS or isinstance(fill_value, np.generic):
        wanted = numeric_dtype(np.asarray(fill_value).dtype if dtype is None else dtype)
        if staging.trace is None:  # nothing records it
            try:
                plain = type(fill_value) is int and not fill_value  # for floats the bits count: -0.0 is none
                return adopt(np.zeros(lengths, wanted) if plain else np.full(lengths, fill_value, wanted))
            except (ValueError, TypeError, OverflowError):
                pass  # explained below
        return bind_creation(full_p, shape=lengths, value=_Constant(fill_value), dtype=wanted)
    value = as_operand(fill_value)
    return broadcast(value if dtype is None else convert(value, numeric_dtype(dtype)), lengths)


def zeros(shape: Any, dtype: Any = float, *, device: Any = None) -> Tensor:
    """A tensor of zeros, float64 by default.

    >>> import fgrad as fg
    >>> fg.zeros(2)
    Tensor([0., 0.], dtype=float64)
    """
    return _fill("zeros", shape, 0, numeric_dtype(dtype), device)


def ones(shape: Any, dtype: Any = float, *, device: Any = None) -> Tensor:
    """A tensor of ones, float64 by default.

    >>> import fgrad as fg
    >>> fg.ones((1, 2), "float32")
    Tensor([[1., 1.]], dtype=float32)
    """
    return _fill("ones", shape, 1, numeric_dtype(dtype), device)


def empty(shape: Any, dtype: Any = float, *, device: Any = None) -> Tensor:
    """A tensor of zeros: nothing could be written into an uninitialised one.

    >>> import fgrad as fg
    >>> fg.empty(2).shape
    (2,)
    """
    return _fill("empty", shape, 0, numeric_dtype(dtype), device)


@stands_for(np.zeros_like)
def zeros_like(x: ArrayLike, dtype: Any = None, *, shape: Any = None, device: Any = None) -> Tensor:
    """Zeros of the shape and dtype of x, unless others are given.

    >>> import fgrad as fg
    >>> fg.zeros_like(fg.asarray([1.5, 2.5]))
    Tensor([0., 0.], dtype=float64)
    """
    return full_like(x, 0, dtype, shape=shape, device=device)


@stands_for(np.ones_like)
def ones_like(x: ArrayLike, dtype: Any = None, *, shape: Any = None, device: Any = None) -> Tensor:
    """Ones of the shape and dtype of x, unless others are given.

    >>> import fgrad as fg
    >>> fg.ones_like(fg.asarray([1.5, 2.5]))
    Tensor([1., 1.], dtype=float64)
    """
    return full_like(x, 1, dtype, shape=shape, device=device)


@stands_for(np.empty_like)
def empty_like(x: ArrayLike, dtype: Any = None, *, shape: Any = None, device: Any = None) -> Tensor:
    """Zeros of the shape and dtype of x, unless others are given.

    >>> import fgrad as fg
    >>> fg.empty_like(fg.asarray([1.5, 2.5])).shape
    (2,)
    """
    return full_like(x, 0, dtype, shape=shape, device=device)


@stands_for(np.full_like)
def full_like(
    x: ArrayLike, fill_value: ArrayLike, dtype: Any = None, *, shape: Any = None, device: Any = None
) -> Tensor:
    """A value repeated to the shape and dtype of x, unless others are given.

    >>> import fgrad as fg
    >>> fg.full_like(fg.asarray([1.5, 2.5]), 3)
    Tensor([3., 3.], dtype=float64)
    """
    aval = shape_dtype_of(as_operand(x))
    wanted = aval.dtype if dtype is None else dtype
    return full(aval.shape if shape is None else shape, fill_value, wanted, device=device)


def _evaluate_arange(start: Any, stop: Any, step: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    numbers: np.ndarray[Any, Any] = np.arange(*(end.number for end in (start, stop, step)), dtype=dtype)
    return numbers


def _arange_rule(start: Any, stop: Any, step: Any, dtype: np.dtype[Any]) -> ShapeDtype:
    length = max(0, int(np.ceil((stop.number - start.number) / step.number)))
    return ShapeDtype((length,), dtype)


arange_p = constant("arange", _evaluate_arange, _arange_rule, batch=None)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Evenly spaced numbers from `start` (0 by default) to before `stop`; integers for integer arguments.

    Raises:
        ShapeError: when the step is 0.

    >>> import fgrad as fg
    >>> fg.arange(3)
    Tensor([0, 1, 2], dtype=int64)
    >>> fg.arange(1.0, 2.0, 0.5)
    Tensor([1. , 1.5], dtype=float64)
    """
    if device is not None:
        check_device(device, "arange")
    first, last = (0, start) if stop is None else (start, stop)
    if staging.trace is None and type(first) is int and type(last) is int and type(step) is int and step:
        return adopt(np.arange(first, last, step, dtype=dtype))
    ends = [end.item() if isinstance(end, Tensor | np.ndarray) else end for end in (first, last, step)]
    if ends[2] == 0:
        message = "[arange] the step cannot be 0"
        raise ShapeError(at_user_line(message))
    wanted = np.result_type(*[np.asarray(end).dtype for end in ends]) if dtype is None else numeric_dtype(dtype)
    low, high, stride = (_Constant(end) for end in ends)
    return bind_creation(arange_p, start=low, stop=high, step=stride, dtype=wanted)


@stands_for(np.linspace)
@untraced_by(np.linspace)
def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """`num` evenly spaced numbers from `start` to `stop`, which is the last unless ``endpoint=False``.

    Number i is start + i (stop - start) / (num - 1), or / num without the endpoint: differentiable by both ends. Ends
    that are arrays broadcast, and the samples lie along `axis` of the result.

    Returns:
        The samples; with ``retstep=True`` a pair of them and the distance between two.

    Raises:
        ShapeError: when `num` is negative.

    >>> import fgrad as fg
    >>> fg.linspace(0.0, 1.0, 3)
    Tensor([0. , 0.5, 1. ], dtype=float64)
    """
    if device is not None:
        check_device(device, "linspace")
    count = as_integer(num, "linspace", "num is an integer")
    if count < 0:
        message = f"[linspace] the number of samples cannot be negative: {count}"
        raise ShapeError(at_user_line(message))
    if not isinstance(start, Tensor) and not isinstance(stop, Tensor):
        ends = [end if type(end) in PYTHON_NUMBERS else as_numeric_array(end) for end in (start, stop)]
        points, step = np.linspace(*ends, count, endpoint, retstep=True, dtype=dtype, axis=axis)  # type: ignore[call-overload]
        return (adopt(points), adopt(np.asarray(step))) if retstep else adopt(points)
    samples, distance = _sample(start, stop, count, endpoint=endpoint)
    if dtype is not None:
        wanted = numeric_dtype(dtype)
        samples = astype(floor(samples) if wanted.kind in "iu" else samples, wanted)
    samples = moveaxis(samples, 0, axis)
    return (samples, distance) if retstep else samples


def _sample(start: Any, stop: Any, count: int, *, endpoint: bool) -> tuple[Any, Any]:
    """The samples along the first axis, and their distance; NaN of a single one, as in NumPy."""
    low, high = as_operand(start), as_operand(stop)
    wanted = np.result_type(*[0.0 if is_weak(end) else as_operand(end).dtype for end in (start, stop)], 1.0)
    low, high = convert(low, wanted), convert(high, wanted)
    difference = high - low
    intervals = count - 1 if endpoint else count
    shape = (count,) + (1,) * len(difference.shape)
    positions = to_tensor(np.arange(count, dtype=wanted).reshape(shape))
    if intervals < 1:
        return positions * difference + low, difference * np.nan
    step = difference / intervals
    # Where a step is too small to be told from 0 the division comes first, for all steps, as in NumPy.
    divided = (positions / intervals) * difference
    samples = where(any_of(step == 0), divided, positions * step) + low
    if endpoint:
        # The last is the end itself, free of rounding.
        samples = where(to_tensor(np.arange(count).reshape(shape) == count - 1), high, samples)
    return samples, step


eye_p = constant(
    "eye",
    lambda rows, columns, k, dtype: np.eye(N=rows, M=columns, k=k, dtype=dtype),
    lambda rows, columns, k, dtype: ShapeDtype((rows, columns), dtype),
    batch=None,
)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = float, device: Any = None) -> Tensor:
    """A matrix with ones on diagonal k and zeros elsewhere.

    >>> import fgrad as fg
    >>> fg.eye(2)
    Tensor([[1., 0.],
            [0., 1.]], dtype=float64)
    """
    check_device(device, "eye")
    rows = as_integer(n_rows, "eye", "a number of rows is an integer")
    columns = rows if n_cols is None else as_integer(n_cols, "eye", "a number of columns is an integer")
    place = as_integer(k, "eye", "k is an integer")
    return bind_creation(eye_p, rows=rows, columns=columns, k=place, dtype=numeric_dtype(dtype))


def identity(n: int, dtype: Any = float) -> Tensor:
    """The identity matrix.

    >>> import fgrad as fg
    >>> fg.identity(2)
    Tensor([[1., 0.],
            [0., 1.]], dtype=float64)
    """
    return eye(n, dtype=dtype)


operations.array = array
