"""Neural networks as pure functions: modules, initializers, activation functions and losses.

A module is a frozen record of hyper-parameters. ``params, state = module.init(key)`` makes its parameters and its
state, ``y, state = module.apply(params, state, x, key=key, training=True)`` computes; nothing is ever changed in place.
"""

from fgrad.nn import initializers
from fgrad.nn.combinators import Residual, Sequential
from fgrad.nn.functions import log_softmax, relu, sigmoid, softmax, softplus
from fgrad.nn.linear import Flatten, Identity, Linear, LogSumExp, ReLU
from fgrad.nn.losses import SoftmaxLoss, softmax_cross_entropy
from fgrad.nn.module import Module, ModuleCallError
from fgrad.nn.normalization import BatchNorm1d, LayerNorm1d
from fgrad.nn.regularization import Dropout
from fgrad.nn.resnet import MLPResNet, ResidualBlock

__all__ = [
    "Module",
    "ModuleCallError",
    # Layers.
    "Linear",
    "Flatten",
    "Identity",
    "ReLU",
    "LogSumExp",
    "BatchNorm1d",
    "LayerNorm1d",
    "Dropout",
    # Combinators and models.
    "Sequential",
    "Residual",
    "ResidualBlock",
    "MLPResNet",
    # Functions and losses.
    "relu",
    "sigmoid",
    "softplus",
    "softmax",
    "log_softmax",
    "softmax_cross_entropy",
    "SoftmaxLoss",
    "initializers",
]
