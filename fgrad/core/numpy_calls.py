"""NumPy's calls as fgrad's: which argument of a NumPy function is which of its counterpart, by both signatures."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

import attrs
import numpy as np

from fgrad.core.errors import DtypeError, TracerConversionError, at_user_line, refuse_out
from fgrad.core.shape import PYTHON_NUMBERS

__all__ = [
    "NO_VALUE",
    "WITHOUT_MEANING",
    "CallPlan",
    "convert_for_loop",
    "name_of",
    "plan_call",
    "refuse_call",
    "refuse_ufunc",
]

_EVERY = 1 << 30
NO_VALUE = getattr(np, "_NoValue", inspect.Parameter.empty)
_WAY_OUT = (
    "convert with np.asarray(t) outside of transforms; inside one, np.asarray(fg.stop_gradient(t)) says that the "
    "value is a constant there"
)
# What says how an ndarray lies in memory or of which class it is, and so nothing about a Tensor, with the values that
# are accepted where a counterpart has no such parameter; None accepts all.
WITHOUT_MEANING: dict[str, tuple[Any, ...] | None] = {
    "device": (None, "cpu"),
    "like": None,
    "order": (None, "C", "F", "A", "K"),
    "subok": None,
}
# Functions written in C tell their signatures from NumPy 2.4 on.
_WRITTEN_IN_C: dict[str, Callable[..., Any]] = {
    "bincount": lambda x, /, weights=None, minlength=0: None,
    "can_cast": lambda from_, to, casting="safe": None,
    "concatenate": lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    "dot": lambda a, b, out=None: None,
    "empty_like": lambda prototype, /, dtype=None, order="K", subok=True, shape=None, *, device=None: None,
    "lexsort": lambda keys, axis=-1: None,
    "may_share_memory": lambda a, b, /, max_work=0: None,
    "ravel_multi_index": lambda multi_index, dims, mode="raise", order="C": None,
    "shares_memory": lambda a, b, /, max_work=-1: None,
    "unravel_index": lambda indices, shape, order="C": None,
}


def name_of(function: Callable[..., Any]) -> str:
    """What a user calls the function: ``np.linalg.solve``."""
    return f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)


def refuse_call(name: str) -> NoReturn:
    """Raises the error for what NumPy has and fgrad does not."""
    message = f"{name} has no counterpart in fgrad that takes a Tensor, and would drop its gradient; {_WAY_OUT}"
    raise TracerConversionError(at_user_line(message))


def refuse_ufunc(ufunc: np.ufunc) -> NoReturn:
    """Raises the error for a ufunc that fgrad does not have, which may be another library's."""
    name = ufunc.__name__
    if getattr(np, name, None) is ufunc:
        refuse_call(f"np.{name}")
    message = (
        f"{name} is a ufunc and none of NumPy's: fgrad cannot follow it, and it would drop the gradient of a Tensor. "
        f"fg.special has many of SciPy's functions; otherwise {_WAY_OUT}"
    )
    raise TracerConversionError(at_user_line(message))


@attrs.frozen(eq=False)
class _Recipe:
    """Where the arguments of one form of call go, by their numbers: the positional ones first, then the keywords.

    Attributes:
        positional: those that the counterpart takes by position.
        keywords: those that it takes by keyword.
        without_place: those that it does not have, with NumPy's defaults.
    """

    positional: tuple[int, ...]
    keywords: tuple[tuple[str, int], ...]
    without_place: tuple[tuple[str, int, Any], ...]


@attrs.frozen(eq=False)
class CallPlan:
    """Where the arguments of a NumPy function go.

    Attributes:
        same: so many positional arguments have the same places in both.
        known: keywords that both take, with one meaning.
        signature: NumPy's; None where it is not known, and then every call goes on as it is.
        open_ended: the counterpart takes keywords of any name.
        places: NumPy's parameters by name: a position or a keyword of the counterpart.
        recipes: what was found for each form of call so far.
    """

    same: int
    known: frozenset[str]
    signature: inspect.Signature | None = None
    open_ended: bool = False
    places: Mapping[str, int | str] = attrs.field(factory=dict)
    recipes: dict[tuple[Any, ...], _Recipe] = attrs.field(factory=dict, init=False)

    def translate(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of the counterpart.

        Raises:
            ImmutableError: for ``out=``.
            TracerConversionError: for another option that the counterpart does not have.
        """
        if self.signature is None:
            if kwargs.get("out") is not None:
                refuse_out(name_of(function))
            return list(args), {key: value for key, value in kwargs.items() if key != "out"}
        form = (len(args), *kwargs)
        recipe = self.recipes.get(form)
        if recipe is None:
            recipe = self.recipes[form] = self._make_recipe(form)
        given = [*args, *kwargs.values()]
        for name, source, default in recipe.without_place:
            value = given[source]
            if value is not NO_VALUE and not _same(value, default):
                _refuse_option(function, name, value)
        keywords = {place: given[source] for place, source in recipe.keywords if given[source] is not NO_VALUE}
        return [given[source] for source in recipe.positional], keywords

    def _make_recipe(self, form: tuple[Any, ...]) -> _Recipe:
        """Where the arguments of calls of one form go: so many by position, and these keywords."""
        count, *names = form
        signature = cast("inspect.Signature", self.signature)
        sources = dict(zip(names, range(count, count + len(names)), strict=True))
        positional: list[int] = []
        keywords: list[tuple[str, int]] = []
        without_place: list[tuple[str, int, Any]] = []
        for name, source in signature.bind(*range(count), **sources).arguments.items():
            parameter = signature.parameters[name]
            place = self.places.get(name)
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional.extend(source)
            elif isinstance(place, int):
                positional.append(source)
            else:
                several = parameter.kind is parameter.VAR_KEYWORD
                for key, one in source.items() if several else [(name, source)]:
                    own = self.places.get(key)
                    if isinstance(own, str) or (self.open_ended and own is None):
                        keywords.append((own if isinstance(own, str) else key, one))
                    else:
                        without_place.append((key, one, parameter.empty if several else parameter.default))
        return _Recipe(tuple(positional), tuple(keywords), tuple(without_place))


def _refuse_option(function: Callable[..., Any], name: str, value: Any) -> None:
    """Raises for an option that the counterpart does not have, unless it says nothing about a Tensor."""
    if name == "out":
        refuse_out(name_of(function))
    if name not in WITHOUT_MEANING:
        refuse_call(f"{name_of(function)} with {name}=")
    accepted = WITHOUT_MEANING[name]
    if accepted is not None and value not in accepted:
        refuse_call(f"{name_of(function)} with {name}={value!r}")


def _same(value: Any, default: Any) -> bool:
    return value is default or (
        type(value) is type(default) and type(value) in (bool, int, float, str) and value == default
    )


def plan_call(function: Callable[..., Any], counterpart: Callable[..., Any]) -> CallPlan:
    """Compares the signatures of a NumPy function and of its counterpart."""
    try:
        signature = inspect.signature(_WRITTEN_IN_C.get(function.__name__, function))
        ours = inspect.signature(counterpart).parameters
    except ValueError:
        return CallPlan(_EVERY, frozenset())
    # Both refuse `out`, and NumPy's function is what the error should name.
    by_keyword = {name for name, one in ours.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    by_keyword.discard("out")
    by_position = [name for name, one in ours.items() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    places: dict[str, int | str] = {}
    same, every = 0, False
    for position, (name, one) in enumerate(signature.parameters.items()):
        if one.kind is one.VAR_POSITIONAL:
            every = same == position
        elif one.kind is one.VAR_KEYWORD:
            places |= {name: name for name in by_keyword if name not in places}
        elif name in by_keyword and one.kind is not one.POSITIONAL_ONLY:
            places[name] = name
            same += same == position and one.kind is not one.KEYWORD_ONLY and by_position[position:][:1] == [name]
        elif position < len(by_position) and by_position[position] not in signature.parameters:
            places[name] = position
            same += same == position
        elif position < len(by_position) and by_position[position] == name:
            places[name] = position
            same += same == position
    known = frozenset(place for name, place in places.items() if name == place and isinstance(place, str))
    open_ended = any(one.kind is one.VAR_KEYWORD for one in ours.values())
    return CallPlan(_EVERY if every else same, known, signature, open_ended, places)


def convert_for_loop(
    ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any], convert: Callable[..., Any]
) -> tuple[Any, ...]:
    """The inputs in the dtypes of the loop that ``dtype=``, ``signature=`` and ``casting=`` choose.

    Raises:
        DtypeError: there is no such loop, or the casting is not allowed.
    """
    dtype, signature = options.get("dtype"), options.get("signature")
    types = tuple([_promotion_type(value) for value in inputs])
    try:
        loop = _resolve_loop(ufunc, types, dtype, signature, options.get("casting", "same_kind"))
    except TypeError as error:
        raise DtypeError(at_user_line(f"[{ufunc.__name__}] {error}")) from None
    converted = []
    for value, kind, wanted in zip(inputs, types, loop, strict=False):
        if type(value) in PYTHON_NUMBERS:
            converted.append(_number_for_loop(value, wanted))
        else:
            converted.append(value if kind == wanted else convert(value, wanted))
    return tuple(converted)


@functools.lru_cache(maxsize=1024)
def _resolve_loop(
    ufunc: np.ufunc, types: tuple[Any, ...], dtype: Any, signature: Any, casting: Any
) -> tuple[np.dtype[Any], ...]:
    if dtype is not None:
        signature = (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    if not any(isinstance(kind, np.dtype) for kind in types):
        types = tuple([np.dtype(kind) for kind in types])
    chosen: dict[str, Any] = {} if signature is None else {"signature": signature}
    loop: tuple[np.dtype[Any], ...] = ufunc.resolve_dtypes((*types, *[None] * ufunc.nout), casting=casting, **chosen)
    for kind in loop:
        if kind.kind not in "biufc":
            message = f"a Tensor holds booleans, integers, floats or complex numbers, not dtype {kind}"
            raise DtypeError(message)
    return loop


_KINDS = "buifc"


def _number_for_loop(number: Any, dtype: np.dtype[Any]) -> Any:
    """A Python number as it is, or what is left of it in a loop of a lower kind."""
    fits = _KINDS.index(np.asarray(number).dtype.kind) <= _KINDS.index(dtype.kind)
    return number if fits else np.asarray(number).astype(dtype)


def _promotion_type(value: Any) -> Any:
    if type(value) in PYTHON_NUMBERS:
        return np.dtype(bool) if type(value) is bool else type(value)
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return np.asarray(value).dtype
    if getattr(value, "weak", False):
        kind = dtype.type(0).item().__class__
        return np.dtype(bool) if kind is bool else kind
    return dtype
