"""Learning rate schedules: functions from the number of steps taken before to the learning rate of a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import numpy as np

import fgrad as fg
from fgrad.optim.hyperparameters import number_field, positive_field

__all__ = ["CosineDecay", "ExponentialDecay", "Schedule"]

# Takes the number of steps taken before, an int64 Tensor of shape (), and gives a number or a Tensor of shape ().
Schedule: TypeAlias = Callable[[Any], Any]


@fg.tree.static
@attrs.frozen(kw_only=True)
class CosineDecay:
    """A linear warm-up to `peak`, then half a cosine down to `final`, which stays.

    With s = step, w = warmup_steps and n = decay_steps::

        rate = peak * (s + 1) / (w + 1)                                            for s < w
        rate = final + (peak - final) * (1 + cos(pi * min((s - w) / n, 1))) / 2    from s = w on

    Calling it gives a float64 Tensor of shape (); the step may be a number or a Tensor.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts (2017), equation 5.

    >>> from fgrad import optim
    >>> schedule = optim.CosineDecay(peak=0.1, decay_steps=100)
    >>> [round(schedule(step).item(), 3) for step in (0, 50, 100, 1000)]
    [0.1, 0.05, 0.0, 0.0]
    >>> optimizer = optim.Adam(learning_rate=schedule)
    """

    peak: float = number_field("peak")
    decay_steps: float = positive_field("decay_steps")
    final: float = number_field("final", 0.0)
    warmup_steps: float = number_field("warmup_steps", 0.0)

    def __call__(self, step: Any) -> Any:
        """The learning rate of the step after `step` others."""
        taken = fg.asarray(step).astype(np.float64)
        decayed = fg.clip((taken - self.warmup_steps) / self.decay_steps, 0.0, 1.0)
        falling = self.final + (self.peak - self.final) * 0.5 * (1 + fg.cos(math.pi * decayed))
        if not self.warmup_steps:
            return falling
        return fg.where(taken < self.warmup_steps, self.peak * (taken + 1) / (self.warmup_steps + 1), falling)


@fg.tree.static
@attrs.frozen(kw_only=True)
class ExponentialDecay:
    """initial * rate**(step / decay_steps): the learning rate is multiplied by `rate` every `decay_steps` steps.

    Calling it gives a float64 Tensor of shape (); the step may be a number or a Tensor.

    >>> from fgrad import optim
    >>> schedule = optim.ExponentialDecay(initial=0.1, rate=0.5, decay_steps=100)
    >>> [round(schedule(step).item(), 3) for step in (0, 100, 200)]
    [0.1, 0.05, 0.025]
    """

    initial: float = number_field("initial")
    rate: float = number_field("rate")
    decay_steps: float = positive_field("decay_steps")

    def __call__(self, step: Any) -> Any:
        """The learning rate of the step after `step` others."""
        return self.initial * self.rate ** (fg.asarray(step).astype(np.float64) / self.decay_steps)
