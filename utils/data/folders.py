"""Your own images: a folder or a zip file of pictures."""

import io
import os
import warnings
import zipfile
from functools import lru_cache

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from utils.cli import UserError
from utils.data.image_set import ImageSet
from utils.data.labels import number_classes, read_label_file
from utils.data.listing import folder_listing, select_split, wrapping, zip_listing

MAX_FILE_BYTES = 1 << 27  # of one file in a zip, unpacked
BLOCK_BYTES = 1 << 16  # of a file in a zip, unpacked at once
MAX_ASPECT = 100  # longer side / shorter side: limits the memory of Resize, which keeps the aspect ratio

UPRIGHT = {  # {EXIF orientation: what makes the picture upright}
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip

# Above its pixel limit PIL only warns, above twice the limit it raises an error. Here both are errors.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def image_folder(data_path, split, image_size=None, labels=None):
    """The pictures of a folder or zip file as an ImageSet, sorted by name.

    Class sub-folders are read too; hidden files and those of the system, such as __MACOSX, are not. If there
    are sub-folders train/ and test/, they are the splits; otherwise all pictures are "train". See
    utils.data.listing. image_size: `native_size` of the result (default: the first picture's shorter side).
    labels: True: a picture's class is the sub-folder of the split that it lies in; or a file of labels.
    Raises UserError if there is nothing to read, no such split, or no label.
    """
    if os.path.isdir(data_path):
        listing, open_file = folder_listing(data_path), lambda name: open(data_path / name, "rb")
    elif os.path.isfile(data_path):
        listing, open_file = _read_zip_listing(data_path), lambda name: _open_in_zip(data_path, name)
    else:
        raise UserError(f"--data_path: no folder or zip file {data_path}; give a folder or a zip of images")
    selected, lines = select_split(listing, data_path, split)
    names = [listing.stored[name] for name in selected]

    def picture(index):
        return _decode(open_file, names[index], data_path)

    shown_name = data_path.resolve().name.removesuffix(".zip")
    native_size, classes = image_size or min(picture(0).size), {}
    if labels:
        texts = _class_folders(selected, data_path) if labels is True else (
            _listed_classes(labels, selected, sorted(listing.stored), data_path)
        )  # fmt: skip
        classes = dict(zip(("labels", "class_names"), number_classes(texts)))
    warnings = tuple(filter(None, lines))
    return ImageSet(shown_name, split, len(names), native_size, picture, warnings, **classes)


def _class_folders(names, data_path):
    """The class of each picture: the folder it lies in, just below the split; None: in none."""
    below = [name.removeprefix(wrapping(names)).partition("/") for name in names]
    classes = [folder if inside else None for folder, inside, _ in below]
    if not any(classes):
        cure = "put the images of each class into a folder of its own, or give --labels FILE"
        raise UserError(f"--conditional: no labels: {data_path} has no class folders; {cure}")
    return classes


def _listed_classes(label_file, names, all_names, data_path):
    """The class of each picture `names` as a file lists it; None: it does not."""
    known = {}
    for prefix in ("", wrapping(all_names), wrapping(names)):  # as a user may see the names
        known |= {name.removeprefix(prefix): name for name in all_names if name.startswith(prefix)}
    listed = read_label_file(label_file)
    foreign = [name for name in listed if name not in known]
    if foreign:
        files = f"{len(foreign)} of {len(listed)} files that are not pictures in {data_path} ({foreign[0]})"
        cure = "name them as in there, such as " + names[0].removeprefix(wrapping(names))
        raise UserError(f"--labels: {label_file} lists {files}; {cure}")
    classes = {known[name]: label for name, label in listed.items()}
    return [classes.get(name) for name in names]


@lru_cache(maxsize=4)
def _archive(path, process_id):
    """An open zip file, one per process: after a fork, two processes would share the file position."""
    return zipfile.ZipFile(path)


def _read_zip_listing(path):
    try:
        return zip_listing(_archive(path, os.getpid()).infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        reason = f"{path} is no folder and no sound zip file ({error})"
        raise UserError(f"--data_path: {reason}; give a folder or a zip") from error


def _open_in_zip(path, name):
    """A member's content. Unpacked little by little: its header may lie about how much there is."""
    archive, content, block_bytes = _archive(path, os.getpid()), io.BytesIO(), BLOCK_BYTES
    info = archive.getinfo(name)
    if info.file_size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    with archive.open(info) as member:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Of the others zipfile unpacks all that it has read. 64 bytes of bzip2 make up to 100 MB.
            block_bytes = member.MIN_READ_SIZE = 64
        while content.tell() <= MAX_FILE_BYTES and (block := member.read(block_bytes)):
            content.write(block)
    if content.tell() > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    content.seek(0)
    return content


def _decode(open_file, name, data_path):
    """A file -> PIL image, RGB.

    As other scoring tools do, it drops transparency and takes the first frame of an animation. A picture that
    its camera marked as lying on its side or head (EXIF orientation) is turned upright.
    """
    try:
        with open_file(name) as file, Image.open(file) as image:
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise ValueError(f"{image.width} x {image.height} pixels: one side is too long for the other")
            if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
                raise ValueError("32-bit pixels have no defined white")
            if image.mode.startswith("I"):
                # 16 bits: take the high byte, as PIL does for 16-bit colour. PIL's convert() would clip.
                picture = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
            elif image.mode == "P" and "transparency" in image.info:
                picture = image.convert("RGBA")  # the same colours, without PIL's warning
            else:
                picture = image
            picture = picture.convert("RGB")
            turn = _turn(image)
            return picture if turn is None else picture.transpose(turn)
    except Exception as error:  # a damaged file can make PIL and zipfile raise almost anything
        cause = "its format is not known" if isinstance(error, UnidentifiedImageError) else error
        reason = f"cannot read {name} in {data_path} as an image ({cause})"
        raise UserError(f"--data_path: {reason}; repair or remove it") from error


def _turn(image):
    """How a loaded picture is turned upright; None where it is, or where its EXIF data are damaged."""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # PIL raises nearly anything on damaged data
        return None
