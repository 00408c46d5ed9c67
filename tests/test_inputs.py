"""What training steps are given: real images and noise that depend on the step's number alone."""

import numpy as np
import pytest
import torch
from PIL import Image
from running import training_options

from utils.data.image_set import ImageSet
from utils.training.inputs import StepInputs

NUM_IMAGES, BATCH, GENERATOR_BATCH, EVERY = 11, 4, 6, 3
STEPS_PER_EPOCH = 3


def numbered_images(num_images=NUM_IMAGES, **options):
    """Pictures of 2 x 2 pixels whose grey is their number."""
    image_set = ImageSet(
        "numbers", "train", num_images, 2, lambda index: Image.fromarray(np.full((2, 2), index, np.uint8))
    )
    return image_set.resized(2, **options)


def numbers_of(real):
    return [round(pixel) for pixel in real[:, 0, 0, 0].add(1).mul(127.5).tolist()]


def inputs_of(images, seed=0):
    options = training_options(dis_batch_size=BATCH, gen_batch_size=GENERATOR_BATCH, n_critic=EVERY)
    return StepInputs(images, seed, options, latent_dim=5)


def assert_equal_steps(found, wanted):
    for (step, *tensors), (wanted_step, *wanted_tensors) in zip(found, wanted, strict=True):
        assert step == wanted_step
        for mine, theirs in zip(tensors, wanted_tensors):
            assert torch.equal(mine, theirs) if torch.is_tensor(theirs) else mine == theirs


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own_and_its_last_batch_is_what_is_left():
    inputs = inputs_of(numbered_images())
    assert inputs.steps_per_epoch == STEPS_PER_EPOCH
    steps = list(inputs.batches(0, 4 * STEPS_PER_EPOCH))
    assert [step for step, *_ in steps] == list(range(12))
    assert [(len(real), len(noise)) for _, real, noise, *_ in steps] == [(4, 4), (4, 4), (3, 3)] * 4
    shown = [number for _, real, *_ in steps for number in numbers_of(real)]
    epochs = {tuple(shown[start : start + NUM_IMAGES]) for start in range(0, len(shown), NUM_IMAGES)}
    assert len(epochs) == 4 and all(sorted(epoch) == list(range(NUM_IMAGES)) for epoch in epochs)


def test_the_generator_gets_noise_at_step_zero_and_every_so_many_steps_from_there_on():
    shapes = [
        None if batch.generator_noise is None else batch.generator_noise.shape
        for batch in inputs_of(numbered_images()).batches(0, 10)
    ]
    assert shapes == [(GENERATOR_BATCH, 5) if step % EVERY == 0 else None for step in range(10)]


# Noise is drawn for 64 steps at once, the generator's for 64 of its own, so there are borders at 64, 128 and
# 192.
@pytest.mark.parametrize("first, last", [(0, 1), (1, 2), (2, 9), (63, 66), (64, 65), (100, 131), (190, 200)])
def test_steps_gone_on_with_or_repeated_are_those_of_going_through(first, last):
    through = list(inputs_of(numbered_images()).batches(0, 200))
    used = inputs_of(numbered_images())
    list(used.batches(0, 150))
    for inputs in (inputs_of(numbered_images()), used):
        assert_equal_steps(inputs.batches(first, last), through[first:last])


def test_noise_depends_on_seed_and_step_and_not_on_the_images():
    def noise_of(num_images, seed=0):
        return [
            (step, noise[:1], more)
            for step, _, noise, more, *_ in inputs_of(numbered_images(num_images), seed).batches(0, 70)
        ]

    assert_equal_steps(noise_of(NUM_IMAGES), noise_of(29))
    (_, first, first_more), *_ = noise_of(NUM_IMAGES)
    (_, other, other_more), *_ = noise_of(NUM_IMAGES, seed=1)
    assert not torch.equal(first, other) and not torch.equal(first_more, other_more)


def test_no_two_noise_vectors_are_equal_and_all_are_of_the_normal_distribution():
    steps = list(inputs_of(numbered_images()).batches(0, 200))
    vectors = torch.cat([noise for _, _, *both, _, _ in steps for noise in both if noise is not None])
    assert len(vectors.unique(dim=0)) == len(vectors) > 1000
    assert vectors.mean().item() == pytest.approx(0, abs=0.05) and vectors.std().item() == pytest.approx(
        1, abs=0.05
    )
    assert vectors.pow(4).mean().item() == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_images_read_for_every_batch_give_the_steps_of_resident_ones(num_workers):
    streamed = numbered_images(max_resident_bytes=0, num_workers=num_workers)
    assert streamed.tensor is None
    assert_equal_steps(inputs_of(streamed).batches(1, 8), inputs_of(numbered_images()).batches(1, 8))


@pytest.mark.parametrize("max_resident_bytes", [None, 0])
def test_steps_taken_in_pieces_and_some_of_them_again_are_those_of_going_through(max_resident_bytes):
    through = list(inputs_of(numbered_images()).batches(0, 12))
    inputs = inputs_of(numbered_images(max_resident_bytes=max_resident_bytes))
    for first, last in ((0, 2), (2, 5), (5, 5), (5, 8), (5, 7), (7, 12)):
        assert_equal_steps(inputs.batches(first, last), through[first:last])
