"""The published data sets: read from their files, downloaded if they are missing.

Each function takes the data folder, "train" or "test" and whether labels are wanted, and returns an ImageSet.
Raises UserError if the files are missing and cannot be downloaded, or if they are damaged.
"""

import contextlib
import gzip
import math
import os
import socket
import tarfile
import zlib

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10, MNIST, STL10, FashionMNIST

from utils.cli import UserError
from utils.data.image_set import ImageSet
from utils.data.labels import NO_LABEL

NAMES = {  # {value of --dataset: name for printing}
    "cifar10": "CIFAR-10", "stl10": "STL-10", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST",
    "digits": "digits",
}  # fmt: skip
TEN_DIGITS = tuple("0123456789")
CLASS_NAMES = {
    "cifar10": (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
    "stl10": ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    "mnist": TEN_DIGITS,
    "fashion_mnist": (
        "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
        "ankle boot",
    ),
    "digits": TEN_DIGITS,
}  # fmt: skip
STL10_IMAGES = {"train_X.bin": 5_000, "unlabeled_X.bin": 100_000, "test_X.bin": 8_000}
DOWNLOAD_TIMEOUT_SECONDS = 20


def cifar10(data_path, split, labelled=False):
    where = f"the unpacked cifar-10-python.tar.gz at {data_path / CIFAR10.base_folder}"
    content = _download(CIFAR10, data_path, where, train=split == "train")
    pixels = content.data  # (N, 32, 32, 3)
    labels = _labelled("cifar10", content.targets) if labelled else {}
    return ImageSet(
        NAMES["cifar10"], split, len(pixels), 32, lambda index: Image.fromarray(pixels[index]), **labels
    )


def stl10(data_path, split, labelled=False):
    """The split "train" is train + unlabeled, 105,000 images, as in the authors' code.

    The files are mapped into memory, not read: torchvision's own train+unlabeled takes 6 GB at its peak.
    """
    folder = data_path / STL10.base_folder
    files = ["train_X.bin", "unlabeled_X.bin"] if split == "train" else ["test_X.bin"]
    sizes = {file: os.path.getsize(folder / file) if os.path.isfile(folder / file) else 0 for file in files}
    label_file = folder / f"{split}_y.bin"
    is_unlabelled = labelled and not os.path.isfile(label_file)
    if is_unlabelled or any(size != STL10_IMAGES[file] * 3 * 96 * 96 for file, size in sizes.items()):
        _download(STL10, data_path, f"the unpacked stl10_binary.tar.gz at {folder}", split="test")
    parts = [np.memmap(folder / file, np.uint8, "r").reshape(-1, 3, 96, 96) for file in files]
    first = len(parts[0])

    def picture(index):
        pixels = parts[0][index] if index < first else parts[1][index - first]
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(2, 1, 0)))  # stored column by column

    count, labels = sum(map(len, parts)), {}
    if labelled:
        numbers = np.full(count, NO_LABEL)
        numbers[:first] = np.fromfile(label_file, np.uint8)[:first].astype(np.int64) - 1
        labels = _labelled("stl10", numbers)
    return ImageSet(NAMES["stl10"], split, count, 96, picture, **labels)


def mnist(data_path, split, labelled=False):
    return _idx("mnist", MNIST, data_path, split, labelled)


def fashion_mnist(data_path, split, labelled=False):
    return _idx("fashion_mnist", FashionMNIST, data_path, split, labelled)


def digits(data_path, split, labelled=False):
    """scikit-learn's 1,797 digits, 8x8, all in the split "train".

    A value v of 0..16 becomes 255 v / 16, rounded half up.
    """
    if split == "test":
        raise UserError("--dataset: digits has no test split; use its train split or another data set")
    from sklearn.datasets import load_digits  # takes a second; the other data sets do not need it

    content = load_digits()
    pixels = ((content.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    labels = _labelled("digits", content.target) if labelled else {}
    return ImageSet(
        NAMES["digits"], split, len(pixels), 8, lambda index: Image.fromarray(pixels[index]), **labels
    )


def _labelled(name, labels):
    """The fields of an ImageSet that hold labels. Raises UserError for numbers of no class."""
    labels, names = np.asarray(labels, dtype=np.int64), CLASS_NAMES[name]
    if not all(NO_LABEL <= number < len(names) for number in (labels.min(), labels.max())):
        problem = f"the labels of {NAMES[name]} are {labels.min()} to {labels.max()}, not below {len(names)}"
        raise UserError(f"--data_path: {problem}; remove them and download them again")
    return {"labels": labels, "class_names": names}


def _idx(name, dataset, data_path, split, labelled):
    """The ImageSet of a data set in MNIST's file format.

    Its files are plain or .gz, in torchvision's folder or in `data_path` itself.
    """
    pixels, labels = _read_idx(_idx_file(dataset, data_path, split, "images", 3), 3), {}
    if labelled:
        numbers = _read_idx(_idx_file(dataset, data_path, split, "labels", 1), 1)
        if len(numbers) != len(pixels):
            problem = f"{len(numbers)} labels of {len(pixels)} images in {data_path}"
            raise UserError(f"--data_path: {problem}; remove them and download them again")
        labels = _labelled(name, numbers)
    native_size, picture = min(pixels.shape[1:]), lambda index: Image.fromarray(pixels[index])
    return ImageSet(NAMES[name], split, len(pixels), native_size, picture, **labels)


def _idx_file(dataset, data_path, split, kind, dimensions):
    """The file of a split's "images" or "labels"; downloaded with the other ones if it is missing."""
    part, raw = "train" if split == "train" else "t10k", data_path / dataset.__name__ / "raw"
    stem = f"{part}-{kind}-idx{dimensions}-ubyte"
    # The last two as some archives unpack.
    stems = (stem, f"{part}-{kind}.idx{dimensions}-ubyte", f"{stem}/{stem}")
    files = [stem + ending for stem in stems for ending in ("", ".gz")]
    paths = [folder / file for folder in (raw, data_path) for file in files]
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        _download(dataset, data_path, f"the four original -ubyte.gz files into {data_path}")
        path = raw / stem
    return path


def _read_idx(path, dimensions):
    """An idx file of bytes -> uint8 (N, H, W), or (N,)."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, *shape = np.frombuffer(file.read(4 + 4 * dimensions), ">u4").tolist()
            if magic != 0x800 + dimensions or not 0 < math.prod(shape) < 1 << 31:
                what = {1: "labels", 3: "images"}[dimensions]
                raise ValueError(f"not {what} in the idx{dimensions} format")
            return np.frombuffer(file.read(math.prod(shape)), np.uint8).reshape(shape)
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
