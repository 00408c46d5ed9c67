"""A data set's images at one resolution: uint8 (N, 3, R, R), without augmentation, and their labels.

Images are resized as in the authors' code: torchvision's Resize on PIL images, antialiased bilinear on 8
bits. This is done once for each resolution, image by image. It takes seconds (about ten for STL-10's 105,000
images) and makes no copies in float.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional

from utils.cli import Killed, UserError, warn
from utils.distributed import highest, processes_here, refuse_differences, size
from utils.progress import Progress

CHUNK_BYTES = 1 << 22  # of resized images that a worker passes on at once while all images are read


def epoch_order(num_images, seed, epoch):
    """A permutation of range(num_images), int64, that depends only on seed and epoch.

    seed and epoch are not negative.
    """
    mixed = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint32)[0])
    return torch.randperm(num_images, generator=torch.Generator().manual_seed(mixed))


@dataclass(frozen=True)
class ImageSet:
    """One split of a data set, not resized yet.

    name: for printing. native_size: shorter side of the stored images in pixels. picture: index -> PIL image,
    mode RGB or L. warnings: lines to print once the images could be read. labels: int64 (num_images,), see
    utils.data.labels, and class_names, if they were asked for.
    """

    name: str
    split: str
    num_images: int
    native_size: int
    picture: Callable
    warnings: tuple = ()
    labels: np.ndarray | None = None
    class_names: tuple | None = None

    def resized(self, resolution, device="cpu", max_resident_bytes=None, num_workers=0):
        """All images at `resolution`, as ResizedImages.

        If they take at most `max_resident_bytes` (default: half of the free memory of `device`), they are
        resized now and kept there as one tensor. Otherwise each batch is read from the source again.
        `num_workers` processes read, but no more than there are cores; 0 means that this process reads.
        Raises UserError, which names the file, if one cannot be read; and, of several processes, in all of
        them if they have read other images.
        """
        device = torch.device(device)
        shared_by = processes_here()
        limit = _free_bytes(device) // 2 // shared_by if max_resident_bytes is None else max_resident_bytes
        is_large = highest(self.num_images * 3 * resolution * resolution > limit)
        num_workers = min(num_workers, max(1, len(os.sched_getaffinity(0)) // shared_by))
        images = ResizedImages(self, resolution, device, not is_large, num_workers)
        _refuse_other_images(images)
        for line in self.warnings:
            warn(line)
        return images


def _refuse_other_images(images):
    """Raise UserError unless all processes have read the same. Those that fit no memory are sampled."""
    if size() == 1:
        return
    count = images.num_images
    some = torch.linspace(0, count - 1, min(count, 1000), dtype=torch.float64).long()
    digest = images.sha256() if images.tensor is not None else _sha256(images, some)

    def problem(number, found, first):
        stated = f"process {number} reads other images than process 0 ({found[0]} and {first[0]} of them)"
        return f"--data_path: {stated}; give all of them the same data"

    refuse_differences((count, digest), problem)


class ResizedImages:
    """All images of an ImageSet at one resolution. Made by `ImageSet.resized`.

    tensor: uint8 (num_images, 3, resolution, resolution) on `device`, or None if the images are read batch by
    batch. labels: int64 (num_images,) on `device`, or None.
    """

    def __init__(self, image_set, resolution, device, resident, num_workers):
        self.name, self.split, self.num_images = image_set.name, image_set.split, image_set.num_images
        self.resolution, self.device = resolution, device
        self._rows, self._num_workers = _Rows(image_set.picture, resolution), num_workers
        self.chunk = max(1, min(256, CHUNK_BYTES // (3 * resolution**2)))  # images
        self._sha256 = None
        labels = image_set.labels
        self.labels = None if labels is None else torch.from_numpy(labels[: self.num_images]).to(device)
        self.tensor = self._read_all() if resident else None

    def batches(self, order, batch_size):
        """Yield the images `order` (int64 indices) as uint8 (n, 3, R, R) on the device.

        The last batch may be smaller.
        """
        if not len(order):
            return
        if self.tensor is not None:
            for rows in order.to(self.device).split(batch_size):
                yield self.tensor[rows]
        else:
            for images in self._read(order, batch_size):
                yield images.to(self.device, non_blocking=True)

    def subset(self, rows):
        """The images `rows` (int64 indices) alone."""
        return _Subset(self, rows)

    def sha256(self):
        """Hexadecimal sha256 of all images' bytes (N * 3 * R * R) in stored order.

        Computed at the first call.
        """
        if self._sha256 is None:
            self._sha256 = _sha256(self)
        return self._sha256

    def _read_all(self):
        shape = (self.num_images, 3, self.resolution, self.resolution)
        tensor, done = torch.empty(shape, dtype=torch.uint8, device=self.device), 0
        label = f"{self.name} at {self.resolution} px"
        with Progress(self.num_images, f"reading {label}", "image") as progress:
            for images in self._read(torch.arange(self.num_images), self.chunk):
                tensor[done : done + len(images)] = images
                done += len(images)
                progress.update(len(images))
        return tensor

    def _read(self, order, batch_size):
        """Yield batches on the CPU.

        Workers are forked, so that they share the stored images instead of copying them. Where no process can
        be started, this one reads.
        """
        for images in self._read_arrays([part.numpy() for part in order.cpu().split(batch_size)]):
            if isinstance(images, UserError):
                raise images
            images = torch.from_numpy(images)
            yield images.pin_memory() if self.device.type == "cuda" else images

    def _read_arrays(self, batches):
        """Yield an array for each batch of indices, or the UserError that its reading ended with."""
        loaded = self._start_loader(batches)
        try:
            yield from loaded
        except RuntimeError as error:
            if not self._num_workers:
                raise
            cause = "a process that reads images was killed, perhaps for want of memory"
            raise Killed(f"{cause}; use fewer --num_workers") from error

    def _start_loader(self, batches):
        """The iterator of a DataLoader, without processes from here on if none can be started."""
        if self._num_workers:
            iterator, reason = _start_processes(_loader(self._rows, batches, self._num_workers))
            if iterator:
                return iterator
            self._num_workers = 0
            warn(f"--num_workers: no process can be started ({reason}); reading goes on without")
        return iter(_loader(self._rows, batches, 0))


class _Subset:
    """Some images of a ResizedImages, as such a one for what reads all images in turn."""

    def __init__(self, images, rows):
        self.name, self.split, self.resolution = images.name, images.split, images.resolution
        self.device, self.chunk, self.num_images = images.device, images.chunk, len(rows)
        self._images, self._rows = images, rows.cpu()

    def batches(self, order, batch_size):
        """As those of ResizedImages."""
        return self._images.batches(self._rows[order], batch_size)

    def sha256(self):
        """As that of ResizedImages."""
        return _sha256(self)


def _sha256(images, order=None):
    """Hexadecimal sha256 of the bytes of the images `order` (int64), by default of all."""
    order = torch.arange(images.num_images) if order is None else order
    digest = hashlib.sha256()
    for batch in images.batches(order, images.chunk):
        digest.update(batch.cpu().numpy())
    return digest.hexdigest()


def _loader(rows, batches, num_workers):
    """A DataLoader from arrays to arrays. They go through pipes; tensors would go through /dev/shm, and torch
    would wait for ever where that is too small.
    """
    return DataLoader(
        rows, sampler=batches, batch_size=None, collate_fn=_as_it_is, num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,
        generator=torch.Generator(),  # otherwise each iterator draws a seed from the global random state
    )  # fmt: skip


def _as_it_is(batch):
    return batch


def _start_processes(loader):
    """(its iterator, None), or (None, why its processes cannot be started): /dev/shm is missing, full or
    read-only; there are too many processes.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        try:
            return iter(loader), None
        except OSError as error:
            reason = error.strerror
        return None, reason  # here the failed iterator is deleted, of which torch would print a traceback
    finally:
        sys.unraisablehook = hook


class _Rows(Dataset):
    """array of indices (n,) -> array, uint8 (n, 3, R, R).

    A UserError is returned instead of raised: an error raised in a worker process arrives with a printed
    traceback.
    """

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
        return images


def _resize(picture, resolution):
    """The authors' Resize, then CenterCrop if the picture is not square.

    A picture of the right size stays as it is.
    """
    if min(picture.size) != resolution:
        picture = functional.resize(picture, [resolution])
    if picture.size != (resolution, resolution):
        picture = functional.center_crop(picture, [resolution])
    return picture


def _free_bytes(device):
    """Free memory of the device.

    For the CPU: what Linux calls available, or what the container may still use if that is less.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        # The first entry, "anon", is memory that is no cache and cannot be freed.
        used = int(Path("/sys/fs/cgroup/memory.stat").read_text().split()[1])
    except (OSError, ValueError):  # no control group, or its limit is "max"
        return free
    return min(free, max(limit - used, 0))
