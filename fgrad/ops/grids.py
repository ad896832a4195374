"""Grids: coordinates and indices of places, triangles of ones, and progressions between two ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, IndexingError, ShapeError, at_user_line
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_integer, as_operand, dtype_of, numeric_dtype, shape_of, shape_tuple
from fgrad.ops.arithmetic import divide, multiply, sign
from fgrad.ops.creation import linspace
from fgrad.ops.declare import batch_elementwise, constant, stands_for, untraced_by
from fgrad.ops.exponential import log10, power
from fgrad.ops.index import make_index
from fgrad.ops.joining import concatenate
from fgrad.ops.known_values import is_traced, plain
from fgrad.ops.shaping import moveaxis
from fgrad.ops.signal import powers_of
from fgrad.ops.structure import broadcast, convert, reshape_to, stop_gradient

__all__ = [
    "diag_indices",
    "fromfunction",
    "geomspace",
    "indices",
    "ix_",
    "logspace",
    "meshgrid",
    "ravel_multi_index",
    "tri",
    "tril_indices",
    "triu_indices",
    "unravel_index",
    "vander",
]


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float) -> Tensor:
    """A matrix with ones on and below diagonal k, zeros above; N rows and M columns (N by default).

    >>> import fgrad as fg
    >>> fg.tri(2, 3)
    Tensor([[1., 0., 0.],
            [1., 1., 0.]], dtype=float64)
    """
    return adopt(np.tri(N, M, k, dtype=dtype))


def _tensors(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, ...]:
    return tuple([adopt(array) for array in arrays])


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the entries on and below diagonal k of an (n, m) matrix: an index.

    >>> import fgrad as fg
    >>> fg.asarray([[1.0, 2.0], [3.0, 4.0]])[fg.tril_indices(2)]
    Tensor([1., 3., 4.], dtype=float64)
    """
    rows, columns = _tensors(np.tril_indices(n, k, m))
    return rows, columns


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the entries on and above diagonal k of an (n, m) matrix: an index.

    >>> import fgrad as fg
    >>> fg.asarray([[1.0, 2.0], [3.0, 4.0]])[fg.triu_indices(2)]
    Tensor([1., 2., 4.], dtype=float64)
    """
    rows, columns = _tensors(np.triu_indices(n, k, m))
    return rows, columns


def diag_indices(n: int, ndim: int = 2) -> tuple[Tensor, ...]:
    """The index of the diagonal of an array with `ndim` axes of length n.

    >>> import fgrad as fg
    >>> fg.zeros((2, 2)).at[fg.diag_indices(2)].set(5.0)
    Tensor([[5., 0.],
            [0., 5.]], dtype=float64)
    """
    return _tensors(np.diag_indices(n, ndim))


def _of_matrix(arr: ArrayLike, operation: str) -> tuple[int, int]:
    shape = shape_of(as_operand(arr))
    if len(shape) != 2:
        message = f"[{operation}] takes a matrix, and got shape {shape}"
        raise ShapeError(at_user_line(message))
    return shape[0], shape[1]


@stands_for(np.tril_indices_from)
def _tril_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Tensor, Tensor]:
    """The indices of the lower triangle of a matrix, as `tril_indices` gives them for its lengths."""
    rows, columns = _of_matrix(arr, "tril_indices_from")
    return tril_indices(rows, k, columns)


@stands_for(np.triu_indices_from)
def _triu_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Tensor, Tensor]:
    """The indices of the upper triangle of a matrix, as `triu_indices` gives them for its lengths."""
    rows, columns = _of_matrix(arr, "triu_indices_from")
    return triu_indices(rows, k, columns)


@stands_for(np.diag_indices_from)
def _diag_indices_from(arr: ArrayLike) -> tuple[Tensor, ...]:
    """The indices of the main diagonal of an array whose axes all have one length."""
    shape = shape_of(as_operand(arr))
    if len(shape) < 2 or len(set(shape)) != 1:
        message = f"[diag_indices_from] takes an array of at least two axes of one length, and got shape {shape}"
        raise ShapeError(at_user_line(message))
    return diag_indices(shape[0], len(shape))


@stands_for(np.meshgrid)
def meshgrid(*xi: ArrayLike, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of the places of a grid, a list of one tensor for each axis, out of the vectors along its axes.

    Args:
        xi: the vectors, of lengths n1, n2, n3, ...; a number is a vector of one element.
        copy: as in NumPy; a Tensor is immutable, so it makes no difference.
        sparse: whether each keeps length 1 along the axes of the others, as broadcasting takes it.
        indexing: "xy", shapes (n2, n1, n3, ...), or "ij", shapes (n1, n2, n3, ...).

    Raises:
        ShapeError: `indexing` is neither.

    >>> import fgrad as fg
    >>> x, y = fg.meshgrid(fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0, 5.0]))
    >>> x.shape, y[:, 0]
    ((3, 2), Tensor([3., 4., 5.], dtype=float64))
    """
    if indexing not in ("xy", "ij"):
        message = f"[meshgrid] indexing is 'xy' or 'ij', not {indexing!r}"
        raise ShapeError(at_user_line(message))
    vectors = [as_operand(one) for one in xi]
    lengths = [product(shape_of(one)) for one in vectors]
    order = list(range(len(vectors)))
    if indexing == "xy" and len(order) > 1:
        order[:2] = 1, 0
    shape = tuple([lengths[place] for place in order])
    laid_out = [
        reshape_to(vector, tuple([lengths[one] if one == place else 1 for one in order]))
        for place, vector in enumerate(vectors)
    ]
    return laid_out if sparse else [broadcast(one, shape) for one in laid_out]


def indices(dimensions: Sequence[int], dtype: Any = int, sparse: bool = False) -> Tensor | tuple[Tensor, ...]:
    """The index of each place of an array of this shape: one array for each axis, stacked, or a tuple if `sparse`.

    >>> import fgrad as fg
    >>> fg.indices((2, 2))[0]
    Tensor([[0, 0],
            [1, 1]], dtype=int64)
    """
    found: Any = np.indices(tuple(dimensions), dtype, sparse)  # type: ignore[call-overload]
    return _tensors(found) if sparse else adopt(found)


def fromfunction(function: Callable[..., Any], shape: Any, *, dtype: Any = float, **kwargs: Any) -> Any:
    """The function of the coordinates of each place of an array: one tensor of `shape` for each axis, passed at once.

    >>> import fgrad as fg
    >>> fg.fromfunction(lambda i, j: i + j, (2, 2))
    Tensor([[0., 1.],
            [1., 2.]], dtype=float64)
    """
    return function(*_tensors(list(np.indices(shape_tuple(shape, "fromfunction"), dtype))), **kwargs)


@stands_for(np.ix_)
@untraced_by(np.ix_)
def ix_(*args: ArrayLike) -> tuple[Tensor, ...]:
    """Vectors of positions as the index of the grid that they span: ``x[fg.ix_([0, 2], [1, 3])]`` has shape (2, 2).

    A boolean vector stands for the positions where it is true, which must be known.

    Raises:
        ShapeError: an argument is not a vector.

    >>> import fgrad as fg
    >>> [positions.shape for positions in fg.ix_([0, 2], [1, 3, 4])]
    [(2, 1), (1, 3)]
    """
    found = []
    for place, one in enumerate(args):
        vector: Any = as_operand(one)
        if len(shape_of(vector)) != 1:
            message = f"[ix_] takes vectors, and argument {place} has shape {shape_of(vector)}"
            raise ShapeError(at_user_line(message))
        if not shape_of(vector)[0]:
            vector = convert(vector, np.dtype(np.intp))
        if dtype_of(vector).kind == "b":
            vector = make_index(vector)[1][0]
        length = shape_of(vector)[0]
        found.append(reshape_to(vector, tuple([length if axis == place else 1 for axis in range(len(args))])))
    return tuple(found)


# Progressions.


def _place(points: Any, axis: int) -> Any:
    return moveaxis(points, 0, axis) if axis else points


@stands_for(np.logspace)
@untraced_by(np.logspace)
def logspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    base: ArrayLike = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Tensor:
    """`num` numbers from base**start to base**stop whose exponents are evenly spaced, as in `linspace`.

    Differentiable by both ends and by the base.

    Args:
        start: the first exponent.
        stop: the last exponent.
        num: how many.
        endpoint: whether base**stop is the last; else it would come next.
        base: the base, a number (or of the shape of the ends).
        dtype: the dtype of the result.
        axis: where the new axis lies, if the ends are arrays.

    Raises:
        ShapeError: when `num` is negative.

    >>> import fgrad as fg
    >>> fg.logspace(0.0, 2.0, 3)
    Tensor([  1.,  10., 100.], dtype=float64)
    """
    ends = [one if type(one) in PYTHON_NUMBERS else to_tensor(one) for one in (start, stop)]
    exponents = linspace(ends[0], ends[1], num, endpoint=endpoint)
    working = np.result_type(result_dtype(*[shape_dtype_of(one) for one in ends]), 1.0)
    exponents = exponents if exponents.dtype == working else convert(exponents, working)
    points = _place(power(base, exponents), axis)
    return points if dtype is None else convert(points, numeric_dtype(dtype))


@stands_for(np.geomspace)
@untraced_by(np.geomspace)
def geomspace(
    start: ArrayLike, stop: ArrayLike, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Tensor:
    """`num` numbers from start to stop, each the last one times one factor; differentiable by both ends.

    Number i is start (stop / start)**t_i with t_i = i / (num - 1), and the ends are exactly start and stop. Both ends
    have one sign, or are complex, and neither is 0.

    Args:
        start: the first number.
        stop: the last number.
        num: how many.
        endpoint: whether `stop` is the last; else it would come next.
        dtype: the dtype of the result.
        axis: where the new axis lies, if the ends are arrays.

    Raises:
        ShapeError: when `num` is negative, or an end is known to be 0.

    >>> import fgrad as fg
    >>> fg.geomspace(1.0, 100.0, 3)
    Tensor([  1.,  10., 100.], dtype=float64)
    """
    low, high = as_operand(start), as_operand(stop)
    if any(not is_traced(end) and not np.all(plain(end)) for end in (low, high)):
        message = "[geomspace] a factor leads from no number to 0, nor from 0 to any; one of the ends is 0"
        raise ShapeError(at_user_line(message))
    working = np.result_type(dtype_of(low), dtype_of(high), float, np.dtype(float if dtype is None else dtype))
    low, high = [one if dtype_of(one) == working else convert(one, working) for one in (low, high)]
    # Both turn with the direction of the first, and back: the logarithms are those of positive numbers then. The
    # result does not depend on the direction, whatever it is, so its derivative is left out.
    direction = sign(stop_gradient(low))
    low, high = divide(low, direction), divide(high, direction)
    points = power(10.0, linspace(log10(low), log10(high), num, endpoint=endpoint))
    if num > 0:
        shape = np.broadcast_shapes(shape_of(low), shape_of(high))
        ends = [broadcast(one, (1, *shape)) for one in (low, high)]
        has_end = endpoint and num > 1
        parts = [ends[0], points[1:-1], ends[1]] if has_end else [ends[0], points[1:]]
        points = concatenate(parts, 0)
    points = _place(multiply(points, direction), axis)
    return points if dtype is None else convert(points, numeric_dtype(dtype))


def _is_complex(x: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether products are rounded otherwise where factors lie apart in memory, as in NumPy's table of powers."""
    return dtype_of(as_operand(x)).kind == "c"


@stands_for(np.vander)
@untraced_by(np.vander, unless=_is_complex)
def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector as rows: x**(N-1), ..., x, 1, or 1, x, ... with `increasing`.

    Raises:
        ShapeError: x is not a vector.

    >>> import fgrad as fg
    >>> fg.vander(fg.asarray([1.0, 2.0, 3.0]))
    Tensor([[1., 1., 1.],
            [4., 2., 1.],
            [9., 3., 1.]], dtype=float64)
    """
    operand: Any = as_operand(x)
    shape = shape_of(operand)
    if len(shape) != 1:
        message = f"[vander] takes a vector, and got shape {shape}"
        raise ShapeError(at_user_line(message))
    wanted = np.promote_types(dtype_of(operand), int)
    operand = operand if dtype_of(operand) == wanted else convert(operand, wanted)
    count = shape[0] if N is None else as_integer(N, "vander", "N is an integer")
    return powers_of(operand, count, increasing=increasing)


# Positions in row-major order and in each axis.

unravel_index_p = constant(
    "unravel_index",
    lambda positions, shape, order: np.stack(np.unravel_index(positions, shape, order)),
    lambda positions, shape, order: ShapeDtype((len(shape), *positions.shape), np.dtype(np.intp)),
    batch=lambda primitive, batched, positions, shape, order: moveaxis(
        bind(primitive, positions, shape=shape, order=order), 1, 0
    ),
)
ravel_multi_index_p = constant(
    "ravel_multi_index",
    lambda *positions, shape, mode, order: np.ravel_multi_index(positions, shape, mode=mode, order=order),
    lambda *positions, shape, mode, order: ShapeDtype(
        np.broadcast_shapes(*[one.shape for one in positions]), np.dtype(np.intp)
    ),
    batch=batch_elementwise,
)


def _integers(value: Any, operation: str) -> Any:
    operand = as_operand(value)
    if dtype_of(operand).kind not in "iu":
        message = f"[{operation}] positions are integers, not {dtype_of(operand)}"
        raise DtypeError(at_user_line(message))
    return operand


def _order(order: str, operation: str) -> str:
    if order not in ("C", "F"):
        message = f"[{operation}] order is 'C' or 'F', not {order!r}"
        raise ShapeError(at_user_line(message))
    return order


@stands_for(np.unravel_index)
@untraced_by(np.unravel_index)
def unravel_index(indices: ArrayLike, shape: Any, order: str = "C") -> tuple[Tensor, ...]:
    """Positions among the elements in row-major order, as an index: one tensor for each axis of `shape`.

    Raises:
        DtypeError: the positions are not integers.
        ShapeError: a position is out of range.

    >>> import fgrad as fg
    >>> fg.unravel_index(fg.asarray([1, 5]), (2, 3))
    (Tensor([0, 1], dtype=int64), Tensor([1, 2], dtype=int64))
    """
    lengths = shape_tuple(shape, "unravel_index")
    positions = _integers(indices, "unravel_index")
    if not lengths:
        return ()
    stacked = bind(unravel_index_p, positions, shape=lengths, order=_order(order, "unravel_index"))
    return tuple([stacked[axis] for axis in range(len(lengths))])


@stands_for(np.ravel_multi_index)
@untraced_by(np.ravel_multi_index)
def ravel_multi_index(
    multi_index: Sequence[ArrayLike] | Tensor, dims: Any, mode: Any = "raise", order: str = "C"
) -> Tensor:
    """An index, one array for each axis of `dims`, as positions among the elements in row-major order.

    Args:
        multi_index: positions along each axis; they broadcast.
        dims: the shape.
        mode: what to do with positions out of range, for all axes or for each: "raise", "wrap" or "clip".
        order: "C" for row-major order, "F" for column-major order.

    Raises:
        DtypeError: the positions are not integers.
        ShapeError: a position is out of range in the mode "raise".
        IndexingError: there are not as many positions as axes.

    >>> import fgrad as fg
    >>> fg.ravel_multi_index((fg.asarray([0, 1]), fg.asarray([1, 2])), (2, 3))
    Tensor([1, 5], dtype=int64)
    """
    lengths = shape_tuple(dims, "ravel_multi_index")
    positions = [_integers(one, "ravel_multi_index") for one in multi_index]
    if len(positions) != len(lengths):
        message = f"[ravel_multi_index] {len(positions)} positions were given for the {len(lengths)} axes of {lengths}"
        raise IndexingError(at_user_line(message))
    modes = mode if isinstance(mode, str) else tuple(mode)
    places = [to_tensor(one) for one in positions]
    return bind(ravel_multi_index_p, *places, shape=lengths, mode=modes, order=_order(order, "ravel_multi_index"))
