"""Datasets: anything with len and []; here those whose samples stand in arrays."""

from __future__ import annotations

import operator
import os
from typing import Any, Protocol, TypeAlias

import attrs
import numpy as np

import fgrad as fg
from fgrad.core.errors import IndexingError, ShapeError, at_user_line
from fgrad.data.idx import PathLike, parse_mnist
from fgrad.data.transforms import Transform, as_transforms

__all__ = ["ArrayDataset", "Dataset", "MNISTDataset", "take_rows"]

Array: TypeAlias = np.ndarray[Any, Any]


class Dataset(Protocol):
    """What a DataLoader takes: anything with ``len(dataset)`` and ``dataset[i]`` for i from 0 to len - 1.

    A sample is a number, an array or any pytree of them; a tuple ``(x, y)`` becomes a `Batch`. If the dataset has an
    attribute ``transforms`` that is a tuple, the loader applies these functions ``(key, x) -> x`` to the x of each
    sample.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@fg.tree.static
@attrs.frozen(eq=False, repr=False, init=False)
class ArrayDataset:
    """Samples out of arrays that have one row for each sample: ``ArrayDataset(x, y)``.

    ``dataset[i]`` is the tuple ``(x[i], y[i])`` without any transform, since a transform needs a key; the loader has
    one for each sample and applies them. A slice, or integers in a list, an array or a Tensor, gives the tuple of
    these rows. The arrays are kept as read-only NumPy arrays, copied unless they are Tensors or read-only already.
    A dataset is a static record, equal to itself only.

    Args:
        arrays: one or more arrays, nested lists or Tensors, equally long.
        transforms: functions ``(key, x) -> x`` that a `DataLoader` applies to the x of each sample.

    Raises:
        ShapeError: there is no array, one is a single number, or their lengths differ.
        DtypeError: an array does not hold numbers.
        TypeError: transforms is not a tuple or list of functions.

    >>> import fgrad as fg
    >>> dataset = fg.data.ArrayDataset([[1.0, 2.0], [3.0, 4.0]], [0, 1])
    >>> len(dataset)
    2
    >>> x, y = dataset[-1]
    >>> print(x, y)
    [3. 4.] 1
    """

    arrays: tuple[Array, ...]
    transforms: tuple[Transform, ...] = ()

    def __init__(self, *arrays: Any, transforms: Any = ()) -> None:
        rows = tuple([fg.asarray(array).numpy() for array in arrays])
        if not rows or not all(array.ndim for array in rows) or len({len(array) for array in rows}) > 1:
            shapes = ", ".join(str(array.shape) for array in rows)
            message = (
                "ArrayDataset(x, y) takes arrays with one row for each sample, so that their first axes are equally "
                f"long; these have the shapes {shapes or '... none was given'}"
            )
            raise ShapeError(at_user_line(message))
        self.__attrs_init__(rows, as_transforms(transforms))

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        try:
            rows = _as_rows(index)
            if isinstance(rows, int | slice):
                return tuple([array[rows] for array in self.arrays])
            return take_rows(self.arrays, rows)
        except IndexError as error:
            message = f"index {index!r:.80} does not fit a dataset of {len(self)} samples: {error}"
            raise IndexingError(at_user_line(message)) from None

    def __repr__(self) -> str:
        arrays = ", ".join(f"{array.dtype}{list(array.shape)}" for array in self.arrays)
        return f"{type(self).__name__}({arrays}{_describe_transforms(self.transforms)})"

    def __reduce__(self) -> Any:
        # The generated way would restore writable arrays.
        return _restore, (type(self), [getattr(self, field.name) for field in attrs.fields(type(self))])


def _as_filename(path: PathLike) -> str:
    return os.fspath(path)


def _read_arrays(dataset: MNISTDataset) -> tuple[Array, ...]:
    return parse_mnist(dataset.image_filename, dataset.label_filename)


@fg.tree.static
@attrs.frozen(eq=False, repr=False)
class MNISTDataset(ArrayDataset):
    """Labelled images out of two idx files, as `parse_mnist` reads them: an `ArrayDataset` of images and labels.

    ``dataset[i]`` is ``(image, label)``: a float32 array of shape (rows, columns, 1) in [0, 1] and a uint8, without any
    transform, since a transform needs a key; a `DataLoader` has one for each sample and applies them.

    Args:
        image_filename: the idx file of the images, plain or gzip-compressed.
        label_filename: the idx file of the labels, likewise.
        transforms: functions ``(key, image) -> image`` that a `DataLoader` applies to each image.

    Raises:
        DataFileError: a file is truncated, corrupt or of another kind, or the two do not belong together.
        FileNotFoundError: there is no such file.
        TypeError: transforms is not a tuple or list of functions.

    >>> import fgrad as fg
    >>> train, test = fg.data.digits()
    >>> train.images.shape, train.labels.shape
    ((1437, 8, 8, 1), (1437,))
    >>> crop = fg.data.RandomCrop(padding=1)
    >>> augmented = fg.data.MNISTDataset(train.image_filename, train.label_filename, transforms=(crop,))
    """

    image_filename: str = attrs.field(converter=_as_filename)
    label_filename: str = attrs.field(converter=_as_filename)
    transforms: tuple[Transform, ...] = attrs.field(default=(), converter=as_transforms)
    arrays: tuple[Array, ...] = attrs.field(init=False, default=attrs.Factory(_read_arrays, takes_self=True))

    @property
    def images(self) -> Array:
        """The images, float32 of shape (n, rows, columns, 1) in [0, 1], read-only."""
        return self.arrays[0]

    @property
    def labels(self) -> Array:
        """The labels, uint8 of shape (n,), read-only."""
        return self.arrays[1]

    def __repr__(self) -> str:
        described = f"{self.image_filename!r}, {self.label_filename!r}{_describe_transforms(self.transforms)}"
        return f"MNISTDataset({described})"


def take_rows(arrays: tuple[Array, ...], rows: Array) -> tuple[Array, ...]:
    """These rows of each array: one fancy index, read-only."""
    taken = tuple([array[rows] for array in arrays])
    for array in taken:
        array.setflags(write=False)
    return taken


def _as_rows(index: Any) -> int | slice | Array:
    """An integer, a slice, or an array of integers or booleans, that indexes rows.

    Raises:
        IndexError: it is something else.
    """
    if type(index) is int or type(index) is slice:
        return index
    array = np.asarray(index)
    if array.size == 0 and isinstance(index, list):
        array = array.astype(int)
    if array.dtype.kind in "iu":
        return array if array.ndim else operator.index(array)
    if array.dtype.kind == "b" and array.ndim == 1:
        return array
    message = "an index is an integer, a slice, or integers in a list, an array or a Tensor"
    raise IndexError(message)


def _describe_transforms(transforms: tuple[Transform, ...]) -> str:
    return f", transforms={transforms!r}" if transforms else ""


def _restore(dataset_type: type[ArrayDataset], values: list[Any]) -> ArrayDataset:
    dataset = object.__new__(dataset_type)
    for field, value in zip(attrs.fields(dataset_type), values, strict=True):
        kept = tuple([fg.asarray(array).numpy() for array in value]) if field.name == "arrays" else value
        object.__setattr__(dataset, field.name, kept)
    return dataset
