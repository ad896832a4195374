"""Reverse mode: vjp, grad and value_and_grad."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, overload

import numpy as np

from fgrad.core.errors import NotDifferentiableError, TreeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.primal import is_inexact_value, lower, zeros_for
from fgrad.core.pytree import Structure, flatten, tree_map, unflatten
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tape import TapeTrace, TapeTracer, open_tape, walk_back
from fgrad.core.tensor import NUMERIC, ConcreteTensor, Tensor, adopt
from fgrad.transforms.argnums import INTEGERS, Argnums, choose, require_argnums, require_complex
from fgrad.transforms.calling import describe, leaf_paths, lower_leaf, require_function, traceable
from fgrad.transforms.pullback import Ends, Pullback

__all__ = ["grad", "value_and_grad", "vjp"]

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")


@overload
def grad(
    function: Callable[P, tuple[Any, A]],
    argnums: Argnums = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
) -> Callable[P, tuple[Any, A]]: ...
@overload
def grad(
    function: Callable[P, tuple[Any, A]], argnums: Argnums, has_aux: Literal[True], *, holomorphic: bool = False
) -> Callable[P, tuple[Any, A]]: ...
@overload
def grad(
    function: Callable[P, Any], argnums: Argnums = 0, has_aux: Literal[False] = False, *, holomorphic: bool = False
) -> Callable[P, Any]: ...
def grad(
    function: Callable[P, Any], argnums: Argnums = 0, has_aux: bool = False, *, holomorphic: bool = False
) -> Callable[P, Any]:
    """The gradient of a scalar function, as a function of the same arguments.

    For a scalar loss f(x) the result has, at each leaf x_i, the derivatives df/dx_i: the shape, dtype and tree
    structure of the argument. One backward pass gives all of them, at a small multiple of the cost of f
    (Griewank and Walther, Evaluating Derivatives, 2nd ed., section 4.6).

    At a complex leaf z = a + ib of a real loss it is dL/da - i dL/db, the conjugate of the direction of steepest
    ascent. With `holomorphic` the function maps complex numbers to a complex scalar, and the result is its complex
    derivative f'(z).

    Args:
        function: returns a scalar, or (with `has_aux`) a pair of a scalar and anything else.
        argnums: which positional arguments to differentiate by; a tuple gives a tuple of gradients.
        has_aux: the function returns ``(loss, aux)``; the result is then ``(gradient, aux)``.
        holomorphic: the function is holomorphic in the chosen arguments, which are complex, and returns a complex
            scalar. That it is holomorphic is not checked.

    Returns:
        A function with the arguments of `function`. Floating-point leaves of the chosen arguments (tensors, arrays,
        Python floats) give Tensors; None subtrees stay None. Other arguments, and keyword arguments, may be anything.

    Raises:
        NotDifferentiableError: a leaf is an integer, a boolean or a key; the loss is not a real scalar; with
            `holomorphic`, a leaf or the result is not complex.
        EscapedTracerError: the function returns a value of a transform that finished inside it.

    >>> import fgrad as fg
    >>> fg.grad(lambda x: x**2)(3.0)
    Tensor(6., dtype=float64)
    >>> fg.grad(lambda params: fg.sum(params["w"] * params["x"]))({"w": 2.0, "x": fg.asarray([1.0, 3.0])})
    {'w': Tensor(4., dtype=float64), 'x': Tensor([2., 2.], dtype=float64)}
    >>> fg.grad(lambda z: z**3, holomorphic=True)(1.0 + 2.0j)
    Tensor(-9.+12.j, dtype=complex128)
    """
    require_function(function, "grad")
    require_argnums(argnums, "grad")
    transformed = value_and_gradient_of(function, argnums, has_aux=has_aux, holomorphic=holomorphic)

    @functools.wraps(function)
    def gradient(*args: P.args, **kwargs: P.kwargs) -> Any:
        value, gradients = transformed(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


@overload
def value_and_grad(
    function: Callable[P, tuple[R, A]],
    argnums: Argnums = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
) -> Callable[P, tuple[tuple[R, A], Any]]: ...
@overload
def value_and_grad(
    function: Callable[P, tuple[R, A]], argnums: Argnums, has_aux: Literal[True], *, holomorphic: bool = False
) -> Callable[P, tuple[tuple[R, A], Any]]: ...
@overload
def value_and_grad(
    function: Callable[P, R], argnums: Argnums = 0, has_aux: Literal[False] = False, *, holomorphic: bool = False
) -> Callable[P, tuple[R, Any]]: ...
def value_and_grad(
    function: Callable[P, Any], argnums: Argnums = 0, has_aux: bool = False, *, holomorphic: bool = False
) -> Callable[P, tuple[Any, Any]]:
    """Like `grad`, giving ``(value, gradient)``, or ``((value, aux), gradient)`` with `has_aux`.

    >>> import fgrad as fg
    >>> fg.value_and_grad(lambda x: fg.sum(x * x))(fg.asarray([1.0, 2.0]))
    (Tensor(5., dtype=float64), Tensor([2., 4.], dtype=float64))
    """
    require_function(function, "value_and_grad")
    require_argnums(argnums, "value_and_grad")
    transformed = value_and_gradient_of(function, argnums, has_aux=has_aux, holomorphic=holomorphic)

    @functools.wraps(function)
    def value_and_gradient(*args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        return transformed(*args, **kwargs)

    return value_and_gradient


def value_and_gradient_of(
    function: Callable[..., Any],
    argnums: Argnums,
    *,
    has_aux: bool,
    transform: str = "grad",
    holomorphic: bool = False,
) -> Callable[..., tuple[Any, Any]]:
    """The work of `value_and_grad`, for a function whose name and documentation do not matter."""
    one = isinstance(argnums, INTEGERS)

    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions, primals, structure = choose(function, argnums, args, transform, "gradient")
        if holomorphic:
            require_complex(function, positions, args, transform)
        trace = open_tape(transform)
        chosen = unflatten(structure, [trace.new_input(primal) for primal in primals])
        arguments = list(args)
        for position, argument in zip(positions, chosen, strict=True):
            arguments[position] = argument
        try:
            out = function(*arguments, **kwargs)
        finally:
            trace.closed = True
        loss, aux = split_aux(out, trace) if has_aux else (out, None)
        value, gradients = _gradients(trace, loss, primals, transform, holomorphic=holomorphic)
        return (value, aux) if has_aux else value, unflatten(structure.children[0] if one else structure, gradients)

    return value_and_gradient


def _gradients(
    trace: TapeTrace, loss: Any, primals: list[Any], transform: str, *, holomorphic: bool
) -> tuple[Any, list[Any]]:
    _require_scalar(loss, transform, "c" if holomorphic else "f")
    value = lower(trace, loss)
    cotangents: list[Any] = [None] * len(trace.entries)
    if isinstance(loss, TapeTracer) and loss._trace is trace:
        cotangents[loss.slot] = _one(loss.dtype)
    walk_back(trace.entries, cotangents, free=True)
    found = cotangents[1 : len(primals) + 1]
    return value, [zeros_for(primal) if g is None else g for g, primal in zip(found, primals, strict=True)]


@functools.cache
def _one(dtype: np.dtype[Any]) -> ConcreteTensor:
    return adopt(np.ones((), dtype))


def split_aux(out: Any, trace: TapeTrace) -> tuple[Any, Any]:
    """The pair that a function with has_aux=True returns, the second lowered out of the trace.

    Raises:
        NotDifferentiableError: when it is no pair.
    """
    if not isinstance(out, tuple) or len(out) != 2:
        message = f"with has_aux=True the function must return a pair (loss, aux); it returned {describe(out)}"
        raise NotDifferentiableError(at_user_line(message))
    return out[0], tree_map(lambda leaf: lower(trace, leaf), out[1])


def _require_scalar(loss: Any, transform: str, kind: str) -> None:
    if isinstance(loss, Tensor) and loss.shape == () and loss.dtype.kind == kind:
        return
    if isinstance(loss, tuple | list) and loss:
        message = (
            f"{transform} needs a function that returns one scalar loss; it returned {describe(loss)}. If the first of "
            f"them is the loss and the rest is extra, write fg.{transform}(f, has_aux=True)"
        )
        raise NotDifferentiableError(at_user_line(message))
    if not isinstance(loss, NUMERIC):
        message = f"{transform} needs a function that returns a scalar loss; it returned {describe(loss)}"
        raise NotDifferentiableError(at_user_line(message))
    aval = shape_dtype_of(loss)
    if aval.shape:
        sums = "its only element with .reshape(())" if aval.size == 1 else "one with .sum() or .mean()"
        several = (
            "fg.jacobian for the derivatives of every element, or fg.vjp, which pulls a cotangent of that shape back"
            if transform == "grad"
            else "fg.hessian for the second derivatives of every element"
        )
        message = (
            f"{transform} needs a scalar loss, of shape (); the function returned shape {aval.shape} {aval.dtype}. "
            f"Make it {sums}, or use {several}"
        )
        raise NotDifferentiableError(at_user_line(message))
    if kind == "c" and aval.dtype.kind != "c":
        message = (
            f"{transform} with holomorphic=True needs a complex result; the function returned {aval.dtype}. A function "
            f"from complex to real numbers is not holomorphic: leave holomorphic=True out for its gradient"
        )
        raise NotDifferentiableError(at_user_line(message))
    if kind == "f" and aval.dtype.kind == "c":
        holomorphic = f"; if the function is holomorphic, fg.{transform}(f, holomorphic=True) gives its derivative"
        message = (
            f"{transform} needs a real loss; the function returned {aval.dtype}. Take fg.real(...) or fg.abs(...) of it"
            f"{holomorphic if transform == 'grad' else ''}"
        )
        raise NotDifferentiableError(at_user_line(message))
    if aval.dtype.kind not in "fc":
        message = (
            f"{transform} needs a floating-point loss; the function returned {aval.dtype}, whose derivative is zero or "
            f"undefined everywhere"
        )
        raise NotDifferentiableError(at_user_line(message))


@overload
def vjp(function: Callable[..., tuple[R, A]], *primals: Any, has_aux: Literal[True]) -> tuple[R, Pullback, A]: ...
@overload
def vjp(function: Callable[..., R], *primals: Any, has_aux: Literal[False] = False) -> tuple[R, Pullback]: ...
def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of a function and its pullback, the map u -> u^T J from output cotangents to input cotangents.

    Args:
        function: takes the primals and returns a pytree of numbers, arrays and random keys (with `has_aux` a pair of
            that and anything else).
        *primals: pytrees; floating-point leaves get cotangents, others None.
        has_aux: the function returns ``(out, aux)``.

    Returns:
        ``(out, pullback)``, or ``(out, pullback, aux)``. ``pullback(cotangent)`` takes what `out` looks like, with
        None for its integers, booleans and keys, and returns a tuple with one pytree per primal; it can be called any
        number of times.

    Raises:
        TypeError: when `function` is not callable.
        TreeError: when it returns something else than numbers, arrays and keys.

    >>> import fgrad as fg
    >>> y, pullback = fg.vjp(lambda x: x**2, fg.asarray([1.0, 2.0, 3.0]))
    >>> pullback(fg.asarray([1.0, 0.0, 10.0]))
    (Tensor([ 2.,  0., 60.], dtype=float64),)
    """
    require_function(function, "vjp", ", x")
    leaves, structure = flatten(primals)
    result, pullback, aux = run_on_tape(function, leaves, structure, has_aux=has_aux)
    return (result, pullback, aux) if has_aux else (result, pullback)


def run_on_tape(
    function: Callable[..., Any],
    leaves: list[Any],
    structure: Structure,
    *,
    has_aux: bool = False,
    transform: str = "vjp",
) -> tuple[Any, Pullback, Any]:
    """Calls a function with these leaves of the tuple of its arguments; gives ``(out, pullback, aux)``."""
    trace, tracers = trace_inputs(leaves, transform)
    try:
        out = function(*unflatten(structure, tracers))
    finally:
        trace.closed = True
    aux = None
    if has_aux:
        out, aux = split_aux(out, trace)
    out_leaves, out_structure = flatten(out)
    for position, leaf in enumerate(out_leaves):
        if not isinstance(leaf, (*NUMERIC, Key)):
            path = leaf_paths(out_structure)[position]
            where = f" at {path}" if path else ""
            message = (
                f"{transform} needs a function that returns numbers and arrays; it returned {describe(leaf)}{where}"
            )
            raise TreeError(at_user_line(message))
    values = [lower_leaf(trace, leaf) for leaf in out_leaves]
    ends = Ends(
        tuple([_slot(trace, tracer) for tracer in tracers]),
        tuple([shape_dtype_of(tracer) if _slot(trace, tracer) else None for tracer in tracers]),
        structure,
        tuple([_slot(trace, leaf) for leaf in out_leaves]),
        tuple([_differentiable_type(leaf) for leaf in out_leaves]),
        out_structure,
    )
    return unflatten(out_structure, values), Pullback(ends, trace.entries), aux


def _slot(trace: TapeTrace, value: Any) -> int:
    return value.slot if type(value) is TapeTracer and value._trace is trace else 0


def _differentiable_type(leaf: Any) -> ShapeDtype | None:
    return shape_dtype_of(leaf) if is_inexact_value(leaf) else None


def trace_inputs(leaves: list[Any], transform: str = "grad") -> tuple[TapeTrace, list[Any]]:
    """A tape, and the leaves with those of floating point as inputs of it."""
    trace = open_tape(transform)
    tracers = []
    for leaf in leaves:
        primal = traceable(leaf)
        tracers.append(trace.new_input(primal) if is_inexact_value(primal) else leaf)
    return trace, tracers
