"""The published data sets: read from their files, downloaded if they are missing.

Each function takes the data folder and "train" or "test" and returns an ImageSet. Raises UserError if the
files are missing and cannot be downloaded, or if they are damaged.
"""

import contextlib
import gzip
import os
import socket
import tarfile
import zlib

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10, MNIST, STL10, FashionMNIST

from utils.cli import UserError
from utils.data.image_set import ImageSet

NAMES = {  # {value of --dataset: name for printing}
    "cifar10": "CIFAR-10", "stl10": "STL-10", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST",
    "digits": "digits",
}  # fmt: skip
STL10_IMAGES = {"train_X.bin": 5_000, "unlabeled_X.bin": 100_000, "test_X.bin": 8_000}
DOWNLOAD_TIMEOUT_SECONDS = 20


def cifar10(data_path, split):
    where = f"the unpacked cifar-10-python.tar.gz at {data_path / CIFAR10.base_folder}"
    pixels = _download(CIFAR10, data_path, where, train=split == "train").data  # (N, 32, 32, 3)
    return ImageSet(NAMES["cifar10"], split, len(pixels), 32, lambda index: Image.fromarray(pixels[index]))


def stl10(data_path, split):
    """The split "train" is train + unlabeled, 105,000 images, as in the authors' code.

    The files are mapped into memory, not read: torchvision's own train+unlabeled takes 6 GB at its peak.
    """
    folder = data_path / STL10.base_folder
    files = ["train_X.bin", "unlabeled_X.bin"] if split == "train" else ["test_X.bin"]
    sizes = {file: os.path.getsize(folder / file) if os.path.isfile(folder / file) else 0 for file in files}
    if any(size != STL10_IMAGES[file] * 3 * 96 * 96 for file, size in sizes.items()):
        _download(STL10, data_path, f"the unpacked stl10_binary.tar.gz at {folder}", split="test")
    parts = [np.memmap(folder / file, np.uint8, "r").reshape(-1, 3, 96, 96) for file in files]
    first = len(parts[0])

    def picture(index):
        pixels = parts[0][index] if index < first else parts[1][index - first]
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(2, 1, 0)))  # stored column by column

    return ImageSet(NAMES["stl10"], split, sum(map(len, parts)), 96, picture)


def mnist(data_path, split):
    return _idx(NAMES["mnist"], MNIST, data_path, split)


def fashion_mnist(data_path, split):
    return _idx(NAMES["fashion_mnist"], FashionMNIST, data_path, split)


def digits(data_path, split):
    """scikit-learn's 1,797 digits, 8x8, all in the split "train".

    A value v of 0..16 becomes 255 v / 16, rounded half up.
    """
    if split == "test":
        raise UserError("--dataset: digits has no test split; use its train split or another data set")
    from sklearn.datasets import load_digits  # takes a second; the other data sets do not need it

    pixels = ((load_digits().images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    return ImageSet(NAMES["digits"], split, len(pixels), 8, lambda index: Image.fromarray(pixels[index]))


def _idx(name, dataset, data_path, split):
    """The ImageSet of a data set in MNIST's file format.

    Its images are plain or .gz, in torchvision's folder or in `data_path` itself.
    """
    part, raw = "train" if split == "train" else "t10k", data_path / dataset.__name__ / "raw"
    stem = f"{part}-images-idx3-ubyte"
    stems = (stem, f"{part}-images.idx3-ubyte", f"{stem}/{stem}")  # the last two as some archives unpack
    files = [stem + ending for stem in stems for ending in ("", ".gz")]
    paths = [folder / file for folder in (raw, data_path) for file in files]
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        _download(dataset, data_path, f"the four original -ubyte.gz files into {data_path}")
        path = raw / stem
    pixels = _read_idx_images(path)
    native_size = min(pixels.shape[1:])
    return ImageSet(name, split, len(pixels), native_size, lambda index: Image.fromarray(pixels[index]))


def _read_idx_images(path):
    """An idx3 file of bytes -> uint8 (N, H, W)."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, count, height, width = np.frombuffer(file.read(16), ">u4").tolist()
            if magic != 0x803 or not 0 < count * height * width < 1 << 31:
                raise ValueError("not images in the idx3 format")
            return np.frombuffer(file.read(count * height * width), np.uint8).reshape(count, height, width)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        cure = "remove it and put or download it again"
        raise UserError(f"--data_path: {path} is damaged ({error}); {cure}") from error


def _download(dataset, data_path, where, **options):
    """torchvision's data set, downloaded if it is missing. torchvision checks the files' md5 sums."""
    timeout, raw = socket.getdefaulttimeout(), data_path / dataset.__name__ / "raw"
    missing = [folder for folder in (raw, *raw.parents) if not folder.exists()]
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        return dataset(root=str(data_path), download=True, **options)
    except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
        for folder in missing:  # torchvision has made them; those that hold something stay
            with contextlib.suppress(OSError):
                folder.rmdir()
        cause = " ".join(str(error).split())
        raise UserError(
            f"--data_path: {dataset.__name__} is not in {data_path} and the download failed ({cause}); "
            f"put {where}, or use --dataset folder --data_path DIR with your own images, "
            "or --dataset digits, which needs no download"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
