"""What all optimizers share: the contract, and how gradients and moments are matched to the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import attrs
import numpy as np

import fgrad as fg
from fgrad.core.errors import DtypeError, ShapeError, TreeError, at_user_line, with_article
from fgrad.core.tensor import ConcreteTensor, adopt

__all__ = [
    "GradientTransform",
    "LeafwiseOptimizer",
    "Optimizer",
    "Parameters",
    "apply_updates",
    "leafwise",
    "real_dtype",
]


class GradientTransform:
    """A pure function of gradients that may carry a state from step to step; what `chain` composes.

    Subclasses are frozen records of hyper-parameters, registered with `fgrad.tree.static`.
    """

    __slots__ = ()

    def init(self, params: Any) -> Any:
        """The state before the first step: a pytree of Tensors, or None."""
        raise NotImplementedError

    def update(self, grads: Any, opt_state: Any, params: Any) -> tuple[Any, Any]:
        """``(updates, opt_state)``: what becomes of the gradients, a tree like `params`, and the next state."""
        raise NotImplementedError


class Optimizer(GradientTransform):
    """A gradient transform whose updates are ready to be added to the parameters."""

    __slots__ = ()

    def step(self, params: Any, grads: Any, opt_state: Any) -> tuple[Any, Any]:
        """One whole step: ``(params, opt_state)`` after `update` and `apply_updates`.

        Args:
            params: a pytree of floating-point or complex tensors.
            grads: the gradient of the loss by `params`, of the same structure. A None where `params` has a leaf counts
                as zero: weight decay and moments still act on that leaf.
            opt_state: what `init` or the step before returned.

        Raises:
            TreeError, ShapeError, DtypeError: when gradients or state do not fit the parameters, naming the path.

        >>> import fgrad as fg
        >>> from fgrad import optim
        >>> params = {"w": fg.asarray([1.0, 2.0])}
        >>> optimizer = optim.SGD(learning_rate=0.5)
        >>> params, opt_state = optimizer.step(params, {"w": fg.asarray([2.0, 0.0])}, optimizer.init(params))
        >>> params
        {'w': Tensor([0., 2.], dtype=float64)}
        """
        updates, opt_state = self.update(grads, opt_state, params)
        return apply_updates(params, updates), opt_state


def apply_updates(params: Any, updates: Any) -> Any:
    """params + updates, leaf by leaf; the dtype of every parameter stays what it is, and None changes nothing.

    Raises:
        TreeError, ShapeError, DtypeError: when the updates do not fit the parameters, naming the path.

    >>> import fgrad as fg
    >>> from fgrad import optim
    >>> optim.apply_updates({"w": fg.asarray([1.0, 2.0])}, {"w": fg.asarray([-0.5, 0.5])})
    {'w': Tensor([0.5, 2.5], dtype=float64)}
    """
    parameters = Parameters.of(params)
    return parameters.moved(parameters.fit(updates, "updates"))


class LeafwiseOptimizer(Optimizer):
    """An optimizer by what it does to lists of leaves: the parameters are taken apart once per step, not per tree."""

    __slots__ = ()

    def update_leaves(self, parameters: Parameters, grads: Any, opt_state: Any) -> tuple[list[Any], Any]:
        """The updates of the leaves in order, and the next state."""
        raise NotImplementedError

    def update(self, grads: Any, opt_state: Any, params: Any) -> tuple[Any, Any]:
        """``(updates, opt_state)``, where updates are what is added to `params`; takes what `step` takes."""
        parameters = Parameters.of(params)
        updates, opt_state = self.update_leaves(parameters, grads, opt_state)
        return parameters.like_params(updates), opt_state

    def step(self, params: Any, grads: Any, opt_state: Any) -> tuple[Any, Any]:
        """``(params, opt_state)`` after one step; see `Optimizer.step`."""
        parameters = Parameters.of(params)
        updates, opt_state = self.update_leaves(parameters, grads, opt_state)
        return parameters.moved(updates), opt_state

    def refuse_state(self, opt_state: Any) -> NoReturn:
        """Raises TreeError for something that `init` of this optimizer did not make."""
        message = (
            f"opt_state is {with_article(type(opt_state))}, and not what {type(self).__name__}'s init(params) and step "
            f"return; the order of arguments is step(params, grads, opt_state) and update(grads, opt_state, params)"
        )
        raise TreeError(at_user_line(message))


@attrs.frozen(eq=False)
class Parameters:
    """A tree of parameters taken apart: the leaves as Tensors, and the structure that puts such leaves together."""

    tree: Any
    weights: list[Any]
    structure: Any

    @classmethod
    def of(cls, params: Any) -> Parameters:
        """Takes parameters apart.

        Raises:
            DtypeError: when a leaf is neither floating point nor complex, naming its path.
        """
        leaves, structure = fg.tree.flatten(params)
        parameters = cls(params, leaves, structure)
        for position, leaf in enumerate(leaves):
            tensor = leaf if isinstance(leaf, fg.Tensor) else parameters.as_tensor(leaf, "params", position)
            if tensor.dtype.kind not in "fc":
                message = (
                    f"{parameters.path('params', position)} has dtype {tensor.dtype}, and optimizers change "
                    f"floating-point parameters only; keep other values elsewhere, for example in the model's state"
                )
                raise DtypeError(at_user_line(message))
            leaves[position] = tensor
        return parameters

    def fit(self, tree: Any, name: str, *, real: bool = False) -> list[Any]:
        """The leaves of a tree that belongs to the parameters, each with its parameter's dtype; a None stays None.

        Args:
            tree: gradients, moments or updates.
            name: what the tree is called in messages.
            real: the leaves are real, of the precision of their parameters (see `real_dtype`).

        Raises:
            TreeError: when the structure differs from that of the parameters.
            ShapeError: when a leaf has another shape than its parameter.
            DtypeError: when a leaf is not a number, or complex where its parameter is real.
        """
        try:
            found = fg.tree.flatten_up_to(self.structure, tree, name)
        except TreeError as error:
            message = f"{name} must have the structure of the parameters: {error}"
            raise TreeError(at_user_line(message)) from None
        for position, (value, weight) in enumerate(zip(found, self.weights, strict=True)):
            if value is None:
                continue
            leaf = value if isinstance(value, fg.Tensor) else self.as_tensor(value, name, position)
            if leaf.shape != weight.shape:
                message = (
                    f"{self.path(name, position)} has shape {leaf.shape}, and {self.path('params', position)} has "
                    f"shape {weight.shape}"
                )
                raise ShapeError(at_user_line(message))
            dtype = real_dtype(weight.dtype) if real else weight.dtype
            if leaf.dtype != dtype:
                if leaf.dtype.kind == "c" and dtype.kind != "c":
                    message = (
                        f"{self.path(name, position)} has dtype {leaf.dtype}, and {self.path('params', position)} has "
                        f"dtype {weight.dtype}: making it real would drop its imaginary part"
                    )
                    raise DtypeError(at_user_line(message))
                leaf = leaf.astype(dtype)
            found[position] = leaf
        return found

    def fit_gradients(self, grads: Any) -> list[Any]:
        """Gradients as `fit` gives them, with zeros for None, and conjugated for complex parameters.

        The gradient of a real loss by a complex parameter is the conjugate of the direction of steepest ascent.
        """
        return [
            fg.zeros_like(w) if g is None else fg.conj(g) if w.dtype.kind == "c" else g
            for g, w in zip(self.fit(grads, "grads"), self.weights, strict=True)
        ]

    def moved(self, updates: list[Any]) -> Any:
        """The tree of parameters after these updates."""
        return self.like_params([w if d is None else w + d for w, d in zip(self.weights, updates, strict=True)])

    def like_params(self, leaves: list[Any]) -> Any:
        """The tree that has these leaves where `params` has its own."""
        return fg.tree.unflatten(self.structure, leaves)

    def scalars(self, value: Any) -> dict[np.dtype[Any], Any]:
        """For the dtype of every leaf the number as something that leaves leaves of that dtype in it when multiplied.

        A Python number is weak and does so by itself; a Tensor is converted.
        """
        dtypes = {weight.dtype for weight in self.weights}
        return {d: value.astype(real_dtype(d)) if isinstance(value, fg.Tensor) else value for d in dtypes}

    def path(self, name: str, position: int) -> str:
        """The path of a leaf in a tree of this name, for messages."""
        path, _ = fg.tree.flatten_with_path(self.tree)[0][position]
        return name + path

    def as_tensor(self, leaf: Any, name: str, position: int) -> fg.Tensor:
        """The leaf as a Tensor, or an error that names its path."""
        if not isinstance(leaf, dict | list | tuple):
            try:
                return fg.asarray(leaf)
            except TypeError:
                pass
        message = f"{self.path(name, position)} is {with_article(type(leaf))}, not a number or an array"
        error = TreeError if isinstance(leaf, dict | list | tuple) else DtypeError
        raise error(at_user_line(message))


def leafwise(formula: Callable[..., tuple[Any, ...]], *columns: Sequence[Any]) -> list[tuple[Any, ...]]:
    """A formula over the leaves of several trees: one row of results for every row of leaves.

    The formula is written in NumPy's words, which mean the same for arrays and Tensors. Where no leaf is traced it runs
    on the arrays themselves, and each of its operations costs what it costs in NumPy.
    """
    rows = zip(*columns, strict=True)
    if {type(value) for column in columns for value in column} <= _UNTRACED:
        return [tuple([adopt(np.asarray(out)) for out in formula(*map(_array_of, row))]) for row in rows]
    return [formula(*row) for row in rows]


_UNTRACED = {ConcreteTensor, float, type(None)}


def _array_of(value: Any) -> Any:
    return value._array if type(value) is ConcreteTensor else value


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the real part of such numbers: float32 for complex64 and for float32."""
    return np.finfo(dtype).dtype if dtype.kind == "c" else dtype
