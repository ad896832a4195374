"""Optimizers: pure functions from parameters, gradients and a state to new parameters and a new state.

An optimizer is a frozen record of hyper-parameters. What changes from step to step is the optimizer state, a record of
trees of Tensors which the caller carries along::

    opt_state = optimizer.init(params)
    params, opt_state = optimizer.step(params, grads, opt_state)
"""

from fgrad.optim._chain import Chain, chain
from fgrad.optim.adam import Adam, AdamState
from fgrad.optim.clipping import ClipByGlobalNorm
from fgrad.optim.optimizer import GradientTransform, Optimizer, apply_updates
from fgrad.optim.schedules import CosineDecay, ExponentialDecay, Schedule
from fgrad.optim.sgd import SGD, SGDState

__all__ = [
    "SGD",
    "Adam",
    "apply_updates",
    "chain",
    "ClipByGlobalNorm",
    "CosineDecay",
    "ExponentialDecay",
    "SGDState",
    "AdamState",
    "Chain",
    "GradientTransform",
    "Optimizer",
    "Schedule",
]
