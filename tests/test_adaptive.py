"""ADA: its transforms beside numpy, scipy and torch's own, and the probability beside the paper's rule."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from running import training_options
from scipy.linalg import expm
from test_recipe_losses import batch, networks
from torch.autograd import gradcheck, gradgradcheck

from option_groups.recipe import RecipeOptions
from utils.training.adaptive import COLUMNS, Adaptive, AdaptivePipe
from utils.training.adversarial import StepFunctions
from utils.training.gan import new_gan
from utils.training.inputs import Batch
from utils.training.loop import train_steps
from utils.training.losses import LOSSES
from utils.training.recipe import recipe_schedule

NEVER, ALWAYS = torch.zeros(()), torch.ones(())
NORMAL_ONE = 0.8413447460685429  # the uniform number of the normal number 1
PLACES = {
    "blit": ["flip", "mirrored", "turn", "turns", "shift", "x", "y"],
    "geometric": ["scale", "size", "before", "angle", "stretch", "ratio", "after", "angle after", "shift", "x", "y"],
    "color": ["bright", "add", "contrast", "factor", "invert", "inverted", "hue", "angle", "saturate", "strength"],
}  # fmt: skip
GATES = {
    "flip",
    "turn",
    "shift",
    "scale",
    "before",
    "stretch",
    "after",
    "bright",
    "contrast",
    "invert",
    "hue",
    "saturate",
}


@pytest.fixture
def images(in_float64):
    return torch.randn(3, 3, 8, 8)


def numbers(group, **chosen):
    """Uniform numbers for three images by which, at p = 1/2, only the transforms named True are done."""
    chosen = {name.replace("_", " "): value for name, value in chosen.items()}
    row = [
        (0.0 if chosen.get(name) else 0.9) if name in GATES else chosen.get(name, 0.25)
        for name in PLACES[group]
    ]
    return torch.tensor([row] * 3, dtype=torch.float64)


def applied(images, group, **chosen):
    return AdaptivePipe((group,))(images, numbers(group, **chosen), torch.tensor(0.5))


@pytest.mark.parametrize("group", COLUMNS)
def test_with_probability_zero_images_stay_as_they_are(images, group):
    assert [len(names) for names in PLACES.values()] == list(COLUMNS.values())
    drawn = torch.rand(3, COLUMNS[group])
    changed = AdaptivePipe((group,))(images, drawn, NEVER)
    torch.testing.assert_close(changed, images, rtol=0, atol=1e-14 if group == "color" else 0)
    assert not torch.allclose(AdaptivePipe((group,))(images, drawn, ALWAYS), images, atol=0.01)


def test_whole_pixels_are_mirrored_turned_and_shifted_exactly(images):
    assert torch.equal(applied(images, "blit", flip=True, mirrored=0.7), images.flip(3))
    assert torch.equal(applied(images, "blit", flip=True, mirrored=0.2), images)
    for turns in range(4):
        turned = applied(images, "blit", turn=True, turns=turns / 4 + 0.01)
        assert any(torch.equal(turned, torch.rot90(images, sign * turns, (2, 3))) for sign in (1, -1))
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    for x in range(3):
        shifted = applied(images, "blit", shift=True, x=x / 3 + 0.01, y=0.5)
        assert torch.equal(shifted, padded[:, :, 1:9, 2 - x : 10 - x])
        shifted = applied(images, "blit", shift=True, x=0.5, y=x / 3 + 0.01)
        assert torch.equal(shifted, padded[:, :, 2 - x : 10 - x, 1:9])


def sampled(images, matrix):
    """torch's own sampling where a place (x, y) from the centre is taken from matrix @ (x, y, 1)."""
    side = images.shape[-1]
    middle = (side - 1) / 2
    y, x = np.meshgrid(np.arange(side) - middle, np.arange(side) - middle, indexing="ij")
    places = np.einsum("ij,jhw->hwi", np.asarray(matrix)[:2], np.stack([x, y, np.ones_like(x)]))
    grid = torch.tensor(places / middle).expand(len(images), side, side, 2)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def rotation(angle):
    return np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


SCALED, STRETCHED = np.diag([2**-0.2, 2**-0.2, 1]), np.diag([2**-0.2, 2**0.2, 1])
SHIFTED = np.array([[1, 0, -1.0], [0, 1, 0], [0, 0, 1]])  # an eighth of 8 pixels to the right
GEOMETRIC = {
    "scale": ({"scale": True, "size": NORMAL_ONE}, SCALED),
    "rotation before": ({"before": True, "angle": 0.6}, rotation(0.2 * np.pi)),
    "stretch": ({"stretch": True, "ratio": NORMAL_ONE}, STRETCHED),
    "rotation after": ({"after": True, "angle_after": 0.6}, rotation(0.2 * np.pi)),
    "shift": ({"shift": True, "x": NORMAL_ONE, "y": 0.5}, SHIFTED),
    "all": (
        {"scale": True, "size": NORMAL_ONE, "before": True, "angle": 0.6, "stretch": True, "ratio": NORMAL_ONE,
         "after": True, "angle_after": 0.6, "shift": True, "x": NORMAL_ONE, "y": 0.5},
        SCALED @ rotation(0.2 * np.pi) @ STRETCHED @ rotation(0.2 * np.pi) @ SHIFTED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("chosen, matrix", GEOMETRIC.values(), ids=GEOMETRIC)
def test_geometric_transforms_are_bilinear_samplings_by_their_matrix(images, chosen, matrix):
    torch.testing.assert_close(applied(images, "geometric", **chosen), sampled(images, matrix))


def colours(images, matrix, vector):
    flat = torch.tensor(matrix) @ images.flatten(2) + torch.tensor(vector)[:, None]
    return flat.view(images.shape)


AXIS = np.ones(3) / np.sqrt(3)
CROSS = np.array([[0, -AXIS[2], AXIS[1]], [AXIS[2], 0, -AXIS[0]], [-AXIS[1], AXIS[0], 0]])
ALONG = np.outer(AXIS, AXIS)
COLOURS = {
    "brightness": ({"bright": True, "add": NORMAL_ONE}, np.eye(3), np.full(3, 0.2)),
    "contrast": ({"contrast": True, "factor": NORMAL_ONE}, 2**0.5 * np.eye(3), np.zeros(3)),
    "inverted": ({"invert": True, "inverted": 0.7}, np.eye(3) - 2 * ALONG, np.zeros(3)),
    "not inverted": ({"invert": True, "inverted": 0.3}, np.eye(3), np.zeros(3)),
    "hue": ({"hue": True, "angle": 0.6}, expm(0.2 * np.pi * CROSS), np.zeros(3)),
    "saturation": ({"saturate": True, "strength": NORMAL_ONE}, ALONG + 2 * (np.eye(3) - ALONG), np.zeros(3)),
    "all": (
        {"bright": True, "add": NORMAL_ONE, "contrast": True, "factor": NORMAL_ONE, "invert": True, "inverted": 0.7,
         "hue": True, "angle": 0.6, "saturate": True, "strength": NORMAL_ONE},
        (ALONG + 2 * (np.eye(3) - ALONG)) @ expm(0.2 * np.pi * CROSS) @ (np.eye(3) - 2 * ALONG) * 2**0.5,
        np.full(3, -(2**0.5) * 0.2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("chosen, matrix, vector", COLOURS.values(), ids=COLOURS)
def test_colours_change_by_their_matrix(images, chosen, matrix, vector):
    torch.testing.assert_close(applied(images, "color", **chosen), colours(images, matrix, vector))


def test_each_transform_is_done_with_the_probability_and_one_of_the_two_rotations_too(in_float64):
    image = torch.randn(1, 3, 4, 4).expand(4000, 3, 4, 4)
    quarter = torch.tensor(0.25)

    def changed(group, *gates):
        """The share of images that change if only these transforms may be done."""
        drawn = torch.rand(4000, COLUMNS[group])
        for index, name in enumerate(PLACES[group]):
            if name in GATES and name not in gates:
                drawn[:, index] = 1
        result = AdaptivePipe((group,))(image, drawn, quarter)
        return (result - image).abs().amax((1, 2, 3)).gt(1e-9).double().mean().item()

    assert changed("geometric", "scale") == pytest.approx(0.25, abs=0.03)
    assert changed("geometric", "before", "after") == pytest.approx(0.25, abs=0.03)
    assert changed("color", "hue") == pytest.approx(0.25, abs=0.03)
    assert changed("blit", "flip") == pytest.approx(0.25 / 2, abs=0.03)
    assert changed("blit", "turn") == pytest.approx(0.25 * 3 / 4, abs=0.03)


@pytest.mark.parametrize("group", COLUMNS)
def test_gradients_through_the_pipe_are_exact_and_can_be_differentiated_again(in_float64, group):
    small, drawn = torch.randn(2, 3, 4, 4).requires_grad_(), torch.rand(2, COLUMNS[group])
    assert gradcheck(lambda x: AdaptivePipe((group,))(x, drawn, ALWAYS), small)
    assert gradgradcheck(lambda x: AdaptivePipe((group,))(x, drawn, ALWAYS).square(), small)


def test_groups_take_numbers_of_their_own(images):
    names = ("blit", "color")
    pipe, drawn = AdaptivePipe(names), torch.rand(3, 17)
    expected = AdaptivePipe(("blit",))(images, drawn[:, :7], ALWAYS)
    expected = AdaptivePipe(("color",))(expected, drawn[:, 7:], ALWAYS)
    assert pipe.columns == 17
    torch.testing.assert_close(pipe(images, drawn, ALWAYS), expected)


# The probability


def adaptive(**options):
    return Adaptive(RecipeOptions(**{"ada_target": 0.6, "ada_kimg": 1, "ada_interval": 2, **options}), "cpu")


def test_the_probability_follows_the_mean_sign_of_the_logits():
    """+- images / 1,000 every second step, between 0 and 1."""
    ada, expected = adaptive(), 0.0
    random = torch.Generator().manual_seed(0)
    for step in range(40):
        logits = torch.randn(50, 1, generator=random) + (3.0 if step < 24 else -1.0)
        ada.observe(logits[:25])
        ada.observe(logits[25:])
        if step % 2 == 0:
            signs = [math.copysign(1, logit) for logit in logits.flatten().tolist()]
        else:
            signs += [math.copysign(1, logit) for logit in logits.flatten().tolist()]
            expected += math.copysign(1, sum(signs) / len(signs) - 0.6) * len(signs) / 1000
            expected = min(1.0, max(0.0, expected))
        ada.adjust(step)
        assert ada.probability.item() == pytest.approx(expected, abs=1e-6)
    assert 0.0 <= expected < 1.0
    for step in range(24):
        ada.observe(torch.ones(100, 1))
        ada.adjust(step)
    assert ada.probability.item() == 1.0


@pytest.mark.parametrize("positive, wanted", [(79, 0.4), (81, 0.6)])
def test_the_probability_rises_only_above_the_target_not_already_above_zero(positive, wanted):
    ada = adaptive(ada_interval=1)  # 79 of 100 logits above 0: a mean sign of 0.58
    ada.probability.fill_(0.5)
    ada.observe(torch.cat([torch.ones(positive, 1), -torch.ones(100 - positive, 1)]))
    ada.adjust(0)
    assert ada.probability.item() == pytest.approx(wanted)


def trained(gan, first, last, options, training):
    recipe_at = recipe_schedule(options, training, 1, steps_per_epoch=3)
    steps = [Batch(step, *batch()[1:]) for step in range(first, last)]

    def functions_at(step):
        return StepFunctions(gan.generator, gan.discriminator, LOSSES["hinge"], None, recipe_at(step))

    return train_steps(gan, steps, functions_at, training)


def test_a_training_observes_the_logits_it_has_and_moves_the_probability_that_its_steps_use():
    options = RecipeOptions(ada_target=-0.99, ada_kimg=1, ada_interval=2, ada_pipe="color")
    training = training_options(gen_batch_size=5, dis_batch_size=5)

    def new():
        return new_gan(*networks(), torch.device("cpu"), training, recipe=options)

    gan = new()
    trained(gan, 0, 3, options, training)
    assert gan.adaptive.count.item() == 5 and gan.adaptive.probability.item() in (0.0, pytest.approx(0.01))
    # A state that is loaded goes on alike, and with another probability otherwise.
    gan.adaptive.probability.fill_(0.7)
    loaded, other = new(), new()
    for each in (loaded, other):
        each.load_state_dict(gan.snapshot())
    other.adaptive.probability.fill_(0.0)
    expected = trained(gan, 3, 6, options, training)
    assert trained(loaded, 3, 6, options, training) == expected != trained(other, 3, 6, options, training)
    assert loaded.adaptive.state_dict() == gan.adaptive.state_dict()
