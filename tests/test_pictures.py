"""Grids of samples: what they show, and the text above their rows."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor
from running import only_run, short_run, use_tiny_net, write_pictures

from models_search.dggan.picture import (
    BOX_HEIGHT, BOX_WIDTH, COLOURS, COLUMN_WIDTH, MARGIN, ROW_HEIGHT, save_growth_picture
)  # fmt: skip
from utils.images import grid, save_images, to_uint8, write_line

TEXT = "1 0 1 1 | 1 0 0 1 1 | 1 0 1 0 3"


def test_labels_stand_above_their_rows_and_leave_the_images_as_they_are():
    images = torch.rand(30, 3, 8, 8)
    plain, labelled = grid(images, zoom=8), grid(images, zoom=8, labels=["first", "second", "third"])
    assert labelled.shape[1:] == plain.shape[1:]
    row, strip = 8 * (8 + 1), (len(labelled) - len(plain)) // 3
    for number, label in enumerate(("first", "second", "third")):
        top = number * (row + strip)
        assert np.array_equal(labelled[top : top + strip], write_line(label, plain.shape[1]))
        below = labelled[top + strip : top + strip + row]
        assert np.array_equal(below, plain[number * row : (number + 1) * row])


def test_a_growth_picture_has_a_box_for_each_node_in_its_colour_and_a_legend(tmp_path):
    boxes = [
        {"step": step, "parent": parent, "lines": ("0: root", "8 px"), "fate": fate}
        for step, parent, fate in ((0, None, "best"), (1, 0, "kept"), (1, 0, "failed"), (2, 1, "pruned"))
    ]
    picture = Image.open(save_growth_picture(boxes, tmp_path / "tree.png"))
    right = MARGIN + BOX_WIDTH - 6
    places = {"best": (0, 0), "kept": (1, 0), "failed": (1, 1), "pruned": (2, 0)}
    assert picture.size == (2 * MARGIN + 2 * COLUMN_WIDTH + BOX_WIDTH, 3 * MARGIN + 3 * ROW_HEIGHT)
    for number, (fate, colour) in enumerate(COLOURS.items()):
        step, row = places[fate]
        corner = MARGIN + COLUMN_WIDTH * step, MARGIN + ROW_HEIGHT * row
        inside = picture.crop((*corner, corner[0] + BOX_WIDTH, corner[1] + BOX_HEIGHT))
        assert inside.getpixel((right - MARGIN, BOX_HEIGHT - 6)) == ImageColor.getrgb(colour)
        assert count_dark(inside.crop((3, 3, BOX_WIDTH - 3, BOX_HEIGHT - 3))) > 5
        left, top = MARGIN + 90 * number, picture.height - MARGIN - 14
        assert picture.getpixel((left + 7, top + 7)) == ImageColor.getrgb(colour)
        assert count_dark(picture.crop((left + 18, top, left + 85, top + 14))) > 10
    kept, pruned = (
        picture.getpixel((MARGIN + COLUMN_WIDTH * step - 10, MARGIN + BOX_HEIGHT // 2)) for step in (1, 2)
    )
    assert kept == ImageColor.getrgb("#404040") and pruned == ImageColor.getrgb("#c0c0c0")


def count_dark(picture):
    return int((np.asarray(picture).max(2) < 128).sum())


def test_a_long_label_takes_more_lines_instead_of_being_cut():
    one, three = write_line(TEXT, 400), write_line(" | ".join([TEXT] * 3), 160)
    assert len(three) > 2 * len(one)
    assert not three[:, -2:].any() and three.any()  # nothing touches the right border
    assert write_line("a" * 500, 100).shape[1] == 100


def test_as_many_labels_as_rows():
    with pytest.raises(ValueError, match="1 labels for 2 rows"):
        grid(torch.rand(20, 3, 8, 8), labels=["one"])


def test_single_images_are_numbered_pngs_without_loss(tmp_path):
    images = torch.rand(3, 3, 8, 8) * 2 - 1
    save_images(images, tmp_path, first=7)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["000007.png", "000008.png", "000009.png"]
    read = np.asarray(Image.open(tmp_path / "000008.png"))
    assert np.array_equal(read, to_uint8(images[1]).permute(1, 2, 0).numpy())


def test_the_rows_of_a_searchs_grid_carry_the_architectures_that_made_them(
    type_command, tmp_path, monkeypatch
):
    use_tiny_net(monkeypatch)
    (tmp_path / "pictures").mkdir()
    texts = []
    monkeypatch.setattr(
        "utils.images.write_line", lambda text, width: texts.append(text) or write_line(text, width)
    )
    type_command(short_run("search", write_pictures(tmp_path / "pictures")))
    assert len(texts) == 2 * 5  # two grids
    assert all(len(text.split(" | ")) == 1 for text in texts[:5])
    assert all(len(text.split(" | ")) == 2 for text in texts[5:])
    height = Image.open(only_run(tmp_path, "search") / "Samples" / "iteration_004.png").height
    assert height == 4 * (5 * (16 + 1) + 1) + 5 * len(write_line(texts[-1], 4 * (10 * (16 + 1) + 1)))
