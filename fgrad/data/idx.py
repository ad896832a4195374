"""Reading idx files, the format of MNIST: a header of big-endian numbers and the elements, plain or gzip-compressed."""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fgrad.core.errors import DataFileError, at_user_line

__all__ = ["PathLike", "parse_idx", "parse_mnist"]

PathLike: TypeAlias = str | os.PathLike[str]
Array: TypeAlias = np.ndarray[Any, Any]

# The third byte of the magic number tells what the elements are; all of them stand big-endian in the file.
_ELEMENT_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_IMAGES_MAGIC = 0x00000803
_LABELS_MAGIC = 0x00000801


def parse_idx(path: PathLike) -> Array:
    """The array in an idx file.

    The file holds two zero bytes, a byte for the kind of the elements, a byte for the number of axes, the length of
    each axis as a big-endian uint32, and the elements in row-major order (the file format is told on the MNIST page
    of Yann LeCun, Corinna Cortes and Christopher Burges). Whether it is gzip-compressed is seen from its content, so
    any file name will do.

    Args:
        path: where the file is.

    Returns:
        A read-only array of the shape in the header, in the machine's byte order: uint8, int8, int16, int32, float32
        or float64.

    Raises:
        DataFileError: the file is truncated, corrupt or no idx file; the message says what was expected and found.
        FileNotFoundError: there is no such file.

    >>> import pathlib, tempfile
    >>> import fgrad as fg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels")
    ...     count = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     fg.data.parse_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    return _parse(Path(path))[1]


def parse_mnist(image_filename: PathLike, label_filename: PathLike) -> tuple[Array, Array]:
    """The images and labels in a pair of idx files of MNIST's kind, each plain or gzip-compressed.

    Args:
        image_filename: an idx file of bytes with the axes (n, rows, columns).
        label_filename: an idx file of n bytes.

    Returns:
        ``(images, labels)``, read-only arrays: images float32 of shape (n, rows, columns, 1), each byte divided by
        255 so that it lies in [0, 1]; labels uint8 of shape (n,).

    Raises:
        DataFileError: a file is truncated, corrupt or of another kind, or the two hold different numbers of samples.
        FileNotFoundError: there is no such file.

    >>> import fgrad as fg
    >>> train, test = fg.data.digits()
    >>> images, labels = fg.data.parse_mnist(test.image_filename, test.label_filename)
    >>> images.shape, images.dtype, labels.shape, labels.dtype
    ((360, 8, 8, 1), dtype('float32'), (360,), dtype('uint8'))
    """
    image_path, label_path = Path(image_filename), Path(label_filename)
    pixels = _parse_kind(image_path, _IMAGES_MAGIC, "images")
    labels = _parse_kind(label_path, _LABELS_MAGIC, "labels")
    if len(pixels) != len(labels):
        message = (
            f"{image_path} holds {len(pixels)} images and {label_path} holds {len(labels)} labels: "
            "are they of one set, training or test?"
        )
        raise DataFileError(at_user_line(message))
    images = np.divide(pixels, np.float32(255), dtype=np.float32)
    images.setflags(write=False)
    return images[..., np.newaxis], labels


def _parse_kind(path: Path, expected: int, what: str) -> Array:
    magic, array = _parse(path)
    if magic != expected:
        others = {_IMAGES_MAGIC: "a file of images", _LABELS_MAGIC: "a file of labels"}
        found = others.get(magic, f"an array of {array.dtype} with {array.ndim} axes")
        raise _bad_file(path, f"{what} have the magic number {expected}, and this file has {magic}: it is {found}")
    return array


def _parse(path: Path) -> tuple[int, Array]:
    content = _read(path)
    magic, dtype, shape = _parse_header(path, content)
    start, size = 4 + 4 * len(shape), dtype.itemsize * math.prod(shape)
    found = len(content) - start
    if found != size:
        problem = "it is truncated" if found < size else "it is corrupt, or more was appended to it"
        described = (
            f"shape {shape} of {dtype.name} needs {size} bytes of elements, and the file holds {found}: {problem}"
        )
        raise _bad_file(path, described)
    try:
        array = np.frombuffer(content, dtype, size // dtype.itemsize, start).reshape(shape)
    except ValueError as error:  # more axes than NumPy has, or 0 times something beyond its range
        raise _bad_file(path, f"its header tells of {dtype.name} of shape {shape}: {error}") from error
    # frombuffer looks into immutable bytes; the conversion to the machine's byte order makes an array of its own.
    array = array.astype(dtype.newbyteorder("="), copy=False)
    array.setflags(write=False)
    return magic, array.view()


def _parse_header(path: Path, content: bytes) -> tuple[int, np.dtype[Any], tuple[int, ...]]:
    if len(content) < 4:
        raise _bad_file(path, f"an idx file starts with a magic number of 4 bytes, and this file holds {len(content)}")
    magic: int = struct.unpack(">I", content[:4])[0]
    zeros, code, axes = magic >> 16, magic >> 8 & 0xFF, magic & 0xFF
    if zeros or code not in _ELEMENT_DTYPES:
        raise _bad_file(
            path,
            f"an idx file starts with the bytes 00 00, one of {' '.join(f'{known:02x}' for known in _ELEMENT_DTYPES)}, "
            f"and the number of axes; this one starts with {content[:4].hex(' ')}, so it is no idx file",
        )
    if len(content) < 4 + 4 * axes:
        raise _bad_file(path, f"the header of {axes} axes has {4 + 4 * axes} bytes, and the file holds {len(content)}")
    return magic, np.dtype(_ELEMENT_DTYPES[code]), struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        message = (
            f"there is no file {path} (looked for from {Path.cwd()}); check the path, or use the digits that come with "
            "fgrad: train, test = data.digits()"
        )
        raise FileNotFoundError(at_user_line(message)) from error
    return _unpack(path, content) if content.startswith(_GZIP_MAGIC) else content


def _unpack(path: Path, content: bytes) -> bytes:
    """What is compressed in gzip members, one after the other, checked against their sizes and checksums."""
    parts: list[bytes] = []
    rest = content
    while rest.startswith(_GZIP_MAGIC):
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: with gzip's header and trailer
        try:
            parts.append(unpacker.decompress(rest))
        except zlib.error as error:
            raise _bad_file(path, f"the gzip-compressed data are corrupt ({error})") from error
        if not unpacker.eof:
            unpacked = sum(map(len, parts))
            raise _bad_file(
                path,
                f"it is truncated: its {len(content)} bytes of gzip-compressed data break off, with {unpacked} bytes "
                f"unpacked{_promise(b''.join(parts))}",
            )
        rest = unpacker.unused_data
    if rest.strip(b"\0"):  # gzip permits padding with zeros
        raise _bad_file(path, f"it is corrupt: {len(rest)} bytes of something else follow the gzip-compressed data")
    return b"".join(parts)


def _promise(beginning: bytes) -> str:
    """How many bytes the header promises, where the beginning of a file holds a whole header."""
    code, axes = (beginning[2], beginning[3]) if len(beginning) >= 4 else (0, 0)
    if code not in _ELEMENT_DTYPES or len(beginning) < 4 + 4 * axes:
        return ""
    shape = struct.unpack(f">{axes}I", beginning[4 : 4 + 4 * axes])
    return f" of the {4 + 4 * axes + np.dtype(_ELEMENT_DTYPES[code]).itemsize * math.prod(shape)} of its shape {shape}"


def _bad_file(path: Path, problem: str) -> DataFileError:
    return DataFileError(at_user_line(f"{path}: {problem}"))
