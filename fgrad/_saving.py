r"""save and load: pytrees of tensors, random keys and numbers in .npz files, without pickle.

Version 1 of the format is a zip archive of .npy entries, which `numpy.load` reads too:

* every leaf is the entry ``tree`` + path, such as ``tree['params'][1]['weight']``, with any ``%`` and ``\`` of a key
  written ``%25`` and ``%5C``. A Tensor or an array is stored with its dtype and shape, a Python number as an array of
  shape (), a random key as its uint64 words;
* ``fgrad_kinds`` is text: a JSON object that says of each leaf that is no array what it is, ``bool``, ``int``,
  ``float``, ``complex`` (Python's own) or ``key``. An int beyond 64 bits is stored as hexadecimal text;
* ``fgrad_format`` is the integer 1.

Every later release reads this version.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fgrad.core.errors import DataFileError, DtypeError, ShapeError, TreeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.pytree import flatten_with_path, unflatten
from fgrad.core.tensor import Tensor, adopt

__all__ = ["load", "save"]

_FORMAT = 1
_NUMBERS: dict[str, Callable[[Any], Any]] = {"bool": bool, "int": int, "float": float, "complex": complex}

Array = np.ndarray[Any, Any]


def save(path: str | os.PathLike[str], tree: Any) -> None:
    """Writes a pytree of tensors, arrays, random keys and Python numbers to a file that `load` reads.

    The file is an .npz archive without pickle, whose entries are named by the path of the leaf: ``numpy.load`` shows
    ``tree['params'][1]['weight']``. None and static records (modules, optimizers) hold no leaves and are not stored.
    The archive is written to a temporary file in the same folder, flushed to disk and renamed, so that `path` holds
    either what it held before or the whole new tree, whatever happens in between. No suffix is added to the name.

    Raises:
        DtypeError: when a leaf is not a number, an array or a key, naming its path.
        TracerConversionError: when a leaf is a value that a transform is tracing.
        OSError: when the file cannot be written; the old one stays.

    >>> import fgrad as fg
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "params.npz")
    ...     fg.save(path, {"weight": fg.asarray([1.0, 2.0]), "steps": 3})
    ...     fg.load(path, like={"weight": fg.zeros(2), "steps": 0})
    {'steps': 3, 'weight': Tensor([1., 2.], dtype=float64)}
    """
    entries = _entries(tree)
    # Through a symbolic link: what it points to is replaced, and not the link.
    target = Path(os.path.realpath(os.fsdecode(path)))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "fg.save needs a folder that exists", str(target.parent))
    temporary = target.parent / f".fgrad-{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("xb") as file:
            np.savez(file, **entries)  # type: ignore[arg-type] # no entry is named allow_pickle
            file.flush()
            os.fsync(file.fileno())
        if target.is_file():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str], *, like: Any) -> Any:
    """Reads what `save` wrote, as a pytree like `like`.

    Args:
        path: the file.
        like: a pytree with the structure, shapes and dtypes of the one that was saved, for example
            ``model.init(key)``; its numbers do not matter. Where it has Tensors, arrays, keys and Python numbers the
            result has such too; None and static records are those of `like`.

    Raises:
        FileNotFoundError: when there is no such file.
        DataFileError: when the file is truncated, corrupt, or none that `save` wrote.
        TreeError: when the file lacks a leaf that `like` has, or holds one that `like` lacks, naming the path.
        ShapeError, DtypeError: when a leaf has another shape, dtype or type than in `like`, naming the path.

    >>> import fgrad as fg
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "params.npz")
    ...     fg.save(path, [1.0, fg.ones(2)])
    ...     fg.load(path, like=[0.0, fg.zeros(2)])
    [1.0, Tensor([1., 1.], dtype=float64)]
    """
    name = os.fsdecode(path)
    arrays, kinds = _read(name)
    leaves, structure = flatten_with_path(like)
    wanted = [_entry_name(leaf_path) for leaf_path, _ in leaves]
    _require_none([entry for entry in wanted if entry not in arrays], f"{name} has no", "which `like` has")
    extra = set(arrays).difference(wanted)
    _require_none([entry for entry in arrays if entry in extra], f"{name} has", "which `like` has not")
    return unflatten(
        structure,
        [
            _restore(arrays[entry], kinds.get(entry, "array"), leaf, f"{entry} of {name}")
            for entry, (_, leaf) in zip(wanted, leaves, strict=True)
        ],
    )


def _entry_name(leaf_path: str) -> str:
    # Zip archives know one separator: on Windows zipfile turns every backslash of a name into a slash.
    return "tree" + leaf_path.replace("%", "%25").replace("\\", "%5C")


def _entries(tree: Any) -> dict[str, Array]:
    entries: dict[str, Array] = {}
    kinds: dict[str, str] = {}
    for leaf_path, leaf in flatten_with_path(tree)[0]:
        entry = _entry_name(leaf_path)
        if entry in entries:
            message = f"fg.save: two leaves have the path {entry}"
            raise TreeError(at_user_line(message))
        kind = _kind(leaf, f"fg.save: {entry}")
        entries[entry] = _stored(leaf, kind, entry)
        if kind != "array":
            kinds[entry] = kind
    return {**entries, "fgrad_kinds": np.asarray(json.dumps(kinds)), "fgrad_format": np.asarray(_FORMAT)}


def _kind(leaf: Any, where: str) -> str:
    if isinstance(leaf, Key):
        return "key"
    if type(leaf).__name__ in _NUMBERS and type(leaf) is _NUMBERS[type(leaf).__name__]:
        return type(leaf).__name__
    if isinstance(leaf, Tensor | np.ndarray | np.generic) and leaf.dtype.kind in "biufc":
        return "array"
    what = (
        f"an array of dtype {leaf.dtype}" if isinstance(leaf, np.ndarray) else f"the {type(leaf).__name__} {leaf!r:.60}"
    )
    message = f"{where} is {what}; files hold numbers, numeric arrays and random keys"
    raise DtypeError(at_user_line(message))


def _stored(leaf: Any, kind: str, entry: str) -> Array:
    value = leaf.words if kind == "key" else leaf
    if isinstance(value, Tensor):
        return np.asarray(value._read(f"fg.save of {entry}", drops_gradient=True))
    if kind == "int" and not -(2**63) <= value < 2**63:
        return np.asarray(hex(value))
    return np.asarray(value)


def _read(name: str) -> tuple[dict[str, Array], dict[str, str]]:
    """The entries of a file, read whole and checked before any of them is used, and what kinds of leaves they are."""
    content = Path(name).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # `read` compares checksums, so that what is parsed below is what was written.
            members = {member.removesuffix(".npy"): archive.read(member) for member in archive.namelist()}
        arrays = {
            entry: np.lib.format.read_array(io.BytesIO(member), allow_pickle=False) for entry, member in members.items()
        }
    except Exception as error:
        # Arbitrary bytes make zipfile and NumPy's parser raise nearly anything; the file itself was read without error.
        message = (
            f"{name} is not a file that fg.save wrote, or is truncated or corrupt: {type(error).__name__}: {error}"
        )
        raise DataFileError(at_user_line(message)) from error
    return arrays, _kinds(arrays, name)


def _kinds(arrays: dict[str, Array], name: str) -> dict[str, str]:
    """Takes what describes the file out of its entries, and gives the kinds of the leaves that are no arrays."""
    try:
        version, text = int(arrays.pop("fgrad_format")), str(arrays.pop("fgrad_kinds"))
    except (KeyError, TypeError, ValueError):
        message = f"{name} is an .npz archive, but not one that fg.save wrote: it lacks fgrad_format and fgrad_kinds"
        raise DataFileError(at_user_line(message)) from None
    if version > _FORMAT:
        message = f"{name} has format {version}, and this release of fgrad reads formats up to {_FORMAT}: update fgrad"
        raise DataFileError(at_user_line(message))
    try:
        kinds = dict(json.loads(text))
        fits = all(kind == "key" or (kind in _NUMBERS and arrays[entry].shape == ()) for entry, kind in kinds.items())
    except (KeyError, ValueError, TypeError):
        fits = False
    if not fits:
        message = f"{name} contradicts itself: its fgrad_kinds does not fit its entries"
        raise DataFileError(at_user_line(message))
    return kinds


def _require_none(entries: list[str], before: str, after: str) -> None:
    if entries:
        more = f" (and {len(entries) - 1} more such)" if len(entries) > 1 else ""
        message = f"fg.load: {before} {entries[0]}, {after}{more}"
        raise TreeError(at_user_line(message))


def _restore(array: Array, kind: str, like: Any, where: str) -> Any:
    """The leaf that an entry holds, in the form that it has in `like`."""
    wanted = _kind(like, "fg.load: `like` at " + where)
    if kind != wanted:
        message = f"fg.load: {where} is {_describe(kind)} in the file and {_describe(wanted)} in `like`"
        raise DtypeError(at_user_line(message))
    if kind in _NUMBERS:
        return int(str(array), 16) if array.dtype.kind == "U" else _NUMBERS[kind](array[()])
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    expected = like.words if kind == "key" else like
    if array.shape != expected.shape:
        message = f"fg.load: {where} has shape {array.shape} in the file and {expected.shape} in `like`"
        raise ShapeError(at_user_line(message))
    if array.dtype != expected.dtype.newbyteorder("="):
        message = f"fg.load: {where} has dtype {array.dtype} in the file and {expected.dtype} in `like`"
        raise DtypeError(at_user_line(message))
    if kind == "key":
        return Key(adopt(array))
    if isinstance(like, Tensor):
        return adopt(array)
    return array if isinstance(like, np.ndarray) else array[()]


def _describe(kind: str) -> str:
    return {"array": "an array", "key": "a random key"}.get(kind, f"a Python {kind}")
