"""Module: the contract of every layer, the checks of its calls, and the path of an error through a model."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import attrs

import fgrad as fg
from fgrad.core.errors import DtypeError, FgradError, TreeError, at_user_line, with_article
from fgrad.core.key import Key
from fgrad.nn.hyperparameters import describe_record

__all__ = ["Module", "ModuleCallError"]

Apply = TypeVar("Apply", bound=Callable[..., tuple[Any, Any]])
Failure = TypeVar("Failure", bound=FgradError)


class ModuleCallError(FgradError, TypeError):
    """A module was called in a way that its contract does not allow: without state, without its key, on a tuple.

    Failing::

        logits = model.apply(params, x)                       # no state
        logits = model.apply(params, state, x)                # a pair (y, state), not y
        nn.Dropout(0.5).apply({}, {}, x, training=True)       # no key

    Repaired::

        logits, state = model.apply(params, state, x)
        y, _ = nn.Dropout(0.5).apply({}, {}, x, key=key, training=True)
    """


class Module(abc.ABC):
    """A layer or a whole model: a frozen record of hyper-parameters with two pure functions, `init` and `apply`.

    What is trained (`params`) and what is carried along (`state`, such as the running statistics of a batch norm) are
    pytrees that the caller holds::

        params, state = module.init(key)
        y, state = module.apply(params, state, x, key=key, training=True)

    A module of your own is a static frozen record that defines both:

    >>> import attrs
    >>> import fgrad as fg
    >>> from fgrad import nn, random
    >>> @fg.tree.static
    ... @attrs.frozen
    ... class Scale(nn.Module):
    ...     dim: int
    ...
    ...     def init(self, key):
    ...         return {"weight": fg.full(self.dim, 2.0)}, {}
    ...
    ...     def apply(self, params, state, x, *, key=None, training=False):
    ...         return x * params["weight"], state
    >>> model = nn.Sequential(Scale(2), nn.ReLU())
    >>> params, state = model.init(random.key(0))
    >>> y, state = model.apply(params, state, fg.asarray([[1.0, -1.0]]))
    >>> y
    Tensor([[2., 0.]], dtype=float64)
    """

    __slots__ = ()

    @abc.abstractmethod
    def init(self, key: Key) -> tuple[Any, Any]:
        """Fresh ``(params, state)``; the same key gives the same numbers. What a module has none of is ``{}``."""

    @abc.abstractmethod
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """The output for an input, and the state to carry on with; nothing given is changed.

        Args:
            params: what `init` returned first, trained or not.
            state: what `init` or the previous `apply` returned second.
            x: the input, an array or a Tensor.
            key: a random key, needed by modules that draw random numbers while training.
            training: whether this is a training step (batch statistics, dropout) or a prediction.
        """

    @property
    def needs_key(self) -> bool:
        """Whether `apply` may use its key; a combinator derives keys for such children only."""
        return True

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises: a module is no function of its input alone.

        Raises:
            ModuleCallError: always; the message shows the call of `apply`.
        """
        name = type(self).__name__
        message = (
            f"{name}(...)(x): a module holds no parameters, so it cannot be called on an input; write "
            f"`params, state = module.init(key)` once, then `y, state = module.apply(params, state, x)`"
        )
        raise ModuleCallError(at_user_line(message))

    def __repr__(self) -> str:
        return describe_record(self)


# Calls.

_MISSING: Any = object()


def checks_call(apply: Apply) -> Apply:
    """Decorator of `apply`: gives it a Tensor as x, or raises for a call without state or on apply's own result."""

    @functools.wraps(apply)
    def checked(
        module: Module,
        params: Any,
        state: Any = _MISSING,
        x: Any = _MISSING,
        *,
        key: Key | None = None,
        training: bool = False,
    ) -> tuple[Any, Any]:
        if state is _MISSING or not isinstance(x, fg.Tensor):
            x = _as_input(module, state, x)
        return apply(module, params, state, x, key=key, training=training)

    return cast("Apply", checked)


def _as_input(module: Module, state: Any, x: Any) -> fg.Tensor:
    if state is _MISSING or x is _MISSING:
        text = (
            "apply takes params, state and the input, and was called without state: write `y, state = "
            "module.apply(params, state, x)`; state is what `params, state = module.init(key)` returned ({} for a "
            "module that carries none)"
        )
        raise failure(module, ModuleCallError, text)
    if isinstance(x, tuple):
        raise failure(module, ModuleCallError, f"the input is a tuple; {UNPACK}")
    if isinstance(x, dict):
        text = "the input is a dict: the order is module.apply(params, state, x)"
        raise failure(module, ModuleCallError, text)
    try:
        return fg.asarray(x)
    except DtypeError as error:
        reason = str(error).partition("\n")[0]
        raise failure(module, DtypeError, f"the input is no array: {reason}") from None


UNPACK = "apply returns the pair (y, state): write `y, state = module.apply(params, state, x)` and pass y on"


def apply_child(
    parent: Module, step: str, child: Module, params: Any, state: Any, x: Any, key: Key | None, training: bool
) -> tuple[Any, Any]:
    """``child.apply(...)``, where an error that passes through is told the step of the path that led to the child."""
    try:
        result = child.apply(params, state, x, key=key, training=training)
        if type(result) is not tuple or len(result) != 2:
            _refuse_result(child, result)
        return result
    except Exception as error:
        add_step(error, parent, step, child)
        raise


def _refuse_result(module: Module, result: Any) -> NoReturn:
    # Not only for the message: a Tensor of two rows would unpack into y and state without a word.
    text = f"apply must return the pair (y, state), and returned {with_article(type(result))}"
    raise failure(module, ModuleCallError, text)


def entry(module: Module, tree: Any, kind: str, name: str) -> Any:
    """``tree[name]`` of the params or the state (`kind`) of a module, or TreeError that says what was given."""
    try:
        return tree[name]
    except (KeyError, TypeError, IndexError, ValueError):
        held = f"has the keys {list(tree)}" if isinstance(tree, dict) else f"is {with_article(type(tree))}"
        text = f"{kind} has no {name!r}; it {held}. Pass the {kind} that this module's init returned"
        raise failure(module, TreeError, text) from None


def require_dtype(module: Module, x: fg.Tensor, weight: Any) -> None:
    """Raises DtypeError unless the input has the dtype of the parameters."""
    if x.dtype != weight.dtype:
        text = (
            f"the input has dtype {x.dtype} and the parameters have {weight.dtype}; convert the input with "
            f"x.astype('{weight.dtype}'), or make the module with dtype='{x.dtype}'"
        )
        if x.dtype.kind != "f":
            text = text.partition(", or")[0]
        raise failure(module, DtypeError, text)


# The path of an error.


@attrs.frozen
class _Place:
    """Where in a model an error arose: the path from the outermost module so far, the innermost one, the reason."""

    path: str
    module: str
    text: str


_PLACE = "_fgrad_nn_place"


def failure(module: Module, error_class: type[Failure], text: str) -> Failure:
    """An error about a call of this module; combinators put the path in front as it travels through them."""
    name = type(module).__name__
    text = at_user_line(text)
    error = error_class(f"{name}: {text}")
    setattr(error, _PLACE, _Place("", name, text))
    return error


def add_step(error: Exception, parent: Module, step: str, child: Module) -> None:
    """Tells an error that it came out of a child: fgrad's own in the message, any other in a note below it."""
    place: _Place | None = getattr(error, _PLACE, None)
    if place is None:
        text = str(error.args[0]) if isinstance(error, FgradError) and error.args else ""
        place = _Place("", type(child).__name__, text)
    path = step + place.path
    where = f"{type(parent).__name__}{path} ({place.module})"
    if isinstance(error, FgradError):
        error.args = (f"{where}: {place.text}", *error.args[1:])
    else:
        if place.path:
            error.__notes__.pop()
        error.add_note(f"in {where}")
    setattr(error, _PLACE, attrs.evolve(place, path=path))
