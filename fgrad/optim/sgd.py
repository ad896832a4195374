"""Stochastic gradient descent with momentum, dampening and weight decay."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad.optim.hyperparameters import as_number, learning_rate_at, learning_rate_field, number_field
from fgrad.optim.optimizer import LeafwiseOptimizer, Parameters, leafwise

__all__ = ["SGD", "SGDState"]


@attrs.frozen(eq=False)
class SGDState:
    """The state of `SGD`: how many steps were taken (int64, shape ()), and the velocity u, a tree like the parameters.

    The velocity is None when the momentum is 0, because then no step depends on the steps before.
    """

    step_count: Any
    velocity: Any


def _dampening(value: Any) -> float | None:
    if value is None:
        return None
    dampening = as_number(value, "dampening")
    if not 0 <= dampening <= 1:
        message = f"dampening must be from 0 to 1, or None for dampening = momentum; it is {dampening:g}"
        raise ValueError(message)
    return dampening


@fg.tree.static
@attrs.frozen
class SGD(LeafwiseOptimizer):
    """Stochastic gradient descent with momentum.

    With the gradient g, the parameter w and u_0 = 0::

        d = g + weight_decay * w
        u = momentum * u + (1 - dampening) * d
        w = w - learning_rate * u

    With ``dampening=None``, the default, dampening equals momentum, so that u is a running average of the gradients
    and a larger momentum does not lengthen the steps. ``dampening=0`` is the classic heavy ball, where u grows to
    1 / (1 - momentum) times a constant gradient. ``nesterov=True`` steps by d + momentum * u in place of u.

    PyTorch's SGD differs in its first step alone: it starts with u = d, without the factor 1 - dampening. The two agree
    for dampening=0, which is PyTorch's default.

    Parameters keep their dtype, and u has the dtype of its parameter. The gradient of a complex parameter is
    conjugated, which makes it the direction of steepest ascent.

    Attributes:
        learning_rate: a number, or a schedule: a function of the number of steps taken before (0 at the first).
        momentum: from 0 to less than 1.
        weight_decay: the factor of the L2 penalty's gradient, at least 0.
        dampening: from 0 to 1, or None for dampening = momentum.
        nesterov: look ahead by one step of momentum; needs dampening=0.

    Raises:
        ValueError: a hyper-parameter is out of its range, or nesterov without dampening=0.
        TypeError: a hyper-parameter is not a number.

    Sources: Polyak, Some methods of speeding up the convergence of iteration methods (1964); Sutskever et al., On the
    importance of initialization and momentum in deep learning (2013), section 2.

    >>> import fgrad as fg
    >>> from fgrad import optim
    >>> optimizer = optim.SGD(learning_rate=0.1, momentum=0.9, dampening=0)
    >>> params = {"w": fg.asarray(1.0)}
    >>> opt_state = optimizer.init(params)
    >>> for _ in range(2):
    ...     params, opt_state = optimizer.step(params, fg.grad(lambda p: p["w"] ** 2)(params), opt_state)
    >>> params
    {'w': Tensor(0.46, dtype=float64)}
    """

    learning_rate: Any = learning_rate_field(0.01)  # noqa: RUF009 - a field, not a default
    momentum: float = number_field("momentum", 0.0, below=1.0)
    weight_decay: float = number_field("weight_decay", 0.0)
    dampening: float | None = attrs.field(default=None, converter=_dampening)
    nesterov: bool = False

    def __attrs_post_init__(self) -> None:
        if self.nesterov and self.dampening != 0:
            message = (
                f"nesterov=True needs dampening=0; it is {self.dampening}"
                f"{' (dampening = momentum)' if self.dampening is None else ''}"
            )
            raise ValueError(message)

    def init(self, params: Any) -> SGDState:
        """The state before the first step: no steps taken, and zero velocity."""
        parameters = Parameters.of(params)
        zeros = [fg.zeros_like(weight) for weight in parameters.weights]
        return SGDState(fg.asarray(0, dtype=np.int64), parameters.like_params(zeros) if self.momentum else None)

    def update_leaves(self, parameters: Parameters, grads: Any, opt_state: SGDState) -> tuple[list[Any], SGDState]:
        """The updates -learning_rate * u of the leaves in order, and the next state."""
        if not isinstance(opt_state, SGDState):
            self.refuse_state(opt_state)
        gradients = parameters.fit_gradients(grads)
        velocities = [None] * len(gradients)
        if self.momentum:
            velocities = parameters.fit(opt_state.velocity, "opt_state.velocity")
        rates = parameters.scalars(-learning_rate_at(self.learning_rate, opt_state.step_count))
        weights = parameters.weights
        rows = leafwise(self._update_leaf, weights, gradients, velocities, [rates[w.dtype] for w in weights])
        velocity = parameters.like_params([u for _, u in rows]) if self.momentum else None
        return [update for update, _ in rows], SGDState(opt_state.step_count + 1, velocity)

    def _update_leaf(self, w: Any, g: Any, u: Any, negative_rate: Any) -> tuple[Any, Any]:
        d = g + w * self.weight_decay if self.weight_decay else g
        share = 1 - (self.momentum if self.dampening is None else self.dampening)
        direction = d if share == 1 else d * share
        if self.momentum:
            direction = direction + u * self.momentum
        ahead = d + direction * self.momentum if self.nesterov else direction
        return ahead * negative_rate, direction
