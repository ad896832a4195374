"""save and load: pytrees of tensors, keys and numbers in .npz files, without pickle.

The format, version 1, is a zip archive of .npy entries, which `numpy.load` reads too:

* every leaf is the entry ``tree`` + path, for example ``tree['params'][1]['weight']``: the array of a Tensor with its
  dtype and shape, a Python number as an array of shape (), the uint64 words of a random key;
* ``fgrad_kinds`` is text, a JSON object that tells for each leaf that is no plain array what it is: ``bool``, ``int``,
  ``float``, ``complex`` (Python's own) or ``key``; an integer beyond 64 bits is stored as hexadecimal text;
* ``fgrad_format`` is the integer 1.

Every later release reads this version.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from fgrad.core.errors import DataFileError, DtypeError, FgradError, ShapeError, TreeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.pytree import flatten_with_path, unflatten
from fgrad.core.tensor import Tensor, to_tensor

__all__ = ["load", "save"]

_FORMAT = 1
_ROOT = "tree"
_NUMBERS: dict[str, Callable[[Any], Any]] = {"bool": bool, "int": int, "float": float, "complex": complex}

Path = str | os.PathLike[str]


def save(path: Path, tree: Any) -> None:
    """Writes a pytree of tensors, arrays, random keys and Python numbers to a file that `load` reads.

    The file is an .npz archive without pickle: a leaf is an entry named by its path, so ``numpy.load`` shows
    ``tree['params'][1]['weight']``. None and static records hold no leaves and are not stored. The archive is written
    to a temporary file in the same folder, flushed to disk and renamed, so whatever happens, `path` holds either
    what it held before or the whole new tree. The name is taken as it is: no suffix is added.

    Raises:
        DtypeError: when a leaf is not a number, an array or a key, naming its path.
        TracerConversionError: when a leaf is a value that a transform is tracing.
        OSError: when the file cannot be written; the old one stays.

    >>> import fgrad as fg
    >>> import os, tempfile
    >>> params = {"w": fg.asarray([1.0, 2.0]), "steps": 3}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fg.save(os.path.join(folder, "params.npz"), params)
    ...     fg.load(os.path.join(folder, "params.npz"), like={"w": fg.zeros(2), "steps": 0})
    {'steps': 3, 'w': Tensor([1., 2.], dtype=float64)}
    """
    entries = _entries(tree)
    # Through a symbolic link: what it points to is replaced, not the link.
    target = os.path.realpath(os.fsdecode(path))
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot save to {os.fsdecode(path)!r}: there is no folder {folder!r}")
    temporary = os.path.join(folder, f".fgrad-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, **entries)
            file.flush()
            os.fsync(file.fileno())
        if os.path.isfile(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def load(path: Path, *, like: Any) -> Any:
    """Reads what `save` wrote, as a pytree like `like`.

    Args:
        path: the file.
        like: a pytree of the structure, shapes and dtypes that were saved, for example ``model.init(key)``; its numbers
            do not matter. Tensors come back as Tensors, arrays as arrays, keys as keys, Python numbers as numbers of
            the same type; None and static records are those of `like`.

    Raises:
        FileNotFoundError: there is no such file.
        DataFileError: the file is truncated, corrupt, or not one that `save` wrote.
        TreeError: the file lacks a leaf that `like` has, or has one that `like` lacks, naming its path.
        ShapeError, DtypeError: a leaf has another shape, dtype or type in the file than in `like`, naming its path.
    """
    name = os.fsdecode(path)
    with open(name, "rb") as file:
        arrays, kinds = _read(file, name)
    leaves, structure = flatten_with_path(like)
    wanted = {_ROOT + leaf_path for leaf_path, _ in leaves}
    _require_same(f"{name!r} lacks", [_ROOT + leaf_path for leaf_path, _ in leaves if _ROOT + leaf_path not in arrays])
    _require_same(f"`like` lacks what {name!r} has:", [entry for entry in arrays if entry not in wanted])
    found = [
        _restore(arrays[_ROOT + leaf_path], kinds.get(_ROOT + leaf_path, "array"), leaf, leaf_path, name)
        for leaf_path, leaf in leaves
    ]
    return unflatten(structure, found)
