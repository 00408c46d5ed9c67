"""The very numbers that a seed stands for: with another stream of random numbers, no older run could be repeated."""

import pytest
import torch
from test_inputs import inputs_of, numbered_images, numbers_of

import cfg
from models_search.random_sharing.plan import make_plan
from models_search.random_sharing.search import draw_architectures
from models_search.search_space import distinct_architectures
from utils.data.image_set import epoch_order
from utils.randomness import derived_seed, random_generator, seed_after
from utils.training.losses import loss_schedule

# step: images, noise of the discriminator's step, noise of the generator's. 64 updates' noise is drawn at once.
STEPS = {
    0: ([10, 9, 3, 4], [0.577111, 1.016768, 0.496129], [0.251606, -0.300897, -0.554918]),
    69: ([6, 0, 1, 9], [-0.514777, -0.131655, 1.143954], [-0.888166, -0.525162, -0.224603]),
}


@pytest.mark.parametrize("step", STEPS)
def test_the_images_and_the_noise_of_a_step_are_those_they_always_were(step):
    (batch,) = inputs_of(numbered_images()).batches(step, step + 1)
    images, noise, generator_noise = STEPS[step]
    assert numbers_of(batch.real) == images
    assert batch.noise[0, :3].tolist() == pytest.approx(noise, abs=1e-5)
    assert batch.generator_noise[0, :3].tolist() == pytest.approx(generator_noise, abs=1e-5)


def test_the_noise_after_a_rollback_is_that_it_always_was():
    (batch,) = inputs_of(numbered_images()).batches(0, 1, rollbacks=1)
    assert batch.noise[0, :3].tolist() == pytest.approx([-0.131932, 1.722313, 0.278954], abs=1e-5)


def test_seeds_orders_and_places_are_those_they_always_were():
    assert (derived_seed(7, "a", 1), seed_after(2, 7)) == (6800789466278380431, 972047949703100614)
    assert seed_after(0, 7) == 7
    assert epoch_order(11, 1, 2).tolist() == [10, 7, 8, 3, 5, 4, 1, 0, 6, 2, 9]
    places = loss_schedule("wgan-gp", 5, "x", device=torch.device("cpu"))(3).draw(torch.zeros(2, 3, 4, 4))
    assert places[0].flatten().tolist() == pytest.approx([0.874416, 0.144499], abs=1e-5)


def test_random_architectures_are_those_they_always_were():
    drawn = distinct_architectures(3, 2, random_generator(12345, "candidates"))
    assert list(map(str, drawn)) == ["0 2 1 0 | 0 2 1 1 1 | 1 2 0 0 3", "0 0 0 0 | 1 1 2 1 1 | 1 0 0 0 1"]
    plans = [
        make_plan(cfg.parse("search", f"--method random_sharing {seed}".split()))
        for seed in ("", "--random_seed 6")
    ]
    first, other = (draw_architectures(plan, 2, "timed", 3) for plan in plans)
    assert list(map(str, first)) == ["0 1 0 0 | 1 2 0 0 0 | 1 1 0 1 2", "1 0 1 1 | 0 0 1 0 1 | 0 1 0 1 2"]
    assert first != other
