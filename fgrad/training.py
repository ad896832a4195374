"""Training of classifiers: one step as a pure function, and one epoch over a data loader."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import attrs
import numpy as np

import fgrad as fg
from fgrad import data, nn, random
from fgrad.core.errors import FgradError, at_user_line, with_article
from fgrad.core.key import Key

__all__ = [
    "EpochResult",
    "NonFiniteLossError",
    "StepResult",
    "TrainState",
    "create_train_state",
    "epoch",
    "train_step",
]


@attrs.frozen(eq=False)
class TrainState:
    """All that training changes: the model's parameters and state, and the optimizer's state. A pytree.

    Attributes:
        params: what is trained.
        state: what the model carries along, such as running statistics.
        opt_state: what the optimizer carries along; evaluation and prediction do without it.
    """

    params: Any
    state: Any
    opt_state: Any = None


@attrs.frozen
class EpochResult:
    """What `epoch` measured: the fraction of wrong predictions, and the mean of the losses of the batches."""

    error: float
    loss: float


@attrs.frozen(eq=False)
class StepResult:
    """What one batch gave.

    Attributes:
        step: the number of the batch in its epoch, from 1.
        train_state: after the step; unchanged in evaluation.
        loss: the mean loss over the batch, before the step.
        correct: how many predictions were right, before the step.
        examples: how many examples the batch has.
    """

    step: int
    train_state: TrainState
    loss: float
    correct: int
    examples: int


class NonFiniteLossError(FgradError, FloatingPointError):
    """The loss, or a parameter, became NaN or infinite: usually the learning rate is too large.

    Failing::

        train_state, result = training.epoch(loader, model, train_state, optim.SGD(1e6), key=key)

    Repaired: a smaller learning rate, or clipped gradients; what was learnt before is in the error::

        try:
            train_state, result = training.epoch(loader, model, train_state, optimizer, key=key)
        except training.NonFiniteLossError as error:
            fg.save("last_good.npz", error.train_state)

    `fgrad.find_nan` finds the operation that began it, when it is the model's and not the learning rate's doing.

    Attributes:
        step: the number of the step in its epoch, from 1.
        train_state: the last one that gave a finite loss; in evaluation the one that was evaluated.
        training: whether this was a training step, and not evaluation.
    """

    def __init__(self, message: str, step: int, train_state: TrainState, training: bool) -> None:
        super().__init__(message, step, train_state, training)
        self.step = step
        self.train_state = train_state
        self.training = training

    def __str__(self) -> str:
        return str(self.args[0])


def create_train_state(model: nn.Module, optimizer: Any, key: Key) -> TrainState:
    """The state before the first step: fresh parameters from the key, and the optimizer's state for them.

    >>> from fgrad import nn, optim, random, training
    >>> train_state = training.create_train_state(nn.Linear(2, 3), optim.Adam(), random.key(0))
    >>> train_state.params["weight"].shape
    (2, 3)
    """
    params, state = model.init(key)
    return TrainState(params, state, optimizer.init(params))


def train_step(
    model: nn.Module, optimizer: Any, train_state: TrainState, batch: Any, *, key: Key | None = None
) -> tuple[TrainState, fg.Tensor, fg.Tensor]:
    """One step of an optimizer down the softmax loss of one batch; a pure function.

    Args:
        model: maps x to logits of shape (batch, classes).
        optimizer: an optimizer of `fgrad.optim`, or anything with its ``step(params, grads, opt_state)``.
        train_state: where to start from.
        batch: a pair (x, y) of inputs and labels (integers, or probabilities of shape (batch, classes)).
        key: for modules that draw random numbers, such as dropout.

    Returns:
        ``(train_state, loss, logits)``: the new state, and the loss and the logits before the step.

    >>> import fgrad as fg
    >>> from fgrad import nn, optim, random, training
    >>> model, optimizer = nn.Linear(2, 3), optim.SGD(0.5)
    >>> train_state = training.create_train_state(model, optimizer, random.key(0))
    >>> batch = (fg.ones((4, 2), dtype="float32"), fg.asarray([0, 1, 2, 0]))
    >>> train_state, loss, logits = training.train_step(model, optimizer, train_state, batch)
    >>> train_state, later_loss, logits = training.train_step(model, optimizer, train_state, batch)
    >>> bool(later_loss < loss)
    True
    """
    x, y = batch

    def loss_of(params: Any) -> tuple[fg.Tensor, tuple[fg.Tensor, Any]]:
        logits, state = model.apply(params, train_state.state, x, key=key, training=True)
        return nn.SoftmaxLoss()(logits, y), (logits, state)

    (loss, (logits, state)), grads = fg.value_and_grad(loss_of, has_aux=True)(train_state.params)
    params, opt_state = optimizer.step(train_state.params, grads, train_state.opt_state)
    return TrainState(params, state, opt_state), loss, logits


def epoch(
    loader: Any,
    model: nn.Module,
    train_state: TrainState,
    optimizer: Any = None,
    *,
    key: Key | None = None,
    on_step: Callable[[StepResult], Any] | None = None,
) -> tuple[TrainState, EpochResult]:
    """One pass over a loader: training with an optimizer, evaluation without.

    Training goes through ``loader.epoch`` and takes one `train_step` a batch, with keys for shuffling, for random
    transforms and for every step that are all derived from `key`. Evaluation uses the running statistics, draws no
    random numbers, and returns the train state it was given; it needs a key only for a loader that shuffles or
    transforms.

    The error is 1 - correct / (number of examples), and the loss is the mean of the batches' losses. In training each
    batch is judged before its step.

    Args:
        loader: a `fgrad.data.DataLoader` whose batches are pairs (x, y), as `train_step` takes them.
        model: maps x to logits of shape (batch, classes).
        train_state: where to start from.
        optimizer: an optimizer of `fgrad.optim`, or None to evaluate.
        key: a key of this epoch's own, such as ``random.fold_in(key, i)``.
        on_step: is called with a `StepResult` after every batch, for progress bars and logs.

    Returns:
        ``(train_state, EpochResult(error, loss))``.

    Raises:
        TypeError: when there is an optimizer and no key, or a dataset in the place of the loader.
        ValueError: when the loader has no batches.
        NonFiniteLossError: as soon as a loss is NaN or infinite, naming the step; the last good train state is in the
            error. Training also checks its final parameters, so what it returns is finite.

    >>> import fgrad as fg
    >>> from fgrad import data, nn, optim, random, training
    >>> train, test = data.digits()
    >>> model, optimizer = nn.MLPResNet(64, hidden_dim=32), optim.Adam(0.01)
    >>> train_state = training.create_train_state(model, optimizer, random.key(0))
    >>> loader = data.DataLoader(train, batch_size=100, shuffle=True)
    >>> for i in range(2):
    ...     train_state, _ = training.epoch(loader, model, train_state, optimizer, key=random.key(1 + i))
    >>> _, result = training.epoch(data.DataLoader(test, batch_size=100), model, train_state)
    >>> result.error < 0.2
    True
    """
    if optimizer is not None:
        _require_training(optimizer, key)
    _require_loader(loader, key)
    losses: list[float] = []
    correct = examples = 0
    for result in _steps(loader, model, train_state, optimizer, key):
        losses.append(result.loss)
        correct += result.correct
        examples += result.examples
        train_state = result.train_state
        if on_step is not None:
            on_step(result)
    if not losses:
        message = "the loader has no batches: its dataset is empty, or smaller than one batch with drop_last=True"
        raise ValueError(at_user_line(message))
    return train_state, EpochResult(1 - correct / examples, math.fsum(losses) / len(losses))


def _require_training(optimizer: Any, key: Key | None) -> None:
    if isinstance(optimizer, type):
        message = f"epoch takes an optimizer and not its class: write optim.{optimizer.__name__}()"
        raise TypeError(at_user_line(message))
    if key is None:
        message = (
            "an epoch of training shuffles batches and draws dropout masks, so it needs a key of its own; write\n"
            "    for i in range(epochs):\n"
            "        train_state, result = epoch(loader, model, train_state, optimizer, key=random.fold_in(key, i))\n"
            "or leave the optimizer out to evaluate"
        )
        raise TypeError(at_user_line(message))


def _require_loader(loader: Any, key: Key | None) -> None:
    # A dataset can be iterated over like a loader, and its samples would be taken for batches.
    if not hasattr(loader, "epoch") and (key is not None or isinstance(loader, data.ArrayDataset)):
        message = (
            f"epoch takes a loader, and {with_article(type(loader))} is none: write "
            f"epoch(data.DataLoader(dataset, batch_size=100), ...)"
        )
        raise TypeError(at_user_line(message))


def _steps(
    loader: Any, model: nn.Module, train_state: TrainState, optimizer: Any, key: Key | None
) -> Iterator[StepResult]:
    data_key, model_key = (None, None) if key is None else random.split(key)
    last_good = train_state
    number = 0
    for number, batch in enumerate(loader if data_key is None else loader.epoch(data_key), start=1):
        x, y = batch
        # Overflow shows in the loss, which is checked: no need of NumPy's warning at whatever line it began.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if optimizer is None or model_key is None:
                logits, _ = model.apply(train_state.params, train_state.state, x)
                after, loss = train_state, nn.SoftmaxLoss()(logits, y)
            else:
                step_key = random.fold_in(model_key, number)
                after, loss, logits = train_step(model, optimizer, train_state, batch, key=step_key)
        value = float(loss)
        if not math.isfinite(value):
            _refuse_loss(f"the loss of step {number} is {value}", number, last_good, optimizer)
        last_good, train_state = train_state, after
        yield StepResult(number, train_state, value, _count_correct(logits, y), len(x))
    if optimizer is not None and not fg.tree.all(lambda leaf: bool(fg.all(fg.isfinite(leaf))), train_state.params):
        _refuse_loss(f"the parameters are not finite after step {number}", number, last_good, optimizer)


def _refuse_loss(problem: str, number: int, last_good: TrainState, optimizer: Any) -> NoReturn:
    if optimizer is None:
        message = (
            f"{problem}, in evaluation: the data or the parameters are not finite, or so large that they overflow; "
            f"fg.find_nan(loss)(params) names the operation at which the numbers stop being finite, and its line"
        )
    else:
        message = (
            f"{problem}, in training with {optimizer}: the data are not finite, or the learning rate is too large (try "
            f"a tenth of it). The train state before is this error's train_state. If neither is the reason, "
            f"fg.find_nan(loss)(params) names the operation at which the numbers stop being finite, and its line"
        )
    raise NonFiniteLossError(at_user_line(message), number, last_good, optimizer is not None)


def _count_correct(logits: fg.Tensor, y: Any) -> int:
    labels = np.asarray(y)
    if labels.ndim == logits.ndim:
        labels = np.argmax(labels, axis=-1)
    return int(np.count_nonzero(np.argmax(np.asarray(logits), axis=-1) == labels))
