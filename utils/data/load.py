"""Load a data set by name: `load_images("cifar10", "./data").resized(32)`."""

import os
from functools import lru_cache, partial
from pathlib import Path

from utils.cli import UserError
from utils.distributed import size
from utils.data.folders import image_folder
from utils.data.labels import Classes, count_classes
from utils.data.published import CLASS_NAMES, NAMES, cifar10, digits, fashion_mnist, mnist, stl10

DATASETS = {**NAMES, "folder": None}  # {value of --dataset: name for printing}; a folder has its own name


def load_images(name, data_path="./data", split="train", image_size=None, fewest=1, labels=None):
    """The ImageSet of one split of a data set.

    name: one of DATASETS. "mnist" and "fashion_mnist" read torchvision's layout or a folder with the original
    idx files. "folder" reads a folder or zip of images. See utils.data.published and utils.data.folders.
    image_size: the resolution to train at, which becomes `native_size` of a "folder".
    fewest: number of images that the caller needs at least (statistics: two).
    labels: True: read the data set's own, or class folders; or a file of labels (utils.data.labels).
    Raises UserError for an unknown name, missing data that cannot be downloaded, a missing split, or too few
    images.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is 'train' or 'test', not {split!r}")
    if name not in DATASETS:
        raise UserError(f"--dataset: unknown data set {name!r}; choose from {', '.join(DATASETS)}")
    if name != "folder" and isinstance(labels, str):
        cure = "leave it out or give --dataset folder"
        raise UserError(f"--labels: without effect with --dataset {name}, which has its own; {cure}")
    loaders = {
        "cifar10": cifar10, "stl10": stl10, "mnist": mnist, "fashion_mnist": fashion_mnist, "digits": digits,
    }  # fmt: skip
    loaders = {each: partial(loader, labelled=bool(labels)) for each, loader in loaders.items()}
    loaders["folder"] = partial(image_folder, image_size=image_size, labels=labels)
    images = loaders[name](Path(os.path.expanduser(data_path)), split)
    if images.num_images < fewest:
        reason = f"the {split} split of {data_path} holds {images.num_images} image, too few"
        raise UserError(f"--data_path: {reason}; give {fewest} at least")
    return images


@lru_cache(maxsize=1)
def load_classes(data, labels, reads_no_data=False):
    """The Classes of the images that a conditional GAN learns; None without --conditional.

    data, labels: the option groups. reads_no_data: do not read a published data set, whose classes are
    known, but not how many images they have. Raises UserError where images have no label, or a class has a
    single one.
    """
    for option in ("semi_supervised", "rotation_loss"):
        if size() > 1 and getattr(labels, option):
            cure = "leave it out, or start one process without torchrun"
            raise UserError(f"--{option}: {size()} processes that share a batch do not have it; {cure}")
    if not labels.conditional:
        for option in ("labels", "semi_supervised"):
            if getattr(labels, option):
                cure = "leave it out or give that too"
                raise UserError(f"--{option}: without effect without --conditional; {cure}")
        return None
    if reads_no_data and data.dataset in CLASS_NAMES and not labels.labels:
        names = CLASS_NAMES[data.dataset]
        return Classes(names, (0,) * len(names))
    images = load_images(data.dataset, data.data_path, image_size=data.img_size, labels=labels.source)
    classes = count_classes(images.labels, images.class_names)
    where = f"{images.num_images:,} images of {data.data_path if data.dataset == 'folder' else images.name}"
    if classes.unlabelled and not labels.semi_supervised:
        cure = "put them into class folders, name them in --labels FILE, or add --semi_supervised"
        raise UserError(f"--conditional: {classes.unlabelled:,} of {where} have no label; {cure}")
    if len(classes) < 2:
        raise UserError(f"--conditional: {where} are all of the class {classes.names[0]}; give two or more")
    for name, count in zip(classes.names, classes.counts):
        if count < 2:
            problem = f"the class {name} has {count} of {where}, too few to learn and to score"
            raise UserError(f"--conditional: {problem}; give 2 or more of each class, or leave it out")
    return classes
