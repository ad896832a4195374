"""Random changes to images, as pure functions of a key and an image."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np

import fgrad as fg
from fgrad import random
from fgrad.core.errors import DtypeError, ShapeError, at_user_line
from fgrad.core.key import Key

__all__ = ["Compose", "RandomCrop", "RandomFlipHorizontal", "Transform", "as_transforms", "crop_shifted"]

Transform: TypeAlias = Callable[[Key, Any], Any]


def as_transforms(transforms: Sequence[Transform]) -> tuple[Transform, ...]:
    """The transforms as a tuple.

    Raises:
        TypeError: they are not a list or tuple of functions of a key and a sample.
    """
    if not isinstance(transforms, list | tuple) or not all(callable(transform) for transform in transforms):
        message = (
            f"transforms is a tuple of functions (key, sample) -> sample, and this is {transforms!r:.80}; "
            "for one transform write transforms=(RandomCrop(3),), for none transforms=()"
        )
        raise TypeError(at_user_line(message))
    return tuple(transforms)


def _as_probability(p: Any) -> float:
    if not hasattr(p, "__float__"):
        message = f"p is a probability, a number from 0 to 1, and {p!r} is not"
        raise DtypeError(at_user_line(message))
    probability = float(p)
    if not 0 <= probability <= 1:
        message = f"p is a probability, from 0 to 1, and {p!r} is not"
        raise ValueError(at_user_line(message))
    return probability


def _as_padding(padding: Any) -> int:
    try:
        width = operator.index(padding)
    except TypeError:
        message = f"padding is a number of pixels, an integer, and {padding!r} is not"
        raise DtypeError(at_user_line(message)) from None
    if width < 0:
        message = f"padding is a number of pixels, 0 or more, and {width} is not"
        raise ValueError(at_user_line(message))
    return width


@fg.tree.static
@attrs.frozen
class RandomFlipHorizontal:
    """Mirrors an image with probability p: reverses the axis W of (H, W, C).

    Called as ``flip(key, image)``, with an image of shape (H, W) or (H, W, ...), of any dtype. The result has its shape
    and dtype; it is a Tensor for a Tensor and a NumPy array for a NumPy array, and so it is for each transform here.

    Raises:
        ValueError: p is not in [0, 1].
        DtypeError: p is no number.
        ShapeError: the image has fewer than two axes (when called).

    >>> import numpy as np
    >>> import fgrad as fg
    >>> image = np.arange(6).reshape(2, 3, 1)
    >>> fg.data.RandomFlipHorizontal(p=1.0)(fg.random.key(0), image)[:, :, 0]
    array([[2, 1, 0],
           [5, 4, 3]])
    """

    p: float = attrs.field(default=0.5, converter=_as_probability)

    def __call__(self, key: Key, image: Any) -> Any:
        """The image, mirrored if the key's draw says so."""
        image = _as_image(image, "RandomFlipHorizontal")
        # What bernoulli(key, p) draws, without its checks of p, which take as long again.
        return image[:, ::-1] if float(random.uniform(key)) < self.p else image


@fg.tree.static
@attrs.frozen
class RandomCrop:
    """Shifts an image by up to `padding` pixels either way along both axes, with zeros where it moved away.

    Draws dx and dy, independent and uniform over -padding, ..., padding, and gives ``crop_shifted(image, dx, dy,
    padding)``: the crop of the original size out of the image with `padding` zeros on each side.

    Called as ``crop(key, image)``, with an image of shape (H, W) or (H, W, ...), of any dtype, which the result shares.

    Raises:
        ValueError: the padding is negative.
        DtypeError: the padding is no integer.
        ShapeError: the image has fewer than two axes (when called).

    >>> import numpy as np
    >>> import fgrad as fg
    >>> image = np.ones((4, 4, 1), np.float32)
    >>> shifted = fg.data.RandomCrop(padding=2)(fg.random.key(0), image)
    >>> shifted.shape, shifted.dtype
    ((4, 4, 1), dtype('float32'))
    """

    padding: int = attrs.field(default=3, converter=_as_padding)

    def __call__(self, key: Key, image: Any) -> Any:
        """The image, shifted by what the key draws."""
        dx, dy = random.randint(key, (2,), -self.padding, self.padding + 1).tolist()
        return _crop(_as_image(image, "RandomCrop"), dx, dy)


@fg.tree.static
@attrs.frozen(init=False)
class Compose:
    """Several transforms, one after the other: ``Compose(RandomCrop(3), RandomFlipHorizontal())``; a list does as well.

    Called as ``transform(key, sample)``. The transform at position i gets the key ``random.fold_in(key, i)``, so that
    no two of them draw the same numbers; one that is alone gets the key itself.

    Raises:
        TypeError: something that is not a function is among them.

    >>> import numpy as np
    >>> import fgrad as fg
    >>> flip = fg.data.RandomFlipHorizontal(p=1.0)
    >>> fg.data.Compose(flip, flip)(fg.random.key(0), np.arange(3).reshape(1, 3))
    array([[0, 1, 2]])
    """

    transforms: tuple[Transform, ...]

    def __init__(self, *transforms: Transform | Sequence[Transform]) -> None:
        listed: Any = transforms[0] if len(transforms) == 1 and isinstance(transforms[0], list | tuple) else transforms
        self.__attrs_init__(as_transforms(listed))

    def __call__(self, key: Key, sample: Any) -> Any:
        """The sample after all transforms."""
        if len(self.transforms) == 1:
            return self.transforms[0](key, sample)
        for position, transform in enumerate(self.transforms):
            sample = transform(random.fold_in(key, position), sample)
        return sample


def crop_shifted(image: Any, dx: int, dy: int, padding: int) -> Any:
    """The image shifted by dx rows up and dy columns to the left (negative: down, right), zeros moving in.

    With ``padded`` the image with `padding` zeros on each side of its first two axes, H and W, this is
    ``padded[padding + dx:][:H, padding + dy:][:, :W]``.

    Args:
        image: an array of shape (H, W) or (H, W, ...).
        dx: the shift along H, from -padding to padding.
        dy: the shift along W, likewise.
        padding: how far the image may be shifted.

    Returns:
        An array of the image's shape and dtype; a Tensor for a Tensor, through which gradients pass.

    Raises:
        ValueError: a shift is larger than the padding, or the padding is negative.
        DtypeError: a shift or the padding is no integer.
        ShapeError: the image has fewer than two axes.

    >>> import numpy as np
    >>> import fgrad as fg
    >>> fg.data.crop_shifted(np.array([[1, 2], [3, 4]]), 1, 0, padding=1)
    array([[3, 4],
           [0, 0]])
    """
    width = _as_padding(padding)
    try:
        shifts = operator.index(dx), operator.index(dy)
    except TypeError:
        message = f"crop_shifted: dx and dy are numbers of pixels, integers, and {dx!r}, {dy!r} are not"
        raise DtypeError(at_user_line(message)) from None
    if max(map(abs, shifts)) > width:
        message = f"crop_shifted: dx={dx} and dy={dy} must be from {-width} to {width}, the padding"
        raise ValueError(at_user_line(message))
    return _crop(_as_image(image, "crop_shifted"), *shifts)


def _crop(image: Any, dx: int, dy: int) -> Any:
    height, width = image.shape[:2]
    (rows_from, rows_to), (columns_from, columns_to) = _overlap(dx, height), _overlap(dy, width)
    kept = image[rows_from:rows_to, columns_from:columns_to]
    top, left = min(max(-dx, 0), height), min(max(-dy, 0), width)
    if isinstance(image, fg.Tensor):
        before_and_after = [(top, height - top - kept.shape[0]), (left, width - left - kept.shape[1])]
        return fg.pad(kept, before_and_after + [(0, 0)] * (image.ndim - 2))
    shifted = np.zeros_like(image, subok=False)
    shifted[top : top + kept.shape[0], left : left + kept.shape[1]] = kept
    return shifted


def _overlap(shift: int, length: int) -> tuple[int, int]:
    """Which part of an axis is still seen after a shift."""
    start = min(max(shift, 0), length)
    return start, max(min(length + shift, length), start)


def _as_image(image: Any, name: str) -> Any:
    image = image if isinstance(image, fg.Tensor | np.ndarray) else np.asarray(image)
    if image.ndim < 2:
        message = f"{name}: an image has the axes (H, W, C) or at least (H, W), and this has shape {image.shape}"
        raise ShapeError(at_user_line(message))
    return image
