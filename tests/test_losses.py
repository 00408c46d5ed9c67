"""The adversarial losses against values worked out by hand, in float64."""

import pytest
import torch

from utils.training.losses import hinge, loss_schedule, wasserstein_gradient_penalty


def images(*values):
    """An image a value, or a list of the values of its pixels."""
    return torch.tensor(values, dtype=torch.float64).view(len(values), -1, 1, 1)


def scaled(function):
    """(discriminate, scale): logits scale * function(images), the scale a parameter of value 1."""
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    return lambda pictures: scale * function(pictures).flatten(1).sum(1, keepdim=True), scale


REAL, FAKE = images(0.5, 2.0, -1.0), images(0.25, -3.0, 1.25)


def test_the_discriminators_hinge_wants_real_logits_above_one_and_fake_ones_below_minus_one():
    discriminate, scale = scaled(lambda pictures: pictures)
    loss = hinge.discriminator(discriminate, REAL, FAKE)
    loss.backward()
    assert loss.item() == pytest.approx((0.5 + 0 + 2) / 3 + (1.25 + 0 + 2.25) / 3)
    assert scale.grad.item() == pytest.approx((-0.5 + 0 + 1) / 3 + (0.25 + 0 + 1.25) / 3)


@pytest.mark.parametrize("loss", [hinge, wasserstein_gradient_penalty()])
def test_the_generators_loss_is_minus_the_mean_logit_of_its_images(loss):
    discriminate, _ = scaled(lambda pictures: 2 * pictures)
    fake = FAKE.clone().requires_grad_()
    value = loss.generator(discriminate, fake)
    value.backward()
    assert value.item() == pytest.approx(-2 * (0.25 - 3.0 + 1.25) / 3)
    assert fake.grad.flatten().tolist() == pytest.approx([-2 / 3] * 3)


def test_wgan_gp_is_the_difference_of_means_with_penalty_and_drift():
    """Logits x^2 / 2 have the slope |x|: at the places between, 1.5 and 2."""
    discriminate, scale = scaled(lambda pictures: pictures.square() / 2)
    real, fake, mix = images(1.0, 3.0), images(2.0, -1.0), images(0.5, 0.25)
    loss = wasserstein_gradient_penalty(penalty=10.0, drift=0.001).discriminator(
        discriminate, real, fake, mix
    )
    loss.backward()
    difference, penalty, drift = (2 + 0.5) / 2 - (0.5 + 4.5) / 2, (0.5**2 + 1**2) / 2, (0.5**2 + 4.5**2) / 2
    assert loss.item() == pytest.approx(difference + 10 * penalty + 0.001 * drift)
    of_penalty = (2 * 0.5 * 1.5 + 2 * 1 * 2) / 2
    assert scale.grad.item() == pytest.approx(difference + 10 * of_penalty + 0.001 * 2 * drift)


@pytest.mark.parametrize(
    "weights, penalty", [((0.6, 0.8), 0.0), ((3.0, 4.0), 10 * 4.0**2), ((0.0, 0.5), 10 * 0.5**2)]
)
def test_the_penalised_slope_is_the_norm_over_an_images_pixels_and_should_be_one(weights, penalty):
    discriminate, _ = scaled(lambda pictures: pictures * images(weights))
    same, mix = images([0.3, -0.2], [0.9, 0.1], [-1.0, 0.7]), images(0.2, 0.5, 0.9)
    loss = wasserstein_gradient_penalty(drift=0.0).discriminator(discriminate, same, same, mix)
    assert loss.item() == pytest.approx(penalty)


def test_the_places_between_real_and_fake_are_one_uniform_number_an_image():
    (mix,) = wasserstein_gradient_penalty(generator=torch.Generator().manual_seed(0)).draw(
        torch.empty(2000, 3, 2, 2)
    )
    assert mix.shape == (2000, 1, 1, 1) and 0 <= mix.min() and mix.max() < 1
    assert mix.mean().item() == pytest.approx(0.5, abs=0.03) and mix.std().item() == pytest.approx(
        12**-0.5, abs=0.03
    )


def test_a_schedules_random_places_depend_on_seed_purpose_and_step_alone():
    def places(step, seed=1, purpose="a"):
        return loss_schedule("wgan-gp", seed, purpose, device="cpu")(step).draw(REAL)[0]

    assert torch.equal(places(3), places(3))
    others = [places(4), places(3, seed=2), places(3, purpose="b")]
    assert not any(torch.equal(places(3), other) for other in others)
    assert loss_schedule("hinge", 1, device="cpu")(0) is hinge and hinge.draw(REAL) == ()
