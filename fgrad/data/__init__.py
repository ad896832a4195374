"""Datasets, image transforms and loaders: from idx files or arrays to batches of Tensors."""

from fgrad.data.datasets import ArrayDataset, Dataset, MNISTDataset
from fgrad.data.idx import parse_idx, parse_mnist
from fgrad.data.loader import Batch, DataLoader
from fgrad.data.sources import digits, fashion_mnist, mnist
from fgrad.data.transforms import Compose, RandomCrop, RandomFlipHorizontal, Transform, crop_shifted

__all__ = [
    # files
    "parse_idx",
    "parse_mnist",
    # datasets
    "ArrayDataset",
    "Dataset",
    "MNISTDataset",
    "digits",
    "fashion_mnist",
    "mnist",
    # transforms
    "Compose",
    "RandomCrop",
    "RandomFlipHorizontal",
    "Transform",
    "crop_shifted",
    # loaders
    "Batch",
    "DataLoader",
]
