"""make_graph: the program of a function as a Graph."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import attrs

from fgrad.core.errors import DtypeError, at_user_line
from fgrad.core.graph import Graph
from fgrad.core.key import Key
from fgrad.core.pytree import flatten, flatten_with_path, unflatten
from fgrad.core.shape import shape_dtype_of
from fgrad.core.staging import stage
from fgrad.core.tensor import NUMERIC

__all__ = ["make_graph"]

P = ParamSpec("P")


def make_graph(function: Callable[P, Any]) -> Callable[P, Graph]:
    """The program of a function: a function of the same positional arguments that returns its Graph.

    The function runs once on stand-ins that have a shape and a dtype but no values, and every operation becomes an
    equation. Printing the graph shows it; calling the graph evaluates it.

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

    @functools.wraps(function)
    def graph_of(*args: P.args, **kwargs: P.kwargs) -> Graph:
        leaves, structure = flatten(args)
        avals = [shape_dtype_of(_staged_leaf(leaf)) for leaf in leaves if _require_value(leaf, args)]
        found: dict[str, Any] = {}

        def flat_function(*tracers: Any) -> list[Any]:
            given = [Key(t) if isinstance(leaf, Key) else t for leaf, t in zip(leaves, tracers, strict=True)]
            out = function(*unflatten(structure, given), **kwargs)
            out_leaves, found["structure"] = flatten(out)
            found["keys"] = tuple([i for i, leaf in enumerate(out_leaves) if isinstance(leaf, Key)])
            return [_staged_leaf(leaf) for leaf in out_leaves]

        graph, _ = stage(flat_function, avals, "make_graph")
        return attrs.evolve(graph, in_structure=structure, out_structure=found["structure"], out_keys=found["keys"])

    return graph_of


def _staged_leaf(leaf: Any) -> Any:
    return leaf.words if isinstance(leaf, Key) else leaf


def _require_value(leaf: Any, args: tuple[Any, ...]) -> bool:
    if isinstance(leaf, (*NUMERIC, Key)):
        return True
    path = next(path for path, other in flatten_with_path(args)[0] if other is leaf)
    message = f"args{path} is a {type(leaf).__name__}; make_graph takes numbers, arrays and keys as arguments"
    raise DtypeError(at_user_line(message))
