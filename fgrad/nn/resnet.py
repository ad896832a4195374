"""The residual multilayer perceptron: ResidualBlock and MLPResNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad.nn.combinators import Residual, Sequential
from fgrad.nn.hyperparameters import (
    FLOAT32,
    describe_record,
    integer_from,
    number_between,
    require_float,
    to_dtype,
    to_integer,
    to_number,
)
from fgrad.nn.linear import Flatten, Linear, ReLU
from fgrad.nn.module import Module
from fgrad.nn.normalization import BatchNorm1d
from fgrad.nn.regularization import Dropout

__all__ = ["MLPResNet", "ResidualBlock"]


def _make_norm(norm: Callable[..., Module], dim: int, dtype: np.dtype[Any]) -> Module:
    # A norm of one argument, such as a lambda, serves as long as the dtype is the one every layer has by default.
    return norm(dim) if dtype == np.float32 else norm(dim, dtype=dtype)


def _block_layers(block: ResidualBlock) -> tuple[Module, ...]:
    dim, hidden_dim, dtype = block.dim, block.hidden_dim, block.dtype
    branch = Sequential(
        Linear(dim, hidden_dim, dtype=dtype),
        _make_norm(block.norm, hidden_dim, dtype),
        ReLU(),
        Dropout(block.drop_prob),
        Linear(hidden_dim, dim, dtype=dtype),
        _make_norm(block.norm, dim, dtype),
    )
    return Residual(branch), ReLU()


@fg.tree.static
@attrs.frozen(repr=False)
class ResidualBlock(Sequential):
    """relu(x + f(x)), where f is Linear, norm, ReLU, Dropout, Linear, norm.

    It is ``Sequential(Residual(Sequential(Linear(dim, hidden_dim), norm(hidden_dim), ReLU(), Dropout(drop_prob),
    Linear(hidden_dim, dim), norm(dim))), ReLU())``, with the params and state of that.

    Attributes:
        dim: the number of features of input and output.
        hidden_dim: the number of features between.
        norm: ``norm(dim)`` makes a module; ``norm(dim, dtype=dtype)`` when dtype is not float32.
        drop_prob: the probability p of Dropout.
        dtype: of fresh parameters and state.
        layers: the modules that it is made of.

    >>> from fgrad import nn
    >>> nn.ResidualBlock(100, 50)
    ResidualBlock(100, 50)
    """

    dim: int = attrs.field(converter=to_integer, validator=integer_from(1))
    hidden_dim: int = attrs.field(converter=to_integer, validator=integer_from(1))
    norm: Callable[..., Module] = BatchNorm1d
    drop_prob: float = attrs.field(default=0.1, converter=to_number, validator=number_between(0.0, 1.0))
    dtype: np.dtype[Any] = attrs.field(default=FLOAT32, converter=to_dtype, validator=require_float, kw_only=True)
    layers: tuple[Module, ...] = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        # After the validators, so that they speak of this record's hyper-parameters and not of its layers'.
        object.__setattr__(self, "layers", _block_layers(self))
        super().__attrs_post_init__()

    def __repr__(self) -> str:
        return describe_record(self)


def _network_layers(network: MLPResNet) -> tuple[Module, ...]:
    hidden_dim, dtype = network.hidden_dim, network.dtype
    blocks = [
        ResidualBlock(hidden_dim, hidden_dim // 2, network.norm, network.drop_prob, dtype=dtype)
        for _ in range(network.num_blocks)
    ]
    return (
        Flatten(),
        Linear(network.dim, hidden_dim, dtype=dtype),
        ReLU(),
        *blocks,
        Linear(hidden_dim, network.num_classes, dtype=dtype),
    )


@fg.tree.static
@attrs.frozen(repr=False)
class MLPResNet(Sequential):
    """A residual multilayer perceptron for classification.

    It is ``Sequential(Flatten(), Linear(dim, hidden_dim), ReLU(), *blocks, Linear(hidden_dim, num_classes))``, with
    `num_blocks` blocks ``ResidualBlock(hidden_dim, hidden_dim // 2, norm, drop_prob)``, and has the params and state of
    that. The input has shape (batch, ...) with `dim` numbers for each example; the output, the logits, has shape
    (batch, num_classes).

    Attributes:
        dim: the number of input features: the pixels of an image.
        hidden_dim: the number of features in the residual stream.
        num_blocks: the number of residual blocks; 0 is allowed.
        num_classes: the number of logits.
        norm: ``norm(dim)`` makes a module; ``norm(dim, dtype=dtype)`` when dtype is not float32.
        drop_prob: the probability p of each Dropout.
        dtype: of fresh parameters and state.
        layers: the modules that it is made of.

    >>> from fgrad import nn, random
    >>> model = nn.MLPResNet(64, hidden_dim=32)
    >>> model
    MLPResNet(64, hidden_dim=32)
    >>> params, state = model.init(random.key(0))
    >>> logits, state = model.apply(params, state, fg.zeros((5, 8, 8, 1), dtype="float32"))
    >>> logits.shape
    (5, 10)
    """

    dim: int = attrs.field(converter=to_integer, validator=integer_from(1))
    hidden_dim: int = attrs.field(default=100, converter=to_integer, validator=integer_from(1))
    num_blocks: int = attrs.field(default=3, converter=to_integer, validator=integer_from(0))
    num_classes: int = attrs.field(default=10, converter=to_integer, validator=integer_from(1))
    norm: Callable[..., Module] = BatchNorm1d
    drop_prob: float = attrs.field(default=0.1, converter=to_number, validator=number_between(0.0, 1.0))
    dtype: np.dtype[Any] = attrs.field(default=FLOAT32, converter=to_dtype, validator=require_float, kw_only=True)
    layers: tuple[Module, ...] = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "layers", _network_layers(self))
        super().__attrs_post_init__()

    def __repr__(self) -> str:
        return describe_record(self)
