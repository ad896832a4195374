"""Clipping: gradients that are too long are shortened before an optimizer sees them."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad.optim.hyperparameters import positive_field
from fgrad.optim.optimizer import GradientTransform, Parameters

__all__ = ["ClipByGlobalNorm"]


@fg.tree.static
@attrs.frozen
class ClipByGlobalNorm(GradientTransform):
    """Scales all gradients by min(1, max_norm / norm), where the norm is that of all their elements together.

    The norm is sqrt(sum |g|**2) over every element of every leaf, summed in float64. The direction stays the same, and
    None stays None. Use it in front of an optimizer: ``optim.chain(optim.ClipByGlobalNorm(1.0), optim.Adam())``.

    Raises:
        ValueError: when max_norm is not above 0.

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks (2013), algorithm 1.

    >>> import fgrad as fg
    >>> from fgrad import optim
    >>> params = grads = {"a": fg.asarray([3.0]), "b": fg.asarray([4.0])}
    >>> clip = optim.ClipByGlobalNorm(1.0)
    >>> clip.update(grads, clip.init(params), params)[0]
    {'a': Tensor([0.6], dtype=float64), 'b': Tensor([0.8], dtype=float64)}
    """

    max_norm: float = positive_field("max_norm")

    def init(self, params: Any) -> None:
        """None: clipping carries no state."""

    def update(self, grads: Any, opt_state: None, params: Any) -> tuple[Any, None]:
        """``(clipped gradients, None)``."""
        parameters = Parameters.of(params)
        gradients = parameters.fit(grads, "grads")
        squares = [fg.sum(fg.square(fg.abs(g).astype(np.float64))) for g in gradients if g is not None]
        if not squares:
            return grads, None
        norm = fg.sqrt(fg.sum(fg.stack(squares)))
        scales = parameters.scalars(self.max_norm / fg.maximum(norm, self.max_norm))
        clipped = [
            None if g is None else g * scales[w.dtype] for g, w in zip(gradients, parameters.weights, strict=True)
        ]
        return parameters.like_params(clipped), None
