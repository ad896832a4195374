"""Further products and diagonals of matrices and vectors, and NumPy's linalg variants of those in contractions.py."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind, bind2
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, refuse_out
from fgrad.core.primitive import Primitive
from fgrad.core.shape import Shape, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, dtype_of, shape_of
from fgrad.ops.arithmetic import conj, multiply, subtract
from fgrad.ops.contractions import (
    diagonal,
    diagonal_p,
    dot,
    embed_diagonal_p,
    matmul,
    matmul_p,
    outer,
    tensordot,
    trace,
    vecdot,
)
from fgrad.ops.declare import batch_elementwise, bilinear, stands_for, untraced_by
from fgrad.ops.indexing import take
from fgrad.ops.joining import concatenate
from fgrad.ops.padding import pad
from fgrad.ops.shaping import matrix_transpose, moveaxis
from fgrad.ops.structure import broadcast, convert, reshape_to

__all__ = [
    "block_diag",
    "cross",
    "diag",
    "diagflat",
    "kron",
    "matrix_diagonal",
    "matrix_trace",
    "matvec",
    "multi_dot",
    "outer_of_vectors",
    "vecmat",
    "vector_cross",
]

stands_for(np.linalg.matmul)(matmul)
stands_for(np.linalg.matrix_transpose)(matrix_transpose)
stands_for(np.linalg.tensordot)(tensordot)
stands_for(np.linalg.vecdot)(vecdot)


# Cross products. With g a cotangent, <g, x × y> = <x, y × g> = <y, g × x>.


def _evaluate_cross(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Any:
    x0, x1, x2 = x[..., 0], x[..., 1], x[..., 2]
    y0, y1, y2 = y[..., 0], y[..., 1], y[..., 2]
    first = x1 * y2 - x2 * y1
    out = np.empty((*first.shape, 3), first.dtype)
    out[..., 0] = first
    out[..., 1] = x2 * y0 - x0 * y2
    out[..., 2] = x0 * y1 - x1 * y0
    return out


def _cross_rule(x: ShapeDtype, y: ShapeDtype) -> ShapeDtype:
    dtype = result_dtype(x, y)
    if dtype.kind == "b":
        message = "the differences in a cross product need numbers, and booleans are none; convert one with astype"
        raise DtypeError(message)
    try:
        return ShapeDtype((*np.broadcast_shapes(x.shape[:-1], y.shape[:-1]), 3), dtype)
    except ValueError:
        message = f"the axes besides those of the vectors, {x.shape[:-1]} and {y.shape[:-1]}, do not broadcast"
        raise ShapeError(message) from None


cross_p: Primitive = bilinear(
    "cross",
    _evaluate_cross,
    _cross_rule,
    lambda g, x, y: bind2(cross_p, y, g),
    lambda g, x, y: bind2(cross_p, g, x),
    batch=batch_elementwise,
)


def _axis_last(x: Any, axis: Any, operation: str) -> Any:
    rank = len(shape_of(x))
    if not rank:
        message = f"[{operation}] on {shape_dtype_of(x)}: a vector needs an axis, and a number has none"
        raise ShapeError(at_user_line(message))
    position = axis_index(axis, rank, operation)
    return x if position == rank - 1 else moveaxis(x, position, -1)


def _refuse_lengths(operation: str, x: Any, y: Any, wanted: str) -> ShapeError:
    lengths = f"{shape_of(x)[-1]} and {shape_of(y)[-1]}"
    message = (
        f"[{operation}] on {shape_dtype_of(x)} and {shape_dtype_of(y)}, vectors last: they have {lengths} entries, and "
        f"a cross product is one of vectors of {wanted}"
    )
    return ShapeError(at_user_line(message))


def _pad_to_three(x: Any) -> Any:
    return x if shape_of(x)[-1] == 3 else pad(x, [(0, 0)] * (len(shape_of(x)) - 1) + [(0, 1)])


def _cross_of_planar(x: Any, y: Any) -> Any:
    """The third entry of the cross product of vectors in the plane."""
    x0, x1 = take(x, 0, -1), take(x, 1, -1)
    y0, y1 = take(y, 0, -1), take(y, 1, -1)
    return subtract(multiply(x0, y1), multiply(x1, y0))


@stands_for(np.cross)
def cross(
    a: ArrayLike, b: ArrayLike, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Tensor:
    """The cross product a × b of vectors of three entries along an axis; the other axes are broadcast.

    (a × b)_i = a_j b_k - a_k b_j, with (i, j, k) in cyclic order. The cotangents are b × g and g × a. Vectors of two
    entries, which NumPy deprecates, lie in the plane of the first two; if both do, the result is the third entry alone.

    Args:
        a: the first vectors.
        b: the second vectors.
        axisa: the axis of a along which a vector lies.
        axisb: the axis of b along which a vector lies.
        axisc: the axis of the result along which its vectors lie.
        axis: one number for all three.

    Raises:
        ShapeError: vectors of other lengths, an operand without axes, an axis out of range, or axes that do not
            broadcast.
        DtypeError: both operands are booleans.

    >>> import fgrad as fg
    >>> fg.cross(fg.asarray([1.0, 0.0, 0.0]), fg.asarray([0.0, 1.0, 0.0]))
    Tensor([0., 0., 1.], dtype=float64)
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x = _axis_last(as_operand(a), axisa, "cross")
    y = _axis_last(as_operand(b), axisb, "cross")
    lengths = shape_of(x)[-1], shape_of(y)[-1]
    if lengths != (3, 3):
        if not {*lengths} <= {2, 3}:
            raise _refuse_lengths("cross", x, y, "three")
        message = "cross products of vectors of two entries are deprecated in NumPy 2.0; append a zero to each"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        if lengths == (2, 2):
            return _cross_of_planar(x, y)
        x, y = _pad_to_three(x), _pad_to_three(y)
    found: Tensor = bind2(cross_p, x, y)
    position = axis_index(axisc, len(found.shape), "cross")
    return found if position == len(found.shape) - 1 else moveaxis(found, -1, position)


@stands_for(np.linalg.cross)
def vector_cross(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of three entries along one axis, which is counted in each operand.

    The other axes are broadcast, and the vectors of the result lie along the same axis. `fgrad.cross` has the formula.

    Raises:
        ShapeError: vectors of other lengths, an operand without axes, an axis out of range, or axes that do not
            broadcast.
        DtypeError: both operands are booleans.

    >>> import fgrad as fg
    >>> fg.linalg.cross(fg.asarray([[1.0], [2.0], [3.0]]), fg.asarray([[4.0], [5.0], [6.0]]), axis=0)
    Tensor([[-3.],
            [ 6.],
            [-3.]], dtype=float64)
    """
    x = _axis_last(as_operand(x1), axis, "cross")
    y = _axis_last(as_operand(x2), axis, "cross")
    if shape_of(x)[-1] != 3 or shape_of(y)[-1] != 3:
        raise _refuse_lengths("cross", x, y, "three")
    found: Tensor = bind2(cross_p, x, y)
    position = axis_index(axis, len(found.shape), "cross")
    return found if position == len(found.shape) - 1 else moveaxis(found, -1, position)


# Products of matrices with vectors, of chains of matrices, and of everything with everything.


@stands_for(getattr(np, "matvec", None))  # NumPy 2.2 has it
def matvec(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The products A v of stacks of matrices and of vectors: (..., m, n) and (..., n) give (..., m).

    Raises:
        ShapeError: the lengths n differ, leading axes do not broadcast, or an operand has too few axes.

    >>> import fgrad as fg
    >>> fg.matvec(fg.asarray([[1.0, 2.0], [3.0, 4.0]]), fg.asarray([[1.0, 0.0], [0.0, 1.0]]))
    Tensor([[1., 3.],
            [2., 4.]], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.matvec")
    matrix, vector = as_operand(x1), as_operand(x2)
    if matrix.ndim > 1 and vector.ndim == 1:
        return bind2(matmul_p, matrix, vector)
    if _are_stacks(matrix, vector, -1):
        columns = vector._array.reshape(*vector._array.shape, 1)
        return adopt(matmul_p.evaluate(matrix._array, columns)[..., 0])
    _require_axes("matvec", matrix, vector, 2, 1)
    found = bind2(matmul_p, matrix, reshape_to(vector, (*shape_of(vector), 1)))
    return reshape_to(found, found.shape[:-1])


@stands_for(getattr(np, "vecmat", None))  # NumPy 2.2 has it
def vecmat(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The products conj(v) A of stacks of vectors and of matrices: (..., n) and (..., n, m) give (..., m).

    Raises:
        ShapeError: the lengths n differ, leading axes do not broadcast, or an operand has too few axes.

    >>> import fgrad as fg
    >>> fg.vecmat(fg.asarray([1.0j, 0.0]), fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([0.-1.j, 0.-2.j], dtype=complex128)
    """
    if out is not None:
        refuse_out("fg.vecmat")
    vector, matrix = as_operand(x1), as_operand(x2)
    if vector.dtype.kind == "c":
        vector = conj(vector)
    if vector.ndim == 1 and matrix.ndim > 1:
        return bind2(matmul_p, vector, matrix)
    if _are_stacks(matrix, vector, -2):
        rows = vector._array.reshape(*vector._array.shape[:-1], 1, vector._array.shape[-1])
        return adopt(matmul_p.evaluate(rows, matrix._array)[..., 0, :])
    _require_axes("vecmat", vector, matrix, 1, 2)
    shape = shape_of(vector)
    found = bind2(matmul_p, reshape_to(vector, (*shape[:-1], 1, shape[-1])), matrix)
    return reshape_to(found, (*found.shape[:-2], found.shape[-1]))


def _are_stacks(matrix: Any, vector: Any, axis: int) -> bool:
    """Whether both are known, and vectors of the length of that axis stand over one matrix or over as many."""
    if type(matrix) is not ConcreteTensor or type(vector) is not ConcreteTensor:
        return False
    shape, own = matrix._array.shape, vector._array.shape
    return len(own) > 1 < len(shape) and own[-1] == shape[axis] and (len(shape) == 2 or shape[:-2] == own[:-1])


def _require_axes(operation: str, x: Any, y: Any, x_axes: int, y_axes: int) -> None:
    if len(shape_of(x)) < x_axes or len(shape_of(y)) < y_axes:
        message = (
            f"[{operation}] on {shape_dtype_of(x)} and {shape_dtype_of(y)}: the first needs at least {x_axes} axes, "
            f"the second {y_axes}"
        )
        raise ShapeError(at_user_line(message))


@stands_for(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[ArrayLike], *, out: None = None) -> Tensor:
    """The product of two or more matrices, in the order that takes the fewest multiplications.

    The first may be a vector, which is a row, and so may the last, which is a column. The order is that of the dynamic
    programme for matrix chains (Cormen, Leiserson, Rivest and Stein, Introduction to Algorithms, section 15.2); each
    product's derivative is that of `matmul`.

    Raises:
        ShapeError: fewer than two operands, one that is neither a matrix nor a vector at an end, or lengths that do
            not fit.

    >>> import fgrad as fg
    >>> a, b, c = fg.ones((2, 100)), fg.ones((100, 3)), fg.ones(3)
    >>> fg.linalg.multi_dot([a, b, c])
    Tensor([300., 300.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.linalg.multi_dot")
    factors = [as_operand(array) for array in arrays]
    if len(factors) < 2:
        message = f"[multi_dot] a product has at least two factors, and {len(factors)} is given"
        raise ShapeError(at_user_line(message))
    if len(factors) == 2:
        return dot(factors[0], factors[1])
    shapes = [shape_of(factor) for factor in factors]
    for place, (factor, shape) in enumerate(zip(factors, shapes, strict=True)):
        if len(shape) != 2 and not (len(shape) == 1 and place in (0, len(factors) - 1)):
            message = (
                f"[multi_dot] operand {place} is {shape_dtype_of(factor)}: every factor is a matrix, and only the "
                f"first and the last may be vectors"
            )
            raise ShapeError(at_user_line(message))
    # A vector costs as much as the matrix of one row or column that it is.
    rows = 1 if len(shapes[0]) == 1 else shapes[0][0]
    columns = 1 if len(shapes[-1]) == 1 else shapes[-1][1]
    sizes = [rows, *[shape[0] for shape in shapes[1:]], columns]
    if len(factors) == 3:
        a, b, c = factors
        left_first = sizes[0] * sizes[2] * (sizes[1] + sizes[3]) < sizes[1] * sizes[3] * (sizes[0] + sizes[2])
        return bind2(matmul_p, bind2(matmul_p, a, b), c) if left_first else bind2(matmul_p, a, bind2(matmul_p, b, c))
    return _multiply_chain(factors, _split_chain(sizes), 0, len(factors) - 1)


def _split_chain(sizes: list[int]) -> dict[tuple[int, int], int]:
    """For each part of the chain, from factor i to factor j, the last factor of its left half."""
    count = len(sizes) - 1
    costs = {(place, place): 0 for place in range(count)}
    splits = {}
    for reach in range(1, count):
        for i in range(count - reach):
            j = i + reach
            options = [(costs[i, k] + costs[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            costs[i, j], splits[i, j] = min(options)
    return splits


def _multiply_chain(factors: list[Any], splits: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return factors[i]
    k = splits[i, j]
    return bind2(matmul_p, _multiply_chain(factors, splits, i, k), _multiply_chain(factors, splits, k + 1, j))


@stands_for(np.kron)
def kron(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The Kronecker product: a with every element replaced by that element times b.

    Of shapes (r0, ..., rN) and (s0, ..., sN), the shorter one led by ones, the result has the shape
    (r0 s0, ..., rN sN), and kron(a, b)[k0, ..., kN] = a[i0, ..., iN] b[j0, ..., jN] with kt = it st + jt.

    >>> import fgrad as fg
    >>> fg.kron(fg.asarray([1.0, 10.0]), fg.asarray([1.0, 2.0]))
    Tensor([ 1.,  2., 10., 20.], dtype=float64)
    """
    x, y = as_operand(a), as_operand(b)
    x_shape, y_shape = shape_of(x), shape_of(y)
    if not x_shape or not y_shape:
        return multiply(x, y)
    rank = max(len(x_shape), len(y_shape))
    x_shape = (1,) * (rank - len(x_shape)) + x_shape
    y_shape = (1,) * (rank - len(y_shape)) + y_shape
    spread = reshape_to(x, tuple([number for length in x_shape for number in (length, 1)]))
    inner = reshape_to(y, tuple([number for length in y_shape for number in (1, length)]))
    whole = tuple([first * second for first, second in zip(x_shape, y_shape, strict=True)])
    return reshape_to(multiply(spread, inner), whole)


@stands_for(np.linalg.outer)
def outer_of_vectors(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """All products of the elements of two vectors, as a matrix; `fgrad.outer` takes any shape.

    Raises:
        ShapeError: an operand is no vector.

    >>> import fgrad as fg
    >>> fg.linalg.outer(fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0]))
    Tensor([[3., 4.],
            [6., 8.]], dtype=float64)
    """
    x, y = as_operand(x1), as_operand(x2)
    if len(shape_of(x)) != 1 or len(shape_of(y)) != 1:
        message = (
            f"[outer] on {shape_dtype_of(x)} and {shape_dtype_of(y)}: linalg.outer takes vectors, with one axis each; "
            f"fg.outer flattens what it is given"
        )
        raise ShapeError(at_user_line(message))
    return outer(x, y)


# Diagonals.


@stands_for(np.linalg.diagonal)
def matrix_diagonal(x: ArrayLike, /, *, offset: int = 0) -> Tensor:
    """The diagonals x_(i, i + offset) of the matrices in the last two axes; (..., m, n) gives (..., k).

    The cotangent is zero off the diagonal. `fgrad.diagonal` takes the first two axes by default, as NumPy's does.

    Raises:
        ShapeError: x has fewer than two axes.

    >>> import fgrad as fg
    >>> fg.linalg.diagonal(fg.asarray([[[1.0, 2.0], [3.0, 4.0]]]), offset=1)
    Tensor([[2.]], dtype=float64)
    """
    return diagonal(x, offset, -2, -1)


@stands_for(np.linalg.trace)
def matrix_trace(x: ArrayLike, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums sum_i x_(i, i + offset) of the matrices in the last two axes; (..., m, n) gives (...).

    `fgrad.trace` takes the first two axes by default, as NumPy's does. dtypes are as there.

    Raises:
        ShapeError: x has fewer than two axes.

    >>> import fgrad as fg
    >>> fg.linalg.trace(fg.asarray([[[1.0, 2.0], [3.0, 4.0]]]))
    Tensor([5.], dtype=float64)
    """
    return trace(x, offset, -2, -1, dtype)


def _diagonal_matrix(entries: Any, offset: int) -> Any:
    side = shape_of(entries)[0] + abs(offset)
    return bind(embed_diagonal_p, entries, shape=(side, side), offset=offset, axis1=0, axis2=1)


@stands_for(np.diag)
def diag(v: ArrayLike, k: int = 0) -> Tensor:
    """The square matrix with the vector v on its k-th diagonal and zeros elsewhere; of a matrix, its k-th diagonal.

    Raises:
        ShapeError: v is neither a vector nor a matrix.

    >>> import fgrad as fg
    >>> fg.diag(fg.asarray([1.0, 2.0]))
    Tensor([[1., 0.],
            [0., 2.]], dtype=float64)
    """
    operand = as_operand(v)
    rank, offset = len(shape_of(operand)), as_integer(k, "diag", "k is an integer")
    if rank == 1:
        return _diagonal_matrix(operand, offset)
    if rank == 2:
        return bind(diagonal_p, operand, offset=offset, axis1=0, axis2=1)
    message = (
        f"[diag] on {shape_dtype_of(operand)}: diag takes a vector or a matrix; fg.linalg.diagonal takes stacks of "
        f"matrices, fg.diagflat flattens what it is given"
    )
    raise ShapeError(at_user_line(message))


@stands_for(np.diagflat)
@untraced_by(np.diagflat)
def diagflat(v: ArrayLike, k: int = 0) -> Tensor:
    """The square matrix with all elements of v, in row-major order, on its k-th diagonal and zeros elsewhere.

    >>> import fgrad as fg
    >>> fg.diagflat(fg.asarray([[1.0], [2.0]]), 1).shape
    (3, 3)
    """
    operand = as_operand(v)
    shape = shape_of(operand)
    flat = operand if len(shape) == 1 else reshape_to(operand, (product(shape),))
    return _diagonal_matrix(flat, as_integer(k, "diagflat", "k is an integer"))


def block_diag(*arrs: ArrayLike) -> Tensor:
    """The matrix with the given matrices along its diagonal and zeros elsewhere.

    Vectors are matrices of one row, and numbers of one row and column. Leading axes are stacks of matrices, which are
    broadcast: (..., m, n) and (..., p, q) give (..., m + p, n + q). Without operands the result has the shape (1, 0),
    as SciPy's ``block_diag`` has it. dtypes promote.

    Raises:
        ShapeError: leading axes do not broadcast.

    >>> import fgrad as fg
    >>> fg.linalg.block_diag(fg.ones((1, 2)), 3.0)
    Tensor([[1., 1., 0.],
            [0., 0., 3.]], dtype=float64)
    """
    if not arrs:
        return adopt(np.zeros((1, 0)))
    blocks = [_as_matrix(as_operand(array)) for array in arrs]
    shapes = [shape_of(block) for block in blocks]
    dtype = np.result_type(*[dtype_of(block) for block in blocks])
    try:
        lead = np.broadcast_shapes(*[shape[:-2] for shape in shapes])
    except ValueError:
        message = f"[block_diag] the leading axes of the shapes {', '.join(map(str, shapes))} do not broadcast"
        raise ShapeError(at_user_line(message)) from None
    width, before, rows = sum(shape[-1] for shape in shapes), 0, []
    for block, shape in zip(blocks, shapes, strict=True):
        after = width - before - shape[-1]
        rows.append(_block_row(block, lead, dtype, (before, after)))
        before += shape[-1]
    return rows[0] if len(rows) == 1 else concatenate(rows, -2)


def _as_matrix(x: Any) -> Any:
    shape = shape_of(x)
    return x if len(shape) >= 2 else reshape_to(x, (1,) * (2 - len(shape)) + shape)


def _block_row(block: Any, lead: Shape, dtype: np.dtype[Any], beside: tuple[int, int]) -> Any:
    if dtype_of(block) != dtype:
        block = convert(block, dtype)
    if shape_of(block)[:-2] != lead:
        block = broadcast(block, (*lead, *shape_of(block)[-2:]))
    if not any(beside):
        return to_tensor(block)
    zeros = [np.zeros((*shape_of(block)[:-1], width), dtype) for width in beside]
    return concatenate([part for part in (zeros[0], block, zeros[1]) if shape_of(part)[-1] or part is block], -1)
