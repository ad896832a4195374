"""Static arguments: which arguments of a function a transform leaves alone and passes on as Python values."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, SupportsIndex, TypeAlias

import attrs

from fgrad.core.bind import Tracer
from fgrad.core.errors import NotDifferentiableError, at_user_line
from fgrad.core.key import Key
from fgrad.core.pytree import flatten
from fgrad.transforms.calling import function_name, parameter_name

__all__ = ["Arguments", "Static", "StaticArguments", "Template", "static_arguments"]

Static: TypeAlias = int | str | Sequence[int | str]

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class _Other:
    """What stands in a template for an argument that is not static."""


_OTHER = _Other()


@attrs.frozen(eq=False)
class Template:
    """The static arguments of one call: in the order of `static=`, and in their places among the others."""

    static: list[Any]
    positional: tuple[Any, ...]
    named: dict[str, Any]

    def fill(
        self, positional: Sequence[Any], named: Mapping[str, Any] = MappingProxyType({})
    ) -> tuple[list[Any], dict[str, Any]]:
        """All arguments, with these in the places of those that are not static."""
        remaining = iter(positional)
        return [next(remaining) if value is _OTHER else value for value in self.positional], {**self.named, **named}


@attrs.frozen(eq=False)
class Arguments:
    """The arguments of one call: the static ones, and the others by position and by name."""

    template: Template
    positional: tuple[Any, ...]
    named: dict[str, Any]


@attrs.frozen(eq=False)
class StaticArguments:
    """The static parameters of a function, in the order of `static=`: each by its position, its name or both.

    `simple` is the number of parameters where all go by position and none has a default, and -1 elsewhere.
    """

    function: Callable[..., Any]
    transform: str
    signature: inspect.Signature | None
    simple: int
    entries: tuple[tuple[int | None, str | None], ...]

    def split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """The arguments of a call; static ones that it leaves to their defaults are left out.

        Raises:
            NotDifferentiableError: when a value that a transform is tracing is given for a static argument.
        """
        if not self.entries:
            return Arguments(Template([], (_OTHER,) * len(args), {}), args, kwargs)
        static: list[Any] = []
        template: list[Any] = [_OTHER] * len(args)
        named: dict[str, Any] = {}
        for position, name in self.entries:
            if position is not None and position < len(args):
                template[position] = args[position]
                static.append(args[position])
            elif name is not None and name in kwargs:
                named[name] = kwargs[name]
                static.append(kwargs[name])
            else:
                continue
            self._require_untraced(static[-1], position, name)
        others = tuple([value for value, place in zip(args, template, strict=True) if place is _OTHER])
        remaining = {name: value for name, value in kwargs.items() if name not in named}
        return Arguments(Template(static, tuple(template), named), others, remaining)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call by position wherever the signature allows it, their defaults included.

        None for a keyword that is not static, such as the `out` of array functions, is left out: it says nothing.

        Raises:
            TypeError: when the arguments do not fit the signature.
        """
        if self.signature is None or (len(args) == self.simple and not kwargs):
            return args, kwargs
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            message = f"{function_name(self.function)} cannot be called with these arguments: {error}"
            raise TypeError(at_user_line(message)) from None
        bound.apply_defaults()
        static = {name for _, name in self.entries}
        return bound.args, {name: one for name, one in bound.kwargs.items() if one is not None or name in static}

    def name_of(self, place: int) -> str:
        """The name of the parameter that takes the positional argument which is not static of this place."""
        position = place
        for static in sorted([position for position, _ in self.entries if position is not None]):
            position += static <= position
        return parameter_name(self.function, position)

    def _require_untraced(self, value: Any, position: int | None, name: str | None) -> None:
        for leaf in flatten(value)[0]:
            words = leaf.words if isinstance(leaf, Key) else leaf
            if isinstance(words, Tracer):
                which = name if name is not None else f"args[{position}]"
                message = (
                    f"the argument {which} of {function_name(self.function)} is static for {self.transform}, and a "
                    f"value that {words._trace.transform} is tracing was given for it: static arguments are "
                    f"plain Python values; take it out of static="
                )
                raise NotDifferentiableError(at_user_line(message))


def static_arguments(function: Callable[..., Any], static: Static, transform: str) -> StaticArguments:
    """The parameters of a function that `static` names, by name or by position (negative ones from the end).

    Raises:
        TypeError: when the function has no such parameter, or one is named twice.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    wanted = [static] if isinstance(static, str | SupportsIndex) else list(static)
    entries = tuple([_resolve(function, signature, entry, transform) for entry in wanted])
    if len(set(entries)) < len(entries):
        message = f"{transform}: static={static!r} names an argument of {function_name(function)} twice"
        raise TypeError(at_user_line(message))
    parameters = [] if signature is None else list(signature.parameters.values())
    simple = all(parameter.kind in _BY_POSITION and parameter.default is parameter.empty for parameter in parameters)
    return StaticArguments(function, transform, signature, len(parameters) if simple else -1, entries)


def _resolve(
    function: Callable[..., Any], signature: inspect.Signature | None, entry: int | str, transform: str
) -> tuple[int | None, str | None]:
    parameters = [] if signature is None else list(signature.parameters.values())
    positional = [parameter.name for parameter in parameters if parameter.kind in _BY_POSITION]
    if isinstance(entry, str):
        if entry in positional:
            return positional.index(entry), entry
        if entry in [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]:
            return None, entry
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return None, entry
    else:
        position = operator.index(entry)
        if position < 0:
            position += len(positional)
        if 0 <= position < len(positional):
            return position, positional[position]
        has_more = signature is None or any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        if position >= 0 and has_more:
            return position, None
    of = f"its parameters are {', '.join(p.name for p in parameters)}" if parameters else "its parameters are not known"
    message = f"{transform}: static={entry!r} names no argument of {function_name(function)}; {of}"
    raise TypeError(at_user_line(message))
