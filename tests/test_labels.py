"""Labels: of published data sets, of class folders, of files that list them."""

import gzip
import hashlib
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from utils.cli import UserError
from utils.data import published
from utils.data.labels import Classes, count_classes, number_classes, read_label_file, write_label_file
from utils.data.load import load_images


def write_picture(path, grey=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), grey).save(path)


def zipped(folder):
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder.parent))
    return folder.with_suffix(".zip")


def classes_of(images):
    """The name of each image's class, None without."""
    return [None if label < 0 else images.class_names[label] for label in images.labels]


# Class folders


@pytest.mark.parametrize("is_zip", [False, True])
def test_a_picture_is_of_the_class_whose_folder_it_lies_in(tmp_path, is_zip):
    for name in ("cat/1", "cat/deep/er/2", "dog/1", "bird/1"):
        write_picture(tmp_path / "animals" / f"{name}.png")
    path = zipped(tmp_path / "animals") if is_zip else tmp_path / "animals"
    images = load_images("folder", path, labels=True)
    assert images.class_names == ("bird", "cat", "dog")
    assert classes_of(images) == ["bird", "cat", "cat", "dog"]
    assert load_images("folder", path).labels is None


def test_class_folders_are_looked_for_below_the_folder_of_the_split(tmp_path):
    for name in ("train/b/1", "train/a/1", "test/c/1", "test/b/1", "test/b/2"):
        write_picture(tmp_path / "data" / f"{name}.png")
    train, test = (load_images("folder", tmp_path, split, labels=True) for split in ("train", "test"))
    assert train.class_names == ("a", "b") and classes_of(train) == ["a", "b"]
    assert test.class_names == ("b", "c") and classes_of(test) == ["b", "b", "c"]


def test_classes_with_numbers_for_names_are_in_the_order_of_the_numbers():
    labels, names = number_classes(["10", "9", None, "-2", "9"])
    assert names == ("-2", "9", "10") and labels.tolist() == [2, 1, -1, 0, 1]
    assert number_classes(["10", "9", "x"])[1] == ("10", "9", "x")
    assert count_classes(labels, names) == Classes(names, (1, 2, 1), unlabelled=1)


# Files that list labels

NAMED = {"a.png": "cat", "b/c.png": "dog", "d.png": None}
NUMBERED = {"a.png": "3", "b/c.png": "12"}
FILES = {
    "object.json": ('{"a.png": "cat", "b/c.png": "dog", "d.png": null}', NAMED),
    "pairs.json": ('[["a.png", "cat"], ["b\\\\c.png", "dog"], ["./d.png", -1]]', NAMED),
    "dataset.json": ('{"labels": [["a.png", 3], ["b/c.png", 12]]}', NUMBERED),
    "header.csv": ("file,label\na.png,cat\nb/c.png,dog\nd.png,\n", NAMED),
    "bare.csv": ('\ufeffa.png,cat\r\n"b/c.png"," dog"\r\n\r\nd.png,-1\r\n', NAMED),
    "numbers.txt": ("a.png,3\nb/c.png,12", NUMBERED),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_of_a_label_file_is_read(tmp_path, name):
    text, wanted = FILES[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_label_file(tmp_path / name) == wanted


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.json", b"{"), ("a.json", b"3"), ("a.json", b'[["a.png"]]'), ("a.json", b'["a.png", "b.png"]'),
        ("a.json", b'{"a.png": true}'), ("a.json", b'{"a.png": [1]}'), ("a.json", b'{"a.png": 1.5}'),
        ("a.json", b'[[3, "cat"]]'), ("a.json", b"[" * 100000), ("a.json", b'{"labels": null}'),
        ("a.csv", b""), ("a.csv", b"file,label\n"), ("a.csv", b"a.png\n"), ("a.csv", b"a.png,1,2\n"),
        ("a.csv", b"\xff\xfe\x00"), ("a.csv", b'a.png,"cat\n'), ("a.csv", b"a.png,cat\na.png,dog\n"),
        ("a.csv", b"a.png,\nb.png,-1\n"), ("a.json", b'{"a.png": "cat", "b.png": 1, "a.png": "dog"}'),
        ("a.json", b'{"a.png": "c\\nat"}'), ("a.json", b'{"a.png": "\\ud800"}'), ("a.csv", b"a.png,\x1b[31mcat\n"),
    ],
)  # fmt: skip
def test_a_file_that_lists_no_labels_is_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="^--labels: .*give a CSV file of lines FILE,LABEL or a JSON object"):
        read_label_file(tmp_path / name)


def test_a_file_that_no_memory_holds_is_refused_unread(tmp_path):
    with open(tmp_path / "labels.csv", "wb") as file:
        file.truncate(2**38)  # of a sparse file, which takes no room on the disk
    with pytest.raises(
        UserError, match="^--labels: .* has 274,877,906,944 bytes, more than 268,435,456; give"
    ):
        read_label_file(tmp_path / "labels.csv")


@pytest.mark.parametrize("is_zip", [False, True])
def test_a_file_may_name_pictures_as_seen_from_the_folder_or_from_the_split(tmp_path, is_zip):
    for name in ("train/1", "train/2", "train/3", "test/1"):
        write_picture(tmp_path / "pictures" / f"{name}.png")
    path = zipped(tmp_path / "pictures") if is_zip else tmp_path / "pictures"
    for lines in ("1.png,a\n2.png,b\n", "train/1.png,a\ntrain/2.png,b\ntest/1.png,c\n"):
        (tmp_path / "labels.csv").write_text(lines)
        images = load_images("folder", path, labels=str(tmp_path / "labels.csv"))
        assert images.class_names == ("a", "b") and classes_of(images) == ["a", "b", None]


def test_a_file_of_labels_for_other_pictures_is_refused_with_one_of_them(tmp_path):
    write_picture(tmp_path / "pictures" / "1.png")
    (tmp_path / "labels.json").write_text(json.dumps({"1.png": 0, "7.png": 1}))
    with pytest.raises(UserError, match=r"^--labels: .*lists 1 of 2 files .*\(7.png\); .*such as 1.png$"):
        load_images("folder", tmp_path / "pictures", labels=str(tmp_path / "labels.json"))


def test_a_published_data_set_takes_no_file_of_labels():
    with pytest.raises(UserError, match="^--labels: without effect with --dataset digits"):
        load_images("digits", labels="labels.csv")


def test_what_is_written_is_read_back(tmp_path):
    classes = Classes(("cat", 'd"o,g'), (1, 1))
    write_label_file(tmp_path / "labels.csv", ["0.png", "1.png"], torch.tensor([1, 0]), classes)
    assert read_label_file(tmp_path / "labels.csv") == {"0.png": 'd"o,g', "1.png": "cat"}


# Published data sets


def test_digits_have_their_labels_beside_their_pictures():
    images = load_images("digits", labels=True)
    assert images.class_names == tuple("0123456789") and images.labels[:10].tolist() == list(range(10))
    assert count_classes(images.labels, images.class_names).counts[:3] == (178, 182, 177)


def test_cifar10_has_the_labels_of_its_files(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    parts = [
        write(name, {"data": np.zeros((2, 3072), np.uint8), "labels": labels})
        for name, labels in (("data_batch_1", [3, 0]), ("data_batch_2", [9, 9]), ("test_batch", [1, 2]))
    ]
    monkeypatch.setattr(published.CIFAR10, "train_list", parts[:2])
    monkeypatch.setattr(published.CIFAR10, "test_list", parts[2:])
    name, md5 = write("batches.meta", {"label_names": list(published.CLASS_NAMES["cifar10"])})
    monkeypatch.setattr(published.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    assert classes_of(load_images("cifar10", tmp_path, labels=True)) == ["cat", "airplane", "truck", "truck"]
    assert classes_of(load_images("cifar10", tmp_path, "test", labels=True)) == ["automobile", "bird"]


def test_stl10_has_labels_for_its_labelled_part(tmp_path, monkeypatch):
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    counts = {"train_X.bin": 2, "unlabeled_X.bin": 3, "test_X.bin": 1}
    monkeypatch.setattr(published, "STL10_IMAGES", counts)
    for file, count in counts.items():
        np.zeros((count, 3, 96, 96), np.uint8).tofile(folder / file)
    np.array([2, 10], np.uint8).tofile(folder / "train_y.bin")  # from 1 on
    np.array([1], np.uint8).tofile(folder / "test_y.bin")
    assert classes_of(load_images("stl10", tmp_path, labels=True)) == ["bird", "truck", None, None, None]
    assert classes_of(load_images("stl10", tmp_path, "test", labels=True)) == ["airplane"]


@pytest.mark.parametrize("labels", [[7, 2, 0], [7, 2], [7, 2, 10]])
def test_mnist_has_labels_of_its_own_file_as_many_as_pictures(tmp_path, labels):
    pictures = struct.pack(">4i", 0x803, 3, 28, 28) + bytes(3 * 784)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(pictures))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, len(labels)) + bytes(labels))
    if labels == [7, 2, 0]:
        assert classes_of(load_images("mnist", tmp_path, labels=True)) == ["7", "2", "0"]
    else:
        with pytest.raises(UserError, match="^--data_path: .*labels.*; remove them and download"):
            load_images("mnist", tmp_path, labels=True)


# What is drawn


def test_drawn_labels_are_as_frequent_as_in_the_data_and_one_class_alone_can_be_drawn():
    classes = Classes(("a", "b", "c"), (1, 0, 3))
    labels = classes.draw(10000, torch.Generator().manual_seed(0))
    assert labels.bincount(minlength=3).tolist()[1] == 0
    assert (labels == 2).float().mean().item() == pytest.approx(0.75, abs=0.02)
    for wanted in ("b", "1"):
        assert classes.only(wanted).draw(50, torch.Generator().manual_seed(0)).unique().tolist() == [1]
    assert Classes(("1", "0"), (1, 1)).only("0").counts == (0, 1)  # a name counts before a number
    for unknown in ("d", "3", "-1", ""):
        with pytest.raises(UserError, match="^--class: no class .*; give one of a, b, c, or a number"):
            classes.only(unknown)
