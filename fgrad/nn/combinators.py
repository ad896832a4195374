"""Modules made of modules: Sequential and Residual thread the state and derive their children's keys."""

from __future__ import annotations

from typing import Any

import attrs

import fgrad as fg
from fgrad import random
from fgrad.core.errors import ShapeError, TreeError, at_user_line, with_article
from fgrad.core.key import Key
from fgrad.nn.module import Module, ModuleCallError, apply_child, checks_call, failure

__all__ = ["Residual", "Sequential"]


def _require_module(parent: str, place: str, value: Any) -> None:
    if isinstance(value, Module):
        return
    if isinstance(value, type) and issubclass(value, Module):
        what = f"the class {value.__name__}: write {value.__name__}(...), which makes a module of it"
    elif isinstance(value, list | tuple):
        what = f"{with_article(type(value))}: {parent} takes its modules one by one, {parent}(*layers)"
    elif callable(value):
        name = getattr(value, "__name__", type(value).__name__)
        what = f"the function {name}: a module has init and apply (nn.ReLU() is that of fg.relu)"
    else:
        what = f"{with_article(type(value))}, which has no init and apply"
    message = f"{parent}: {place} is {what}"
    raise ModuleCallError(at_user_line(message))


@fg.tree.static
@attrs.frozen(init=False, repr=False)
class Sequential(Module):
    """One module after the other: each takes the output of the one before.

    ``params`` and ``state`` are tuples in the order of the layers. In `init` and in `apply`, layer i gets the key
    ``random.fold_in(key, i)``. Without layers it is the identity.

    Attributes:
        layers: the modules, a tuple.

    Raises:
        ModuleCallError: at construction, when a layer is not a module.
        TreeError: params or state do not have one entry for each layer.

    >>> from fgrad import nn, random
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> params, state = model.init(random.key(0))
    >>> fg.tree.map(fg.shape, params)
    ({'bias': (3,), 'weight': (4, 3)}, {}, {'bias': (2,), 'weight': (3, 2)})
    >>> y, state = model.apply(params, state, fg.ones((5, 4), dtype="float32"))
    >>> y.shape
    (5, 2)
    """

    layers: tuple[Module, ...]
    _random: tuple[bool, ...] = attrs.field(init=False, eq=False, repr=False)

    def __init__(self, *layers: Module) -> None:
        self.__attrs_init__(layers)

    def __attrs_post_init__(self) -> None:
        for position, layer in enumerate(self.layers):
            _require_module(type(self).__name__, f"layer {position}", layer)
        object.__setattr__(self, "_random", tuple([layer.needs_key for layer in self.layers]))

    def init(self, key: Key) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The parameters and the state of every layer, as two tuples."""
        pairs = [layer.init(random.fold_in(key, position)) for position, layer in enumerate(self.layers)]
        return tuple([params for params, _ in pairs]), tuple([state for _, state in pairs])

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """The last layer's output, and the tuple of states (the given one itself when no layer changed its own)."""
        self._require_entries("params", params)
        self._require_entries("state", state)
        states = []
        changed = False
        for position, layer in enumerate(self.layers):
            child_key = random.fold_in(key, position) if key is not None and self._random[position] else None
            before = state[position]
            x, after = apply_child(
                self, f".layers[{position}]", layer, params[position], before, x, child_key, training
            )
            states.append(after)
            changed = changed or after is not before
        return x, tuple(states) if changed else state

    @property
    def needs_key(self) -> bool:
        """Whether any layer does."""
        return any(self._random)

    def _require_entries(self, kind: str, tree: Any) -> None:
        if isinstance(tree, tuple | list) and len(tree) == len(self.layers):
            return
        given = f"{len(tree)} entries" if isinstance(tree, tuple | list) else f"the type {type(tree).__name__}"
        text = (
            f"{kind} is a tuple with one entry for each of the {len(self.layers)} layers, and the one given has "
            f"{given}; pass the {kind} that this module's init returned"
        )
        raise failure(self, TreeError, text)

    def __repr__(self) -> str:
        lines = "".join([f"{layer!r},\n" for layer in self.layers]).splitlines()
        body = "".join([f"    {line}\n" for line in lines])
        return f"Sequential(\n{body})" if body else "Sequential()"


@fg.tree.static
@attrs.frozen(repr=False)
class Residual(Module):
    """x + f(x): f learns the difference from the identity (He et al. 2016, Deep residual learning, section 3.1).

    ``params`` and ``state`` are those of f, and f gets the key as it is.

    Attributes:
        f: a module whose output has the shape of its input.

    Raises:
        ModuleCallError: at construction, when f is not a module.
        ShapeError: f(x) has another shape than x; it is not broadcast.

    >>> from fgrad import nn, random
    >>> block = nn.Residual(nn.ReLU())
    >>> block.apply({}, {}, fg.asarray([1.0, -2.0]))[0]
    Tensor([ 2., -2.], dtype=float64)
    """

    f: Module = attrs.field()

    @f.validator
    def _require_f(self, attribute: attrs.Attribute[Any], value: Any) -> None:
        _require_module("Residual", "f", value)

    def init(self, key: Key) -> tuple[Any, Any]:
        """The parameters and the state of f."""
        return self.f.init(key)

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """``x + f(x)``, and the state of f."""
        y, state = apply_child(self, ".f", self.f, params, state, x, key, training)
        if y.shape != x.shape:
            text = f"f turns shape {x.shape} into {y.shape}, so x + f(x) is not defined; f must keep the shape"
            raise failure(self, ShapeError, text)
        return x + y, state

    @property
    def needs_key(self) -> bool:
        """Whether f does."""
        return self.f.needs_key
