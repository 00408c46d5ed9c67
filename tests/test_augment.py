"""DiffAugment and bCR's moves, beside the same written for one image at a time; gradients are exact."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from option_groups.recipe import RecipeOptions
from utils.training.augment import MOVES, TRANSFORMS, DiffAugment, move

SIDE = 8
EDGES = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.9999999])


@pytest.fixture
def images(in_float64):
    return torch.randn(7, 3, SIDE, SIDE).clamp(-1, 1)


def numbers(columns, seed=0):
    """Uniform numbers for seven images, the first column from 0 almost to 1."""
    drawn = torch.rand(7, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn[:, 0] = EDGES
    return drawn


def colour_by_hand(image, u):
    image = image + (u[0] - 0.5)
    gray = image.mean(0, keepdims=True)
    image = gray + (image - gray) * (2 * u[1])
    return image.mean() + (image - image.mean()) * (0.5 + u[2])


def shifted_by_hand(image, down, right, fill):
    result = np.zeros_like(image)
    for i in range(SIDE):
        for j in range(SIDE):
            result[:, i, j] = fill(image, i - down, j - right)
    return result


def zero_outside(image, i, j):
    return image[:, i, j] if 0 <= i < SIDE and 0 <= j < SIDE else 0.0


def mirror_outside(image, i, j):
    return np.pad(image, ((0, 0), (3, 3), (3, 3)), mode="reflect")[:, i + 3, j + 3]


def translation_by_hand(image, u):
    down, right = (int(np.floor(each * 3)) - 1 for each in u)  # an eighth of 8 pixels is 1
    return shifted_by_hand(image, down, right, zero_outside)


def cutout_by_hand(image, u):
    result = image.copy()
    for i in range(SIDE):
        for j in range(SIDE):
            centre = [int(np.floor(each * 9)) for each in u]  # 0 to 8
            if all(at - 2 <= place < at + 2 for at, place in zip(centre, (i, j))):
                result[:, i, j] = 0
    return result


BY_HAND = {"color": colour_by_hand, "translation": translation_by_hand, "cutout": cutout_by_hand}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_transform_is_that_of_its_definition(images, name):
    drawn = numbers(TRANSFORMS[name][0])
    found = DiffAugment((name,))(images, drawn).numpy()
    for index in range(7):
        expected = BY_HAND[name](images[index].numpy(), drawn[index].numpy())
        np.testing.assert_allclose(found[index], expected, rtol=1e-12, atol=1e-12)


def test_transforms_follow_one_another_each_by_numbers_of_its_own(images):
    drawn = numbers(7)
    expected = TRANSFORMS["cutout"][1](TRANSFORMS["color"][1](images, drawn[:, :3]), drawn[:, 3:5])
    augment = DiffAugment(("color", "cutout"))
    assert augment.columns == 5 and torch.equal(augment(images, drawn[:, :5]), expected)
    assert DiffAugment(tuple(TRANSFORMS)).columns == 7


def test_the_square_is_cut_where_it_passes_the_border_and_its_centre_is_uniform(in_float64):
    """Zeros in a column of 8."""
    centres = torch.arange(9) / 9 + 1e-9
    drawn = torch.stack([centres, torch.full((9,), 0.5)], 1)
    cut = DiffAugment(("cutout",))(torch.ones(9, 3, 8, 8), drawn)[:, 0, :, 4] == 0
    assert cut.sum(1).tolist() == [2, 3, 4, 4, 4, 4, 4, 3, 2]


def test_a_shift_is_at_most_an_eighth_and_every_one_equally_likely(in_float64):
    image = torch.zeros(1, 3, 32, 32)
    image[..., 16, 16] = 1
    drawn = torch.stack([torch.arange(9) / 9 + 1e-9, torch.full((9,), 0.5)], 1)
    moved = DiffAugment(("translation",))(image.expand(9, 3, 32, 32), drawn)
    assert moved[:, 0, :, 16].argmax(1).tolist() == list(range(12, 21))


def test_bcrs_move_mirrors_and_shifts_with_reflected_borders(images):
    drawn = numbers(MOVES)
    found = move(images, drawn).numpy()
    for index in range(7):
        image, u = images[index].numpy(), drawn[index].numpy()
        image = image[:, :, ::-1] if u[2] < 0.5 else image
        down, right = (int(np.floor(each * 3)) - 1 for each in u[:2])
        np.testing.assert_allclose(found[index], shifted_by_hand(image, down, right, mirror_outside))


TRANSFORMED = {name: DiffAugment((name,)) for name in TRANSFORMS} | {"move": move}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_gradients_through_a_transform_are_exact_and_can_be_differentiated_again(images, name):
    transform = TRANSFORMED[name]
    drawn = numbers(getattr(transform, "columns", MOVES))[:2]
    small = images[:2, :, :4, :4].clone().requires_grad_()
    assert gradcheck(lambda x: transform(x, drawn), small)
    assert gradgradcheck(lambda x: transform(x, drawn).square(), small)


def test_the_options_choices_name_every_set_of_transforms():
    choices = RecipeOptions.__dataclass_fields__["augment"].metadata["choices"]
    assert {name for choice in choices for name in choice.split(",")} == set(TRANSFORMS)
    assert len(set(choices)) == 7
