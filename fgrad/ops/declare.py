"""Declarers: a primitive from what the mathematics says of it (elementwise, linear, bilinear)."""

from __future__ import annotations

import functools
import inspect
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.protocols import FUNCTION_COUNTERPARTS, UFUNC_COUNTERPARTS
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ConcreteTensor, adopt, to_tensor
from fgrad.ops.arguments import shape_of
from fgrad.ops.blocks import blockwise
from fgrad.ops.structure import broadcast, fit_tangent, reshape_to, unbroadcast

__all__ = [
    "as_batch",
    "batch_by_example",
    "batch_elementwise",
    "batch_over_axes",
    "batch_over_axis",
    "batch_size",
    "batch_stacked",
    "bilinear",
    "constant",
    "elementwise",
    "elementwise_jvp",
    "lead_axes",
    "linear",
    "untraced_by",
    "stands_for",
    "ufunc_shape_rule",
]

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


# Python counts with booleans as with integers, where NumPy has another operation or none; these remain of booleans.
_OF_BOOLEANS = (operator.and_, operator.or_, operator.xor)
_INTEGER = np.dtype(int)


def _weak_rule(rule: Callable[..., ShapeDtype], *, counts: bool) -> Callable[..., ShapeDtype]:
    def weak(*avals: ShapeDtype) -> ShapeDtype:
        numbers = [ShapeDtype((), _INTEGER, True) if counts and x.dtype.kind == "b" else x for x in avals]
        return ShapeDtype((), rule(*numbers).dtype, weak=True)

    return weak


def _weak_batch(batched: tuple[bool, ...], operands: Sequence[Any], *, counts: bool) -> list[Any]:
    """The operands of an operation on Python numbers, in whose place stand arrays of those of all examples."""
    return [
        operations.astype(x, _INTEGER) if counts and own and x.dtype.kind == "b" else x
        for x, own in zip(operands, batched, strict=True)
    ]


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
    jvp = None if locally_constant else elementwise_jvp(partials)
    weak = None
    if python is not None:
        counts = python not in _OF_BOOLEANS
        weak = Primitive(
            name,
            python,
            _weak_rule(rule, counts=counts),
            vjp,
            jvp,
            batch=lambda _, batched, *operands: batch_elementwise(
                primitive, batched, *_weak_batch(batched, operands, counts=counts)
            ),
            locally_constant=locally_constant,
            takes_numbers=True,
        )
    primitive = register(
        Primitive(
            name,
            ufunc if evaluate is None else evaluate,
            rule,
            vjp,
            jvp,
            batch=batch_elementwise,
            locally_constant=locally_constant,
            python=weak,
            takes_numbers=True,
        )
    )
    return primitive


def _elementwise_vjp(partials: tuple[Partial, ...]) -> Callable[..., tuple[Any, ...]]:
    partials = tuple(map(blockwise, partials))
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


def elementwise_jvp(partials: tuple[Partial, ...]) -> Callable[..., Any]:
    """The jvp rule of an elementwise operation: the sum of its partials, each scaled by the tangent."""
    partials = tuple(map(blockwise, partials))

    def jvp(tangents: Any, out: Any, *operands: Any) -> Any:
        terms = [
            partial(tangent, out, *operands)
            for partial, tangent in zip(partials, tangents, strict=True)
            if tangent is not None
        ]
        return fit_tangent(functools.reduce(operations.accumulate, terms), out)

    return jvp


# Batching rules: most operations need one of these three.


def batch_elementwise(primitive: Primitive, batched: tuple[bool, ...], *operands: Any, **params: Any) -> Any:
    """The batching rule of what broadcasts: operands of fewer axes get new ones behind that of the examples."""
    ranks = [len(shape_of(operand)) - own for operand, own in zip(operands, batched, strict=True)]
    rank = max(ranks)
    aligned = [
        lead_axes(operand, rank) if own and count < rank else operand
        for operand, own, count in zip(operands, batched, ranks, strict=True)
    ]
    return bind(primitive, *aligned, **params)


def lead_axes(x: Any, rank: int) -> Any:
    """A batch of values with new axes of length 1 in front of each value's own, which makes `rank` of them."""
    size, *shape = shape_of(x)
    return reshape_to(x, (size, *[1] * (rank - len(shape)), *shape)) if len(shape) < rank else x


def batch_stacked(primitive: Primitive, batched: tuple[bool, ...], *operands: Any, **params: Any) -> Any:
    """The batching rule of what treats leading axes as a stack already, such as keys."""
    return bind(primitive, *operands, **params)


def batch_over_axes(primitive: Primitive, batched: tuple[bool, ...], x: Any, *, axes: Any, **params: Any) -> Any:
    """The batching rule of an operation on one operand that has a param `axes`: each lies one place further on."""
    return bind(primitive, x, axes=tuple([axis + 1 for axis in axes]), **params)


def batch_over_axis(primitive: Primitive, batched: tuple[bool, ...], x: Any, *, axis: int, **params: Any) -> Any:
    """The batching rule of an operation on one operand that has a param `axis`: it lies one place further on."""
    return bind(primitive, x, axis=axis + 1, **params)


def batch_by_example(primitive: Primitive, batched: tuple[bool, ...], *operands: Any, **params: Any) -> Any:
    """The batching rule of last resort: one example after the other, and the results stacked."""
    size = batch_size(batched, operands)
    results = []
    for position in range(size):
        example = [
            operations.getitem(operand, position) if own else operand
            for operand, own in zip(operands, batched, strict=True)
        ]
        results.append(bind(primitive, *example, **params))
    if results:
        return operations.stack(results)
    avals = [
        ShapeDtype(operand.shape[1:], operand.dtype) if own else shape_dtype_of(operand)
        for operand, own in zip(operands, batched, strict=True)
    ]
    aval = primitive.shape_rule(*avals, **params)
    return adopt(np.zeros((0, *aval.shape), aval.dtype))


def batch_size(batched: tuple[bool, ...], operands: tuple[Any, ...]) -> int:
    """How many examples there are."""
    return int(shape_of(next(operand for operand, own in zip(operands, batched, strict=True) if own))[0])


def as_batch(operand: Any, own: bool, size: int) -> Any:
    """An operand with the axis of the examples: repeated along it where it has none."""
    return operand if own else broadcast(operand, (size, *shape_of(operand)))


def linear(
    name: str,
    evaluate: Callable[..., Any],
    shape_rule: Callable[..., ShapeDtype],
    adjoint: Callable[..., Any],
    *,
    batch: Callable[..., Any],
    makes_views: bool = False,
) -> Primitive:
    """A linear map of one operand, by its adjoint: ``adjoint(g, x, **params)``; of x only shape and dtype matter."""

    def vjp(g: Any, needed: Any, out: Any, x: Any, **params: Any) -> tuple[Any]:
        return (adjoint(g, x, **params),)

    return register(Primitive(name, evaluate, shape_rule, vjp, linear=slice(1), batch=batch, makes_views=makes_views))


def bilinear(
    name: str,
    evaluate: Callable[..., Any],
    shape_rule: Callable[..., ShapeDtype],
    left_adjoint: Callable[..., Any],
    right_adjoint: Callable[..., Any],
    *,
    batch: Callable[..., Any],
) -> Primitive:
    """A map that is linear in each of two operands, by its two adjoints: ``adjoint(g, x, y, **params)``."""

    def jvp(tangents: Any, out: Any, x: Any, y: Any, **params: Any) -> Any:
        left, right = tangents
        terms = []
        if left is not None:
            terms.append(bind(primitive, left, y, **params))
        if right is not None:
            terms.append(bind(primitive, x, right, **params))
        return fit_tangent(functools.reduce(operations.accumulate, terms), out)

    def vjp(g: Any, needed: Any, out: Any, x: Any, y: Any, **params: Any) -> tuple[Any, Any]:
        return (
            unbroadcast(left_adjoint(g, x, y, **params), x) if needed[0] else None,
            unbroadcast(right_adjoint(g, x, y, **params), y) if needed[1] else None,
        )

    primitive = register(Primitive(name, evaluate, shape_rule, vjp, jvp, batch=batch))
    return primitive


def constant(
    name: str,
    evaluate: Callable[..., Any],
    shape_rule: Callable[..., Any],
    *,
    batch: Callable[..., Any] | None,
    **flags: Any,
) -> Primitive:
    """An operation whose result carries no gradient: integers, booleans, fresh values."""
    return register(Primitive(name, evaluate, shape_rule, locally_constant=True, batch=batch, **flags))


# Parameters of NumPy's functions by which they may write into an argument.
_MAY_WRITE = frozenset(("out", "overwrite_input", "copy"))
# What NumPy's functions take as it is, when an untraced call goes to one of them.
# An ndarray is not among it: the result could be a view of memory that its owner writes to.
_PLAIN = frozenset((int, float, complex, bool, str, slice, type(None)))
_UNKNOWN = object()
# The dtypes that most results have, and all that any has without objects or strings.
_CHARS = frozenset(np.typecodes["All"]) - frozenset("OSUVMm")


def untraced_by(
    numpy_function: Any, *, unless: Callable[..., bool] | None = None, result: Callable[..., Any] | None = None
) -> Callable[[F], F]:
    """Decorator: an untraced call of this composed function is NumPy's function itself.

    The two give the same bits, as the tests see to: the composition does what NumPy does, in its order, or only moves
    elements about. NumPy takes a fraction of the time. What NumPy refuses goes on to the composition, which explains
    what is wrong; so does every call with tracers.

    Args:
        numpy_function: NumPy's; None stands for one that the installed NumPy does not have.
        unless: given the arguments, whether NumPy computes them in another way.
        result: the record to return the results in, for a function that has several.
    """

    def decorate(function: F) -> F:
        if numpy_function is None:
            return function

        code = function.__code__
        places = sys.maxsize if code.co_flags & inspect.CO_VARARGS else code.co_argcount
        takes = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
        names = frozenset(takes) - _MAY_WRITE

        @functools.wraps(function)
        def untraced_quickly(*args: Any, **kwargs: Any) -> Any:
            # NumPy's function may have further parameters, of which the composition says that it has them not.
            if len(args) > places or (kwargs and not names.issuperset(kwargs)):
                return function(*args, **kwargs)
            arrays = [value._array if type(value) is ConcreteTensor else _as_array(value) for value in args]
            named = {key: _as_array(value) for key, value in kwargs.items()} if kwargs else kwargs
            for value in (*arrays, *named.values()) if named else arrays:
                if value is _UNKNOWN:
                    return function(*args, **kwargs)
            if unless is not None and unless(*args, **kwargs):
                return function(*args, **kwargs)
            try:
                found = numpy_function(*arrays, **named)
            except Exception:  # noqa: BLE001 - whatever it is, the composition finds and explains it
                return function(*args, **kwargs)
            if type(found) is np.ndarray and found.dtype.char in _CHARS:
                return adopt(found)
            return _as_tensors(found) if result is None else result(*_as_tensors(found))

        return cast("F", untraced_quickly)

    return decorate


def _as_array(value: Any) -> Any:
    """A value with arrays in the places of concrete tensors; _UNKNOWN where a tracer or anything else is among it."""
    if type(value) in _PLAIN:
        return value
    if type(value) is ConcreteTensor:
        return value._array
    if type(value) is list or type(value) is tuple:
        inner = [_as_array(part) for part in value]
        if any([part is _UNKNOWN for part in inner]):
            return _UNKNOWN
        return inner if type(value) is list else tuple(inner)
    return value if isinstance(value, np.dtype) else _UNKNOWN


def _as_tensors(found: Any) -> Any:
    if type(found) is np.ndarray:
        return adopt(found) if found.dtype.char in _CHARS else to_tensor(found)
    if isinstance(found, list | tuple):
        parts = [_as_tensors(part) for part in found]
        return parts if type(found) is list else tuple(parts)
    return adopt(np.asarray(found)) if isinstance(found, np.generic) else found


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
