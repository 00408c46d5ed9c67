"""Conditional GANs with every loss and with what a recipe adds: in parts, recorded, with real images for the generator."""

import pytest
import torch
from test_conditional import CLASSES, LABELS, SMALL, inputs_of, numbered_images
from test_step_graphs import ReplayingRecorder
from running import training_options

from option_groups.recipe import RecipeOptions
from option_groups.searching import SpaceOptions
from option_groups.shared import CellOptions
from models.autogan.architecture import Architecture
from models.autogan.networks import CLASS_WIDTH, Discriminator, Generator
from models.conditioning import Conditioning
from models_search.restrictions import restricted_space
from models_search.search_space import random_architecture
from models_search.sizes import generator_sizes
from utils.cli import UserError
from utils.training.adversarial import StepFunctions
from utils.training.cuda_graphs import NoGraphs, StepGraphs
from utils.training.gan import new_gan
from utils.training.heads import heads_of
from utils.training.loop import train_steps
from utils.training.losses import LOSSES, loss_schedule
from utils.training.recipe import recipe_schedule

CPU = torch.device("cpu")
RECIPES = {
    "plain": {}, "parts": {"accumulate": 2}, "r1": {"r1_gamma": 1.0, "r1_interval": 2},
    "zcr": {"zcr": 1.0}, "bcr": {"bcr": 1.0, "augment": "color,translation"},
}  # fmt: skip


def losses_of(loss, changes, conditioning=Conditioning(3), labels=LABELS[:12], recorder=None):
    """The losses of some steps."""
    torch.manual_seed(0)
    training, recipe = (
        training_options(loss=loss, dis_batch_size=4, gen_batch_size=4),
        RecipeOptions(**changes),
    )
    generator = Generator.of(Architecture.parse("1 0 1 1"), **{**SMALL, "bottom_width": 4})
    discriminator = Discriminator(1, 4, outputs=LOSSES[loss].outputs, conditioning=conditioning)
    gan = new_gan(generator, discriminator, CPU, training, recipe=recipe)
    gan.graphs = StepGraphs(recorder) if recorder else NoGraphs()
    loss_at = loss_schedule(loss, 0, device=CPU)
    recipe_at = recipe_schedule(recipe, training, 0, steps_per_epoch=3)
    heads = heads_of(discriminator, conditioning)

    def functions_at(step):
        return StepFunctions(gan.generator, gan.discriminator, loss_at(step), "same", recipe_at(step), heads)

    batches = list(inputs_of(numbered_images(labels)).batches(0, 12))
    return train_steps(gan, batches, functions_at, training)


def mean_of(losses):
    return sum(losses) / len(losses)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_a_conditional_gan_and_is_recorded_with_its_labels(loss):
    plain, recorder = losses_of(loss, {}), ReplayingRecorder()
    assert all(torch.isfinite(torch.tensor(plain[0]))) and plain == losses_of(loss, {}, recorder=recorder)
    assert recorder.replayed > 6
    others = losses_of(loss, {}, labels=LABELS[:12][::-1])
    assert plain != others


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_adds_keeps_images_and_labels_together(name):
    both = Conditioning(3, class_head=True, rotation_head=True)
    few = [label if index % 3 else -1 for index, label in enumerate(LABELS[:12])]
    recorder = ReplayingRecorder()
    found = losses_of("hinge", RECIPES[name], both, few, recorder)
    assert found == losses_of("hinge", RECIPES[name], both, few) and recorder.replayed
    if name == "parts":
        whole = losses_of("hinge", {})
        assert losses_of("hinge", RECIPES[name])[0][0] == pytest.approx(whole[0][0], rel=1e-2)


def test_semi_supervised_losses_with_real_images_for_the_generator_get_whole_labels():
    few = [-1, -1, 1, -1, 0, 1, 2, -1, 1, 2, 2, -1]
    found = losses_of("r3gan", {}, Conditioning(3, class_head=True), few)
    assert torch.isfinite(torch.tensor(found[0])).all()


def test_caps_count_a_conditional_generators_parameters():
    cells, conditioning = CellOptions(gf_dim=8), Conditioning(len(CLASSES))
    random = torch.Generator().manual_seed(0)

    def parameters(architecture):
        return generator_sizes(str(architecture), 16, cells, conditioning)[0]

    cap = sorted(parameters(random_architecture(2, random)) for _ in range(40))[5]
    restricted = restricted_space(2, SpaceOptions(max_params=cap), 16, cells, conditioning)
    drawn = [parameters(restricted.random_architecture(random)) for _ in range(60)]
    assert max(drawn) <= cap < 1.05 * max(drawn)
    with pytest.raises(UserError, match="^--max_params: no architecture has"):
        restricted_space(2, SpaceOptions(max_params=16 * 8 * CLASS_WIDTH), 16, cells, conditioning)
