"""Your own images: a folder or a zip file of pictures."""

import io
import os
import warnings
import zipfile
from functools import lru_cache

import numpy as np
from PIL import Image

from utils.cli import UserError
from utils.data.image_set import ImageSet

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MAX_FILE_BYTES = 1 << 27  # of one file in a zip, unpacked
MAX_ASPECT = 100  # longer side / shorter side: limits the memory of Resize, which keeps the aspect ratio

# Above its pixel limit PIL only warns, above twice the limit it raises an error. Here both are errors.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def image_folder(data_path, split, image_size=None):
    """The pictures of a folder or zip file as an ImageSet, sorted by name.

    Class sub-folders are read too; hidden files and __MACOSX are not. If there are sub-folders train/ and
    test/, they are the splits; otherwise all pictures are "train". image_size: `native_size` of the result
    (default: the first picture's shorter side).
    Raises UserError if there is nothing to read or no such split.
    """
    if os.path.isdir(data_path):
        names, open_file = _names_in_folder(data_path), lambda name: open(data_path / name, "rb")
    elif os.path.isfile(data_path):
        names, open_file = _names_in_zip(data_path), lambda name: _open_in_zip(data_path, name)
    else:
        raise UserError(f"--data_path: no folder or zip file {data_path}; give a folder or a zip of images")
    names = _select_split(names, data_path, split)

    def picture(index):
        return _decode(open_file, names[index], data_path)

    shown_name = data_path.resolve().name.removesuffix(".zip")
    return ImageSet(shown_name, split, len(names), image_size or min(picture(0).size), picture)


def _select_split(names, data_path, split):
    """The sorted names of a split's pictures.

    If one folder holds everything, as in most zips, the splits are its sub-folders.
    """
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
        cure = "put its images into sub-folders train/ and test/"
        raise UserError(f"--data_path: {data_path} has no test split; {cure}")
    return names


def _is_hidden(name):
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _names_in_folder(folder):
    """The files below a folder: relative names with slashes.

    Links are followed, but no folder is read twice.
    """
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
        reason = f"cannot read {error.filename} ({error.strerror})"
        raise UserError(f"--data_path: {reason}; change its permissions") from error
    return names


@lru_cache(maxsize=4)
def _archive(path, process_id):
    """An open zip file, one per process: after a fork, two processes would share the file position."""
    return zipfile.ZipFile(path)


def _names_in_zip(path):
    try:
        return [member.filename for member in _archive(path, os.getpid()).infolist()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        reason = f"{path} is no folder and no sound zip file ({error})"
        raise UserError(f"--data_path: {reason}; give a folder or a zip") from error


def _open_in_zip(path, name):
    archive = _archive(path, os.getpid())
    if archive.getinfo(name).file_size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    return io.BytesIO(archive.read(name))


def _decode(open_file, name, data_path):
    """A file -> PIL image, RGB.

    As other scoring tools do, it drops transparency and takes the first frame of an animation.
    """
    try:
        with open_file(name) as file, Image.open(file) as image:
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise ValueError(f"{image.width} x {image.height} pixels: one side is too long for the other")
            if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
                raise ValueError("32-bit pixels have no defined white")
            if image.mode.startswith("I"):
                # 16 bits: take the high byte, as PIL does for 16-bit colour. PIL's convert() would clip.
                image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
            elif image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")  # the same colours, without PIL's warning
            return image.convert("RGB")
    except Exception as error:  # a damaged file can make PIL and zipfile raise almost anything
        reason = f"cannot read {name} in {data_path} as an image ({error})"
        raise UserError(f"--data_path: {reason}; repair or remove it") from error
