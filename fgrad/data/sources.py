"""Data sets by name: the digits that come with fgrad, and MNIST and Fashion-MNIST out of a folder of idx files."""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Sequence
from pathlib import Path

from fgrad.core.errors import at_user_line
from fgrad.data.datasets import MNISTDataset
from fgrad.data.idx import PathLike
from fgrad.data.transforms import Transform

__all__ = ["digits", "fashion_mnist", "mnist"]

_STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_DEBIAN_FASHION_MNIST = "/usr/share/datasets/fashion-mnist"


def digits(*, transforms: Sequence[Transform] = ()) -> tuple[MNISTDataset, MNISTDataset]:
    """The handwritten digits that come with fgrad: 1,437 training and 360 test images of 8 x 8 pixels.

    They are the 1,797 images of the test file of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
    C. Kaynak, UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0), with pixels scaled
    from 0..16 to 0..255 and permuted by ``numpy.random.RandomState(0)``.

    Args:
        transforms: functions ``(key, image) -> image`` that a `DataLoader` applies to the training images.

    Returns:
        ``(train, test)``, with images float32 in [0, 1] of shape (n, 8, 8, 1) and labels uint8 from 0 to 9.

    >>> import fgrad as fg
    >>> train, test = fg.data.digits()
    >>> len(train), len(test), train.images.shape
    (1437, 360, (1437, 8, 8, 1))
    """
    folder = importlib.resources.files("fgrad.data") / "_digits"
    # Real files even where the package is imported out of a zip file; they are read before they are given back.
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(importlib.resources.as_file(folder / f"{stem}.gz")) for stem in _STEMS]
        return _train_and_test(paths, transforms)


def mnist(folder: PathLike, *, transforms: Sequence[Transform] = ()) -> tuple[MNISTDataset, MNISTDataset]:
    """The images in a folder of MNIST's four idx files, each plain or gzip-compressed.

    These are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, with
    or without ``.gz``. MNIST itself (Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to
    document recognition, Proceedings of the IEEE 86, 1998) has 60,000 training and 10,000 test images of 28 x 28
    pixels.

    Args:
        folder: where the files are; ``~`` is the home folder.
        transforms: functions ``(key, image) -> image`` that a `DataLoader` applies to the training images.

    Returns:
        ``(train, test)``, with images float32 in [0, 1] of shape (n, rows, columns, 1) and labels uint8.

    Raises:
        FileNotFoundError: a file is missing; the message says which, and where to get it.
        DataFileError: a file is truncated, corrupt or of another kind.

    >>> import fgrad as fg
    >>> train, test = fg.data.mnist("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: MNIST: there is no folder no/such/folder...
    """
    way_out = "get the four files from the MNIST page of Yann LeCun and Corinna Cortes or any mirror of it"
    return _from_folder(Path(folder).expanduser(), transforms, "MNIST", way_out)


def fashion_mnist(
    folder: PathLike | None = None, *, transforms: Sequence[Transform] = ()
) -> tuple[MNISTDataset, MNISTDataset]:
    """Fashion-MNIST, 60,000 training and 10,000 test images of 28 x 28 pixels, out of a folder of its four idx files.

    They are Zalando's article images in MNIST's format (H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a novel image
    dataset for benchmarking machine learning algorithms, 2017, arXiv:1708.07747); the files have MNIST's names.

    Args:
        folder: where the files are; ``~`` is the home folder. None means where the Debian package
            dataset-fashion-mnist puts them.
        transforms: functions ``(key, image) -> image`` that a `DataLoader` applies to the training images.

    Returns:
        ``(train, test)``, with images float32 in [0, 1] of shape (n, 28, 28, 1) and labels uint8 from 0 to 9.

    Raises:
        FileNotFoundError: a file is missing; the message says which, and where to get it.
        DataFileError: a file is truncated, corrupt or of another kind.

    >>> import fgrad as fg
    >>> train, test = fg.data.fashion_mnist("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: Fashion-MNIST: there is no folder no/such/folder...
    """
    way_out = (
        "on Debian and Ubuntu the package dataset-fashion-mnist brings the four files (apt-get install "
        f"dataset-fashion-mnist), and data.fashion_mnist() finds them in {_DEBIAN_FASHION_MNIST}; elsewhere get them "
        "from Zalando Research's Fashion-MNIST repository"
    )
    place = Path(_DEBIAN_FASHION_MNIST) if folder is None else Path(folder).expanduser()
    return _from_folder(place, transforms, "Fashion-MNIST", way_out)


def _from_folder(
    folder: Path, transforms: Sequence[Transform], name: str, way_out: str
) -> tuple[MNISTDataset, MNISTDataset]:
    found = [_find(folder, stem) for stem in _STEMS]
    missing = [f"{stem} or {stem}.gz" for stem, path in zip(_STEMS, found, strict=True) if path is None]
    if missing:
        problem = f"{folder} lacks {', '.join(missing)}" if folder.is_dir() else f"there is no folder {folder}"
        seen_from = "" if folder.is_absolute() else f" (looked for from {Path.cwd()})"
        raise FileNotFoundError(at_user_line(f"{name}: {problem}{seen_from}; {way_out}"))
    return _train_and_test([path for path in found if path is not None], transforms)


def _train_and_test(paths: list[Path], transforms: Sequence[Transform]) -> tuple[MNISTDataset, MNISTDataset]:
    train_images, train_labels, test_images, test_labels = paths
    return MNISTDataset(train_images, train_labels, transforms), MNISTDataset(test_images, test_labels)


def _find(folder: Path, stem: str) -> Path | None:
    candidates = (folder / stem, folder / f"{stem}.gz")
    return next((path for path in candidates if path.is_file()), None)
