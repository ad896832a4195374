"""The linear operations that the rules of all others need: conversion, reshaping, broadcasting and summing back.

They stand together because they are each other's adjoints: a sum's is a broadcast, a broadcast's is a sum, and the
adjoint of a reshape or of a conversion is the one that leads back.
"""

from __future__ import annotations

from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.pytree import tree_map
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype
from fgrad.core.tensor import NUMERIC, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import dtype_of, shape_of

__all__ = [
    "broadcast",
    "convert",
    "fit_tangent",
    "reduce_sum",
    "reduced_shape",
    "repeat_over_examples",
    "reshape_to",
    "restore_axes",
    "stop_gradient",
    "sum_dtype",
    "unbroadcast",
]

# Below this many elements a broadcast is written out: a view costs more to make than the copy does.
_COPY_LIMIT = 4096


def stop_gradient(x: Any) -> Any:
    """The same values, as a constant: no transform differentiates through the result.

    With y = stop_gradient(x), dy/dx = 0. Works on any shape and dtype, inside and outside of transforms, and on every
    leaf of a pytree; leaves that are no numbers or arrays are left as they are.

    >>> import fgrad as fg
    >>> fg.grad(lambda x: x * fg.stop_gradient(x))(3.0)
    Tensor(3., dtype=float64)
    """
    if isinstance(x, Tensor):
        return bind(stop_gradient_p, x)
    return tree_map(_stop_leaf, x)


def _stop_leaf(leaf: Any) -> Any:
    return bind(stop_gradient_p, leaf) if isinstance(leaf, NUMERIC) else leaf


def _batch_as_is(primitive: Primitive, batched: tuple[bool, ...], x: Any, **params: Any) -> Any:
    return bind(primitive, x, **params)


stop_gradient_p = register(
    Primitive(
        "stop_gradient",
        evaluate=lambda x: x,
        shape_rule=lambda x: x,
        batch=_batch_as_is,
        locally_constant=True,
        takes_numbers=True,
        makes_views=True,
    )
)


def convert(x: Any, dtype: np.dtype[Any]) -> Any:
    """The operand with another dtype; a gradient passes between floating-point and complex dtypes only."""
    if type(x) is ConcreteTensor:
        return adopt(x._array.astype(dtype))
    if dtype.kind not in "fc":
        x = stop_gradient(x)
    return bind(convert_p, x, dtype=dtype)


def _convert_vjp(g: Any, needed: Any, out: Any, x: Any, dtype: np.dtype[Any]) -> tuple[Any]:
    return (unbroadcast(g, x),)


convert_p = register(
    Primitive(
        "convert",
        evaluate=lambda x, dtype: x.astype(dtype),
        shape_rule=lambda x, dtype: ShapeDtype(x.shape, dtype),
        vjp=_convert_vjp,
        linear=slice(1),
        batch=_batch_as_is,
    )
)


def reshape_to(x: Any, shape: Shape) -> Any:
    """The elements in row-major order under another shape of as many elements."""
    if type(x) is ConcreteTensor and product(shape) == x._array.size:
        return adopt(x._array.reshape(shape))
    return bind(reshape_p, x, shape=shape)


def _reshape_rule(x: ShapeDtype, shape: Shape) -> ShapeDtype:
    if product(shape) != x.size:
        message = f"{x.size} elements of shape {x.shape} cannot take the shape {shape}, which has {product(shape)}"
        raise ShapeError(message)
    return ShapeDtype(shape, x.dtype)


reshape_p = register(
    Primitive(
        "reshape",
        evaluate=lambda x, shape: x.reshape(shape),
        shape_rule=_reshape_rule,
        vjp=lambda g, needed, out, x, shape: (reshape_to(g, shape_of(x)),),
        linear=slice(1),
        batch=lambda primitive, batched, x, shape: reshape_to(x, (shape_of(x)[0], *shape)),
        makes_views=True,
    )
)


def broadcast(x: Any, shape: Shape) -> Any:
    """The operand repeated along axes of length 1 and new leading axes, as NumPy broadcasts."""
    return bind(broadcast_p, x, shape=shape)


def _evaluate_broadcast(x: np.ndarray[Any, Any], shape: Shape) -> np.ndarray[Any, Any]:
    if product(shape) > _COPY_LIMIT:
        return np.broadcast_to(x, shape)
    if x.ndim > len(shape):
        message = "the result has fewer axes than the operand"
        raise ValueError(message)
    out = np.empty(shape, x.dtype)
    out[...] = x
    return out


def _broadcast_rule(x: ShapeDtype, shape: Shape) -> ShapeDtype:
    if len(x.shape) > len(shape) or np.broadcast_shapes(x.shape, shape) != shape:
        message = f"shape {x.shape} cannot be broadcast to {shape}: only axes of length 1 and missing leading axes grow"
        raise ShapeError(message)
    return ShapeDtype(shape, x.dtype)


def _batch_broadcast(primitive: Primitive, batched: tuple[bool, ...], x: Any, shape: Shape) -> Any:
    size, *lengths = shape_of(x)
    spread = reshape_to(x, (size, *[1] * (len(shape) - len(lengths)), *lengths)) if len(lengths) < len(shape) else x
    return broadcast(spread, (size, *shape))


broadcast_p = register(
    Primitive(
        "broadcast_to",
        evaluate=_evaluate_broadcast,
        shape_rule=_broadcast_rule,
        vjp=lambda g, needed, out, x, shape: (unbroadcast(g, x),),
        linear=slice(1),
        batch=_batch_broadcast,
        makes_views=True,
    )
)


def reduce_sum(x: Any, axes: tuple[int, ...], *, keepdims: bool = False) -> Any:
    """The sum over axes that are given as a sorted tuple of non-negative numbers."""
    return bind(reduce_sum_p, x, axes=axes, keepdims=keepdims)


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of NumPy's sums and products: small integers and booleans widen to the platform's integer."""
    default = {"b": np.dtype(np.int_), "i": np.dtype(np.int_), "u": np.dtype(np.uint)}.get(dtype.kind)
    return dtype if default is None or dtype.itemsize >= default.itemsize else default


def reduced_shape(shape: Shape, axes: tuple[int, ...], *, keepdims: bool) -> Shape:
    """The shape after a reduction over the axes."""
    if keepdims:
        return tuple([1 if axis in axes else length for axis, length in enumerate(shape)])
    return tuple([length for axis, length in enumerate(shape) if axis not in axes])


def restore_axes(g: Any, shape: Shape, axes: tuple[int, ...], *, keepdims: bool) -> Any:
    """A reduction's result or cotangent with the reduced axes back as axes of length 1."""
    return g if keepdims else reshape_to(g, reduced_shape(shape, axes, keepdims=True))


def _reduce_sum_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    shape = shape_of(x)
    # A cotangent of shape () broadcasts as it is.
    restored = g if len(axes) == len(shape) else restore_axes(g, shape, axes, keepdims=keepdims)
    return (broadcast(restored, shape),)


reduce_sum_p = register(
    Primitive(
        "sum",
        evaluate=lambda x, axes, keepdims: np.add.reduce(x, axis=axes, keepdims=keepdims),
        shape_rule=lambda x, axes, keepdims: ShapeDtype(
            reduced_shape(x.shape, axes, keepdims=keepdims), sum_dtype(x.dtype)
        ),
        vjp=_reduce_sum_vjp,
        linear=slice(1),
        batch=lambda primitive, batched, x, axes, keepdims: reduce_sum(
            x, tuple([axis + 1 for axis in axes]), keepdims=keepdims
        ),
    )
)


def _take_real(x: Any) -> Any:
    return bind(real_p, x)


def _real_vjp(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
    return (convert(g, dtype_of(x)),)


real_p = register(
    Primitive(
        "real",
        evaluate=np.real,
        shape_rule=lambda x: ShapeDtype(x.shape, np.empty(0, x.dtype).real.dtype),
        vjp=_real_vjp,
        linear=slice(1),
        batch=_batch_as_is,
        makes_views=True,
    )
)


def unbroadcast(cotangent: Any, primal: Any) -> Any:
    """The cotangent of an operand out of one that has the broadcast shape and the promoted dtype of the result.

    Broadcast axes are summed back, a real operand takes the real part, and the dtype becomes the operand's.
    """
    if type(cotangent) is ConcreteTensor and type(primal) is ConcreteTensor:
        given, wanted = cotangent._array, primal._array
        if given.dtype is wanted.dtype and given.shape == wanted.shape:
            return cotangent
    shape = shape_of(primal)
    if cotangent.shape != shape:
        lead = len(cotangent.shape) - len(shape)
        stretched = [i + lead for i, length in enumerate(shape) if length == 1 and cotangent.shape[i + lead] != 1]
        cotangent = reduce_sum(cotangent, (*range(lead), *stretched))
        if cotangent.shape != shape:
            cotangent = reshape_to(cotangent, shape)
    dtype = np.dtype(float) if type(primal) in PYTHON_NUMBERS and type(primal) is not complex else dtype_of(primal)
    if cotangent.dtype != dtype:
        if cotangent.dtype.kind == "c" and dtype.kind != "c":
            cotangent = _take_real(cotangent)
        cotangent = cotangent if cotangent.dtype == dtype else convert(cotangent, dtype)
    return cotangent


def fit_tangent(tangent: Any, out: Any) -> Any:
    """A tangent in the shape and dtype of the result that it belongs to."""
    if tangent.shape != shape_of(out):
        tangent = broadcast(tangent, shape_of(out))
    dtype = np.dtype(float) if type(out) in PYTHON_NUMBERS and type(out) is not complex else dtype_of(out)
    return tangent if tangent.dtype == dtype else convert(tangent, dtype)


def repeat_over_examples(x: Any, size: int) -> Any:
    """A value that is the same for all examples with an axis of the examples in front."""
    tensor = to_tensor(x)
    return broadcast(tensor, (size, *tensor.shape))


operations.convert = convert
operations.fit_tangent = fit_tangent
operations.repeat_over_examples = repeat_over_examples
