"""DGGAN's networks: ProgGAN's parts are ProgGAN's, and growth changes no function when it happens."""

import copy
from itertools import product
from math import sqrt

import pytest
import torch

from models.errors import ArchitectureError
from models.growing.architecture import Conv, GrowingArchitecture, filters_at, proggan_architecture
from models.growing.growth import fade_images, inherit
from models.growing.layers import EqualizedConv, downsample, minibatch_deviation, pixel_norm, upsample
from models.growing.networks import GrowingDiscriminator, GrowingGenerator, parameter_counts
from models_search.dggan.actions import (
    ACTIONS,
    GrowDiscriminator,
    GrowGenerator,
    GrowResolution,
    apply,
    every_action,
)

pytestmark = pytest.mark.usefixtures("in_float64")

LATENT_DIM = 6
SMALL = GrowingArchitecture.parse("4: G 3x8 D 3x8 | 8: G 3x6 3x4 7x5 D 3x4 3x6 7x8")
DEEPER = GrowingArchitecture.parse("4: G 3x8 D 3x4 | 8: G 3x6 3x5 D 3x8 3x8 | 16: G 3x4 7x4 D 3x4 7x4 3x8")
PARENTS = [proggan_architecture(4, width=8), SMALL, DEEPER]


def places(architecture, grow):
    blocks = architecture.generator if grow is GrowGenerator else architecture.discriminator
    return range(1, len(blocks[-1]) + 1)


def every_growth(parents, actions):
    """Each action at each place. In SMALL the neighbours have fewer, as many and more filters."""
    for parent, action in product(parents, actions):
        if isinstance(action, GrowResolution):
            yield parent, action
        else:
            for place in places(parent, type(action)):
                yield parent, type(action)(action.conv, place)


SMALL_ACTIONS = every_action(kernels=(3, 7), filters=(2, 4, 8, 16))
SMALL_GROWTHS = list(every_growth(PARENTS, SMALL_ACTIONS))
SEARCH_GROWTHS = list(every_growth([proggan_architecture(8, width=32)], ACTIONS))


def networks(architecture, grown_from=None):
    pair = (
        GrowingGenerator(architecture, LATENT_DIM, grown_from),
        GrowingDiscriminator(architecture, grown_from),
    )
    for network in pair:
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)  # zero biases would hide that they are not inherited
    return pair


def grow(parent, action):
    """(parent's networks, child's networks with what they inherit, what they could not)."""
    torch.manual_seed(0)
    before, after = networks(parent), networks(apply(action, parent), parent)
    return before, after, [inherit(child, old) for child, old in zip(after, before)]


@pytest.mark.parametrize("parent, action", SMALL_GROWTHS + SEARCH_GROWTHS, ids=str)
def test_growth_changes_no_function_when_it_happens(parent, action):
    (generator, discriminator), (grown_generator, grown_discriminator), _ = grow(parent, action)
    latents = torch.randn(4, LATENT_DIM)
    images = generator(latents)
    if isinstance(action, GrowResolution):
        images = upsample(images)
    torch.testing.assert_close(grown_generator(latents, fade=0.0), images, rtol=0, atol=1e-9)
    real = torch.randn(4, 3, *[grown_discriminator.architecture.resolution] * 2)
    seen = downsample(real) if isinstance(action, GrowResolution) else real
    torch.testing.assert_close(grown_discriminator(real, fade=0.0), discriminator(seen), rtol=0, atol=1e-9)


@pytest.mark.parametrize("parent, action", SMALL_GROWTHS, ids=str)
def test_after_the_fade_only_the_described_architecture_is_left(parent, action):
    for grown, arguments in zip(grow(parent, action)[1], ((LATENT_DIM,), ())):
        plain = type(grown)(grown.architecture, *arguments)
        plain.load_state_dict(
            {name: value for name, value in grown.state_dict().items() if not name.startswith("bypass.")}
        )
        shape = (4, LATENT_DIM) if arguments else (4, 3, *[grown.architecture.resolution] * 2)
        inputs = torch.randn(shape)
        torch.testing.assert_close(grown(inputs, fade=1.0), plain(inputs), rtol=0, atol=0)
        handed_on = type(grown)(grown.architecture, *arguments)
        assert inherit(handed_on, grown) == []
        torch.testing.assert_close(handed_on(inputs), plain(inputs), rtol=0, atol=0)


@pytest.mark.parametrize(
    "action", [GrowGenerator(Conv(3, 4)), GrowDiscriminator(Conv(3, 4)), GrowResolution()], ids=str
)
def test_the_fade_is_continuous_and_reaches_another_function(action):
    _, (generator, discriminator), _ = grow(SMALL, action)
    network, inputs = (
        (generator, torch.randn(4, LATENT_DIM))
        if generator.growth
        else (discriminator, torch.randn(4, 3, 8, 8))
    )
    start, middle, near, end = (network(inputs, fade) for fade in (0.0, 0.5, 0.5001, 1.0))
    assert not torch.allclose(start, end, atol=1e-2)
    assert (near - middle).abs().max() < 1e-2
    if network is generator:  # the last layer is linear, so the whole image is the blend
        torch.testing.assert_close(middle, (start + end) / 2, rtol=0, atol=1e-9)


@pytest.mark.parametrize("fade", [-0.1, 1.1, float("nan")])
def test_a_fade_outside_0_to_1_is_refused(fade):
    with pytest.raises(ValueError, match="fade is in"):
        GrowingGenerator(SMALL, LATENT_DIM)(torch.randn(2, LATENT_DIM), fade)


@pytest.mark.parametrize(
    "action, generator, discriminator",
    [
        (GrowGenerator(Conv(3, 5)), ["8x8_3 is new"], []),
        (GrowGenerator(Conv(3, 9)), ["8x8_3 is new", "rgb has 4 new inputs"], []),
        (GrowGenerator(Conv(7, 2), place=1), ["8x8_1 is new", "8x8_2 drops 4 inputs"], []),
        (GrowDiscriminator(Conv(3, 8)), [], ["8x8_3 is new"]),
        (GrowDiscriminator(Conv(3, 9)), [], ["8x8_3 is new", "rgb has 1 new filters"]),
        (GrowDiscriminator(Conv(7, 2), place=2), [], ["8x8_2 is new", "8x8_3 drops 4 filters"]),
        (GrowResolution(), *[["16x16_0 is new", "16x16_1 is new", "rgb is new"]] * 2),
    ],
    ids=str,
)
def test_what_could_not_be_inherited_is_listed(action, generator, discriminator):
    assert grow(SMALL, action)[2] == [generator, discriminator]


@pytest.mark.parametrize("parent, action", SMALL_GROWTHS, ids=str)
def test_everything_that_is_not_listed_is_the_parents(parent, action):
    """By value: every bias and every weight of the child that no line mentions is found in the parent."""
    before, after, missing = grow(parent, action)
    for child, old, lines in zip(after, before, missing):
        values = {tuple(parameter.flatten().tolist()) for parameter in old.parameters()}
        listed = [line.split()[0] for line in lines]
        taken_over = [p for name, p in child.named_parameters() if name.split(".")[-2] not in listed]
        assert taken_over and all(tuple(parameter.flatten().tolist()) in values for parameter in taken_over)


def test_the_layer_beside_a_new_one_inherits_what_fits():
    (old, _), (child, _), _ = grow(SMALL, GrowGenerator(Conv(3, 9), place=2))
    mine, theirs = child.layers["8x8_3"], old.layers["8x8_2"]
    assert torch.equal(mine.weight[:, :4], theirs.weight) and torch.equal(mine.bias, theirs.bias)
    (_, old), (_, child), _ = grow(SMALL, GrowDiscriminator(Conv(3, 5), place=2))
    mine, theirs = child.layers["8x8_3"], old.layers["8x8_2"]
    assert torch.equal(mine.weight, theirs.weight[:5]) and torch.equal(mine.bias, theirs.bias[:5])


def test_inheriting_copies_and_does_not_share():
    (old, _), (child, _), _ = grow(SMALL, GrowGenerator(Conv(3, 4)))
    image = old(torch.ones(1, LATENT_DIM))
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.zero_()
    torch.testing.assert_close(old(torch.ones(1, LATENT_DIM)), image, rtol=0, atol=0)


def test_two_growths_in_a_row_inherit_from_the_end_of_the_first():
    torch.manual_seed(0)
    first = apply(GrowGenerator(Conv(3, 4)), SMALL)
    second = apply(GrowResolution(), first)
    root, child = GrowingGenerator(SMALL, LATENT_DIM), GrowingGenerator(first, LATENT_DIM, grown_from=SMALL)
    inherit(child, root)
    grandchild = GrowingGenerator(second, LATENT_DIM, grown_from=first)
    inherit(grandchild, child)
    latents = torch.randn(3, LATENT_DIM)
    torch.testing.assert_close(grandchild(latents, 0.0), upsample(child(latents, 1.0)), rtol=0, atol=1e-9)


def test_a_stranger_is_no_parent():
    stranger = GrowingGenerator(DEEPER, LATENT_DIM)
    with pytest.raises(ValueError, match="grew from"):
        inherit(GrowingGenerator(apply(GrowResolution(), SMALL), LATENT_DIM, grown_from=SMALL), stranger)


@pytest.mark.parametrize(
    "text",
    [
        "4: G 3x8 D 3x8 | 8: G 3x6 3x4 7x5 3x4 3x4 D 3x4 3x6 7x8",  # two convolutions at once
        "4: G 3x8 3x8 D 3x8 | 8: G 3x6 3x4 7x5 D 3x4 3x6 7x8",  # not at the highest resolution
        "4: G 3x8 D 3x8 | 8: G 5x6 3x4 7x5 3x4 D 3x4 3x6 7x8",  # changes another layer, too
        "4: G 3x8 D 3x8",  # shrinks
        "4: G 3x8 D 3x8 | 8: G 3x3 3x6 3x4 7x5 D 3x4 3x6 7x8",  # before the first
    ],
)
def test_what_is_not_one_step_of_growth_is_refused(text):
    with pytest.raises(ArchitectureError):
        GrowingGenerator(GrowingArchitecture.parse(text), LATENT_DIM, grown_from=SMALL)


@pytest.mark.parametrize(
    "action", [None, GrowGenerator(Conv(7, 3)), GrowDiscriminator(Conv(7, 3)), GrowResolution()], ids=str
)
def test_gradients_reach_every_parameter(action):
    generator, discriminator = networks(SMALL) if action is None else grow(SMALL, action)[1]
    fade = 1.0 if action is None else 0.5
    discriminator(generator(torch.randn(4, LATENT_DIM), fade), fade).sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_discriminators_gradient_can_be_penalised():
    """WGAN-GP differentiates twice. With equal images the deviation's square root is steepest."""
    discriminator = GrowingDiscriminator(SMALL)
    images = torch.randn(1, 3, 8, 8).repeat(4, 1, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    (gradient.flatten(1).norm(dim=1) - 1).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in discriminator.parameters() if p.grad is not None)
    assert discriminator.layers["rgb"].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "architecture", [*PARENTS, proggan_architecture(256)], ids=lambda a: str(a.resolution)
)
def test_the_text_form_is_read_back(architecture):
    assert GrowingArchitecture.parse(str(architecture)) == architecture
    assert hash(GrowingArchitecture.parse(str(architecture))) == hash(architecture)


def test_the_text_form_is_the_documented_one():
    assert str(proggan_architecture(8)) == "4: G 3x512 D 3x512 | 8: G 3x512 3x512 D 3x512 3x512"
    assert GrowingArchitecture.parse("4:G 3x8 D 7x8|8: G 3x4  D  3x4 ").resolution == 8


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4: G 3x8",
        "4: G D 3x8",
        "8: G 3x8 D 3x8",
        "4: G 3x8 D 3x8 | 16: G 3x8 D 3x8",
        "4: G 2x8 D 3x8",
        "4: G 3x0 D 3x8",
    ]
    + [
        "4: G 3x8 D 3x8 |",
        "4: G 3*8 D 3x8",
        "4: G -3x8 D 3x8",
        "4: G 3x8 D 3x8 D 3x8",
        "4: G 3x8888888 D 3x8",
    ],
)
def test_wrong_text_is_refused_with_the_reason(text):
    with pytest.raises(ArchitectureError, match=r"\w+"):
        GrowingArchitecture.parse(text)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256])
def test_every_resolution_runs_at_small_width(resolution):
    architecture = proggan_architecture(resolution, width=8)
    images = GrowingGenerator(architecture, LATENT_DIM)(torch.randn(2, LATENT_DIM))
    assert images.shape == (2, 3, resolution, resolution) and images.std() > 0.05
    assert GrowingDiscriminator(architecture)(images).shape == (2, 1)


def proggan_parameters(resolution):
    """ProgGAN's layers as its authors' networks.py lists them, with RGB layers at one resolution only."""

    def maps(stage):
        return min(8192 // 2**stage, 512)

    last = resolution.bit_length() - 1  # "res": resolution = 2^res
    generator = 512 * 16 * maps(1) + maps(1) + 9 * maps(1) ** 2 + maps(1) + 3 * maps(last - 1) + 3
    discriminator = 3 * maps(last - 1) + maps(last - 1)
    discriminator += 9 * (maps(1) + 1) * maps(1) + maps(1) + 16 * maps(1) * maps(0) + maps(0) + maps(0) + 1
    for res in range(3, last + 1):
        generator += 9 * maps(res - 2) * maps(res - 1) + 9 * maps(res - 1) ** 2 + 2 * maps(res - 1)
        discriminator += (
            9 * maps(res - 1) ** 2 + maps(res - 1) + 9 * maps(res - 1) * maps(res - 2) + maps(res - 2)
        )
    return generator, discriminator


@pytest.mark.parametrize("resolution", [4, 8, 16, 32, 64, 256, 1024])
def test_parameter_counts_are_proggans(resolution):
    assert parameter_counts(proggan_architecture(resolution)) == proggan_parameters(resolution)


def test_at_1024_pixels_both_networks_have_the_papers_23_1_million_parameters():
    """Table 2 of the ProgGAN paper."""
    assert [round(count / 1e6, 1) for count in parameter_counts(proggan_architecture(1024))] == [23.1, 23.1]


@pytest.mark.parametrize(
    "width, resolution, filters",
    [(512, 32, 512), (512, 64, 256), (512, 256, 64), (64, 32, 64), (64, 128, 16), (4, 256, 1)],
)
def test_the_width_rule_scales(width, resolution, filters):
    assert filters_at(resolution, width) == filters


def test_pixel_norm_gives_every_pixel_unit_mean_square():
    x = torch.randn(3, 5, 4, 4) * 7
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(3, 4, 4))
    assert torch.isfinite(pixel_norm(torch.zeros(1, 5, 2, 2))).all()


def test_latents_are_normalised_so_their_length_does_not_matter():
    (generator, _), latents = networks(SMALL), torch.randn(2, LATENT_DIM)
    # But for the norm's epsilon of 1e-8.
    torch.testing.assert_close(generator(latents * 9), generator(latents), rtol=0, atol=1e-5)


@pytest.mark.parametrize("count, group", [(8, 4), (4, 4), (3, 3), (6, 3), (10, 2), (7, 1), (1, 1)])
def test_minibatch_deviation_equals_a_plain_loop(count, group):
    x = torch.randn(count, 3, 2, 2, dtype=torch.float64)
    groups = count // group
    expected = torch.empty(count, dtype=torch.float64)
    for member in range(count):
        peers = [x[other] for other in range(count) if other % groups == member % groups]
        assert len(peers) == group
        deviations = []
        for c, i, j in product(range(3), range(2), range(2)):
            values = [peer[c, i, j].item() for peer in peers]
            mean = sum(values) / group
            deviations.append(sqrt(sum((value - mean) ** 2 for value in values) / group + 1e-8))
        expected[member] = sum(deviations) / len(deviations)
    result = minibatch_deviation(x)
    torch.testing.assert_close(result[:, 3], expected[:, None, None].expand(count, 2, 2))
    torch.testing.assert_close(result[:, :3], x, rtol=0, atol=0)


def test_the_discriminator_sees_how_varied_a_batch_is():
    torch.manual_seed(0)
    discriminator, images = GrowingDiscriminator(SMALL), torch.randn(4, 3, 8, 8)
    assert not torch.allclose(discriminator(images)[0], discriminator(images[:1].repeat(4, 1, 1, 1))[0])


@pytest.mark.parametrize("kernel, gain", [(3, sqrt(2)), (7, sqrt(2)), (1, 1.0)])
def test_equalised_layers_have_hes_scale_and_unit_weights(kernel, gain):
    layer, x = EqualizedConv(64, 64, kernel, gain), torch.randn(8, 64, 16, 16)
    assert abs(layer.weight.std().item() - 1) < 0.05 and not layer.bias.any()
    expected = torch.nn.functional.conv2d(x, layer.weight * gain / sqrt(64 * kernel**2), padding=kernel // 2)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-9)
    inside = layer(x)[..., 3:-3, 3:-3]
    assert abs(inside.std().item() / gain - 1) < 0.15


def test_layers_have_proggans_gains():
    """sqrt(2), but 1 to RGB and at the score, and ProgGAN's sqrt(2) / 4 in the dense layer of the latent."""
    generator, discriminator = GrowingGenerator(SMALL, 64), GrowingDiscriminator(SMALL)
    assert generator.layers["latent"].scale == pytest.approx(sqrt(2) / 4 / sqrt(64))
    assert generator.layers["rgb"].scale == pytest.approx(1 / sqrt(5))
    assert discriminator.layers["rgb"].scale == pytest.approx(sqrt(2) / sqrt(3))
    assert discriminator.layers["hidden"].scale == pytest.approx(sqrt(2) / sqrt(8 * 16))
    assert discriminator.layers["score"].scale == pytest.approx(1 / sqrt(8))


def test_the_networks_are_proggans_layer_by_layer():
    """Both networks of one 8x8 architecture written out in plain torch functions."""
    torch.manual_seed(0)
    generator, discriminator = networks(proggan_architecture(8, width=5))

    def weights(layer, gain=sqrt(2)):
        return layer.weight * gain / sqrt(layer.weight[0].numel()), layer.bias

    def active(x):
        return torch.where(x > 0, x, 0.2 * x)

    def normalised(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    g, d, conv = generator.layers, discriminator.layers, torch.nn.functional.conv2d
    latents = torch.randn(4, LATENT_DIM)
    first, bias = weights(g["latent"])
    x = torch.einsum("ni,fijk->nfjk", normalised(latents), first) + bias[:, None, None]
    x = normalised(active(x))
    x = normalised(active(conv(x, *weights(g["4x4_0"]), padding=1)))
    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = normalised(active(conv(x, *weights(g["8x8_0"]), padding=1)))
    x = normalised(active(conv(x, *weights(g["8x8_1"]), padding=1)))
    images = conv(x, *weights(g["rgb"], gain=1))
    torch.testing.assert_close(generator(latents), images, rtol=0, atol=1e-9)

    x = active(conv(images, *weights(d["rgb"])))
    x = active(conv(x, *weights(d["8x8_1"]), padding=1))
    x = active(conv(x, *weights(d["8x8_0"]), padding=1))
    x = x.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
    deviation = (x.var(0, correction=0) + 1e-8).sqrt().mean().expand(4, 1, 4, 4)
    x = active(conv(torch.cat([x, deviation], 1), *weights(d["4x4_0"]), padding=1))
    x = active(conv(x, *weights(d["hidden"])))
    torch.testing.assert_close(
        discriminator(images), conv(x, *weights(d["score"], gain=1)).flatten(1), rtol=0, atol=1e-9
    )


def test_of_equal_convolutions_the_one_nearest_the_image_is_the_new_one():
    child = apply(GrowGenerator(Conv(3, 16), place=1), proggan_architecture(8, width=16))
    assert GrowingGenerator(child, LATENT_DIM, proggan_architecture(8, width=16)).growth.new == ("8x8_2",)


def test_the_latents_layer_is_a_dense_one():
    layer, x = EqualizedConv(5, 3, 4), torch.randn(2, 5)
    expected = torch.einsum("ni,fijk->nfjk", x, layer.weight * layer.scale) + layer.bias[:, None, None]
    torch.testing.assert_close(layer.spread(x[:, :, None, None]), expected)


def test_the_image_is_not_squashed():
    """No tanh: twice the to-RGB weights make twice the image."""
    generator, latents = GrowingGenerator(SMALL, LATENT_DIM), torch.randn(2, LATENT_DIM)
    image = generator(latents)
    with torch.no_grad():
        generator.layers["rgb"].weight.mul_(2)
    torch.testing.assert_close(generator(latents), 2 * image)


def test_fade_images_goes_from_half_the_resolution_to_the_images_themselves():
    images = torch.randn(2, 3, 8, 8)
    kept = images.clone()
    blocks = images.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
    torch.testing.assert_close(
        fade_images(images, 0.0), blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    assert torch.equal(fade_images(images, 1.0), images)
    torch.testing.assert_close(fade_images(images, 0.25), 0.75 * fade_images(images, 0.0) + 0.25 * images)
    assert torch.equal(images, kept)


def test_images_of_another_resolution_are_refused():
    with pytest.raises(ValueError, match="8, 8"):
        GrowingDiscriminator(SMALL)(torch.randn(2, 3, 16, 16))


def test_networks_can_be_copied_for_the_average_generator():
    child = grow(SMALL, GrowResolution())[1][0]
    average, latents = copy.deepcopy(child), torch.randn(2, LATENT_DIM)
    torch.testing.assert_close(average(latents, 0.3), child(latents, 0.3), rtol=0, atol=0)
