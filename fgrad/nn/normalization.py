"""Normalisation layers: BatchNorm1d over the batch, LayerNorm1d over the features."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad.core.errors import ShapeError
from fgrad.core.key import Key
from fgrad.nn.hyperparameters import (
    FLOAT32,
    integer_from,
    number_between,
    require_float,
    to_dtype,
    to_integer,
    to_number,
)
from fgrad.nn.module import Module, checks_call, entry, failure, require_dtype

__all__ = ["BatchNorm1d", "LayerNorm1d"]


def _statistics(x: fg.Tensor, axis: int, *, keepdims: bool) -> tuple[fg.Tensor, fg.Tensor, fg.Tensor]:
    """The mean, x minus it, and the biased variance, along an axis."""
    mean = fg.mean(x, axis=axis, keepdims=keepdims)
    centred = x - mean
    return mean, centred, fg.mean(fg.square(centred), axis=axis, keepdims=keepdims)


@fg.tree.static
@attrs.frozen(repr=False)
class BatchNorm1d(Module):
    """y = weight (x - mean) / sqrt(var + eps) + bias, feature by feature (Ioffe and Szegedy 2015, algorithms 1 and 2).

    While training, mean and var are those of the batch; var is the biased variance, and gradients flow through both.
    Running averages of them are carried in the state::

        running = (1 - momentum) * running + momentum * batch

    with the biased variance too (torch.nn puts the unbiased one there). They are constants: no gradient passes through
    them. When not training, they stand for mean and var, and the state is returned as it is. A batch of one has the
    variance 0, so y is the bias.

    ``params`` is ``{"weight": ones, "bias": zeros}``, ``state`` is ``{"running_mean": zeros, "running_var": ones}``,
    all of shape (dim,). The input has shape (batch, dim) and the dtype of the parameters.

    Attributes:
        dim: the number of features.
        eps: added to the variance.
        momentum: the weight of the newest batch in the running statistics, between 0 and 1.
        dtype: of fresh parameters and state.

    Raises:
        ShapeError: the input is not (batch, dim), or a training batch is empty.
        DtypeError: the input has another dtype than the parameters.

    >>> from fgrad import nn, random
    >>> norm = nn.BatchNorm1d(1, dtype="float64")
    >>> params, state = norm.init(random.key(0))
    >>> y, state = norm.apply(params, state, fg.asarray([[1.0], [3.0]]), training=True)
    >>> state
    {'running_mean': Tensor([0.2], dtype=float64), 'running_var': Tensor([1.], dtype=float64)}
    """

    dim: int = attrs.field(converter=to_integer, validator=integer_from(1))
    eps: float = attrs.field(default=1e-5, converter=to_number, validator=number_between(0.0, math.inf))
    momentum: float = attrs.field(default=0.1, converter=to_number, validator=number_between(0.0, 1.0))
    dtype: np.dtype[Any] = attrs.field(default=FLOAT32, converter=to_dtype, validator=require_float, kw_only=True)

    def init(self, key: Key) -> tuple[dict[str, fg.Tensor], dict[str, fg.Tensor]]:
        """The identity, up to eps: weight 1, bias 0, running mean 0, running variance 1."""
        ones, zeros = fg.ones(self.dim, dtype=self.dtype), fg.zeros(self.dim, dtype=self.dtype)
        return {"weight": ones, "bias": zeros}, {"running_mean": zeros, "running_var": ones}

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """The normalised input; while training also the state with this batch averaged in."""
        weight = entry(self, params, "params", "weight")
        bias = entry(self, params, "params", "bias")
        running_mean = entry(self, state, "state", "running_mean")
        running_var = entry(self, state, "state", "running_var")
        self._require_input(x, weight, training=training)
        if not training:
            # No gradient reaches the statistics, so the whole scale is one small vector.
            scale = weight / fg.sqrt(fg.stop_gradient(running_var) + self.eps)
            return (x - fg.stop_gradient(running_mean)) * scale + bias, state
        mean, centred, var = _statistics(x, 0, keepdims=False)
        y = centred * (weight / fg.sqrt(var + self.eps)) + bias
        return y, {
            "running_mean": self._average_in(running_mean, mean),
            "running_var": self._average_in(running_var, var),
        }

    @property
    def needs_key(self) -> bool:
        """False: nothing is drawn."""
        return False

    def _average_in(self, running: Any, batch: fg.Tensor) -> fg.Tensor:
        old, new = fg.stop_gradient(running), fg.stop_gradient(batch)
        average: fg.Tensor = (1.0 - self.momentum) * old + self.momentum * new
        return average if average.dtype == old.dtype else average.astype(old.dtype)

    def _require_input(self, x: fg.Tensor, weight: Any, *, training: bool) -> None:
        shape = x.shape
        if len(shape) != 2 or shape[1] != self.dim:
            features = f"{shape[1]} features, dim={self.dim}" if len(shape) == 2 else f"{len(shape)} axes"
            text = f"the input has {features}; it takes shape (batch, {self.dim}) and was given {shape}"
            raise failure(self, ShapeError, text)
        if training and not shape[0]:
            raise failure(self, ShapeError, f"a batch of shape {shape} holds no example, so it has no statistics")
        require_dtype(self, x, weight)


@fg.tree.static
@attrs.frozen(repr=False)
class LayerNorm1d(Module):
    """y = weight (x - mean) / sqrt(var + eps) + bias, with mean and biased variance over each example's features.

    What Ba, Kiros and Hinton (2016, Layer Normalization, section 3) propose: no example sees another, and training and
    prediction are the same. ``params`` is ``{"weight": ones, "bias": zeros}`` of shape (dim,), ``state`` is ``{}``. The
    input has shape (..., dim) and the dtype of the parameters.

    Attributes:
        dim: the length of the last axis.
        eps: added to the variance.
        dtype: of fresh parameters.

    Raises:
        ShapeError: the last axis of the input is not of length dim.
        DtypeError: the input has another dtype than the parameters.

    >>> from fgrad import nn, random
    >>> norm = nn.LayerNorm1d(2, dtype="float64")
    >>> params, state = norm.init(random.key(0))
    >>> y, state = norm.apply(params, state, fg.asarray([[0.0, 20.0]]))
    >>> y.round(4)
    Tensor([[-1.,  1.]], dtype=float64)
    """

    dim: int = attrs.field(converter=to_integer, validator=integer_from(1))
    eps: float = attrs.field(default=1e-5, converter=to_number, validator=number_between(0.0, math.inf))
    dtype: np.dtype[Any] = attrs.field(default=FLOAT32, converter=to_dtype, validator=require_float, kw_only=True)

    def init(self, key: Key) -> tuple[dict[str, fg.Tensor], dict[str, Any]]:
        """Weight 1, bias 0, and no state."""
        return {"weight": fg.ones(self.dim, dtype=self.dtype), "bias": fg.zeros(self.dim, dtype=self.dtype)}, {}

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """The normalised input, and the state as it is."""
        weight = entry(self, params, "params", "weight")
        bias = entry(self, params, "params", "bias")
        shape = x.shape
        if shape[-1:] != (self.dim,):
            features = f"{shape[-1]} features (shape {shape})" if shape else "shape ()"
            raise failure(self, ShapeError, f"the input has {features}, dim={self.dim}")
        require_dtype(self, x, weight)
        _, centred, var = _statistics(x, -1, keepdims=True)
        return centred / fg.sqrt(var + self.eps) * weight + bias, state

    @property
    def needs_key(self) -> bool:
        """False: nothing is drawn."""
        return False
