"""CustomFunction: what custom_jvp and custom_vjp make of a function, and how what its rules return is checked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

import attrs

from fgrad.core.bind import Tracer, staging
from fgrad.core.errors import DtypeError, NotDifferentiableError, TreeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.primitive import Primitive
from fgrad.core.pytree import Structure, flatten, flatten_up_to, flatten_with_path, tree_leaves, unflatten
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import NUMERIC, Tensor, to_tensor
from fgrad.ops.staged import Form, as_number, take_apart, value_of
from fgrad.ops.structure import convert
from fgrad.transforms.calling import describe, fit_linear, function_name, leaf_paths
from fgrad.transforms.custom_calls import CustomCall, Owner, apply, require_no_derivative
from fgrad.transforms.static_arguments import Arguments, StaticArguments, Template

__all__ = ["CustomFunction", "align", "as_weak_as", "fit_leaf"]

P = ParamSpec("P")
R = TypeVar("R")

_KEPT = (Key, *PYTHON_NUMBERS)


class _Zero:
    """What stands for a leaf in the place of a None."""


ZERO = _Zero()


def align(structure: Structure, tree: Any, name: str) -> list[Any]:
    """The leaves of a tangent or cotangent; None in the place of a subtree makes ZEROs of its leaves.

    Raises:
        TreeError: when the tree parts from the structure; the message has the path, which starts with `name`.
    """
    found = flatten_up_to(structure, _fill(structure, tree), name)
    for position, leaf in enumerate(found):
        if not isinstance(leaf, (*NUMERIC, Key, _Zero)):
            message = f"{name}{leaf_paths(structure)[position]} is {describe(leaf)}, and should be a number or an array"
            raise TreeError(at_user_line(message))
    return found


def _fill(structure: Structure, tree: Any) -> Any:
    if tree is None:
        return unflatten(structure, [ZERO] * structure.num_leaves)
    if structure.node_type is None or type(tree) is not structure.node_type:
        return tree
    children, one_level = flatten(tree, is_leaf=lambda node: node is not tree)
    if len(children) != len(structure.children):
        return tree
    return unflatten(one_level, [_fill(part, child) for part, child in zip(structure.children, children, strict=True)])


def fit_leaf(leaf: Any, aval: ShapeDtype, where: Callable[[], str], of: str) -> Any:
    """A leaf of a tangent or cotangent as a Tensor of this type, or None for a zero.

    What belongs to a Python number, or is one, is converted, since it promotes nothing.

    Raises:
        ShapeError, DtypeError: when it has another.
        NotDifferentiableError: when it is no zero, and belongs to an integer, a boolean or a key.
    """
    if leaf is ZERO:
        return None
    if aval.dtype.kind in "fc":
        given = shape_dtype_of(leaf)
        if isinstance(leaf, Tensor) and given.shape == aval.shape:
            if given.dtype == aval.dtype and not given.weak:
                return leaf
            if (given.weak or aval.weak) and given.dtype.kind in ("f", aval.dtype.kind):
                return convert(leaf, aval.dtype)
        return fit_linear(leaf, aval, where(), of)
    traced = isinstance(leaf, Tracer)
    if isinstance(leaf, Key) or (leaf.dtype.kind in "fc" if traced else to_tensor(leaf).numpy().any()):
        message = f"{where()} is {describe(leaf)}, and {of} is {aval}, which has no derivative: return None there"
        raise NotDifferentiableError(at_user_line(message))
    return None


def as_weak_as(values: Sequence[Any], weak: Sequence[bool]) -> list[Any]:
    """Tangents or cotangents for the user's rules: those of Python numbers as such, so that they promote nothing."""
    return [
        as_number(value) if number and isinstance(value, Tensor) and not value.weak else value
        for value, number in zip(values, weak, strict=True)
    ]


# The functions themselves.


@attrs.frozen(eq=False, repr=False, slots=False)
class CustomFunction(Generic[P, R]):
    """A function with a derivative rule of its own: what custom_jvp and custom_vjp make; call it like the function."""

    _function: Callable[P, R]
    _static: StaticArguments
    _primitive: Primitive

    def __attrs_post_init__(self) -> None:
        """Takes over the name, the documentation and the signature of the function."""
        for name in functools.WRAPPER_ASSIGNMENTS:
            if hasattr(self._function, name):
                object.__setattr__(self, name, getattr(self._function, name))
        object.__setattr__(self, "__wrapped__", self._function)

    def __repr__(self) -> str:
        return f"<{self._primitive.name} function {self._name}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The function as a method of an instance."""
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function; inside a transform by its rule."""
        positional, named = self._static.bind(args, kwargs)
        arguments = self._static.split(positional, named)
        values, form = self._values(arguments)
        if staging.trace is None and not any([isinstance(value, Tracer) for value in values]):
            out = self._function(*args, **kwargs)
            require_no_derivative(self._owner(), list(map(value_of, tree_leaves(out))))
            return out
        call = self._call(arguments.template, form)
        results = apply(self._primitive, call, values)
        traced: R = call.forms[-1].build(results)
        return traced

    @property
    def _name(self) -> str:
        return function_name(self._function)

    def _users(self) -> list[Callable[..., Any]]:
        raise NotImplementedError

    def _call(self, template: Template, form: Form) -> CustomCall:
        raise NotImplementedError

    def _owner(self) -> Owner:
        return Owner(self._primitive.name, self._name, self._users())

    def _results(self, out: Any) -> tuple[list[Any], Form]:
        leaves, form = take_apart(out, self._primitive.name, f"{self._name}(...)")
        return list(map(value_of, leaves)), form

    def _values(self, arguments: Arguments) -> tuple[list[Any], Form]:
        """The leaves of the arguments that are not static, keys by their words, and their form."""
        if arguments.named:
            message = (
                f"{self._primitive.name} takes arguments by position, and {self._name} has "
                f"{', '.join(arguments.named)} by keyword only; make them positional, or name them in static="
            )
            raise TypeError(at_user_line(message))
        leaves, structure = flatten(arguments.positional)
        for position, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                continue
            if not isinstance(leaf, (*NUMERIC, Key)):
                self._refuse_leaf(arguments, position)
            leaves[position] = leaf if type(leaf) in _KEPT else to_tensor(leaf)
        form = Form(structure, tuple([isinstance(leaf, Key) for leaf in leaves]))
        return [value_of(leaf) for leaf in leaves], form

    def _refuse_leaf(self, arguments: Arguments, wanted: int) -> NoReturn:
        paths = [
            (place, path, leaf)
            for place, argument in enumerate(arguments.positional)
            for path, leaf in flatten_with_path(argument)[0]
        ]
        place, path, leaf = paths[wanted]
        name = self._static.name_of(place)
        message = (
            f"[{self._primitive.name}] the argument {name}{path} of {self._name} is {describe(leaf)}, and only "
            f"numbers, arrays and random keys have rules: name what else it takes in static=, as in "
            f"fg.{self._primitive.name}(f, static=({name!r},))"
        )
        raise DtypeError(at_user_line(message))

    def _argument_path(self, position: int, structure: Structure) -> str:
        """The name and path of a leaf of the arguments, for messages."""
        place = 0
        while position >= structure.children[place].num_leaves:
            position -= structure.children[place].num_leaves
            place += 1
        return self._static.name_of(place) + leaf_paths(structure.children[place])[position]
