"""Declarers: a primitive from what the mathematics says of it (elementwise, linear, bilinear)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fgrad.core.errors import DtypeError, ShapeError
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.protocols import FUNCTION_COUNTERPARTS, UFUNC_COUNTERPARTS
from fgrad.core.shape import ShapeDtype
from fgrad.ops.structure import unbroadcast

__all__ = ["bilinear", "constant", "elementwise", "linear", "stands_for", "ufunc_shape_rule"]

Partial = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])


def ufunc_shape_rule(ufunc: np.ufunc) -> Callable[..., ShapeDtype]:
    """The shape rule of an operation that broadcasts and promotes as this ufunc does, without evaluating it."""

    def rule(*avals: ShapeDtype) -> ShapeDtype:
        return ShapeDtype(_broadcast_shapes(avals), _resolve(ufunc, [aval.promotion_type for aval in avals]))

    return rule


def _broadcast_shapes(avals: tuple[ShapeDtype, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(aval.shape for aval in avals))
    except ValueError:
        shapes = " and ".join(str(aval.shape) for aval in avals)
        message = f"shapes {shapes} cannot be broadcast together: aligned from the right, lengths must be equal or 1"
        raise ShapeError(message) from None


def _resolve(ufunc: np.ufunc, types: list[Any]) -> np.dtype[Any]:
    strong = [kind if isinstance(kind, np.dtype) else np.dtype(kind) for kind in types]
    every_weak = not any(isinstance(kind, np.dtype) for kind in types)
    operands = strong if every_weak else types
    try:
        return ufunc.resolve_dtypes((*operands, *[None] * ufunc.nout))[-1]
    except TypeError:
        names = " and ".join(map(str, strong))
        message = f"there is no {ufunc.__name__} for dtype {names}"
        raise DtypeError(message) from None


def _weak_rule(rule: Callable[..., ShapeDtype]) -> Callable[..., ShapeDtype]:
    def weak(*avals: ShapeDtype) -> ShapeDtype:
        return ShapeDtype((), rule(*avals).dtype, weak=True)

    return weak


def elementwise(
    name: str,
    ufunc: np.ufunc,
    *partials: Partial,
    evaluate: Callable[..., Any] | None = None,
    python: Callable[..., Any] | None = None,
    locally_constant: bool = False,
) -> Primitive:
    """A holomorphic function of each element, with its partial derivatives written once.

    Args:
        name: the primitive's name.
        ufunc: the NumPy ufunc that evaluates it, or (with `evaluate`) whose broadcasting and promotion it shares.
        partials: one per operand: ``partial(g, out, *operands)`` is g times the partial derivative by that operand,
            in terms of the output and the operands, before broadcasting is undone.
        evaluate: the evaluation, where it is not the ufunc itself.
        python: the same operation in Python's own arithmetic, for operators on Python numbers.
        locally_constant: the derivative is zero wherever it exists, and no partials are needed.
    """
    rule = ufunc_shape_rule(ufunc)
    vjp = None if locally_constant else _elementwise_vjp(partials)
    weak = None
    if python is not None:
        weak = Primitive(name, python, _weak_rule(rule), vjp, locally_constant=locally_constant, takes_numbers=True)
    return register(
        Primitive(
            name,
            ufunc if evaluate is None else evaluate,
            rule,
            vjp,
            locally_constant=locally_constant,
            python=weak,
            takes_numbers=True,
        )
    )


def _elementwise_vjp(partials: tuple[Partial, ...]) -> Callable[..., tuple[Any, ...]]:
    if len(partials) == 1:
        (partial,) = partials

        def unary(g: Any, needed: Any, out: Any, x: Any) -> tuple[Any]:
            return (partial(g, out, x),)

        return unary
    if len(partials) == 2:
        left, right = partials

        def binary(g: Any, needed: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
            return (
                unbroadcast(left(g, out, x, y), x) if needed[0] else None,
                unbroadcast(right(g, out, x, y), y) if needed[1] else None,
            )

        return binary

    def nary(g: Any, needed: Any, out: Any, *operands: Any) -> tuple[Any, ...]:
        return tuple(
            [
                unbroadcast(partial(g, out, *operands), operand) if wanted else None
                for partial, wanted, operand in zip(partials, needed, operands, strict=True)
            ]
        )

    return nary


def linear(
    name: str,
    evaluate: Callable[..., Any],
    shape_rule: Callable[..., ShapeDtype],
    adjoint: Callable[..., Any],
    *,
    makes_views: bool = False,
) -> Primitive:
    """A linear map of one operand, by its adjoint: ``adjoint(g, x, **params)``; of x only shape and dtype matter."""

    def vjp(g: Any, needed: Any, out: Any, x: Any, **params: Any) -> tuple[Any]:
        return (adjoint(g, x, **params),)

    return register(Primitive(name, evaluate, shape_rule, vjp, makes_views=makes_views))


def bilinear(
    name: str,
    evaluate: Callable[..., Any],
    shape_rule: Callable[..., ShapeDtype],
    left_adjoint: Callable[..., Any],
    right_adjoint: Callable[..., Any],
) -> Primitive:
    """A map that is linear in each of two operands, by its two adjoints: ``adjoint(g, x, y, **params)``."""

    def vjp(g: Any, needed: Any, out: Any, x: Any, y: Any, **params: Any) -> tuple[Any, Any]:
        return (
            unbroadcast(left_adjoint(g, x, y, **params), x) if needed[0] else None,
            unbroadcast(right_adjoint(g, x, y, **params), y) if needed[1] else None,
        )

    return register(Primitive(name, evaluate, shape_rule, vjp))


def constant(name: str, evaluate: Callable[..., Any], shape_rule: Callable[..., Any], **flags: Any) -> Primitive:
    """An operation whose result carries no gradient: integers, booleans, fresh values."""
    return register(Primitive(name, evaluate, shape_rule, locally_constant=True, **flags))


def stands_for(*functions: Any, method: str | None = None) -> Callable[[F], F]:
    """Decorator: this function is what NumPy's functions or ufuncs of its meaning run when they meet a Tensor.

    A None among the functions stands for one that the installed NumPy does not have.
    With `method` it also serves as the operator or method form of that name on every Tensor (see core/methods.py).
    """

    def remember(function: F) -> F:
        for numpy_function in filter(None, functions):
            table: dict[Any, Any] = (
                UFUNC_COUNTERPARTS if isinstance(numpy_function, np.ufunc) else FUNCTION_COUNTERPARTS
            )
            table[numpy_function] = function
        if method is not None:
            setattr(operations, method, function)
        return function

    return remember
