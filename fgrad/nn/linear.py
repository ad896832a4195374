"""Layers that compute with one matrix or none: Linear, Flatten, ReLU, Identity, LogSumExp."""

from __future__ import annotations

import math
import operator
from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad import random
from fgrad.core.errors import ShapeError
from fgrad.core.key import Key
from fgrad.nn.hyperparameters import FLOAT32, integer_from, require_float, to_dtype, to_integer
from fgrad.nn.initializers import kaiming_uniform
from fgrad.nn.module import Module, checks_call, entry, failure, require_dtype

__all__ = ["Flatten", "Identity", "Linear", "LogSumExp", "ReLU"]


@fg.tree.static
@attrs.frozen(repr=False)
class Linear(Module):
    """y = x W + b, on the last axis of x.

    ``params`` is ``{"weight": W, "bias": b}`` with W of shape (in_features, out_features) and b of shape
    (out_features,); without bias ``{"weight": W}``. ``state`` is ``{}``. The input has shape (..., in_features) and the
    dtype of the parameters; the output has shape (..., out_features).

    ``init(key)`` splits the key in two: the weight is `initializers.kaiming_uniform` with the first and fan_in =
    in_features, the bias the same with the second and fan_in = out_features.

    Attributes:
        in_features: the length of the input's last axis.
        out_features: the length of the output's last axis.
        bias: whether b is added.
        dtype: of fresh parameters.

    Raises:
        ShapeError: the input has another number of features; the message names the layer's path in the model.
        DtypeError: the input has another dtype than the parameters.

    >>> from fgrad import nn, random
    >>> layer = nn.Linear(3, 2)
    >>> params, state = layer.init(random.key(0))
    >>> y, state = layer.apply(params, state, fg.ones((4, 3), dtype="float32"))
    >>> y.shape, y.dtype.name
    ((4, 2), 'float32')
    """

    in_features: int = attrs.field(converter=to_integer, validator=integer_from(1))
    out_features: int = attrs.field(converter=to_integer, validator=integer_from(1))
    bias: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))
    dtype: np.dtype[Any] = attrs.field(default=FLOAT32, converter=to_dtype, validator=require_float, kw_only=True)

    def init(self, key: Key) -> tuple[dict[str, fg.Tensor], dict[str, Any]]:
        """Weight and bias drawn as the class says, and no state."""
        weight_key, bias_key = random.split(key)
        params = {"weight": kaiming_uniform(weight_key, self.in_features, self.out_features, dtype=self.dtype)}
        if self.bias:
            drawn = kaiming_uniform(bias_key, self.out_features, 1, dtype=self.dtype)
            params["bias"] = fg.reshape(drawn, (self.out_features,))
        return params, {}

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """``x @ weight + bias``, and the state as it is."""
        weight = entry(self, params, "params", "weight")
        if x.shape[-1:] != (self.in_features,):
            raise failure(self, ShapeError, self._describe_misfit(x.shape))
        require_dtype(self, x, weight)
        try:
            y = x @ weight
        except ShapeError:
            text = f"params['weight'] has shape {weight.shape}; {self!r} has {(self.in_features, self.out_features)}"
            raise failure(self, ShapeError, text) from None
        return (y + entry(self, params, "params", "bias") if self.bias else y), state

    @property
    def needs_key(self) -> bool:
        """False: nothing is drawn in `apply`."""
        return False

    def _describe_misfit(self, shape: tuple[int, ...]) -> str:
        if not shape:
            return f"the input has shape (), and needs an axis of in_features={self.in_features} features"
        return f"the input has {shape[-1]} features (shape {shape}), in_features={self.in_features}"


@attrs.frozen(repr=False)
class _Plain(Module):
    """A layer without parameters, state and random numbers: a function of the input."""

    def init(self, key: Key) -> tuple[dict[str, Any], dict[str, Any]]:
        """No parameters and no state."""
        return {}, {}

    @property
    def needs_key(self) -> bool:
        """False: nothing is drawn."""
        return False


@fg.tree.static
@attrs.frozen(repr=False)
class Flatten(_Plain):
    """Keeps the first axis and joins all others: (n, a, b, ...) becomes (n, a b ...), and (n,) becomes (n, 1).

    Raises:
        ShapeError: the input has no axis.

    >>> from fgrad import nn
    >>> y, _ = nn.Flatten().apply({}, {}, fg.zeros((5, 8, 8, 1)))
    >>> y.shape
    (5, 64)
    """

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """The input with two axes, and the state as it is."""
        shape = x.shape
        if not shape:
            raise failure(self, ShapeError, "the input has shape (), and needs a first axis that counts the examples")
        return (x if len(shape) == 2 else fg.reshape(x, (shape[0], math.prod(shape[1:])))), state


@fg.tree.static
@attrs.frozen(repr=False)
class ReLU(_Plain):
    """max(x, 0), elementwise; the derivative at 0 is 0.

    >>> from fgrad import nn
    >>> nn.ReLU().apply({}, {}, fg.asarray([1.5, -2.0]))[0]
    Tensor([1.5, 0. ], dtype=float64)
    """

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """``fg.relu(x)``, and the state as it is."""
        return fg.relu(x), state


@fg.tree.static
@attrs.frozen(repr=False)
class Identity(_Plain):
    """The input as it is: a placeholder for a layer that is left out.

    >>> from fgrad import nn
    >>> nn.Identity().apply({}, {}, fg.asarray([1.0, 2.0]))[0]
    Tensor([1., 2.], dtype=float64)
    """

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """The input and the state as they are."""
        return x, state


def _to_axis(axis: Any) -> Any:
    if axis is None:
        return None
    return operator.index(axis) if hasattr(axis, "__index__") else tuple([operator.index(one) for one in axis])


@fg.tree.static
@attrs.frozen(repr=False)
class LogSumExp(_Plain):
    """log(sum(exp(x))) over the given axes, which disappear; over all without `axis`. See `fgrad.logsumexp`.

    Attributes:
        axis: an axis, several of them, or None; negative ones count from the end.

    >>> from fgrad import nn
    >>> nn.LogSumExp(axis=1).apply({}, {}, fg.zeros((2, 4)))[0]
    Tensor([1.38629436, 1.38629436], dtype=float64)
    """

    axis: int | tuple[int, ...] | None = attrs.field(default=None, converter=_to_axis)

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """``fg.logsumexp(x, axis)``, and the state as it is."""
        return fg.logsumexp(x, axis=self.axis), state
