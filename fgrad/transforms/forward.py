"""Forward mode: jvp and linearize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar, overload

import attrs

from fgrad.core.bind import Tracer
from fgrad.core.dual import DualTrace, open_dual, tangent_of
from fgrad.core.errors import NotDifferentiableError, TreeError, at_user_line
from fgrad.core.graph import Equation, Graph, Operand, Variable
from fgrad.core.key import Key
from fgrad.core.primal import is_inexact_value, lower, zeros_for
from fgrad.core.pytree import (
    Structure,
    flatten,
    flatten_up_to,
    flatten_with_path,
    register_node,
    tree_map,
    unflatten,
)
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.staging import stage
from fgrad.core.tensor import NUMERIC, Tensor
from fgrad.transforms.calling import (
    describe,
    fit_linear,
    leaf_paths,
    lower_leaf,
    require_function,
    require_kept,
    traceable,
)

__all__ = ["LinearMap", "jvp", "linearize"]

R = TypeVar("R")
A = TypeVar("A")


@overload
def jvp(
    function: Callable[..., tuple[R, A]], primals: Sequence[Any], tangents: Sequence[Any], has_aux: Literal[True]
) -> tuple[R, R, A]: ...
@overload
def jvp(
    function: Callable[..., R], primals: Sequence[Any], tangents: Sequence[Any], has_aux: Literal[False] = False
) -> tuple[R, R]: ...
def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of a function and its derivative along a direction, J v, at about twice the cost of the value.

    Forward mode: every operation carries the tangent of its result beside the result (Griewank and Walther, Evaluating
    Derivatives, 2nd ed., section 3.1). Nothing is recorded, so the memory is that of the function.

    Args:
        function: takes the primals and returns a pytree of numbers and arrays (with `has_aux` a pair of that and
            anything else).
        primals: a tuple (or list) of the arguments, pytrees.
        tangents: a tuple of as many directions of the same structures, shapes and dtypes. None stands for a zero;
            leaves that are integers, booleans or keys have no direction but None.
        has_aux: the function returns ``(out, aux)``.

    Returns:
        ``(out, tangent)``, or ``(out, tangent, aux)``; `tangent` is like `out`, and None where that is not of floating
        point.

    Raises:
        TreeError, ShapeError, DtypeError: a tangent does not fit its primal; the message has its path.
        NotDifferentiableError: a tangent is given for an integer, a boolean or a key.

    >>> import fgrad as fg
    >>> fg.jvp(lambda x: x**2, (fg.asarray([1.0, 3.0]),), (fg.asarray([1.0, 0.5]),))
    (Tensor([1., 9.], dtype=float64), Tensor([2., 3.], dtype=float64))
    """
    require_function(function, "jvp", ", (x,), (v,)")
    leaves, structure = flatten(as_arguments(primals, "primals", "jvp"))
    directions = fit_tangents(list(map(tangent_type, leaves)), structure, as_arguments(tangents, "tangents", "jvp"))
    trace = open_dual()
    out, aux = call_on_duals(trace, function, leaves, structure, directions, has_aux=has_aux)
    out_leaves, out_structure = flatten(out)
    values = [lower_leaf(trace, leaf) for leaf in out_leaves]
    found = [tangent_or_zeros(trace, leaf) for leaf in out_leaves]
    result = unflatten(out_structure, values), unflatten(out_structure, found)
    return (*result, aux) if has_aux else result


def as_arguments(values: Any, name: str, transform: str) -> tuple[Any, ...]:
    """The primals or tangents as they were given, which have to be a tuple or list."""
    if not isinstance(values, tuple | list):
        message = (
            f"the {name} of {transform} are given as a tuple with one entry for each argument of the function, not as "
            f"{describe(values)}: fg.{transform}(f, (x,), (v,))"
        )
        raise TypeError(at_user_line(message))
    return tuple(values)


def fit_tangents(primals: Sequence[ShapeDtype | str], structure: Structure, tangents: tuple[Any, ...]) -> list[Any]:
    """The tangent for each leaf of the primals, None where it is zero or where there can be none.

    `primals` has the type of each leaf, or, of one that has no tangent, what it is.
    """
    given = flatten_up_to(structure, tangents, "tangents")
    return [
        tangent
        if tangent is None
        or (isinstance(tangent, Tensor) and isinstance(primal, ShapeDtype) and _fits(tangent, primal))
        else _fit_tangent(tangent, primal, leaf_paths(structure)[position])
        for position, (primal, tangent) in enumerate(zip(primals, given, strict=True))
    ]


def _fits(tangent: Tensor, primal: ShapeDtype) -> bool:
    return tangent.shape == primal.shape and tangent.dtype == primal.dtype and not tangent.weak


def _fit_tangent(tangent: Any, primal: ShapeDtype | str, path: str) -> Any:
    if isinstance(primal, ShapeDtype):
        return fit_linear(tangent, primal, f"tangents{path}", f"primals{path}")
    message = (
        f"tangents{path} is the direction of primals{path}, which is {primal} and has none: only floating-point leaves "
        f"have; pass None there"
    )
    raise NotDifferentiableError(at_user_line(message))


def tangent_type(leaf: Any) -> ShapeDtype | str:
    """The shape and dtype of a leaf's tangents; of a leaf that has none, what it is."""
    primal = traceable(leaf)
    if primal is not None and is_inexact_value(primal):
        return shape_dtype_of(primal)
    return "a random key" if isinstance(leaf, Key) else describe(leaf)


def call_on_duals(
    trace: DualTrace,
    function: Callable[..., Any],
    leaves: list[Any],
    structure: Structure,
    tangents: list[Any],
    *,
    has_aux: bool = False,
) -> tuple[Any, Any]:
    """Calls a function with its arguments' leaves as dual numbers and closes the trace; gives ``(out, aux)``."""
    traced = [
        leaf if tangent is None else trace.new_input(traceable(leaf), tangent)
        for leaf, tangent in zip(leaves, tangents, strict=True)
    ]
    try:
        out = function(*unflatten(structure, traced))
    finally:
        trace.closed = True
    if not has_aux:
        return _require_numbers(trace, out), None
    if not isinstance(out, tuple) or len(out) != 2:
        message = f"with has_aux=True the function must return a pair (out, aux); it returned {describe(out)}"
        raise TreeError(at_user_line(message))
    return _require_numbers(trace, out[0]), tree_map(lambda leaf: lower(trace, leaf), out[1])


def _require_numbers(trace: DualTrace, out: Any) -> Any:
    for path, leaf in flatten_with_path(out)[0]:
        if not isinstance(leaf, (*NUMERIC, Key)):
            where = f" at {path}" if path else ""
            message = (
                f"{trace.transform} needs a function that returns numbers and arrays; it returned {describe(leaf)}"
                f"{where}"
            )
            raise TreeError(at_user_line(message))
    return out


def tangent_or_zeros(trace: DualTrace, leaf: Any) -> Any:
    """The tangent of a leaf that the function returned; None where it can have none."""
    tangent = tangent_of(trace, leaf)
    if tangent is None and is_inexact_value(leaf):
        return zeros_for(lower(trace, leaf))
    return tangent


@attrs.frozen
class Spaces:
    """What a linear map leads from and to.

    For each leaf of the primals its type, or, where it has no tangent, what it is; for each of the output whether it
    has one.
    """

    primals: tuple[ShapeDtype | str, ...]
    in_structure: Structure
    has_tangent: tuple[bool, ...]
    out_structure: Structure


@attrs.frozen(eq=False, repr=False)
class LinearMap(Generic[R]):
    """The derivative of a function at a point, J, as a linear function: ``linear_map(*tangents)`` is J v.

    Its program is `graph`, whose first inputs are the values that it keeps from the run of the function, `kept`. It is
    a pytree with these as leaves, so that it can be returned through `vmap`, `jvp` and the like. What `vmap` returns
    is one of a batch, and is applied under `vmap`.
    """

    graph: Graph
    kept: Sequence[Any]
    spaces: Spaces

    def __repr__(self) -> str:
        count = len(self.graph.inputs) - len(self.kept)
        return f"<linear map from {count} to {len(self.graph.outputs)} arrays>"

    def __call__(self, *tangents: Any) -> R:
        """The derivative along a direction, given as tangents like the arguments of the function; None is a zero.

        Raises:
            TreeError, ShapeError, DtypeError: when a tangent does not fit its primal, naming the path.
        """
        spaces = self.spaces
        for variable, value in zip(self.graph.inputs, self.kept, strict=False):
            require_kept(value, variable.aval, "linear map", "linear_map, v: linear_map(v)")
        fitted = fit_tangents(spaces.primals, spaces.in_structure, tangents)
        operands = [
            zeros_for(primal) if tangent is None else tangent
            for primal, tangent in zip(spaces.primals, fitted, strict=True)
            if isinstance(primal, ShapeDtype)
        ]
        results = iter(self.graph.evaluate(*self.kept, *operands))
        found = [next(results) if present else None for present in spaces.has_tangent]
        out: R = unflatten(spaces.out_structure, found)
        return out


register_node(
    LinearMap,
    lambda linear_map: (linear_map.kept, (linear_map.graph, linear_map.spaces)),
    lambda metadata, kept: LinearMap(metadata[0], tuple(kept), metadata[1]),
)


def _keep_tensors(graph: Graph, captured: list[Tracer]) -> tuple[Graph, list[Any]]:
    """The graph with the tensors among its constants as inputs, after those captured, and the values of them all."""
    kept: list[Any] = list(captured)
    variables: dict[int, Variable] = {}

    def replace(operand: Operand) -> Operand:
        if isinstance(operand, Variable) or not isinstance(operand.value, Tensor):
            return operand
        value = operand.value
        if id(value) not in variables:
            variables[id(value)] = Variable(operand.aval)
            kept.append(value)
        return variables[id(value)]

    equations = [
        Equation(e.primitive, tuple(map(replace, e.operands)), e.params, e.results, e.source) for e in graph.equations
    ]
    outputs = tuple(map(replace, graph.outputs))
    inputs = (*graph.inputs[: len(captured)], *variables.values(), *graph.inputs[len(captured) :])
    return Graph(inputs, tuple(equations), outputs, captured=len(kept)), kept


def linearize(function: Callable[..., R], *primals: Any) -> tuple[R, LinearMap[R]]:
    """The value of a function and its derivative as a linear map v -> J v, which can be applied any number of times.

    The function runs once; what depends on the primals alone is computed in that run, and only the linear rest is
    left for each application. The same as ``lambda v: jvp(function, primals, (v,))[1]``, at a fraction of the cost
    when there are many directions.

    Args:
        function: takes the primals and returns a pytree of numbers and arrays.
        *primals: pytrees; floating-point leaves have tangents, and leaves of other kinds None.

    Returns:
        ``(out, linear_map)``.

    >>> import fgrad as fg
    >>> y, linear_map = fg.linearize(fg.sin, fg.asarray([0.0, 1.0]))
    >>> linear_map(fg.asarray([2.0, 0.0]))
    Tensor([2., 0.], dtype=float64)
    """
    require_function(function, "linearize", ", x")
    leaves, structure = flatten(primals)
    types = tuple(map(tangent_type, leaves))
    found: list[Any] = []

    def push(*tangents: Any) -> list[Any]:
        given = iter(tangents)
        directions = [next(given) if isinstance(kind, ShapeDtype) else None for kind in types]
        trace = open_dual("linearize")
        out, _ = call_on_duals(trace, function, leaves, structure, directions)
        out_leaves, out_structure = flatten(out)
        values = [lower_leaf(trace, leaf) for leaf in out_leaves]
        results = [tangent_or_zeros(trace, leaf) for leaf in out_leaves]
        found.extend([unflatten(out_structure, values), out_structure, [t is not None for t in results]])
        return [tangent for tangent in results if tangent is not None]

    strong = [ShapeDtype(kind.shape, kind.dtype) for kind in types if isinstance(kind, ShapeDtype)]
    graph, kept = _keep_tensors(*stage(push, strong, "linearize", everything=False))
    value, out_structure, has_tangent = found
    return value, LinearMap(graph, kept, Spaces(types, structure, tuple(has_tangent), out_structure))
