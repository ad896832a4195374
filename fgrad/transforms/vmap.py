"""vmap: a function of one example applied to a batch of them at once."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fgrad.core.batching import BatchTrace, BatchTracer, open_batch
from fgrad.core.bind import Tracer, raise_escaped
from fgrad.core.errors import ShapeError, TreeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.pytree import flatten, flatten_up_to, flatten_with_path, unflatten
from fgrad.core.shape import Shape
from fgrad.core.tensor import NUMERIC, to_tensor
from fgrad.ops.shaping import moveaxis
from fgrad.ops.structure import repeat_over_examples
from fgrad.transforms.argnums import INTEGERS
from fgrad.transforms.calling import describe, function_name, parameter_name, require_function

__all__ = ["vmap"]

P = ParamSpec("P")
R = TypeVar("R")


def vmap(function: Callable[P, R], in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None) -> Callable[P, R]:
    """The function applied to every example of a batch at once: written for one example, run for all of them.

    Each operation is carried out on all examples together, so the speed is that of code written for batches. It
    composes with every other transform: ``vmap(grad(loss), in_axes=(None, 0))`` gives per-example gradients.

    Args:
        function: a function of one example; it takes and returns pytrees of numbers, arrays and random keys.
        in_axes: the axis of each positional argument along which the examples lie; None for an argument that is the
            same for all. One integer stands for every argument. Within a tuple, each entry may be a pytree that is a
            prefix of its argument, such as ``{"w": None, "x": 0}``. Keyword arguments lie along axis 0.
        out_axes: where the axis of the examples goes in each result: an integer, or a pytree that is a prefix of the
            result; None says that a result is the same for all examples, and returns it once.
        axis_size: the number of examples, for calls in which no argument tells it.

    Returns:
        A function of the same arguments, each with one more axis where `in_axes` says so. An array of random keys
        gives each example its own.

    Raises:
        ShapeError: the arguments have different numbers of examples (each is named, the odd one first), an argument
            has no such axis, a result has none for `out_axes`, or nothing tells the number of examples.
        TreeError: `in_axes` or `out_axes` is not a prefix of what it belongs to.

    >>> import fgrad as fg
    >>> fg.vmap(lambda x, w: fg.dot(x, w), in_axes=(0, None))(fg.asarray([[1.0, 2.0], [3.0, 4.0]]), fg.ones(2))
    Tensor([3., 7.], dtype=float64)
    >>> fg.vmap(fg.grad(lambda x: x**3))(fg.asarray([1.0, 2.0]))
    Tensor([ 3., 12.], dtype=float64)
    """
    require_function(function, "vmap")
    _require_axes(in_axes, "in_axes")
    _require_axes(out_axes, "out_axes")
    _require_size(axis_size)

    @functools.wraps(function)
    def batched(*args: P.args, **kwargs: P.kwargs) -> R:
        leaves, structure = flatten((args, kwargs))
        axes = [*_argument_axes(in_axes, args, function), *[0] * len(flatten(kwargs)[0])]
        size = _example_count(function, args, kwargs, leaves, axes, axis_size)
        trace = open_batch(size)
        try:
            traced = [_enter(trace, leaf, axis) for leaf, axis in zip(leaves, axes, strict=True)]
            positional, named = unflatten(structure, traced)
            out = function(*positional, **named)
        finally:
            trace.closed = True
        result: R = _leave(trace, out, out_axes)
        return result

    return batched


def _require_axes(axes: Any, name: str) -> None:
    for path, axis in flatten_with_path(axes)[0]:
        try:
            operator.index(axis)
        except TypeError:
            message = f"vmap's {name}{path} is {describe(axis)}; an axis is an integer, or None for no axis"
            raise TypeError(at_user_line(message)) from None
        if isinstance(axis, bool | np.bool_):
            message = f"vmap's {name}{path} is {axis}; an axis is an integer, or None for no axis"
            raise TypeError(at_user_line(message))


def _require_size(axis_size: Any) -> None:
    if axis_size is None or (isinstance(axis_size, INTEGERS) and axis_size >= 0):
        return
    message = f"vmap's axis_size is {axis_size!r:.80}; the number of examples is an integer, 0 or more"
    raise (ShapeError if isinstance(axis_size, INTEGERS) else TypeError)(at_user_line(message))


def _argument_axes(in_axes: Any, args: tuple[Any, ...], function: Callable[..., Any]) -> list[int | None]:
    if isinstance(in_axes, list | tuple):
        if len(in_axes) != len(args):
            message = (
                f"vmap was given in_axes for {len(in_axes)} positional arguments, and {function_name(function)} was "
                f"called with {len(args)}: in_axes has one entry for each"
            )
            raise TreeError(at_user_line(message))
        axes: list[int | None] = []
        for position, (prefix, argument) in enumerate(zip(in_axes, args, strict=True)):
            if prefix is None or type(prefix) is int:
                axes.extend([prefix] * len(flatten(argument)[0]))
            else:
                name = parameter_name(function, position)
                axes.extend(spread_prefix(prefix, argument, f"in_axes[{position}]", name))
        return axes
    return spread_prefix(in_axes, args, "in_axes", "the arguments")


def spread_prefix(prefix: Any, tree: Any, name: str, of: str) -> list[Any]:
    """For each leaf of a tree, the leaf (or None) of the prefix that stands above it.

    Raises:
        TreeError: when the prefix is no prefix of the tree.
    """
    if prefix is None or not _is_node(prefix):
        return [prefix] * len(flatten(tree)[0])
    axes, structure = flatten(prefix, is_leaf=lambda node: node is None)
    try:
        parts = flatten_up_to(structure, tree, of)
    except TreeError as error:
        message = f"vmap's {name} is not a prefix of {of}: {error.args[0]}"
        raise TreeError(at_user_line(message)) from None
    return [axis for axis, part in zip(axes, parts, strict=True) for _ in flatten(part)[0]]


def _is_node(tree: Any) -> bool:
    return flatten(tree)[1].node_type is not None


def _example_count(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    leaves: list[Any],
    axes: list[int | None],
    axis_size: int | None,
) -> int:
    sizes = [
        None if axis is None else _length(leaf, axis, lambda i=i: _leaf_names(function, args, kwargs)[i])  # type: ignore[misc]
        for i, (leaf, axis) in enumerate(zip(leaves, axes, strict=True))
    ]
    counts = Counter(size for size in sizes if size is not None)
    if axis_size is not None:
        counts[axis_size] += 0
    if not counts:
        message = (
            "vmap cannot tell the number of examples: no argument has a batch axis (in_axes is None for all of them); "
            "give one an axis, or pass axis_size="
        )
        raise ShapeError(at_user_line(message))
    if len(counts) == 1:
        return next(iter(counts))
    usual = axis_size if axis_size is not None else counts.most_common(1)[0][0]
    names = _leaf_names(function, args, kwargs)
    listed = [
        (size == usual, f"{name} has {size} along axis {axis} of shape {_shape(leaf)}")
        for name, size, axis, leaf in zip(names, sizes, axes, leaves, strict=True)
        if size is not None
    ]
    odd_first = [text for _, text in sorted(listed, key=lambda item: item[0])]
    asked = "" if axis_size is None else f"; axis_size is {axis_size}"
    message = f"vmap's arguments have different numbers of examples: {', '.join(odd_first)}{asked}"
    raise ShapeError(at_user_line(message))


def _leaf_names(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    names = [
        parameter_name(function, position) + path
        for position, argument in enumerate(args)
        for path, _ in flatten_with_path(argument)[0]
    ]
    return names + [key + path for key in sorted(kwargs) for path, _ in flatten_with_path(kwargs[key])[0]]


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(getattr(leaf, "shape", ()))


def _length(leaf: Any, axis: int, name: Callable[[], str]) -> int:
    if not isinstance(leaf, (*NUMERIC, Key)):
        message = (
            f"vmap maps numbers, arrays and random keys, and {name()} is {describe(leaf)}; pass it with in_axes=None "
            f"for that argument, or let the function close over it"
        )
        raise TypeError(at_user_line(message))
    shape = _shape(leaf)
    if not -len(shape) <= axis < len(shape):
        what = f"is {leaf!r:.40}, a single number" if not hasattr(leaf, "shape") else f"has shape {shape}"
        message = (
            f"vmap maps {name()} along axis {axis}, and it {what}, without such an axis; for an argument that is the "
            f"same for all examples in_axes has None"
        )
        raise ShapeError(at_user_line(message))
    return shape[axis]


def _enter(trace: BatchTrace, leaf: Any, axis: int | None) -> Any:
    if axis is None:
        return leaf
    if isinstance(leaf, Key):
        # The reuse check goes by the array of keys, also in another call of vmap.
        return Key(trace.new_input(moveaxis(leaf.words, axis % len(leaf.shape), 0)), (leaf, 0))
    tensor = to_tensor(leaf)
    return trace.new_input(tensor if axis in (0, -tensor.ndim) else moveaxis(tensor, axis, 0))


def _leave(trace: BatchTrace, out: Any, out_axes: Any) -> Any:
    paths, structure = flatten_with_path(out)
    axes = spread_prefix(out_axes, out, "out_axes", "the result")
    results = [_leave_leaf(trace, leaf, axis, path) for (path, leaf), axis in zip(paths, axes, strict=True)]
    return unflatten(structure, results)


def _leave_leaf(trace: BatchTrace, leaf: Any, axis: int | None, path: str) -> Any:
    if isinstance(leaf, Key):
        # The last axis of the words is no axis of the keys.
        place = None if axis is None else _require_place(axis, (trace.size, *leaf.shape), path)
        return Key(_leave_leaf(trace, leaf.words, place, path))
    if not isinstance(leaf, NUMERIC):
        where = f" at {path}" if path else ""
        message = (
            f"vmap needs a function that returns numbers, arrays and random keys; it returned {describe(leaf)}{where}"
        )
        raise TreeError(at_user_line(message))
    own = isinstance(leaf, BatchTracer) and leaf._trace is trace
    if isinstance(leaf, Tracer) and not own and (leaf._trace.closed or leaf._trace.level > trace.level):
        raise_escaped(leaf._trace)
    if axis is None:
        if own:
            message = (
                f"vmap's out_axes is None for the result{path}, which depends on the mapped arguments and so differs "
                f"from example to example; give it an axis"
            )
            raise ShapeError(at_user_line(message))
        return leaf
    value: Any = leaf.batch if isinstance(leaf, BatchTracer) and own else repeat_over_examples(leaf, trace.size)
    place = _require_place(axis, value.shape, path)
    return moveaxis(value, 0, place) if place else value


def _require_place(axis: int, shape: Shape, path: str) -> int:
    """The axis as a number from 0 on; ShapeError where a result of that shape, which counts the examples, has none."""
    if not -len(shape) <= axis < len(shape):
        message = (
            f"vmap's out_axes is {axis} for the result{path}, which has no such axis: with that of the examples its "
            f"shape is {shape}"
        )
        raise ShapeError(at_user_line(message))
    return axis % len(shape)
