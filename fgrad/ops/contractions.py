"""Contractions: matrix products of every rank, dot products, tensordot, outer products, diagonals and traces."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind2, make_operator
from fgrad.core.errors import ShapeError, at_user_line, refuse_out
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive
from fgrad.core.shape import Shape, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt
from fgrad.ops.arguments import as_integer, as_operand, axis_index, dtype_of, numeric_dtype, shape_of
from fgrad.ops.arithmetic import conj, multiply, multiply_no_nan
from fgrad.ops.declare import bilinear, lead_axes, linear, stands_for
from fgrad.ops.shaping import matrix_transpose, moveaxis, transpose_p
from fgrad.ops.structure import convert, reduce_sum, reshape_to

__all__ = ["diagonal", "dot", "inner", "matmul", "outer", "tensordot", "trace", "vdot", "vecdot"]


def _evaluate_matmul(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Any:
    if x.ndim > 1 < y.ndim and x.shape[-1] == 1 == y.shape[-2]:
        return _multiply_columns_by_rows(x, y)
    # One matrix under many: NumPy would multiply them one by one, BLAS takes them as the rows of one.
    if x.ndim > 2 and y.ndim <= 2 and y.ndim and x.size and x.flags.c_contiguous:
        return np.matmul(x.reshape(-1, x.shape[-1]), y).reshape(*x.shape[:-1], *y.shape[1:])
    return np.matmul(x, y)


# Beyond this many products of real numbers NumPy's einsum takes less time to start each row than its multiply does.
_MANY_PRODUCTS = 4096


def _multiply_columns_by_rows(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Any:
    # Single products: BLAS would be started anew for each pair, and is two to three times slower.
    if x.size * y.shape[-1] > _MANY_PRODUCTS and x.dtype.kind == "f" == y.dtype.kind and x.itemsize >= 4:
        return np.einsum("...i,...j->...ij", x[..., 0], y[..., 0, :], order="C")
    return np.multiply(x, y)


_NO_AXES = "both operands need at least one axis; a product with a number is x * y"


def _matmul_rule(x: ShapeDtype, y: ShapeDtype) -> ShapeDtype:
    if not x.shape or not y.shape:
        raise ShapeError(_NO_AXES)
    length, place = (y.shape[0], "only axis") if y.ndim == 1 else (y.shape[-2], "second to last")
    if x.shape[-1] != length:
        message = (
            f"the last axis of the first (length {x.shape[-1]}) must equal the {place} of the second (length {length})"
        )
        if y.ndim > 1 and y.shape[-1] == x.shape[-1]:
            message += f"; the second would fit transposed: {'x @ y.T' if y.ndim == 2 else 'x @ y.mT'}"
        raise ShapeError(message)
    try:
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        message = f"the leading axes {x.shape[:-2]} and {y.shape[:-2]} cannot be broadcast together"
        raise ShapeError(message) from None
    rows = x.shape[-2:-1]
    columns = y.shape[-1:] if y.ndim > 1 else ()
    return ShapeDtype((*batch, *rows, *columns), result_dtype(x, y))


def _as_columns(x: Any) -> Any:
    """The matrices of a stack side by side, as one matrix of as many rows."""
    shape = shape_of(x)
    return reshape_to(moveaxis(x, -2, 0), (shape[-2], product(shape[:-2]) * shape[-1]))


def _outer_product(x: Any, y: Any) -> Any:
    """The matrices x_i y_j of the last axes, as a product of a column and a row."""
    row = (*y.shape[:-1], 1, y.shape[-1])
    return bind2(matmul_p, reshape_to(x, (*shape_of(x), 1)), reshape_to(y, row))


# A product of a row and a column, or a stack of them, has the adjoints of a product of elements: the derivative of
# the norm sqrt(x @ x) is 0 at 0, and not 0 * inf.


def _matmul_left_adjoint(g: Any, x: Any, y: Any) -> Any:
    x_rank, y_shape = len(shape_of(x)), shape_of(y)
    if len(y_shape) == 1:
        return multiply_no_nan(g, y) if x_rank == 1 else _outer_product(g, y)
    if x_rank > 1 and g.shape[-2:] == (1, 1):
        return multiply_no_nan(g, matrix_transpose(y))
    if len(y_shape) == 2:
        return bind2(matmul_p, y, g) if x_rank == 1 else bind2(matmul_p, g, matrix_transpose(y))
    if x_rank == 1:
        return bind2(matmul_p, _as_columns(y), reshape_to(g, (product(g.shape),)))
    if x_rank == 2:
        return bind2(matmul_p, _as_columns(g), matrix_transpose(_as_columns(y)))
    return bind2(matmul_p, g, matrix_transpose(y))


def _matmul_right_adjoint(g: Any, x: Any, y: Any) -> Any:
    x_shape, y_rank = shape_of(x), len(shape_of(y))
    if len(x_shape) == 1:
        return multiply_no_nan(g, x) if y_rank == 1 else _outer_product(x, g)
    if y_rank > 1 and g.shape[-2:] == (1, 1):
        return multiply_no_nan(g, matrix_transpose(x))
    if y_rank == 1:
        if len(x_shape) == 2:
            return bind2(matmul_p, g, x)
        rows = product(x_shape[:-1])
        return bind2(matmul_p, reshape_to(g, (rows,)), reshape_to(x, (rows, x_shape[-1])))
    if y_rank == 2 and len(x_shape) > 2:
        rows = product(x_shape[:-1])
        x, g = reshape_to(x, (rows, x_shape[-1])), reshape_to(g, (rows, g.shape[-1]))
    return bind2(matmul_p, matrix_transpose(x), g)


# The batching rule chooses among forms of the same product the one with the fewest and largest matrices.


def _batch_matmul(primitive: Primitive, batched: tuple[bool, ...], x: Any, y: Any) -> Any:
    x_rank, y_rank = len(shape_of(x)) - batched[0], len(shape_of(y)) - batched[1]
    if not x_rank or not y_rank:
        raise ShapeError(_NO_AXES)
    if not batched[1]:
        return _matmul_shared_right(x, y, x_rank, y_rank)
    if not batched[0]:
        return _matmul_shared_left(x, y, x_rank, y_rank)
    return _matmul_both(x, y, x_rank, y_rank)


def _matmul_shared_right(x: Any, y: Any, x_rank: int, y_rank: int) -> Any:
    if y_rank <= 2:
        return bind2(matmul_p, x, y)
    if x_rank == 1:
        return moveaxis(bind2(matmul_p, x, y), -2, 0)
    if x_rank == 2:
        size, rows, length = shape_of(x)
        found = bind2(matmul_p, reshape_to(x, (size * rows, length)), y)
        stack, columns = found.shape[:-2], found.shape[-1]
        return moveaxis(reshape_to(found, (*stack, size, rows, columns)), -3, 0)
    return bind2(matmul_p, lead_axes(x, max(x_rank, y_rank)), y)


# Up to this many columns, one product of all examples' columns side by side pays for the copy that arranges them.
_NARROW = 16


def _matmul_shared_left(x: Any, y: Any, x_rank: int, y_rank: int) -> Any:
    if y_rank == 1:
        if x_rank == 1:
            return bind2(matmul_p, y, x)
        shape = shape_of(x)
        rows = x if x_rank == 2 else reshape_to(x, (product(shape[:-1]), shape[-1]))
        found = bind2(matmul_p, y, matrix_transpose(rows))
        return found if x_rank == 2 else reshape_to(found, (shape_of(y)[0], *shape[:-1]))
    if x_rank == y_rank == 2 and shape_of(y)[-1] <= _NARROW:
        size, _, columns = shape_of(y)
        found = bind2(matmul_p, x, _as_columns(y))
        return moveaxis(reshape_to(found, (shape_of(x)[0], size, columns)), 1, 0)
    return bind2(matmul_p, x, lead_axes(y, max(x_rank, y_rank)))


def _matmul_both(x: Any, y: Any, x_rank: int, y_rank: int) -> Any:
    x_shape, y_shape = shape_of(x), shape_of(y)
    if x_rank == 1:
        x = reshape_to(x, (x_shape[0], 1, x_shape[1]))
    if y_rank == 1:
        y = reshape_to(y, (*y_shape, 1))
    if x_rank > 2 >= y_rank:
        # The matrices of an example all meet one: they are its rows.
        x = reshape_to(x, (x_shape[0], product(x_shape[1:-1]), x_shape[-1]))
        found = bind2(matmul_p, x, y)
        return reshape_to(found, (*x_shape[:-1], *found.shape[-1:] * (y_rank - 1)))
    rank = max(x_rank, y_rank, 2)
    found = bind2(matmul_p, lead_axes(x, rank), lead_axes(y, rank))
    if x_rank > 1 < y_rank:
        return found
    rows, columns = found.shape[-2:-1] * (x_rank > 1), found.shape[-1:] * (y_rank > 1)
    return reshape_to(found, (*found.shape[:-2], *rows, *columns))


matmul_p = bilinear(
    "matmul", _evaluate_matmul, _matmul_rule, _matmul_left_adjoint, _matmul_right_adjoint, batch=_batch_matmul
)


@stands_for(np.matmul)
def matmul(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The matrix product, ``x1 @ x2``: the last axis of x1 is contracted with the second to last of x2.

    Leading axes are broadcast as stacks of matrices: (..., m, k) and (..., k, n) give (..., m, n). A first operand of
    one axis is a row, a second one a column, and that axis is absent from the result. The cotangents are g x2^T and
    x1^T g, summed over broadcast axes. dtypes promote as in NumPy; booleans give booleans.

    Raises:
        ShapeError: the contracted lengths differ, leading axes do not broadcast, or an operand has no axes.

    >>> import fgrad as fg
    >>> fg.matmul(fg.asarray([[1.0, 2.0], [3.0, 4.0]]), fg.asarray([1.0, -1.0]))
    Tensor([-1., -1.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.matmul")
    return bind2(matmul_p, as_operand(x1), as_operand(x2))


# The other products, in terms of matmul and multiply.


def _refuse(operation: str, x: Any, y: Any, reason: str) -> ShapeError:
    operands = f"{shape_dtype_of(x)} and {shape_dtype_of(y)}"
    return ShapeError(at_user_line(f"[{operation}] on {operands}: {reason}"))


def _contract(operation: str, x: Any, y: Any, x_axes: tuple[int, ...], y_axes: tuple[int, ...]) -> Any:
    """The sum of products over pairs of axes, as one matrix product; free axes of x come first, then those of y."""
    x_shape, y_shape = shape_of(x), shape_of(y)
    for first, second in zip(x_axes, y_axes, strict=True):
        if x_shape[first] != y_shape[second]:
            reason = (
                f"axis {first} of the first (length {x_shape[first]}) must equal axis {second} of the second "
                f"(length {y_shape[second]})"
            )
            raise _refuse(operation, x, y, reason)
    x_free = tuple([axis for axis in range(len(x_shape)) if axis not in x_axes])
    y_free = tuple([axis for axis in range(len(y_shape)) if axis not in y_axes])
    length = product([x_shape[axis] for axis in x_axes])
    free_shape = (*[x_shape[axis] for axis in x_free], *[y_shape[axis] for axis in y_free])
    rows, columns = product(free_shape[: len(x_free)]), product(free_shape[len(x_free) :])
    if type(x) is ConcreteTensor and type(y) is ConcreteTensor:
        left_rows = x._array.transpose(x_free + x_axes).reshape(rows, length)
        right_columns = y._array.transpose(y_axes + y_free).reshape(length, columns)
        return adopt(matmul_p.evaluate(left_rows, right_columns).reshape(free_shape))
    left = _arranged(x, x_free + x_axes, (rows, length))
    right = _arranged(y, y_axes + y_free, (length, columns))
    found = bind2(matmul_p, left, right)
    return found if len(free_shape) == 2 and free_shape == (rows, columns) else reshape_to(found, free_shape)


def _arranged(x: Any, order: tuple[int, ...], shape: Shape) -> Any:
    if order != tuple(range(len(order))):
        x = bind(transpose_p, x, axes=order)
    return x if shape_of(x) == shape else reshape_to(x, shape)


@stands_for(np.dot, method="dot")
def dot(a: ArrayLike, b: ArrayLike, /, *, out: None = None) -> Tensor:
    """NumPy's dot product: the last axis of a is contracted with the second to last, or only, axis of b.

    With a number it is a product with that number. Unlike `matmul` it does not broadcast leading axes but takes every
    pair: (i, j, k) and (l, k, m) give (i, j, l, m).

    Raises:
        ShapeError: the contracted lengths differ.

    >>> import fgrad as fg
    >>> fg.dot(fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0]))
    Tensor(11., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.dot")
    x, y = as_operand(a), as_operand(b)
    x_rank, y_rank = len(shape_of(x)), len(shape_of(y))
    if not x_rank or not y_rank:
        return multiply(x, y)
    if x_rank <= 2 and y_rank <= 2 and shape_of(x)[-1] == shape_of(y)[0]:
        return bind2(matmul_p, x, y)
    return _contract("dot", x, y, (x_rank - 1,), (0 if y_rank == 1 else y_rank - 2,))


@stands_for(np.vdot)
def vdot(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """The sum of conj(a) * b over all elements, both read in row-major order; a 0-d tensor.

    Raises:
        ShapeError: the numbers of elements differ.

    >>> import fgrad as fg
    >>> fg.vdot(fg.asarray([1.0j, 2.0]), fg.asarray([1.0j, 3.0]))
    Tensor(7.+0.j, dtype=complex128)
    """
    x, y = as_operand(a), as_operand(b)
    if len(shape_of(x)) == 1 and shape_of(x) == shape_of(y):
        return bind2(matmul_p, conj(x) if dtype_of(x).kind == "c" else x, y)
    sizes = product(shape_of(x)), product(shape_of(y))
    if sizes[0] != sizes[1]:
        raise _refuse("vdot", x, y, f"both must have as many elements, and have {sizes[0]} and {sizes[1]}")
    x = conj(x) if dtype_of(x).kind == "c" else x
    return bind2(matmul_p, reshape_to(x, sizes[:1]), reshape_to(y, sizes[:1]))


@stands_for(np.inner)
def inner(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """The last axes contracted: (..., k) and (***, k) give (..., ***); with a number, a product with that number.

    Complex operands are not conjugated.

    Raises:
        ShapeError: the last axes differ in length.

    >>> import fgrad as fg
    >>> fg.inner(fg.asarray([[1.0, 2.0], [3.0, 4.0]]), fg.asarray([1.0, 1.0]))
    Tensor([3., 7.], dtype=float64)
    """
    x, y = as_operand(a), as_operand(b)
    x_rank, y_rank = len(shape_of(x)), len(shape_of(y))
    if not x_rank or not y_rank:
        return multiply(x, y)
    if y_rank == 1 and shape_of(x)[-1] == shape_of(y)[0]:
        return bind2(matmul_p, x, y)
    return _contract("inner", x, y, (x_rank - 1,), (y_rank - 1,))


@stands_for(np.tensordot)
def tensordot(a: ArrayLike, b: ArrayLike, /, axes: Any = 2) -> Tensor:
    """The sum of products over pairs of axes; what is left of a comes first, then what is left of b.

    Args:
        a: the first operand.
        b: the second operand.
        axes: a number n, for the last n axes of a with the first n of b in order; or a pair of axes or of sequences of
            axes, those of a and those of b, taken in pairs.

    Raises:
        ShapeError: paired axes differ in length or number, an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> a, b = fg.ones((2, 3, 4)), fg.ones((4, 3, 5))
    >>> fg.tensordot(a, b, axes=([1, 2], [1, 0])).shape
    (2, 5)
    """
    x, y = as_operand(a), as_operand(b)
    x_rank, y_rank = len(shape_of(x)), len(shape_of(y))
    first: Any
    second: Any
    if isinstance(axes, Iterable):
        first, second = axes
    else:
        count = as_integer(axes, "tensordot", "axes is a number of axes, or a pair of axes")
        if not 0 <= count <= min(x_rank, y_rank):
            raise _refuse("tensordot", x, y, f"axes={count} is more axes than an operand has, or negative")
        first, second = range(x_rank - count, x_rank), range(count)
    x_axes = tuple([axis_index(axis, x_rank, "tensordot") for axis in _listed(first)])
    y_axes = tuple([axis_index(axis, y_rank, "tensordot") for axis in _listed(second)])
    if len(x_axes) != len(y_axes):
        raise _refuse("tensordot", x, y, f"axes pairs {len(x_axes)} axes of the first with {len(y_axes)} of the second")
    if len(set(x_axes)) != len(x_axes) or len(set(y_axes)) != len(y_axes):
        raise _refuse("tensordot", x, y, f"axes={axes} names an axis twice")
    return _contract("tensordot", x, y, x_axes, y_axes)


def _listed(axes: Any) -> Iterable[Any]:
    return axes if isinstance(axes, Iterable) else (axes,)


@stands_for(np.outer)
def outer(a: ArrayLike, b: ArrayLike, /, *, out: None = None) -> Tensor:
    """All products a_i b_j of the elements, both read in row-major order, as a matrix.

    >>> import fgrad as fg
    >>> fg.outer(fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0]))
    Tensor([[3., 4.],
            [6., 8.]], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.outer")
    x, y = as_operand(a), as_operand(b)
    columns = product(shape_of(y))
    row = y if shape_of(y) == (columns,) else reshape_to(y, (columns,))
    return multiply(reshape_to(x, (product(shape_of(x)), 1)), row)


@stands_for(*([np.vecdot] if hasattr(np, "vecdot") else []))
def vecdot(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1, out: None = None) -> Tensor:
    """The sum of conj(x1) * x2 along one axis, which is counted in each operand; the other axes are broadcast.

    Raises:
        ShapeError: an operand has no axes, the lengths along the axis differ, or the others do not broadcast.

    >>> import fgrad as fg
    >>> fg.vecdot(fg.asarray([[1.0, 2.0], [3.0, 4.0]]), fg.asarray([1.0, 1.0]))
    Tensor([3., 7.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.vecdot")
    x, y = (_axis_last(as_operand(value), axis) for value in (x1, x2))
    x_shape, y_shape = shape_of(x), shape_of(y)
    if x_shape[-1] != y_shape[-1]:
        raise _refuse("vecdot", x, y, f"the contracted axes have the lengths {x_shape[-1]} and {y_shape[-1]}")
    if dtype_of(x).kind == "c":
        x = conj(x)
    if len(y_shape) == 1:
        return bind2(matmul_p, x, y)
    row, column = (*x_shape[:-1], 1, x_shape[-1]), (*y_shape, 1)
    found = bind2(matmul_p, reshape_to(x, row), reshape_to(y, column))
    return reshape_to(found, found.shape[:-2])


def _axis_last(x: Any, axis: int) -> Any:
    rank = len(shape_of(x))
    position = axis_index(axis, rank, "vecdot")
    return x if position == rank - 1 else moveaxis(x, position, -1)


# Diagonals and traces.


def _diagonal_shape(shape: Shape, offset: int, axis1: int, axis2: int) -> Shape:
    rows, columns = shape[axis1], shape[axis2]
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    kept = [one for axis, one in enumerate(shape) if axis not in (axis1, axis2)]
    return (*kept, max(length, 0))


def _embed_diagonal(g: Any, shape: Shape, offset: int, axis1: int, axis2: int) -> Any:
    out = np.zeros(shape, g.dtype)
    if len(shape) == 2 and axis1 < axis2:
        # The entries of a diagonal lie one row and one column apart in memory.
        start = offset if offset >= 0 else -offset * shape[1]
        out.reshape(-1)[start :: shape[1] + 1][: len(g)] = g
        return out
    arranged = np.moveaxis(out, (axis1, axis2), (-2, -1))
    steps = np.arange(g.shape[-1])
    arranged[..., steps + max(-offset, 0), steps + max(offset, 0)] = g
    return out


def _diagonal_adjoint(g: Any, x: Any, offset: int, axis1: int, axis2: int) -> Any:
    return bind(embed_diagonal_p, g, shape=shape_of(x), offset=offset, axis1=axis1, axis2=axis2)


def _batch_diagonal(
    primitive: Primitive, batched: tuple[bool, ...], x: Any, offset: int, axis1: int, axis2: int
) -> Any:
    return bind(primitive, x, offset=offset, axis1=axis1 + 1, axis2=axis2 + 1)


def _batch_embed(
    primitive: Primitive, batched: tuple[bool, ...], g: Any, shape: Shape, offset: int, axis1: int, axis2: int
) -> Any:
    whole = (shape_of(g)[0], *shape)
    return bind(primitive, g, shape=whole, offset=offset, axis1=axis1 + 1, axis2=axis2 + 1)


diagonal_p = linear(
    "diagonal",
    lambda x, offset, axis1, axis2: x.diagonal(offset, axis1, axis2),
    lambda x, offset, axis1, axis2: ShapeDtype(_diagonal_shape(x.shape, offset, axis1, axis2), x.dtype),
    _diagonal_adjoint,
    batch=_batch_diagonal,
    makes_views=True,
)
embed_diagonal_p = linear(
    "embed_diagonal",
    _embed_diagonal,
    lambda g, shape, offset, axis1, axis2: ShapeDtype(shape, g.dtype),
    lambda h, g, shape, offset, axis1, axis2: bind(diagonal_p, h, offset=offset, axis1=axis1, axis2=axis2),
    batch=_batch_embed,
)


def _two_axes(x: Any, axis1: int, axis2: int, operation: str) -> tuple[int, int]:
    shape = shape_of(x)
    if len(shape) < 2:
        message = f"[{operation}] on {shape_dtype_of(x)}: a diagonal needs two axes"
        raise ShapeError(at_user_line(message))
    first, second = axis_index(axis1, len(shape), operation), axis_index(axis2, len(shape), operation)
    if first == second:
        message = f"[{operation}] axis1={axis1} and axis2={axis2} are one axis of {shape_dtype_of(x)}"
        raise ShapeError(at_user_line(message))
    return first, second


@stands_for(np.diagonal)
def diagonal(x: ArrayLike, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements x_(i, i + offset) of two axes, which leave the shape; the diagonal becomes the last axis.

    The cotangent is zero off the diagonal.

    Raises:
        ShapeError: x has fewer than two axes, an axis is out of range, or both are one.

    >>> import fgrad as fg
    >>> fg.diagonal(fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([1., 4.], dtype=float64)
    """
    operand = as_operand(x)
    first, second = _two_axes(operand, axis1, axis2, "diagonal")
    place = as_integer(offset, "diagonal", "offset is an integer")
    return bind(diagonal_p, operand, offset=place, axis1=first, axis2=second)


@stands_for(np.trace, method="trace")
def trace(
    x: ArrayLike, /, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, *, out: None = None
) -> Tensor:
    """The sum of a diagonal, of two axes that leave the shape: sum_i x_(i, i + offset).

    The cotangent stands on the diagonal, with zeros elsewhere. Booleans and small integers are added in the platform's
    integer; `dtype` is that of the addition and of the result.

    Raises:
        ShapeError: x has fewer than two axes, an axis is out of range, or both are one.

    >>> import fgrad as fg
    >>> fg.trace(fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor(5., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.trace")
    operand = as_operand(x)
    first, second = _two_axes(operand, axis1, axis2, "trace")
    place = as_integer(offset, "trace", "offset is an integer")
    if type(operand) is ConcreteTensor and dtype is None:
        return adopt(np.asarray(np.add.reduce(operand._array.diagonal(place, first, second), -1)))
    entries = bind(diagonal_p, operand, offset=place, axis1=first, axis2=second)
    wanted = None if dtype is None else numeric_dtype(dtype)
    if wanted is not None and entries.dtype != wanted:
        entries = convert(entries, wanted)
    total = reduce_sum(entries, (len(entries.shape) - 1,))
    return total if wanted is None or total.dtype == wanted else convert(total, wanted)


operations.matmul = make_operator(matmul_p)
