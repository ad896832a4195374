"""Losses of classification: softmax_cross_entropy per example, and SoftmaxLoss, its mean over the batch."""

from __future__ import annotations

from typing import Any, NoReturn

import attrs

import fgrad as fg
from fgrad.core.errors import DtypeError, ShapeError, at_user_line
from fgrad.nn.functions import log_softmax, shift_to_maximum
from fgrad.nn.hyperparameters import describe_record
from fgrad.nn.module import UNPACK, ModuleCallError

__all__ = ["SoftmaxLoss", "softmax_cross_entropy"]


def softmax_cross_entropy(logits: fg.ArrayLike, labels: fg.ArrayLike) -> fg.Tensor:
    """The cross-entropy of the labels with softmax(logits), for each example.

    With integer labels y it is -log softmax(z)_y = logsumexp(z) - z_y; with probabilities q it is
    -sum_c q_c log softmax(z)_c, where 0 log 0 counts as 0. The gradient by the logits is softmax(z) minus the one-hot
    label, or sum(q) softmax(z) - q.

    Args:
        logits: scores z of shape (..., num_classes), floating point.
        labels: integers of shape (...), each in 0..num_classes - 1, or floating-point probabilities of the logits'
            shape.

    Returns:
        A Tensor of shape (...), the logits' shape without the last axis.

    Raises:
        ShapeError: the shapes do not fit; a label is out of range (-1 too), which the message names with its position
            and num_classes. When the labels are traced and have no values yet, out-of-range ones raise as soon as the
            graph is evaluated.
        DtypeError: the logits are not floating point; the labels are neither integers nor floating point.
        ModuleCallError: the logits are apply's whole result, the pair (y, state).

    >>> from fgrad import nn
    >>> logits = fg.asarray([[2.0, 0.0], [2.0, 0.0]])
    >>> nn.softmax_cross_entropy(logits, fg.asarray([0, 1]))
    Tensor([0.12692801, 2.12692801], dtype=float64)
    """
    scores, targets = _as_tensor(logits, "logits"), _as_tensor(labels, "labels")
    shape, kind = scores.shape, targets.dtype.kind
    if not shape or scores.dtype.kind != "f":
        _refuse_logits(scores)
    if targets.shape != (shape if kind == "f" else shape[:-1]) or kind not in "iuf":
        _refuse_labels(scores, targets)
    if kind == "f":
        return -fg.sum(fg.multiply_no_nan(targets, log_softmax(scores)), axis=-1)
    shifted = shift_to_maximum(scores, -1)
    # A selection, not a product with 0 and 1: a masked class (a logit of -inf) must not turn into NaN.
    labelled = fg.where(fg.one_hot(targets, shape[-1], bool), shifted, 0)
    return fg.log(fg.sum(fg.exp(shifted), axis=-1)) - fg.sum(labelled, axis=-1)


def _as_tensor(value: Any, name: str) -> fg.Tensor:
    if isinstance(value, tuple):
        message = f"softmax_cross_entropy: the {name} are a tuple; {UNPACK}"
        raise ModuleCallError(at_user_line(message))
    return fg.asarray(value)


def _refuse_logits(logits: fg.Tensor) -> NoReturn:
    if not logits.shape:
        message = "softmax_cross_entropy: the logits have shape (), and need a last axis that counts the classes"
        raise ShapeError(at_user_line(message))
    message = f"softmax_cross_entropy: the logits are floating point, not {logits.dtype}; convert them with astype"
    raise DtypeError(at_user_line(message))


def _refuse_labels(logits: fg.Tensor, labels: fg.Tensor) -> NoReturn:
    kind, examples = labels.dtype.kind, logits.shape[:-1]
    if kind not in "iuf":
        reason = "labels are integers or floating-point probabilities; convert them with astype(int) or astype(float)"
    elif kind == "f" and labels.shape == examples:
        reason = "floating-point labels are probabilities of the logits' shape; convert class numbers with astype(int)"
    elif kind == "f":
        reason = "floating-point labels are probabilities, of the logits' shape"
    elif labels.shape == logits.shape:
        reason = (
            f"integer labels are class numbers, of shape {examples}; for one-hot rows or probabilities convert them "
            f"with astype('{logits.dtype}')"
        )
    else:
        reason = f"integer labels are class numbers, of the logits' shape without its last axis, {examples}"
    message = (
        f"softmax_cross_entropy: labels {labels.dtype} of shape {labels.shape} do not fit logits of shape "
        f"{logits.shape}: {reason}"
    )
    raise (DtypeError if kind not in "iuf" else ShapeError)(at_user_line(message))


@fg.tree.static
@attrs.frozen(repr=False)
class SoftmaxLoss:
    """The mean over the batch of `softmax_cross_entropy`: ``SoftmaxLoss()(logits, labels)`` is a scalar.

    The arguments and the errors are those of `softmax_cross_entropy`.

    >>> from fgrad import nn
    >>> nn.SoftmaxLoss()(fg.zeros((4, 10)), fg.asarray([3, 1, 4, 1]))
    Tensor(2.30258509, dtype=float64)
    """

    def __call__(self, logits: fg.ArrayLike, labels: fg.ArrayLike) -> fg.Tensor:
        """The mean loss, of shape ()."""
        return fg.mean(softmax_cross_entropy(logits, labels))

    def __repr__(self) -> str:
        return describe_record(self)
