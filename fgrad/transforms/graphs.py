"""make_graph and eval_shape: what a function does, and what it returns, found without doing it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import attrs
import numpy as np

from fgrad.core.errors import DtypeError, at_user_line
from fgrad.core.graph import Graph
from fgrad.core.key import Key
from fgrad.core.pytree import flatten, flatten_with_path, unflatten
from fgrad.core.reuse import rehearsal
from fgrad.core.shape import ShapeDtype
from fgrad.core.staging import stage
from fgrad.core.tensor import NUMERIC
from fgrad.ops.staged import Form, aval_of, take_apart, value_of
from fgrad.transforms.calling import describe, function_name, require_function

__all__ = ["eval_shape", "make_graph"]

P = ParamSpec("P")


def make_graph(function: Callable[P, Any]) -> Callable[P, Graph]:
    """The program of a function: a function of the same positional arguments that returns its Graph.

    The function runs once on stand-ins that have a shape and a dtype but no values, and every operation becomes an
    equation. Printing the graph shows it; calling the graph evaluates it. In the place of an array an argument may
    hold its `ShapeDtype`.

    Raises:
        DtypeError: a leaf of the arguments is not a number, an array or a key.
        TracerConversionError: the function asks a stand-in for its value (``if x > 0``).

    >>> import fgrad as fg
    >>> graph = fg.make_graph(lambda x: fg.sin(x) * 2.0)(fg.asarray([1.0, 2.0]))
    >>> print(graph)  # doctest: +ELLIPSIS
    graph(a: float64[2]):
        b: float64[2] = sin(a)...
        c: float64[2] = multiply(b, 2.0)...
        return c
    >>> graph(fg.asarray([0.0, 0.0]))
    Tensor([0., 0.], dtype=float64)
    """
    require_function(function, "make_graph")

    @functools.wraps(function)
    def graph_of(*args: P.args, **kwargs: P.kwargs) -> Graph:
        leaves, structure = flatten(args)
        for position, leaf in enumerate(leaves):
            if not isinstance(leaf, _VALUES):
                path = flatten_with_path(args)[0][position][0]
                message = f"args{path} is {describe(leaf)}; make_graph takes numbers, arrays and keys as arguments"
                raise DtypeError(at_user_line(message))
        found: dict[str, Any] = {}

        def flat_function(*tracers: Any) -> list[Any]:
            given = [Key(t) if isinstance(leaf, Key) else t for leaf, t in zip(leaves, tracers, strict=True)]
            out = function(*unflatten(structure, given), **kwargs)
            out_leaves, found["structure"] = flatten(out)
            found["keys"] = tuple([i for i, leaf in enumerate(out_leaves) if isinstance(leaf, Key)])
            return list(map(value_of, out_leaves))

        graph, _ = stage(flat_function, list(map(_aval, leaves)), "make_graph")
        return attrs.evolve(graph, in_structure=structure, out_structure=found["structure"], out_keys=found["keys"])

    return graph_of


def eval_shape(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of what a function would return, without computing it.

    The function runs once on stand-ins that have a shape and a dtype but no values, so arrays of any size cost
    nothing.

    Args:
        function: takes and returns pytrees of numbers, arrays and random keys.
        *args: its arguments. In the place of an array may stand its `ShapeDtype`; of arrays only shape and dtype are
            read. Leaves of other kinds (strings, functions) are passed on as they are.
        **kwargs: its keyword arguments, likewise.

    Returns:
        The pytree that the function returns, with a `ShapeDtype` in the place of each number and array. A random key
        is a key whose words are the `ShapeDtype` of its words, so that the result can be given to `eval_shape` again.

    Raises:
        ShapeError, DtypeError: what the function would raise; DtypeError also when it returns something else than
            numbers, arrays and keys.
        TracerConversionError: the function asks a stand-in for its value (``if x > 0``).

    >>> import numpy as np, fgrad as fg
    >>> x = fg.ShapeDtype((1000000, 1000), np.dtype("float32"))
    >>> out = fg.eval_shape(lambda x, w: {"y": fg.tanh(x @ w)}, x, fg.ones((1000, 10), "float32"))
    >>> print(out["y"])
    float32[1000000,10]
    """
    require_function(function, "eval_shape", ", x")
    leaves, structure = flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, _VALUES)]
    forms: list[Form] = []

    def flat_function(*tracers: Any) -> list[Any]:
        filled = list(leaves)
        for place, tracer in zip(places, tracers, strict=True):
            filled[place] = Key(tracer) if isinstance(leaves[place], Key) else tracer
        positional, named = unflatten(structure, filled)
        found, form = take_apart(function(*positional, **named), "eval_shape", f"{function_name(function)}(...)")
        forms.append(form)
        return list(map(value_of, found))

    # Keys that the function consumes are not consumed by a run that draws nothing.
    with rehearsal():
        graph, _ = stage(flat_function, [_aval(leaves[place]) for place in places], "eval_shape")
    avals: list[Any] = [operand.aval for operand in graph.outputs]
    return forms[0].build(avals)


_VALUES = (*NUMERIC, Key, ShapeDtype)


def _aval(leaf: Any) -> ShapeDtype:
    aval = aval_of(leaf)
    # A user may write a shape as a list, and a dtype as anything that NumPy makes one of.
    return ShapeDtype(tuple(aval.shape), np.dtype(aval.dtype), aval.weak)
