"""Data sets: the resize rule, the order, residency, every source from small files, and the error lines."""

import dataclasses
import gzip
import hashlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from utils.cli import Ending, UserError, warn
from utils.data import listing, published
from utils.data.image_set import epoch_order
from utils.data.load import load_images


def random_pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_images(folder, count=5, size=12, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(random_pixels(index, size, size, 3)).save(folder / f"{index}{suffix}")
    return folder


def read_all(images, batch_size=3):
    return torch.cat(list(images.batches(torch.arange(images.num_images), batch_size)))


def by_torchvision(picture, resolution):
    """What the authors' transforms make of a PIL image, as uint8 (3, R, R)."""
    rule = transforms.Compose(
        [transforms.Resize(resolution), transforms.CenterCrop(resolution), transforms.PILToTensor()]
    )
    return rule(picture.convert("RGB"))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


# Resize


@pytest.mark.parametrize("resolution", [4, 7, 8, 12, 16, 31])
def test_resize_equals_torchvision_on_pil_images(tmp_path, resolution):
    folder = write_images(tmp_path / "images")
    expected = torch.stack(
        [by_torchvision(Image.open(folder / f"{index}.png"), resolution) for index in range(5)]
    )
    assert torch.equal(load_images("folder", folder).resized(resolution).tensor, expected)


@pytest.mark.parametrize("size", [(20, 9), (9, 20), (8, 11), (5, 8)])
def test_image_that_is_not_square_is_resized_by_its_shorter_side_and_cropped_at_the_centre(tmp_path, size):
    picture = Image.fromarray(random_pixels(0, size[1], size[0], 3))
    picture.save(tmp_path / "a.png")
    assert torch.equal(load_images("folder", tmp_path).resized(8).tensor[0], by_torchvision(picture, 8))


def test_native_resolution_is_not_touched(tmp_path):
    folder = write_images(tmp_path / "images", count=1)
    image = load_images("folder", folder).resized(12).tensor[0]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), random_pixels(0, 12, 12, 3))


def test_grey_images_become_three_equal_channels_resized_as_grey():
    images = load_images("digits").resized(32).tensor
    assert images.shape == (1797, 3, 32, 32) and images.dtype == torch.uint8
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
    grey = load_images("digits").picture(7)
    assert grey.mode == "L" and torch.equal(images[7], by_torchvision(grey, 32))


# Order, residency, hash


def test_epoch_order_depends_on_seed_and_epoch_only():
    torch.manual_seed(1)
    first = epoch_order(100, seed=3, epoch=5)
    torch.rand(10)
    assert torch.equal(first, epoch_order(100, seed=3, epoch=5))
    assert torch.equal(first.sort().values, torch.arange(100))
    others = [epoch_order(100, 3, 6), epoch_order(100, 4, 5), epoch_order(100, 5, 3)]
    assert not any(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_images_read_by_workers_equal_resident_ones_in_the_same_order(tmp_path, num_workers):
    image_set = load_images("folder", write_images(tmp_path / "images", count=11))
    resident = image_set.resized(8, num_workers=num_workers)
    streamed = image_set.resized(8, max_resident_bytes=0, num_workers=num_workers)
    assert streamed.tensor is None and resident.tensor.shape == (11, 3, 8, 8)
    order = epoch_order(11, 0, 0)
    batches = list(resident.batches(order, 4))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert torch.equal(torch.cat(batches), resident.tensor[order])
    assert all(torch.equal(a, b) for a, b in zip(batches, streamed.batches(order, 4), strict=True))
    assert resident.sha256() == streamed.sha256()


def test_an_order_cut_short_by_a_resume_gives_its_rest_and_an_empty_one_no_batch():
    images = load_images("digits").resized(8)
    order = epoch_order(images.num_images, 0, 0)[-5:]
    assert torch.equal(torch.cat(list(images.batches(order, 2))), images.tensor[order])
    assert list(images.batches(order[:0], 2)) == []
    assert list(load_images("digits").resized(8, max_resident_bytes=0).batches(order[:0], 2)) == []


@pytest.mark.parametrize("max_resident_bytes", [None, 0])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_reading_leaves_the_global_random_states_alone(max_resident_bytes, num_workers):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    images = load_images("digits").resized(8, max_resident_bytes=max_resident_bytes, num_workers=num_workers)
    next(images.batches(epoch_order(images.num_images, 0, 0), 4))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])


def test_sha256_is_that_of_the_bytes_and_differs_between_resolutions():
    images = load_images("digits").resized(8)
    assert images.sha256() == hashlib.sha256(images.tensor.numpy().tobytes()).hexdigest()
    assert images.sha256() != load_images("digits").resized(16).sha256()


def test_images_stay_resident_up_to_exactly_max_resident_bytes():
    size = 1797 * 3 * 8 * 8
    assert load_images("digits").resized(8, max_resident_bytes=size).tensor is not None
    assert load_images("digits").resized(8, max_resident_bytes=size - 1).tensor is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("max_resident_bytes", [None, 0])
def test_images_on_the_gpu_equal_those_on_the_cpu(max_resident_bytes):
    images = load_images("digits").resized(16, "cuda", max_resident_bytes, num_workers=1)
    batch = next(images.batches(epoch_order(1797, 0, 0), 64))
    assert batch.is_cuda and images.sha256() == load_images("digits").resized(16).sha256()


# Published data sets, from small files in their formats


def test_digits_scale_their_17_values_to_0_to_255():
    levels = load_images("digits").resized(8).tensor.unique().tolist()
    assert levels == [int(255 * value / 16 + 0.5) for value in range(17)]
    with pytest.raises(UserError, match="^--dataset: digits has no test split"):
        load_images("digits", split="test")


def test_cifar10_is_read_from_torchvisions_files(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    rows = random_pixels(0, 6, 3072)
    parts = {"data_batch_1": rows[:2], "data_batch_2": rows[2:4], "test_batch": rows[4:]}
    lists = [[name, write(name, {"data": part, "labels": [0, 1]})] for name, part in parts.items()]
    monkeypatch.setattr(published.CIFAR10, "train_list", lists[:2])
    monkeypatch.setattr(published.CIFAR10, "test_list", lists[2:])
    md5 = write("batches.meta", {"label_names": ["a", "b"]})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5}
    monkeypatch.setattr(published.CIFAR10, "meta", meta)
    for split, part in (("train", rows[:4]), ("test", rows[4:])):
        images = load_images("cifar10", tmp_path, split)
        assert (images.name, images.split) == ("CIFAR-10", split)
        assert (images.num_images, images.native_size) == (len(part), 32)
        np.testing.assert_array_equal(images.resized(32).tensor.numpy(), part.reshape(-1, 3, 32, 32))


def test_stl10_trains_on_train_and_unlabeled_and_turns_its_columns_into_rows(tmp_path, monkeypatch):
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    counts = {"train_X.bin": 2, "unlabeled_X.bin": 3, "test_X.bin": 1}
    monkeypatch.setattr(published, "STL10_IMAGES", counts)
    # (N, channel, column, row)
    stored = {file: random_pixels(count, count, 3, 96, 96) for file, count in counts.items()}
    for file, pixels in stored.items():
        pixels.tofile(folder / file)
    expected = np.concatenate([stored["train_X.bin"], stored["unlabeled_X.bin"]]).transpose(0, 1, 3, 2)
    images = load_images("stl10", tmp_path)
    assert (images.name, images.num_images, images.native_size) == ("STL-10", 5, 96)
    np.testing.assert_array_equal(images.resized(96).tensor.numpy(), expected)
    picture = Image.fromarray(np.ascontiguousarray(expected[4].transpose(1, 2, 0)))
    assert torch.equal(images.resized(48, num_workers=1).tensor[4], by_torchvision(picture, 48))
    assert load_images("stl10", tmp_path, "test").num_images == 1


def test_stl10_file_cut_short_is_not_used(tmp_path, no_network):
    (tmp_path / "stl10_binary").mkdir()
    (tmp_path / "stl10_binary" / "test_X.bin").write_bytes(bytes(1000))
    with pytest.raises(UserError, match="^--data_path: STL10 is not in .*stl10_binary"):
        load_images("stl10", tmp_path, "test")


@pytest.mark.parametrize("name, sub_folder", [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw"),
                                              ("mnist", "."), ("fashion_mnist", ".")])  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_and_fashion_mnist_read_idx_files_plain_or_packed(tmp_path, name, sub_folder, packed):
    folder = tmp_path / sub_folder
    folder.mkdir(parents=True, exist_ok=True)
    for stem, count in (("train", 3), ("t10k", 2)):
        pixels = random_pixels(count, count, 28, 28)
        data = struct.pack(">4i", 0x803, count, 28, 28) + pixels.tobytes()
        path = folder / f"{stem}-images-idx3-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(data) if packed else data)
        images = load_images(name, tmp_path, "train" if stem == "train" else "test")
        assert images.num_images == count and images.native_size == 28
        np.testing.assert_array_equal(images.resized(28).tensor.numpy(), np.repeat(pixels[:, None], 3, 1))
        assert torch.equal(images.resized(32).tensor[1], by_torchvision(Image.fromarray(pixels[1]), 32))


@pytest.mark.parametrize("damage", ["short", "empty", "magic", "huge", "not gzip"])
def test_damaged_idx_file_is_named(tmp_path, damage):
    sound = struct.pack(">4i", 0x803, 3, 28, 28) + bytes(3 * 784)
    data = {
        "short": gzip.compress(sound)[:30], "empty": b"", "magic": gzip.compress(b"\1" + sound[1:]),
        "huge": gzip.compress(struct.pack(">4I", 0x803, *[2**32 - 1] * 3)), "not gzip": b"<html>",
    }[damage]  # fmt: skip
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(data)
    with pytest.raises(UserError, match="^--data_path: .*train-images-idx3-ubyte.gz is damaged"):
        load_images("mnist", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "stl10", "mnist", "fashion_mnist"])
def test_missing_data_offline_says_in_one_line_where_files_belong_and_what_else_to_use(
    tmp_path, no_network, name
):
    with pytest.raises(UserError) as caught:
        load_images(name, tmp_path)
    message = str(caught.value)
    assert message.startswith("--data_path: ") and "\n" not in message and str(tmp_path) in message
    assert "--dataset folder --data_path DIR" in message and "--dataset digits" in message


def test_unknown_data_set_is_refused_with_the_choices():
    with pytest.raises(
        UserError, match="^--dataset: unknown data set 'celeba'; choose from cifar10, .*folder$"
    ):
        load_images("celeba")


# Folders and zips


def zip_folder(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):  # the stored order must not matter
            archive.write(file, prefix + str(file.relative_to(folder)))
    return path


def test_folder_is_read_in_sorted_order_with_class_sub_folders_and_any_case_of_extension(tmp_path):
    folder = tmp_path / "pets.v2"
    write_images(folder / "dog", 2, suffix=".PNG")
    write_images(folder / "cat" / "grey", 1, suffix=".Bmp")
    write_images(folder, 1, suffix=".ppm")
    for ignored in ("notes.txt", ".hidden.png", "__MACOSX/0.png", ".git/0.png"):
        (folder / ignored).parent.mkdir(exist_ok=True)
        (folder / ignored).write_bytes(b"not an image")
    images = load_images("folder", folder)
    assert (images.name, images.split, images.num_images, images.native_size) == ("pets.v2", "train", 4, 12)
    expected = [Image.open(folder / name) for name in ("0.ppm", "cat/grey/0.Bmp", "dog/0.PNG", "dog/1.PNG")]
    assert torch.equal(
        images.resized(12).tensor, torch.stack([by_torchvision(picture, 12) for picture in expected])
    )


@pytest.mark.parametrize("suffix", listing.EXTENSIONS)
def test_every_known_extension_is_read(tmp_path, suffix):
    picture = Image.fromarray(random_pixels(0, 12, 12, 3))
    picture.convert("L" if suffix == ".pgm" else "RGB").save(tmp_path / f"a{suffix}")
    expected = by_torchvision(Image.open(tmp_path / f"a{suffix}"), 6)
    assert torch.equal(load_images("folder", tmp_path).resized(6).tensor[0], expected)


@pytest.mark.parametrize("prefix", ["", "pets/"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_zip_equals_the_folder_it_was_made_from(tmp_path, prefix, num_workers):
    folder = tmp_path / "pets"
    write_images(folder / "train" / "cat", 3)
    write_images(folder / "test" / "cat", 2, size=10)
    archive = zip_folder(folder, tmp_path / "pets.zip", prefix)
    for split, count in (("train", 3), ("test", 2)):
        images, zipped = load_images("folder", folder, split), load_images("folder", archive, split)
        assert images.num_images == zipped.num_images == count and images.name == zipped.name == "pets"
        streamed = zipped.resized(8, max_resident_bytes=0, num_workers=num_workers)
        assert torch.equal(images.resized(8).tensor, read_all(streamed, batch_size=1))


def test_workers_do_not_share_a_file_position_in_a_zip(tmp_path):
    folder = write_images(tmp_path / "images", size=100)  # larger than a read buffer
    archive = zip_folder(folder, tmp_path / "images.zip")

    def positions():
        links = [
            link for link in Path("/proc/self/fd").iterdir() if link.exists() and link.resolve() == archive
        ]
        return [os.lseek(int(link.name), 0, os.SEEK_CUR) for link in links]

    images = load_images("folder", archive).resized(8, max_resident_bytes=0, num_workers=1)
    before = positions()
    assert len(read_all(images)) == 5 and before and positions() == before


def test_folder_without_splits_is_all_train_and_has_no_test(tmp_path):
    folder = write_images(tmp_path / "images" / "train")
    assert load_images("folder", folder.parent).num_images == 5
    with pytest.raises(
        UserError,
        match="^--data_path: .* has no test split; put its images into sub-folders train/ and test/",
    ):
        load_images("folder", folder.parent, "test")


def test_links_are_followed_and_loops_of_links_end(tmp_path):
    folder = write_images(tmp_path / "images" / "cat")
    (folder.parent / "dog").symlink_to(write_images(tmp_path / "elsewhere", 2))
    (folder / "loop").symlink_to(folder.parent)
    assert load_images("folder", folder.parent).num_images == 7


def test_native_size_of_a_folder_is_the_resolution_asked_for_or_the_first_images_shorter_side(tmp_path):
    Image.fromarray(random_pixels(0, 20, 10, 3)).save(tmp_path / "a.png")
    assert load_images("folder", tmp_path).native_size == 10
    assert load_images("folder", tmp_path, image_size=64).native_size == 64


def test_every_kind_of_pixel_becomes_rgb_without_warnings(tmp_path, recwarn):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colour = random_pixels(0, 16, 16, 3)
    alpha = np.dstack([colour, grey])
    luminance = np.asarray(Image.fromarray(colour).convert("L"))
    cases = {
        "a_16bit.png": (Image.fromarray(grey.astype(np.uint16) * 256 + 255), np.dstack([grey] * 3)),
        "b_grey.png": (Image.fromarray(grey), np.dstack([grey] * 3)),
        "c_rgba.png": (Image.fromarray(alpha), colour),
        "d_grey_alpha.png": (Image.fromarray(alpha).convert("LA"), np.dstack([luminance] * 3)),
        "e_bits.png": (Image.fromarray(grey > 100), np.dstack([(grey > 100) * np.uint8(255)] * 3)),
        "f_palette.png": (Image.fromarray(grey).convert("P"), np.dstack([grey] * 3)),
        "g_cmyk.tif": (Image.frombytes("CMYK", (16, 16), alpha.tobytes()), None),
    }  # fmt: skip
    for name, (picture, _) in cases.items():
        picture.save(
            tmp_path / name, **({"transparency": bytes(range(256))} if name == "f_palette.png" else {})
        )
    images = load_images("folder", tmp_path).resized(16).tensor
    for image, (picture, expected) in zip(images, cases.values(), strict=True):
        expected = np.asarray(picture.convert("RGB")) if expected is None else expected
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]


# Bad input


def bad_image(path, kind):
    """Write an unusable image file of the kind."""
    good = path.parent / "good.bin"
    Image.fromarray(random_pixels(0, 64, 64, 3)).save(good, "PNG")
    if kind == "text":
        path.write_text("<html>not an image</html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(good.read_bytes()[:3000])
    elif kind == "flipped":
        data = bytearray(good.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    elif kind == "float":
        Image.fromarray(np.zeros((8, 8), np.float32)).save(path, "TIFF")
    elif kind == "strip":
        Image.fromarray(np.zeros((1, 101), np.uint8)).save(path, "PNG")
    else:  # the header claims many pixels: PIL warns of 10,000 x 10,000 and refuses 60,000 x 60,000
        side = {"bomb warned of": 10_000, "bomb": 60_000}[kind]
        data = good.read_bytes()
        header = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
        path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    good.unlink()


# As utils.data.folders sets it; pytest has its own filters.
@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    "kind", ["text", "empty", "truncated", "flipped", "float", "strip", "bomb warned of", "bomb"]
)
def test_unusable_image_is_named_whoever_reads_it(tmp_path, kind, num_workers):
    write_images(tmp_path, 2)
    bad_image(tmp_path / "z.png", kind)
    image_set = load_images("folder", tmp_path)
    for max_resident_bytes in (None, 0):
        with pytest.raises(
            UserError, match="^--data_path: cannot read z.png in .* as an image .*; repair or remove it$"
        ):
            read_all(image_set.resized(8, max_resident_bytes=max_resident_bytes, num_workers=num_workers))


def test_decompression_bomb_that_pil_only_warns_of_is_an_error_in_a_script(tmp_path):
    bad_image(tmp_path / "a.png", "bomb warned of")
    script = "import sys; from utils.data import load; load.load_images('folder', sys.argv[1])"
    command = [sys.executable, "-c", script, str(tmp_path)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "UserError: --data_path: cannot read a.png in " in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", ["missing", "empty", "no images", "text file", "truncated zip", "null byte"])
def test_path_without_images_is_refused(tmp_path, kind):
    path = tmp_path / "data"
    if kind in ("empty", "no images"):
        path.mkdir()
    if kind == "no images":
        (path / "notes.txt").write_text("no image")
    if kind == "text file":
        path.write_text("no zip")
    if kind == "truncated zip":
        whole = zip_folder(write_images(tmp_path / "images"), tmp_path / "whole.zip").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    if kind == "null byte":
        path = "images\0"
    with pytest.raises(UserError, match="^--data_path: "):
        load_images("folder", path)


def test_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(listing.os, "scandir", refuse)
    with pytest.raises(UserError, match="^--data_path: cannot read .*Permission denied"):
        load_images("folder", tmp_path)


@pytest.mark.parametrize("kind", ["encrypted", "claims 10 GB", "damaged"])
def test_hostile_zip_member_is_named_and_not_unpacked(tmp_path, kind):
    write_images(tmp_path / "images", 1)
    path = zip_folder(tmp_path / "images", tmp_path / "images.zip")
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\1\2")
    if kind == "encrypted":
        data[6] |= 1
        data[central + 8] |= 1
    elif kind == "claims 10 GB":
        data[central + 24 : central + 28] = struct.pack("<I", 0xFFFFFFF0)
    else:
        data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match="^--data_path: cannot read 0.png in .*images.zip as an image"):
        load_images("folder", path)


# Processes that read


@pytest.fixture
def no_processes(monkeypatch):
    """As where /dev/shm is read-only."""

    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    warn.cache_clear()
    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refuse)


def test_where_no_process_can_be_started_this_one_reads(tmp_path, no_processes, capsys):
    images = load_images("folder", write_images(tmp_path / "images"))
    for max_resident_bytes in (None, 0):
        found = images.resized(8, max_resident_bytes=max_resident_bytes, num_workers=2)
        assert found.sha256() == images.resized(8).sha256()
    line = (
        "warning: --num_workers: no process can be started (Read-only file system); reading goes on without\n"
    )
    assert capsys.readouterr().err == line


def test_images_come_without_shared_memory(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("shared memory")

    monkeypatch.setattr("torch.UntypedStorage._share_fd_cpu_", refuse)
    monkeypatch.setattr("torch.UntypedStorage._new_shared", refuse)
    images = load_images("folder", write_images(tmp_path / "images")).resized(8, num_workers=2)
    assert images.tensor.shape == (5, 3, 8, 8) and not images.tensor.is_shared()


def test_a_killed_process_that_reads_ends_the_run_in_one_line(tmp_path):
    first = os.getpid()

    def picture(index):
        if os.getpid() != first:
            os.kill(os.getpid(), signal.SIGKILL)

    images = dataclasses.replace(load_images("digits"), picture=picture)
    with pytest.raises(Ending, match="a process that reads images was killed"):
        images.resized(8, num_workers=1)


@pytest.mark.parametrize(
    "name", ["train-images.idx3-ubyte", "train-images-idx3-ubyte/train-images-idx3-ubyte"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_as_some_archives_name_them_are_read(tmp_path, name, packed):
    data = struct.pack(">4i", 0x803, 2, 28, 28) + bytes(2 * 784)
    path = tmp_path / (name + ".gz" * packed)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert load_images("mnist", tmp_path).num_images == 2


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_download_that_fails_leaves_no_folder(tmp_path, no_network, name):
    with pytest.raises(UserError):
        load_images(name, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
