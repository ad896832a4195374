"""Write the handwritten digits that fgrad embeds: four idx.gz files, from scikit-learn's copy of the UCI data set.

Needs scikit-learn, which fgrad itself does not: ``pip install scikit-learn && python docs/make_digits.py``.
Source, licence and changes are told in ``fgrad/data/_digits/LICENSE.txt``.
"""

import gzip
import struct
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "fgrad" / "data" / "_digits"


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array of bytes in the idx format; nothing in the file depends on when or where it is written."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as file:
        file.write(header + array.astype(np.uint8).tobytes())


if __name__ == "__main__":
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.images))
    images, labels = np.round(digits.images[order] * 255 / 16), digits.target[order]
    for name, part in (("train", slice(1437)), ("t10k", slice(1437, None))):
        write_idx(FOLDER / f"{name}-images-idx3-ubyte.gz", images[part])
        write_idx(FOLDER / f"{name}-labels-idx1-ubyte.gz", labels[part])
