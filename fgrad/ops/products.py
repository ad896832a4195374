"""Products along axes, with derivatives of every order that divide by nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import refuse_out
from fgrad.core.primitive import Primitive, register
from fgrad.core.protocols import UFUNC_REDUCTIONS
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, axis_tuple, shape_of
from fgrad.ops.arithmetic import add, multiply, multiply_no_nan, multiply_no_nan_p
from fgrad.ops.declare import as_batch, batch_over_axes, batch_size, stands_for
from fgrad.ops.reductions import count_elements, in_dtype, initial_value, is_given, masked
from fgrad.ops.structure import fit_tangent, reduce_sum, reduced_shape, restore_axes, sum_dtype

__all__ = ["prod"]

# The derivative of a product of n factors is itself a product, of the others; so is every further one. The
# primitive below is all of them: with k directions it is the derivative of the product along those directions and by
# each factor. Its value needs no division, so zeros among the factors are nothing special.


def _multiply_truncated(left: Any, right: Any, directions: int, times: Callable[..., Any]) -> Any:
    """The product in the algebra with one nilpotent unit per direction; axis 0 counts the sets of units in bits."""
    out = np.empty_like(left)
    for units in range(1 << directions):
        part = units
        total = times(left[units], right[0])
        while part:
            part = (part - 1) & units
            total = total + times(left[part], right[units ^ part])
        out[units] = total
    return out


def _multiply_others(factors: Any, directions: int, times: Callable[..., Any]) -> Any:
    """For each place along the last axis the product of all other places, by pairs of pairs: O(n) products in all."""
    length = factors.shape[-1]
    if length == 1:
        one = np.zeros_like(factors)
        one[0] = 1
        return one
    if length % 2:
        one = np.zeros_like(factors[..., :1])
        one[0] = 1
        factors = np.concatenate([factors, one], axis=-1)
    left, right = factors[..., 0::2], factors[..., 1::2]
    pairs = _multiply_truncated(left, right, directions, times) if length > 2 else left
    others = _multiply_others(pairs, directions, times)
    out = np.empty_like(factors)
    out[..., 0::2] = _multiply_truncated(others, right, directions, times)
    out[..., 1::2] = _multiply_truncated(others, left, directions, times)
    return out[..., :length]


def _evaluate_product_derivative(x: Any, *directions: Any, axes: tuple[int, ...]) -> Any:
    if x.size == 0:
        return np.ones_like(x)
    order = tuple([axis for axis in range(x.ndim) if axis not in axes]) + axes
    arranged = x.transpose(order)
    kept = arranged.shape[: x.ndim - len(axes)]
    length = count_elements(x.shape, axes)
    factors = np.zeros((1 << len(directions), *kept, length), np.result_type(x, *directions))
    factors[0] = arranged.reshape(*kept, length)
    for unit, direction in enumerate(directions):
        factors[1 << unit] = direction.transpose(order).reshape(*kept, length)
    with np.errstate(invalid="ignore"):
        others = _multiply_others(factors, len(directions), np.multiply)[-1]
        if np.isnan(others).any():
            # As in the derivatives of other products, a factor that is zero makes these zero, whatever it meets.
            others = _multiply_others(factors, len(directions), multiply_no_nan_p.evaluate)[-1]
    return others.reshape(arranged.shape).transpose(np.argsort(order))


def _product_derivative_vjp(
    g: Any, needed: Any, out: Any, x: Any, *directions: Any, axes: tuple[int, ...]
) -> tuple[Any, ...]:
    # It is symmetric and linear in its directions and in the factor that it differentiates by.
    cotangents = [bind(product_derivative_p, x, *directions, g, axes=axes) if needed[0] else None]
    for position in range(len(directions)):
        rest = directions[:position] + directions[position + 1 :]
        wanted = needed[position + 1]
        cotangents.append(bind(product_derivative_p, x, *rest, g, axes=axes) if wanted else None)
    return tuple(cotangents)


def _product_derivative_jvp(tangents: Any, out: Any, x: Any, *directions: Any, axes: tuple[int, ...]) -> Any:
    by_x, *by_directions = tangents
    terms = [] if by_x is None else [bind(product_derivative_p, x, *directions, by_x, axes=axes)]
    for position, tangent in enumerate(by_directions):
        if tangent is not None:
            rest = directions[:position] + directions[position + 1 :]
            terms.append(bind(product_derivative_p, x, *rest, tangent, axes=axes))
    return fit_tangent(functools.reduce(add, terms), out)


def _batch_product_derivative(
    primitive: Primitive, batched: tuple[bool, ...], *operands: Any, axes: tuple[int, ...]
) -> Any:
    size = batch_size(batched, operands)
    stacked = [as_batch(operand, own, size) for operand, own in zip(operands, batched, strict=True)]
    return bind(primitive, *stacked, axes=tuple([axis + 1 for axis in axes]))


product_derivative_p = register(
    Primitive(
        "product_derivative",
        evaluate=_evaluate_product_derivative,
        shape_rule=lambda x, *directions, axes: ShapeDtype(x.shape, x.dtype),
        vjp=_product_derivative_vjp,
        jvp=_product_derivative_jvp,
        batch=_batch_product_derivative,
    )
)


def _prod_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    others = bind(product_derivative_p, x, axes=axes)
    return (multiply_no_nan(restore_axes(g, shape_of(x), axes, keepdims=keepdims), others),)


def _prod_jvp(tangents: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    (tangent,) = tangents
    others = bind(product_derivative_p, x, axes=axes)
    return fit_tangent(reduce_sum(multiply_no_nan(tangent, others), axes, keepdims=keepdims), out)


prod_p = register(
    Primitive(
        "prod",
        evaluate=lambda x, axes, keepdims: np.multiply.reduce(x, axis=axes, keepdims=keepdims),
        shape_rule=lambda x, axes, keepdims: ShapeDtype(
            reduced_shape(x.shape, axes, keepdims=keepdims), sum_dtype(x.dtype)
        ),
        vjp=_prod_vjp,
        jvp=_prod_jvp,
        batch=batch_over_axes,
    )
)


@stands_for(np.prod, method="prod")
def prod(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The product of the elements over axes (all of them by default), times `initial`; 1 of no elements.

    The derivative by an element is the product of the others. It is computed without dividing by the element, so it
    is right, to any order, however many of the elements are zero. dtypes are as in `sum`.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.prod(fg.asarray([2.0, 3.0, 4.0]))
    Tensor(24., dtype=float64)
    >>> fg.grad(fg.prod)(fg.asarray([2.0, 0.0, 4.0]))
    Tensor([0., 8., 0.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.prod")
    operand = in_dtype(as_operand(x), dtype)
    if is_given(where):
        operand = masked(operand, where, 1, "prod")
    axes = axis_tuple(axis, len(shape_of(operand)), "prod")
    result = in_dtype(bind(prod_p, operand, axes=axes, keepdims=keepdims), dtype)
    return result if initial is None else multiply(result, initial_value(initial, result.dtype, "prod"))


UFUNC_REDUCTIONS[np.multiply] = prod
