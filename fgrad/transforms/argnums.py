"""Which arguments a transform differentiates by: `argnums`, and what may stand in the places it names."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from fgrad.core.errors import NotDifferentiableError, at_user_line
from fgrad.core.key import Key
from fgrad.core.primal import is_inexact_value
from fgrad.core.pytree import Structure, flatten, flatten_with_path
from fgrad.core.shape import shape_dtype_of
from fgrad.core.tensor import ConcreteTensor, Tensor
from fgrad.transforms.calling import describe, function_name, parameter_name, traceable

__all__ = [
    "INTEGERS",
    "Argnums",
    "choose",
    "chosen_positions",
    "require_argnums",
    "require_complex",
    "with_arguments",
]

Argnums: TypeAlias = int | Sequence[int]

INTEGERS = (int, np.integer)


def require_argnums(argnums: Any, transform: str) -> None:
    """Raises TypeError when `argnums` is no number of an argument and no sequence of such, as in ``grad(f, x)``."""
    if type(argnums) is int:
        return
    several = argnums if isinstance(argnums, Sequence | np.ndarray) else (argnums,)
    if not all([isinstance(one, INTEGERS) and type(one) is not bool for one in several]):
        message = (
            f"fg.{transform} was given {describe(argnums)} for argnums, which is the number of a positional argument, "
            f"or a tuple of such; arguments go to the function that it returns: fg.{transform}(f)(x)"
        )
        raise TypeError(at_user_line(message))


def choose(
    function: Callable[..., Any], argnums: Argnums, args: tuple[Any, ...], transform: str, derivative: str
) -> tuple[list[int], list[Any], Structure]:
    """The positions of the arguments to differentiate by, their leaves as primals, and the structure of their tuple.

    `transform` and `derivative` ("gradient", "Jacobian") are for messages.

    Raises:
        TypeError: there is no such positional argument, or one is named twice.
        NotDifferentiableError: a leaf is an integer, a boolean, a key or no number at all; the message has its path.
    """
    positions = chosen_positions(argnums, len(args), function, transform)
    leaves, structure = flatten(tuple([args[position] for position in positions]))
    primals = [leaf if type(leaf) is ConcreteTensor else traceable(leaf) for leaf in leaves]
    if not all(map(is_inexact_value, primals)):
        _refuse_leaves(function, positions, args, derivative)
    return positions, primals, structure


def chosen_positions(argnums: Argnums, count: int, function: Callable[..., Any], transform: str) -> list[int]:
    """`argnums` as non-negative positions among `count` arguments.

    Raises:
        TypeError: there is no such positional argument, or one is named twice.
    """
    wanted = [argnums] if isinstance(argnums, INTEGERS) else list(argnums)
    positions = []
    for argnum in wanted:
        position = operator.index(argnum)
        if not -count <= position < count:
            message = (
                f"{transform} differentiates by positional argument {position}, and {function_name(function)} was "
                f"called with {count} of them; pass that argument by position, or name others with argnums="
            )
            raise TypeError(at_user_line(message))
        positions.append(position % count)
    if len(set(positions)) < len(positions):
        message = f"argnums {tuple(wanted)} names a positional argument of {function_name(function)} twice"
        raise TypeError(at_user_line(message))
    return positions


def with_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], positions: list[int]
) -> Callable[..., Any]:
    """The function of the chosen arguments alone; the others stay what they are."""

    def call(*chosen: Any) -> Any:
        arguments: list[Any] = list(args)
        for position, argument in zip(positions, chosen, strict=True):
            arguments[position] = argument
        return function(*arguments, **kwargs)

    return call


def require_complex(function: Callable[..., Any], positions: list[int], args: tuple[Any, ...], transform: str) -> None:
    """Checks that every leaf of the chosen arguments is complex, as `holomorphic` has it.

    Raises:
        NotDifferentiableError: a leaf is real; the message has its path.
    """
    for position in positions:
        for path, leaf in flatten_with_path(args[position])[0]:
            primal = traceable(leaf)
            dtype = np.dtype(float) if primal is None else shape_dtype_of(primal).dtype
            if dtype.kind != "c":
                name = parameter_name(function, position) + path
                message = (
                    f"{transform} with holomorphic=True differentiates by complex numbers; {name} has dtype {dtype}: "
                    f"convert it ({name}.astype(complex)), or leave holomorphic=True out"
                )
                raise NotDifferentiableError(at_user_line(message))


def _refuse_leaves(
    function: Callable[..., Any], positions: list[int], args: tuple[Any, ...], derivative: str
) -> NoReturn:
    for position in positions:
        name = parameter_name(function, position)
        for path, leaf in flatten_with_path(args[position])[0]:
            if not is_inexact_value(traceable(leaf)):
                raise NotDifferentiableError(at_user_line(_explain_leaf(name + path, leaf, derivative)))
    message = "an argument is not differentiable"
    raise NotDifferentiableError(message)


def _explain_leaf(path: str, leaf: Any, derivative: str) -> str:
    if type(leaf) is int:
        return (
            f"the {derivative} by {path} was asked for, which is the integer {leaf}: write {leaf}.0, since only "
            f"floating-point numbers have {derivative}s"
        )
    if isinstance(leaf, Key):
        return (
            f"the {derivative} by {path} was asked for, which is a random key and has none; pass keys in another "
            f"argument"
        )
    if isinstance(leaf, Tensor | np.ndarray | np.generic):
        return (
            f"the {derivative} by {path} was asked for, which has dtype {leaf.dtype} and shape {leaf.shape}; only "
            f"floating-point leaves have {derivative}s: convert it ({path}.astype(float)), or pass it in an argument "
            f"that argnums does not name"
        )
    if hasattr(leaf, "__array__"):
        owner = type(leaf).__module__.partition(".")[0]
        return (
            f"the {derivative} by {path} was asked for, which is an array of another library "
            f"({owner}.{type(leaf).__name__}): convert it with fg.asarray({path})"
        )
    return f"the {derivative} by {path} was asked for, which is {describe(leaf)} and not a number or an array"
