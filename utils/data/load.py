"""Load a data set by name: `load_images("cifar10", "./data").resized(32)`."""

import os
from functools import partial
from pathlib import Path

from utils.cli import UserError
from utils.data.folders import image_folder
from utils.data.published import NAMES, cifar10, digits, fashion_mnist, mnist, stl10

DATASETS = {**NAMES, "folder": None}  # {value of --dataset: name for printing}; a folder has its own name


def load_images(name, data_path="./data", split="train", image_size=None, fewest=1):
    """The ImageSet of one split of a data set.

    name: one of DATASETS. "mnist" and "fashion_mnist" read torchvision's layout or a folder with the original
    idx files. "folder" reads a folder or zip of images. See utils.data.published and utils.data.folders.
    image_size: the resolution to train at, which becomes `native_size` of a "folder".
    fewest: number of images that the caller needs at least (statistics: two).
    Raises UserError for an unknown name, missing data that cannot be downloaded, a missing split, or too few
    images.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is 'train' or 'test', not {split!r}")
    if name not in DATASETS:
        raise UserError(f"--dataset: unknown data set {name!r}; choose from {', '.join(DATASETS)}")
    loaders = {
        "cifar10": cifar10, "stl10": stl10, "mnist": mnist, "fashion_mnist": fashion_mnist, "digits": digits,
        "folder": partial(image_folder, image_size=image_size),
    }  # fmt: skip
    images = loaders[name](Path(os.path.expanduser(data_path)), split)
    if images.num_images < fewest:
        reason = f"the {split} split of {data_path} holds {images.num_images} image, too few"
        raise UserError(f"--data_path: {reason}; give {fewest} at least")
    return images
