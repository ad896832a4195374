"""Dropout: zeros at random while training."""

from __future__ import annotations

from typing import Any

import attrs

import fgrad as fg
from fgrad import random
from fgrad.core.key import Key
from fgrad.nn.hyperparameters import number_between, to_number
from fgrad.nn.module import Module, ModuleCallError, checks_call, failure

__all__ = ["Dropout"]


@fg.tree.static
@attrs.frozen(repr=False)
class Dropout(Module):
    """While training, each element is kept with probability 1 - p and divided by it, and otherwise set to zero.

    The expectation is the input's (Srivastava et al. 2014, Dropout, section 10, in its inverted form). When not
    training it is the identity. p = 1 gives zeros, and p = 0 is the identity always; neither draws, so neither needs a
    key. `fgrad.random.dropout_mask` draws the mask; its probability is 1 - p to within 1 / 131072, and the scale is one
    over the exact probability that the mask has.

    Attributes:
        p: the probability of a zero, between 0 and 1.

    Raises:
        ValueError: at construction, for p outside of [0, 1].
        ModuleCallError: in training, without a key.

    >>> from fgrad import nn, random
    >>> layer = nn.Dropout(0.5)
    >>> y, _ = layer.apply({}, {}, fg.ones(10000), key=random.key(0), training=True)
    >>> sorted(set(y.tolist()))
    [0.0, 2.0]
    >>> y, _ = layer.apply({}, {}, fg.ones(3))
    >>> y
    Tensor([1., 1., 1.], dtype=float64)
    """

    p: float = attrs.field(default=0.5, converter=to_number, validator=number_between(0.0, 1.0))

    def init(self, key: Key) -> tuple[dict[str, Any], dict[str, Any]]:
        """No parameters and no state."""
        return {}, {}

    @checks_call
    def apply(
        self, params: Any, state: Any, x: Any, *, key: Key | None = None, training: bool = False
    ) -> tuple[fg.Tensor, Any]:
        """The input with zeros in it (as it is, when not training), and the state as it is."""
        if not training or self.p == 0.0:
            return x, state
        if self.p == 1.0:
            return fg.zeros_like(x), state
        if key is None:
            text = (
                "it draws random numbers while training and was given no key; write "
                "`module.apply(params, state, x, key=key, training=True)`, with a new key for every step"
            )
            raise failure(self, ModuleCallError, text)
        kept, probability = random.dropout_mask(key, 1.0 - self.p, x.shape)
        # The scale has the input's dtype: a boolean times a Python float would be float64.
        return x * (kept * x.dtype.type(1.0 / probability)), state

    @property
    def needs_key(self) -> bool:
        """Whether a mask is drawn in training at all."""
        return 0.0 < self.p < 1.0
