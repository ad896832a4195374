"""chain: several gradient transforms, one after the other, as one optimizer."""

from __future__ import annotations

from typing import Any

import attrs

import fgrad as fg
from fgrad.core.errors import TreeError, at_user_line
from fgrad.optim.optimizer import GradientTransform, Optimizer

__all__ = ["Chain", "chain"]


@fg.tree.static
@attrs.frozen
class Chain(Optimizer):
    """What `chain` makes; its state is the tuple of the states of its transforms."""

    transforms: tuple[GradientTransform, ...]

    def init(self, params: Any) -> tuple[Any, ...]:
        """The states of all transforms before the first step."""
        return tuple([transform.init(params) for transform in self.transforms])

    def update(self, grads: Any, opt_state: Any, params: Any) -> tuple[Any, tuple[Any, ...]]:
        """``(updates, opt_state)``: each transform's updates are the gradients of the next."""
        if not isinstance(opt_state, tuple) or len(opt_state) != len(self.transforms):
            message = (
                f"opt_state must be the tuple of the {len(self.transforms)} states that this chain's init(params) and "
                f"step return; step takes (params, grads, opt_state) in this order"
            )
            raise TreeError(at_user_line(message))
        updates, states = grads, []
        for transform, state in zip(self.transforms, opt_state, strict=True):
            updates, state = transform.update(updates, state, params)  # noqa: PLW2901 - the next state is kept
            states.append(state)
        return updates, tuple(states)


def chain(*transforms: GradientTransform) -> Chain:
    """Several transforms as one optimizer: each turns the gradients into what the next one takes for gradients.

    An optimizer goes last: it turns gradients into updates, which are added to the parameters.

    Raises:
        ValueError: when no transform is given.
        TypeError: when one of them has no `init` and `update`.

    >>> import fgrad as fg
    >>> from fgrad import optim
    >>> optimizer = optim.chain(optim.ClipByGlobalNorm(1.0), optim.SGD(learning_rate=0.1))
    >>> params = {"w": fg.asarray([0.0, 0.0])}
    >>> grads = {"w": fg.asarray([30.0, 40.0])}
    >>> optimizer.step(params, grads, optimizer.init(params))[0]
    {'w': Tensor([-0.06, -0.08], dtype=float64)}
    """
    if not transforms:
        message = "chain needs at least one transform"
        raise ValueError(message)
    for position, transform in enumerate(transforms):
        if isinstance(transform, type) or not (hasattr(transform, "init") and hasattr(transform, "update")):
            message = f"argument {position} of chain is {transform!r}, which has no init and update of an instance"
            raise TypeError(message)
    return Chain(transforms)
