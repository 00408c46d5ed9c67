"""Images of a data set at a resolution, as uint8 tensors (N, 3, R, R): no labels, no augmentation, no global random state.

The resize is the authors' own rule by construction: torchvision's Resize on PIL images, antialiased bilinear on 8 bits. It runs
once per resolution and image by image: PIL's exact result costs seconds (STL-10's 105,000 images: about ten) and no float copies.
"""

import gzip
import hashlib
import io
import os
import socket
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import CIFAR10, MNIST, STL10, FashionMNIST
from torchvision.transforms import functional
from tqdm import tqdm

from utils.cli import UserError

DATASETS = {  # {name as an option: name to print}; a folder has its own
    "cifar10": "CIFAR-10", "stl10": "STL-10", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "digits": "digits", "folder": None,
}  # fmt: skip
EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
STL10_IMAGES = {"train_X.bin": 5_000, "unlabeled_X.bin": 100_000, "test_X.bin": 8_000}
MAX_FILE_BYTES = 1 << 27  # of one file inside a zip, after decompression
MAX_ASPECT = 100  # longer by shorter side: bounds what Resize, which keeps the aspect, may allocate
DOWNLOAD_TIMEOUT_SECONDS = 20
CHUNK_BYTES = 1 << 22  # of resized images that a worker hands over at once while all are read

# Between once and twice its limit PIL only warns of a decompression bomb: here it is the same error as beyond.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def load_images(name, data_path="./data", split="train", image_size=None, fewest=1):
    """The images of a data set, not yet resized.

    name: one of DATASETS. stl10's "train" is train + unlabeled (105,000 images), as the authors train. mnist and fashion_mnist
    read torchvision's layout or a folder that holds the original idx files. digits are scikit-learn's 1,797, all "train". folder
    is a folder or zip of images; if it holds train/ and test/, those are the splits, else all of it is "train".
    image_size: what the caller means to train at; only a folder's `native_size` depends on it.
    fewest: how many the caller can do with; statistics take two.
    Raises UserError: unknown name, data missing and not to be downloaded, no such split, too few images.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is 'train' or 'test', not {split!r}")
    if name not in DATASETS:
        raise UserError(f"--dataset: unknown data set {name!r}; choose from {', '.join(DATASETS)}")
    loaders = {
        "cifar10": _cifar10, "stl10": _stl10, "digits": _digits, "folder": partial(_folder, image_size=image_size),
        "mnist": partial(_idx, DATASETS["mnist"], MNIST), "fashion_mnist": partial(_idx, DATASETS["fashion_mnist"], FashionMNIST),
    }  # fmt: skip
    images = loaders[name](Path(os.path.expanduser(data_path)), split)
    if images.num_images < fewest:
        raise UserError(
            f"--data_path: the {split} split of {data_path} holds {images.num_images} image, too few; give {fewest} at least"
        )
    return images


def epoch_order(num_images, seed, epoch):
    """A permutation of range(num_images), int64, that depends on (seed, epoch) and on nothing else. Both are non-negative."""
    mixed = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint32)[0])
    return torch.randperm(num_images, generator=torch.Generator().manual_seed(mixed))


@dataclass(frozen=True)
class ImageSet:
    """One split of a data set. `name` is the one to print; `native_size` the shorter side of the stored images in pixels."""

    name: str
    split: str
    num_images: int
    native_size: int
    picture: Callable  # index -> PIL image, mode RGB or L

    def resized(self, resolution, device="cpu", max_resident_bytes=None, num_workers=0):
        """All images at `resolution`, a ResizedImages.

        Resized now into one tensor on `device` if that takes at most `max_resident_bytes` (default: half of what is free there),
        else read anew for every batch. `num_workers` processes do the reading, never more than there are cores; 0: this one.
        Raises UserError naming the file that cannot be read.
        """
        device = torch.device(device)
        limit = _free_bytes(device) // 2 if max_resident_bytes is None else max_resident_bytes
        resident = self.num_images * 3 * resolution * resolution <= limit
        return ResizedImages(
            self, resolution, device, resident, min(num_workers, len(os.sched_getaffinity(0)))
        )


class ResizedImages:
    """All images of an ImageSet at one resolution: made by `ImageSet.resized`.

    tensor: uint8 (num_images, 3, resolution, resolution) on `device` if resident, else None.
    """

    def __init__(self, image_set, resolution, device, resident, num_workers):
        self.name, self.split, self.num_images = image_set.name, image_set.split, image_set.num_images
        self.resolution, self.device = resolution, device
        self._rows, self._num_workers = _Rows(image_set.picture, resolution), num_workers
        self._chunk = max(1, min(256, CHUNK_BYTES // (3 * resolution**2)))  # images
        self._sha256 = None
        self.tensor = self._read_all() if resident else None

    def batches(self, order, batch_size):
        """Yield uint8 (n, 3, R, R) on the device: the images of `order` (int64 indices) in that order, the last batch smaller."""
        if not len(order):
            return
        if self.tensor is not None:
            for rows in order.to(self.device).split(batch_size):
                yield self.tensor[rows]
        else:
            for images in self._read(order, batch_size):
                yield images.to(self.device, non_blocking=True)

    def sha256(self):
        """Hexadecimal sha256 of the N * 3 * R * R bytes of all images in stored order; computed at the first call."""
        if self._sha256 is None:
            digest = hashlib.sha256()
            for images in self.batches(torch.arange(self.num_images), self._chunk):
                digest.update(images.cpu().numpy())
            self._sha256 = digest.hexdigest()
        return self._sha256

    def _read_all(self):
        tensor = torch.empty(
            (self.num_images, 3, self.resolution, self.resolution), dtype=torch.uint8, device=self.device
        )
        done = 0
        with tqdm(
            total=self.num_images,
            desc=f"{self.name} at {self.resolution} px",
            unit="img",
            delay=2,
            disable=None,
        ) as bar:
            for images in self._read(torch.arange(self.num_images), self._chunk):
                tensor[done : done + len(images)] = images
                done += len(images)
                bar.update(len(images))
        return tensor

    def _read(self, order, batch_size):
        """Yield batches on the CPU from the workers. fork: they share the stored images instead of copying them."""
        loader = DataLoader(
            self._rows, sampler=order.split(batch_size), batch_size=None, num_workers=self._num_workers,
            multiprocessing_context="fork" if self._num_workers else None,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else every iterator draws a seed from the global random state
        )  # fmt: skip
        for images in loader:
            if isinstance(images, UserError):
                raise images
            yield images


class _Rows(Dataset):
    """indices (n,) -> uint8 (n, 3, R, R), or the UserError met: raised in a worker it would arrive as a printed traceback."""

    def __init__(self, picture, resolution):
        self.picture, self.resolution = picture, resolution

    def __getitem__(self, indices):
        images = np.empty((len(indices), 3, self.resolution, self.resolution), dtype=np.uint8)
        try:
            for row, index in enumerate(indices.tolist()):
                pixels = np.asarray(_resize(self.picture(index), self.resolution))
                images[row] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        except UserError as error:
            return error
        return torch.from_numpy(images)


def _resize(picture, resolution):
    """The authors' Resize, then CenterCrop for pictures that are not square. Unchanged if the size is right already."""
    if min(picture.size) != resolution:
        picture = functional.resize(picture, [resolution])
    return (
        picture if picture.size == (resolution, resolution) else functional.center_crop(picture, [resolution])
    )


def _free_bytes(device):
    """Memory to be had on the device; on the CPU what Linux calls available, or what is left to the container if that is less."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(
            Path("/sys/fs/cgroup/memory.stat").read_text().split()[1]
        )  # first entry: anon, what no cache can give back
    except (OSError, ValueError):  # no control group, or its limit is "max"
        return free
    return min(free, max(limit - used, 0))


# Published data sets


def _download(dataset, data_path, where, **options):
    """torchvision's data set, downloaded where it is missing. Its files are checked by torchvision against their md5 sums."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        return dataset(root=str(data_path), download=True, **options)
    except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
        cause = " ".join(str(error).split())
        raise UserError(
            f"--data_path: {dataset.__name__} is not in {data_path} and the download failed ({cause}); put {where}, "
            "or use --dataset folder --data_path DIR with your own images, or --dataset digits, which needs no download"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _cifar10(data_path, split):
    where = f"the unpacked cifar-10-python.tar.gz at {data_path / CIFAR10.base_folder}"
    pixels = _download(CIFAR10, data_path, where, train=split == "train").data  # (N, 32, 32, 3)
    return ImageSet(DATASETS["cifar10"], split, len(pixels), 32, lambda index: Image.fromarray(pixels[index]))


def _stl10(data_path, split):
    """Mapped from the files, never loaded whole: torchvision's own train+unlabeled takes 6 GB at its peak."""
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

    return ImageSet(DATASETS["stl10"], split, sum(map(len, parts)), 96, picture)


def _idx(name, dataset, data_path, split):
    """MNIST's format: the images file, plain or .gz, in torchvision's folder or in `data_path` itself."""
    stem = f"{'train' if split == 'train' else 't10k'}-images-idx3-ubyte"
    raw = data_path / dataset.__name__ / "raw"
    paths = [folder / file for folder in (raw, data_path) for file in (stem, stem + ".gz")]
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        _download(dataset, data_path, f"the four original -ubyte.gz files into {data_path}")
        path = raw / stem
    pixels = _read_idx_images(path)
    return ImageSet(
        name, split, len(pixels), min(pixels.shape[1:]), lambda index: Image.fromarray(pixels[index])
    )


def _read_idx_images(path):
    """An idx3 file of bytes -> uint8 (N, H, W)."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, count, height, width = np.frombuffer(file.read(16), ">u4").tolist()
            if magic != 0x803 or not 0 < count * height * width < 1 << 31:
                raise ValueError("not images in the idx3 format")
            return np.frombuffer(file.read(count * height * width), np.uint8).reshape(count, height, width)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(
            f"--data_path: {path} is damaged ({error}); remove it and put or download it again"
        ) from error


def _digits(data_path, split):
    """scikit-learn's digits, 8x8, values v in 0..16 -> (255 v + 8) // 16, that is 255 v / 16 rounded, halves up."""
    if split == "test":
        raise UserError("--dataset: digits has no test split; use its train split or another data set")
    from sklearn.datasets import load_digits  # a second of import that the others need not pay

    pixels = ((load_digits().images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    return ImageSet(DATASETS["digits"], split, len(pixels), 8, lambda index: Image.fromarray(pixels[index]))


# Folders and zips of images


def _folder(data_path, split, image_size):
    """Pictures in the order of their sorted names; class sub-folders are walked, hidden files and __MACOSX are not."""
    if os.path.isdir(data_path):
        names, open_file = _names_in_folder(data_path), lambda name: open(data_path / name, "rb")
    elif os.path.isfile(data_path):
        names, open_file = _names_in_zip(data_path), lambda name: _open_in_zip(data_path, name)
    else:
        raise UserError(f"--data_path: no folder or zip file {data_path}; give a folder or a zip of images")
    names = _names_of_split(names, data_path, split)

    def picture(index):
        return _decode(open_file, names[index], data_path)

    shown_name = data_path.resolve().name.removesuffix(".zip")
    return ImageSet(shown_name, split, len(names), image_size or min(picture(0).size), picture)


def _names_of_split(names, data_path, split):
    """The sorted names of the images of a split. A folder that wraps everything, as most zips have, is looked through."""
    names = sorted({name for name in names if name.lower().endswith(EXTENSIONS) and not _is_hidden(name)})
    if not names:
        raise UserError(f"--data_path: no images in {data_path}; known endings: {' '.join(EXTENSIONS)}")
    tops = {name.partition("/")[0] for name in names}
    prefix = ""
    if len(tops) == 1 and "/" in names[0]:
        prefix = tops.pop() + "/"
        tops = {name.removeprefix(prefix).partition("/")[0] for name in names}
    if {"train", "test"} <= tops:
        return [name for name in names if name.startswith(f"{prefix}{split}/")]
    if split == "test":
        raise UserError(
            f"--data_path: {data_path} has no test split; put its images into sub-folders train/ and test/"
        )
    return names


def _is_hidden(name):
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _names_in_folder(folder):
    """Names of the regular files below a folder, relative, with slashes. Links are followed, but no folder is entered twice."""
    names, waiting, seen = [], [""], {os.path.realpath(folder)}
    try:
        while waiting:
            inside = waiting.pop()
            with os.scandir(folder / inside) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    name = inside + entry.name
                    if entry.is_file():
                        names.append(name)
                    elif entry.is_dir() and (real := os.path.realpath(entry.path)) not in seen:
                        seen.add(real)
                        waiting.append(name + "/")
    except OSError as error:
        raise UserError(
            f"--data_path: cannot read {error.filename} ({error.strerror}); mend its permissions"
        ) from error
    return names


@lru_cache(maxsize=4)
def _archive(path, process_id):
    """An open zip. One for each process: after a fork two would share one file position."""
    return zipfile.ZipFile(path)


def _names_in_zip(path):
    try:
        return [member.filename for member in _archive(path, os.getpid()).infolist()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UserError(
            f"--data_path: {path} is no folder and no sound zip file ({error}); give a folder or a zip"
        ) from error


def _open_in_zip(path, name):
    archive = _archive(path, os.getpid())
    if archive.getinfo(name).file_size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    return io.BytesIO(archive.read(name))


def _decode(open_file, name, data_path):
    """A file -> PIL image, RGB. Transparency is dropped and animations give their first frame, as scoring tools do."""
    try:
        with open_file(name) as file, Image.open(file) as image:
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise ValueError(f"{image.width} x {image.height} pixels are too long a strip")
            if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
                raise ValueError("32-bit pixels have no fixed white")
            if image.mode.startswith(
                "I"
            ):  # 16 bits: the high byte, as PIL reads 16-bit colour; its own convert() would clip
                image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
            elif (
                image.mode == "P" and "transparency" in image.info
            ):  # the same colours, without PIL's warning
                image = image.convert("RGBA")
            return image.convert("RGB")
    except Exception as error:  # damaged files make PIL's decoders and zipfile raise nearly anything
        raise UserError(
            f"--data_path: cannot read {name} in {data_path} as an image ({error}); repair or remove it"
        ) from error
