"""What the transforms share in how they call functions: names for messages, checks, and fitting of tangents."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fgrad.core.bind import Trace, Tracer, is_weak
from fgrad.core.errors import DtypeError, ShapeError, TreeError, at_user_line, with_article
from fgrad.core.key import Key
from fgrad.core.primal import lower
from fgrad.core.pytree import Structure, flatten_with_path, unflatten
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import NUMERIC, Tensor, to_tensor
from fgrad.ops.shaping import astype

__all__ = [
    "describe",
    "fit_linear",
    "function_name",
    "leaf_paths",
    "lower_leaf",
    "parameter_name",
    "require_function",
    "require_kept",
    "traceable",
]


def require_function(function: Any, transform: str, arguments: str = ")(x") -> None:
    """Raises TypeError when a transform is given something else than a function, such as the value of one.

    `arguments` is what follows the function in a right call.
    """
    if not callable(function):
        message = (
            f"fg.{transform} takes a function, not {describe(function)}: write fg.{transform}(f{arguments}), not "
            f"fg.{transform}(f(x){arguments.removesuffix(')(x')})"
        )
        raise TypeError(at_user_line(message))


def function_name(function: Callable[..., Any]) -> str:
    """The name of a function, for messages."""
    return getattr(function, "__name__", repr(function))


def parameter_name(function: Callable[..., Any], position: int) -> str:
    """The name of a function's positional parameter, for messages; ``args[1]`` where it has none."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return f"args[{position}]"
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named[position] if position < len(named) else f"args[{position}]"


def describe(value: Any) -> str:
    """A value in a few words, for messages."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}: ({', '.join(map(describe, value))})"
    if isinstance(value, Tensor | np.ndarray | np.generic):
        aval = shape_dtype_of(value)
        return str(ShapeDtype(aval.shape, aval.dtype))
    return "None" if value is None else with_article(type(value))


def leaf_paths(structure: Structure) -> list[str]:
    """The path of each leaf of a tree of this structure, for messages."""
    return [path for path, _ in flatten_with_path(unflatten(structure, range(structure.num_leaves)))[0]]


def traceable(leaf: Any) -> Any:
    """The leaf as a primal to trace: a Tensor, or the Python number as it is; None when it has no derivative."""
    if isinstance(leaf, Tensor) or type(leaf) in (float, complex):
        return leaf
    if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fc":
        return to_tensor(leaf)
    return None


def fit_linear(leaf: Any, aval: ShapeDtype, where: str, of: str) -> Any:
    """A tangent or cotangent as a Tensor of the shape and dtype of what it belongs to.

    A Python number is converted, and so is what stands for one: the graphs of derivatives are made for arrays.

    Raises:
        ShapeError, DtypeError: when it has another.
    """
    value = leaf if isinstance(leaf, Tracer) else to_tensor(leaf)
    if value.shape != aval.shape:
        message = f"{where} has shape {value.shape}, and {of} has shape {aval.shape}"
        raise ShapeError(at_user_line(message))
    if is_weak(leaf) and value.dtype.kind in ("b", "i", "f", aval.dtype.kind):
        return astype(value, aval.dtype)
    if value.dtype != aval.dtype:
        message = f"{where} has dtype {value.dtype}, and {of} has dtype {aval.dtype}; convert it with astype"
        raise DtypeError(at_user_line(message))
    return value


def lower_leaf(trace: Trace, leaf: Any) -> Any:
    """What a leaf of a function's result, which may be a random key, is outside of the transform.

    Raises:
        EscapedTracerError: for a value of a transform that has finished, inside this one or before it.
    """
    if isinstance(leaf, Key):
        words = lower(trace, leaf.words)
        return leaf if words is leaf.words else Key(words)
    return lower(trace, leaf)


def require_kept(value: Any, aval: ShapeDtype, kind: str, call: str) -> None:
    """Checks a value that a pullback or linear map keeps and that came back to it through a tree.

    Raises:
        ShapeError: when it belongs to a batch of them.
        TreeError: when it is no number or array.
    """
    if not isinstance(value, NUMERIC):
        message = f"this {kind} cannot be applied: it has {describe(value)} in the place of the {aval} that it keeps"
        raise TreeError(at_user_line(message))
    shape = shape_dtype_of(value).shape
    if shape != aval.shape:
        message = (
            f"this {kind} has an array of shape {shape} in the place of the {aval} that it keeps. One that vmap "
            f"returned is a batch of them, and is applied under vmap: fg.vmap(lambda {call})(...)"
        )
        raise ShapeError(at_user_line(message))
