"""DataLoader: the batches of a dataset, in order or in the order that a key gives."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import attrs
import numpy as np

import fgrad as fg
from fgrad import random
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, with_article
from fgrad.core.key import Key
from fgrad.data.datasets import ArrayDataset, Dataset, take_rows
from fgrad.data.transforms import Compose, Transform

__all__ = ["Batch", "DataLoader"]


class Batch(NamedTuple):
    """Samples and what is to be said of them: x with one row for each sample, and the labels or targets y."""

    x: Any
    y: Any = None


def _as_dataset(dataset: Any) -> Dataset:
    if isinstance(dataset, Mapping) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        message = (
            f"a dataset is anything with len(dataset) and dataset[i], and {with_article(type(dataset))} is not; "
            "data.ArrayDataset(x, y) makes one of arrays"
        )
        raise TypeError(at_user_line(message))
    if isinstance(dataset, tuple) and any(isinstance(x, ArrayDataset | fg.Tensor | np.ndarray) for x in dataset):
        message = (
            "a tuple of datasets or arrays is not a dataset: write `train, test = data.digits()` for the one, "
            "data.ArrayDataset(x, y) for the other"
        )
        raise TypeError(at_user_line(message))
    return dataset  # type: ignore[no-any-return]  # it has len and [], as seen above


def _as_batch_size(batch_size: Any) -> int:
    try:
        size = operator.index(batch_size)
    except TypeError:
        size = None
    if size is None or isinstance(batch_size, bool):
        message = f"batch_size is the number of samples in a batch, an integer, and {batch_size!r:.80} is not"
        raise DtypeError(at_user_line(message))
    if size < 1:
        message = f"batch_size is the number of samples in a batch, 1 or more, and {size} is not"
        raise ValueError(at_user_line(message))
    return size


def _as_flag(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        message = f"shuffle and drop_last are True or False, and {value!r:.80} is neither"
        raise TypeError(at_user_line(message))
    return bool(value)


@fg.tree.static
@attrs.frozen
class DataLoader:
    """The batches of a dataset.

    ``for batch in loader.epoch(key)`` goes through the dataset once: shuffled, if asked, in the order that the key
    gives, with the key ``random.fold_in(key, i)`` for the transforms of the sample ``dataset[i]``. The same key repeats
    an epoch exactly, another key gives another one; the batch size only cuts the order into pieces. A plain
    ``for batch in loader`` goes in order; where shuffling or transforms need a key, it raises.

    A batch is ``Batch(x, y)``, Tensors of the samples' rows. Out of an `ArrayDataset` without transforms it is taken
    by one fancy index. The samples of other datasets may be pytrees of numbers and arrays, which are stacked leaf by
    leaf: a tuple of one or two becomes a Batch, anything else keeps its structure.

    Args:
        dataset: anything with len and [], such as an `ArrayDataset`.
        batch_size: how many samples a batch has; the last one has those that are left.
        shuffle: go through the dataset in the random order that the epoch's key gives.
        drop_last: leave out the last batch if it is short.

    Raises:
        ValueError: batch_size is less than 1.
        TypeError: batch_size is no integer, shuffle or drop_last no boolean, or the dataset none.

    >>> import fgrad as fg
    >>> dataset = fg.data.ArrayDataset([[0.0], [0.1], [0.2]], [0, 1, 2])
    >>> for batch in fg.data.DataLoader(dataset, batch_size=2):
    ...     print(batch.x.shape, batch.y)
    (2, 1) [0 1]
    (1, 1) [2]
    >>> loader = fg.data.DataLoader(dataset, batch_size=2, shuffle=True)
    >>> key = fg.random.key(0)
    >>> for epoch in range(2):
    ...     for batch in loader.epoch(fg.random.fold_in(key, epoch)):
    ...         assert len(batch.x) <= 2
    """

    # Compared by identity: the datasets of two loaders may be large, or lists of arrays, which == does not compare.
    dataset: Dataset = attrs.field(converter=_as_dataset, eq=id)
    batch_size: int = attrs.field(default=1, converter=_as_batch_size)
    shuffle: bool = attrs.field(default=False, converter=_as_flag)
    drop_last: bool = attrs.field(default=False, converter=_as_flag)

    def __len__(self) -> int:
        """How many batches an epoch has."""
        samples = len(self.dataset)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        needs = [
            *(["shuffles (shuffle=True)"] if self.shuffle else []),
            *(["applies the dataset's random transforms"] if _transforms_of(self.dataset) else []),
        ]
        if needs:
            _refuse_plain_loop(" and ".join(needs))
        return _batches(self, None)

    def epoch(self, key: Key) -> Iterator[Any]:
        """The batches of one epoch, in the order and with the random transforms that this key gives.

        Every sample comes exactly once (with `drop_last`, those of a short last batch do not). Each call gives an
        iterator of its own.

        Args:
            key: a key of this epoch's own, such as ``random.fold_in(key, epoch)``.

        Raises:
            TypeError: the key is not one that `random.key` made.

        >>> import fgrad as fg
        >>> loader = fg.data.DataLoader(fg.data.ArrayDataset(range(4)), shuffle=True)
        >>> sorted(batch.x.item() for batch in loader.epoch(fg.random.key(7)))
        [0, 1, 2, 3]
        """
        _require_key(key)
        return _batches(self, key)


def _require_key(key: Any) -> None:
    if not isinstance(key, Key) or key.shape:
        found = f"an array of {len(key)} keys" if isinstance(key, Key) else repr(key)
        message = f"loader.epoch takes a key, such as random.key(0), and this is {found:.80}"
        raise TypeError(at_user_line(message))


def _refuse_plain_loop(needs: str) -> NoReturn:
    message = (
        f"this DataLoader {needs}, which takes a key, and a plain `for` has none to give. Give each epoch its own:\n"
        "    for epoch in range(epochs):\n"
        "        for batch in loader.epoch(random.fold_in(key, epoch)):\n"
        "            ..."
    )
    raise TypeError(at_user_line(message))


def _transforms_of(dataset: Any) -> tuple[Transform, ...]:
    transforms = getattr(dataset, "transforms", ())
    return transforms if isinstance(transforms, tuple) else ()


def _batches(loader: DataLoader, key: Key | None) -> Iterator[Any]:
    dataset, samples, size = loader.dataset, len(loader.dataset), loader.batch_size
    order = np.arange(samples)
    if loader.shuffle and samples:
        assert key is not None  # __iter__ has refused
        # No sample has the number `samples`: the order is independent of the keys of all of them.
        order = np.asarray(random.permutation(random.fold_in(key, samples), samples))
    transforms = _transforms_of(dataset)
    transform = Compose(*transforms) if transforms else None
    for start in range(0, len(loader) * size, size):
        indices = order[start : start + size]
        if isinstance(dataset, ArrayDataset) and transform is None:
            yield _as_batch(tuple([fg.asarray(rows) for rows in take_rows(dataset.arrays, indices)]))
        else:
            yield _collate([_sample(dataset, index, transform, key) for index in indices.tolist()], indices)


def _sample(dataset: Dataset, index: int, transform: Compose | None, key: Key | None) -> Any:
    sample = dataset[index]
    if transform is None:
        return sample
    assert key is not None  # __iter__ has refused
    sample_key = random.fold_in(key, index)
    if isinstance(sample, tuple) and sample:
        changed = (transform(sample_key, sample[0]), *sample[1:])
        return changed if type(sample) is tuple else type(sample)(*changed)
    return transform(sample_key, sample)


def _as_batch(batch: Any) -> Any:
    return Batch(*batch) if type(batch) is tuple and 1 <= len(batch) <= 2 else batch


def _collate(samples: list[Any], indices: np.ndarray[Any, Any]) -> Any:
    """The samples stacked leaf by leaf."""
    found, structure = fg.tree.flatten_with_path(samples[0])
    columns = zip(
        *[
            fg.tree.flatten_up_to(structure, sample, f"dataset[{i}]")
            for i, sample in zip(indices, samples, strict=True)
        ],
        strict=True,
    )
    stacked = [_stack(column, path, indices) for (path, _), column in zip(found, columns, strict=True)]
    return _as_batch(fg.tree.unflatten(structure, stacked))


def _stack(leaves: tuple[Any, ...], path: str, indices: np.ndarray[Any, Any]) -> fg.Tensor:
    arrays = [np.asarray(leaf) for leaf in leaves]
    for index, array in zip(indices, arrays, strict=True):
        if array.shape != arrays[0].shape:
            message = (
                f"samples of one batch have one shape: dataset[{indices[0]}]{path} has {arrays[0].shape} and "
                f"dataset[{index}]{path} has {array.shape}; crop or pad them, or use batch_size=1"
            )
            raise ShapeError(at_user_line(message))
        if array.dtype.kind not in "biufc":
            message = f"dataset[{index}]{path} is no number or array of numbers: {leaves[0]!r:.80}"
            raise DtypeError(at_user_line(message))
    stacked = np.stack(arrays)
    stacked.setflags(write=False)
    return fg.asarray(stacked)
