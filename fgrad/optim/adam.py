"""Adam: steps scaled by running averages of the gradient and of its square."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad.optim.hyperparameters import learning_rate_at, learning_rate_field, number_field
from fgrad.optim.optimizer import LeafwiseOptimizer, Parameters, leafwise, real_dtype

__all__ = ["Adam", "AdamState"]


@attrs.frozen(eq=False)
class AdamState:
    """The state of `Adam`: how many steps were taken (int64, shape ()), and the averages m and v.

    Both are trees like the parameters and have their dtypes; the second moment of a complex parameter is real.
    """

    step_count: Any
    first_moment: Any
    second_moment: Any


@fg.tree.static
@attrs.frozen
class Adam(LeafwiseOptimizer):
    """Adam, with the weight decay added to the gradient (L2).

    With the gradient g, the parameter w, m_0 = v_0 = 0 and t = 1, 2, ...::

        d = g + weight_decay * w
        m = b1 * m + (1 - b1) * d
        v = b2 * v + (1 - b2) * |d|**2
        w = w - learning_rate * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps)

    Parameters keep their dtype, and m and v have the dtype of their parameter. The gradient of a complex parameter is
    conjugated, which makes it the direction of steepest ascent, and v is real. An eps below the smallest normal number
    of a parameter's dtype counts as that number, so that a gradient of zero changes nothing, in float16 too (whose
    range is too small for v when gradients are below 1e-2: prefer float32 parameters).

    Attributes:
        learning_rate: a number, or a schedule: a function of the number of steps taken before (0 at the first).
        b1: the decay of the first moment, from 0 to less than 1.
        b2: the decay of the second moment, from 0 to less than 1.
        eps: added to the root of the second moment, at least 0.
        weight_decay: the factor of the L2 penalty's gradient, at least 0.

    Raises:
        ValueError: a hyper-parameter is out of its range.
        TypeError: a hyper-parameter is not a number.

    Source: Kingma and Ba, Adam: a method for stochastic optimization (2015), algorithm 1.

    >>> import fgrad as fg
    >>> from fgrad import optim
    >>> optimizer = optim.Adam(learning_rate=0.1)
    >>> params = {"w": fg.asarray(1.0)}
    >>> opt_state = optimizer.init(params)
    >>> for _ in range(2):
    ...     params, opt_state = optimizer.step(params, fg.grad(lambda p: p["w"] ** 2)(params), opt_state)
    >>> print(f"{params['w']:.4f}")
    0.8004
    """

    learning_rate: Any = learning_rate_field(1e-3)  # noqa: RUF009 - a field, not a default
    b1: float = number_field("b1", 0.9, below=1.0)
    b2: float = number_field("b2", 0.999, below=1.0)
    eps: float = number_field("eps", 1e-8)
    weight_decay: float = number_field("weight_decay", 0.0)

    def init(self, params: Any) -> AdamState:
        """The state before the first step: no steps taken, and zero moments."""
        parameters = Parameters.of(params)
        first = [fg.zeros_like(w) for w in parameters.weights]
        second = [fg.zeros(w.shape, dtype=real_dtype(w.dtype)) for w in parameters.weights]
        return AdamState(fg.asarray(0, dtype=np.int64), parameters.like_params(first), parameters.like_params(second))

    def update_leaves(self, parameters: Parameters, grads: Any, opt_state: AdamState) -> tuple[list[Any], AdamState]:
        """The updates of the leaves in order, and the next state."""
        if not isinstance(opt_state, AdamState):
            self.refuse_state(opt_state)
        gradients = parameters.fit_gradients(grads)
        before_m = parameters.fit(opt_state.first_moment, "opt_state.first_moment")
        before_v = parameters.fit(opt_state.second_moment, "opt_state.second_moment", real=True)
        scales, eps = self._scalars(parameters, opt_state.step_count)
        dtypes = [w.dtype for w in parameters.weights]
        rows = leafwise(
            self._update_leaf,
            parameters.weights,
            gradients,
            before_m,
            before_v,
            [scales[dtype] for dtype in dtypes],
            [eps[dtype] for dtype in dtypes],
        )
        first, second = parameters.like_params([m for _, m, _ in rows]), parameters.like_params([v for *_, v in rows])
        return [update for update, _, _ in rows], AdamState(opt_state.step_count + 1, first, second)

    def _update_leaf(self, w: Any, g: Any, m: Any, v: Any, scale: Any, eps: Any) -> tuple[Any, Any, Any]:
        d = g + w * self.weight_decay if self.weight_decay else g
        squared = np.real(d * np.conj(d)) if d.dtype.kind == "c" else d * d
        m = m * self.b1 + d * (1 - self.b1)
        v = v * self.b2 + squared * (1 - self.b2)
        return m * scale / (np.sqrt(v) + eps), m, v

    def _scalars(self, parameters: Parameters, step_count: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """The factor of m and the summand of sqrt(v), by dtype.

        Both bias corrections are taken out of the arrays: with c = sqrt(1 - b2**t) the step is
        -learning_rate * c / (1 - b1**t) * m / (sqrt(v) + eps * c), which is the formula above times c / c.
        """
        t = step_count + 1
        c = fg.sqrt(1 - self.b2**t)
        rate = learning_rate_at(self.learning_rate, step_count)
        eps = {d: fg.maximum(e, np.finfo(d).tiny.item()) for d, e in parameters.scalars(self.eps * c).items()}
        return parameters.scalars(-rate * c / (1 - self.b1**t)), eps
