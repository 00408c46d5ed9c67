"""Which files of a folder or zip are read, and as which split: names of other systems, links, wrapping folders."""

import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from utils.cli import UserError, warn
from utils.data import folders
from utils.data.load import load_images


@pytest.fixture(autouse=True)
def forget_warnings():
    """A warning is printed once per process."""
    warn.cache_clear()


def picture(number=0, size=(12, 12)):
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8))


def write(folder, names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / name, "PNG")
    return folder


def pack(path, names, method=zipfile.ZIP_STORED):
    """A zip whose members have exactly these names."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for number, name in enumerate(names):
            with archive.open(name, "w") as file:
                picture(number).save(file, "PNG")
    return path


def counts(path):
    """(images of the train split, images of the test split or 0)."""
    try:
        tested = load_images("folder", path, "test").resized(4).num_images
    except UserError:
        tested = 0
    return load_images("folder", path).resized(4).num_images, tested


LAYOUTS = {  # {name: (members, images of each split)}
    "a leading dot": (["./train/0.png", "./train/1.png", "./test/0.png"], (2, 1)),
    "a leading slash": (["/train/0.png", "/train/1.png", "/test/0.png"], (2, 1)),
    "backslashes": (["train\\0.png", "train\\1.png", "test\\0.png", "__MACOSX\\._0.png"], (2, 1)),
    "two folders around": (["a/data/train/0.png", "a/data/train/1.png", "a/data/test/0.png"], (2, 1)),
    "five folders around": ([f"a/b/c/d/e/{name}" for name in ("train/0.png", "test/0.png")], (1, 1)),
    "dots inside": (["a/./train/0.png", "a/b/../train/1.png", "a/test/0.png"], (2, 1)),
    "thumbnails": (["train/0.png", "test/0.png", "@eaDir/0.png/thumb.jpg", "train/@eaDir/0.png"], (1, 1)),
    "no splits": (["cat/0.png", "dog/0.png"], (2, 0)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_zips_of_any_system_are_read_alike(tmp_path, capsys, layout):
    names, expected = LAYOUTS[layout]
    assert counts(pack(tmp_path / "images.zip", names)) == expected
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("layout", ["backslashes", "five folders around", "thumbnails"])
def test_folders_are_read_as_zips_are(tmp_path, layout):
    names, expected = LAYOUTS[layout]
    assert counts(write(tmp_path / "images", names)) == expected


OTHER_SPLITS = {  # {name: (files, images of each split, what the warning says)}
    "capitals": (
        ["Train/0.png", "Test/0.png"],
        (1, 1),
        "Train/ for the train split and Test/ for the test split",
    ),
    "val": (["train/0.png", "val/0.png"], (1, 1), "train/ for the train split and val/ for the test split"),
    "years": (
        ["train2017/0.png", "val2017/0.png"],
        (1, 1),
        "train2017/ for the train split and val2017/ for",
    ),
    "sets": (
        ["training_set/0.png", "test_set/0.png"],
        (1, 1),
        "training_set/ for the train split and test_set/",
    ),
    "three": (
        ["train/0.png", "test/0.png", "val/0.png", "val/1.png"],
        (1, 1),
        "2 other images are left out (val/",
    ),
    "beside": (["train/0.png", "test/0.png", "logo.png"], (1, 1), "1 other images are left out (logo.png"),
    "deeper": (
        ["a/train/0.png", "a/test/0.png", "logo.png"],
        (3, 0),
        "with those of a/train and a/test, are one",
    ),
}


@pytest.mark.parametrize("kind", [write, pack])
@pytest.mark.parametrize("layout", OTHER_SPLITS)
def test_splits_by_other_names_are_taken_with_a_warning_that_names_them(tmp_path, capsys, layout, kind):
    names, expected, words = OTHER_SPLITS[layout]
    assert counts(kind(tmp_path / "images.zip", names)) == expected
    line = capsys.readouterr().err
    assert line.startswith("warning: ") and line.count("\n") == 1 and words in line


def test_a_class_that_is_called_as_a_split_is_none(tmp_path, capsys):
    assert counts(write(tmp_path / "images", ["train/0.png", "tram/0.png", "testudo/0.png"])) == (3, 0)
    assert capsys.readouterr().err == ""


def test_what_is_no_regular_file_is_left_out_with_a_warning_that_counts_it(tmp_path, capsys):
    folder = write(tmp_path / "images", ["0.png", "cat/1.png", "@eaDir/0.png/thumb.png", ".hidden/0.png"])
    picture().save(folder / "2.jfif", "JPEG")
    (folder / "3.png").symlink_to("nowhere.png")
    (folder / "dog").symlink_to("nowhere")
    (folder / "4.png").symlink_to("0.png/5.png")  # leads through a file
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "cat" / "again").symlink_to("..")
    os.mkfifo(folder / "5.png")
    (folder / "notes.txt").write_text("text")
    assert counts(folder) == (3, 0)
    line = capsys.readouterr().err
    assert line.startswith(f"warning: 7 of 10 files in {folder} are left out: ") and line.count("\n") == 1
    for words in (
        "dead links (3: 3.png, 4.png, dog)", "links in a circle or to what is read already (2: cat/again, loop.png)",
        "pipes, devices or links in a zip (1: 5.png)", "other endings (1: notes.txt)",
    ):  # fmt: skip
        assert words in line


def test_a_folder_of_dead_links_alone_says_so(tmp_path):
    (tmp_path / "0.png").symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"no images in .*, but dead links \(1: 0.png\); known endings"):
        load_images("folder", tmp_path)


def test_a_warning_does_not_stand_before_an_error_line(tmp_path, capsys):
    (write(tmp_path, ["a.png"]) / "notes.txt").write_text("text")
    (tmp_path / "z.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot read z.png"):
        load_images("folder", tmp_path).resized(4)
    assert capsys.readouterr().err == ""


def test_links_in_a_zip_are_left_out(tmp_path, capsys):
    path = pack(tmp_path / "images.zip", ["0.png"])
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("1.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "0.png")
    assert counts(path) == (1, 0)
    assert "1 of 2 files" in capsys.readouterr().err


def test_names_that_are_no_utf8_are_read_and_named(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write(folder, [os.fsdecode(b"\xe9.png"), "z.png"])
    assert load_images("folder", folder).resized(8).tensor.shape == (2, 3, 8, 8)
    (folder / os.fsdecode(b"\xe9.png")).write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot read \udce9.png in .*caf\udce9 as an image"):
        load_images("folder", folder).resized(8)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_no_image_is_described_without_python_objects(tmp_path, packed):
    (tmp_path / "0.png").write_bytes(b"no image")
    path = tmp_path
    if packed:
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "0.png", "0.png")
    with pytest.raises(UserError, match=r"cannot read 0.png in \S+ as an image \(its format is not known\)"):
        load_images("folder", path)


@pytest.mark.parametrize("method", ["ZIP_DEFLATED", "ZIP_LZMA"])
def test_a_zip_whose_header_lies_about_sizes_takes_little_memory(tmp_path, monkeypatch, method):
    monkeypatch.setattr(folders, "MAX_FILE_BYTES", 1 << 20)
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", getattr(zipfile, method)) as archive:
        archive.writestr("0.png", bytes(1 << 26))
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\1\2")
    data[central + 24 : central + 28] = struct.pack("<I", 1 << 20)
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="^--data_path: cannot read 0.png in "):
            load_images("folder", path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


# Orientation


ORIENTATIONS = {  # {EXIF orientation: how an upright array (H, W, 3) is stored}
    1: lambda image: image, 2: np.fliplr, 3: lambda image: np.rot90(image, 2), 4: np.flipud,
    5: lambda image: image.transpose(1, 0, 2), 6: np.rot90,
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2), 8: lambda image: np.rot90(image, 3),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_are_turned_upright_as_their_exif_data_say(tmp_path, orientation, suffix):
    upright = np.asarray(picture(size=(10, 14)))
    stored = Image.fromarray(np.ascontiguousarray(ORIENTATIONS[orientation](upright)))
    exif = Image.Exif()
    exif[0x112] = orientation
    stored.save(tmp_path / f"a{suffix}", exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(np.asarray(load_images("folder", tmp_path).picture(0)), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0nonsense" * 9])
def test_damaged_exif_data_change_nothing(tmp_path, exif):
    picture().save(tmp_path / "a.png", **({"exif": exif} if exif else {}))
    assert torch.equal(
        load_images("folder", tmp_path).resized(12).tensor[0],
        torch.from_numpy(np.asarray(picture()).transpose(2, 0, 1).copy()),
    )
