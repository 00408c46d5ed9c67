"""DGGAN's growing generator and discriminator (Liu et al., AAAI 2021), built from ProgGAN's parts (Karras et al., ICLR 2018).

An architecture is data: the convolutions of every resolution, from 4x4 up. A network grown by one step keeps, beside the layers
of its own architecture, one layer of its parent, the bypass, and fades from that to its own with the `fade` given to `forward`:
at 0 it computes what its parent computed, at 1 what its architecture describes. docs/DGGAN.md tells what is ours and why.
"""

from math import sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from models.autogan.architecture import ArchitectureError
from models.growing.architecture import FIRST_RESOLUTION, GrowingArchitecture
from models.layers.resampled import conv_of_doubled, merge_resampling


class EqualizedConv(nn.Module):
    """A convolution with equalised learning rate: weights are N(0, 1) and scaled by He's factor gain / sqrt(fan in) when used.

    An odd kernel keeps the resolution, an even one is the dense layer of 4x4 maps.
    """

    merged = False  # see models.layers.resampled

    def __init__(self, inputs, filters, kernel, gain=sqrt(2)):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(filters, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(filters))
        self.scale = gain / sqrt(inputs * kernel**2)
        self.padding = kernel // 2 if kernel % 2 else 0

    def forward(self, x):
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)

    def of_doubled(self, x):
        """The convolution of x at twice its resolution, nearest neighbour."""
        return conv_of_doubled(x, self.weight * self.scale, self.bias) if self.merged else self(upsample(x))

    def spread(self, x):
        """The transposed use with an even kernel: (N, inputs, 1, 1) -> (N, filters, kernel, kernel)."""
        return F.conv_transpose2d(x, self.weight.transpose(0, 1) * self.scale, self.bias)


def pixel_norm(x):
    """Each pixel's (or latent's) feature vector, dimension 1, divided by its root mean square."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def minibatch_deviation(x, group=4):
    """Add one constant map: the standard deviation within groups of `group` images, averaged over maps and pixels.

    As in ProgGAN image n belongs to group n modulo their number. A batch that `group` does not divide is cut into smaller groups.
    """
    count = len(x)
    group = max(size for size in range(1, min(group, count) + 1) if count % size == 0)
    groups = x.unflatten(0, (group, count // group))
    variance = (groups - groups.mean(0)).square().mean(0)
    deviation = (variance + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)
    return torch.cat([x, deviation.repeat(group, 1, *x.shape[2:])], 1)


def upsample(x):
    """(N, C, H, W) -> (N, C, 2H, 2W), nearest neighbour."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x):
    """(N, C, 2H, 2W) -> (N, C, H, W), mean of 2x2."""
    return F.avg_pool2d(x, 2)


def fade_images(images, fade):
    """Real images as the networks see them while a new resolution fades in: at 0 of half the resolution, at 1 of their own."""
    return images if fade == 1 else torch.lerp(upsample(downsample(images)), images, fade)


class Growth(NamedTuple):
    """Where one step of growth put what into a network; names are those of the grown network's layers.

    New path: from layer `inner` to layer `outer`, the next one towards the image, in the generator; the other way round in the
    discriminator. The bypass beside it is the parent's version of `outer`.
    """

    new: tuple[str, ...]  # layers with nothing to inherit
    inner: str
    outer: str
    doubled: bool  # whether the resolution grew


def _layer(level, index):
    resolution = FIRST_RESOLUTION << level
    return f"{resolution}x{resolution}_{index}"


def _generator_layers(architecture, latent_dim):
    """Name -> (inputs, filters, kernel) of every layer, in the order of the data."""
    inputs = architecture.generator[0][0].filters
    layers = {"latent": (latent_dim, inputs, FIRST_RESOLUTION)}
    for level, convs in enumerate(architecture.generator):
        for index, conv in enumerate(convs):
            layers[_layer(level, index)] = (inputs, conv.filters, conv.kernel)
            inputs = conv.filters
    return layers | {"rgb": (inputs, 3, 1)}


def _discriminator_layers(architecture):
    """Name -> (inputs, filters, kernel) of every layer, in the order of the data."""
    filters = architecture.discriminator[0][0].filters
    layers = {"score": (filters, 1, 1), "hidden": (filters, filters, FIRST_RESOLUTION)}
    for level, convs in enumerate(architecture.discriminator):
        for index, conv in enumerate(convs):
            deviation = level == index == 0
            layers[_layer(level, index)] = (conv.filters + deviation, filters, conv.kernel)
            filters = conv.filters
    return dict(reversed((layers | {"rgb": (3, filters, 1)}).items()))


def _growth(child, parent):
    """How one network's blocks grew from `parent` to `child` (tuples of convolutions per resolution); None if they did not.

    Raises ArchitectureError unless it was one step: a block at twice the resolution, or one convolution on the image's side of
    another at the highest resolution. Among equal convolutions the one nearest the image counts as the new one.
    """
    if child == parent:
        return None
    level, top = len(child) - 1, child[-1]
    if child[:-1] == parent:
        block = tuple(_layer(level, index) for index in range(len(top)))
        return Growth(new=(*block, "rgb"), inner=block[0], outer="rgb", doubled=True)
    places = [
        place for place in range(1, len(top)) if child[:-1] + (top[:place] + top[place + 1 :],) == parent
    ]
    if not places:
        raise ArchitectureError(
            "growth adds a convolution to the highest resolution, not as its first, or doubles the resolution"
        )
    inner, after = _layer(level, places[-1]), places[-1] + 1
    return Growth(
        new=(inner,), inner=inner, outer=_layer(level, after) if after < len(top) else "rgb", doubled=False
    )


def _sources(layers, growth, parent_layers):
    """The grown network's layer -> the parent's that it inherits from: in the order of the data, all but what is new."""
    heirs = [name for name in layers if not (growth and name in growth.new)]
    given = [name for name in parent_layers if not (growth and growth.doubled and name == "rgb")]
    return dict(zip(heirs, given))


def _build(network, layers, growth, parent_layers, linear):
    """Give `network` its layers, its growth and, if it grew, the bypass.

    `linear` names the one layer that no activation follows; its gain is 1.
    """

    def layer(name, shape):
        return EqualizedConv(*shape, gain=1.0 if name == linear else sqrt(2))

    network.layers = nn.ModuleDict({name: layer(name, shape) for name, shape in layers.items()})
    network.growth, network.bypass = growth, None
    if growth:
        source = _sources(layers, growth, parent_layers).get(growth.outer, "rgb")
        network.bypass = layer(growth.outer, parent_layers[source])


def _activate(x):
    return F.leaky_relu(x, 0.2)


class GrowingGenerator(nn.Module):
    """ProgGAN's generator of any growing architecture. `grown_from` is the parent's architecture while a growth fades in."""

    def __init__(self, architecture, latent_dim=512, grown_from=None):
        super().__init__()
        self.architecture, self.latent_dim, self.grown_from = architecture, latent_dim, grown_from
        parent = grown_from or architecture
        growth = _growth(architecture.generator, parent.generator)
        _build(
            self,
            _generator_layers(architecture, latent_dim),
            growth,
            _generator_layers(parent, latent_dim),
            linear="rgb",
        )
        self.enlarging = {_layer(level, 0) for level in range(1, len(architecture.generator))}

    @classmethod
    def from_state(cls, architecture, state):
        """The generator that a state dict without bypass belongs to; raises ArchitectureError if it does not fit."""
        generator = cls(
            architecture, latent_dim=state.get("layers.latent.weight", torch.empty(0, 1)).shape[1]
        )
        try:
            generator.load_state_dict(state)
        except RuntimeError as error:
            raise ArchitectureError(
                f"the weights are not of architecture {architecture}: {str(error).splitlines()[-1].strip()}"
            ) from None
        return generator

    def forward(self, latents, fade=1.0):
        """(N, latent_dim), standard normal -> images (N, 3, R, R), around [-1, 1] but not bounded. `fade`: see `fading`."""
        growth = self.growth if fading(fade) else None
        x = pixel_norm(latents)[:, :, None, None]
        for name, layer in self.layers.items():
            if growth and name == growth.inner:
                before = x
            x = self._step(name, layer, x)
            if growth and name == growth.outer:
                old = self._step(name, self.bypass, before)
                x = _mixed(upsample(old) if growth.doubled else old, x, fade)
        return x

    def _step(self, name, layer, x):
        if name == "rgb":
            return layer(x)
        if name == "latent":
            return pixel_norm(_activate(layer.spread(x)))
        return pixel_norm(_activate(layer.of_doubled(x) if name in self.enlarging else layer(x)))


class GrowingDiscriminator(nn.Module):
    """ProgGAN's discriminator of any growing architecture. `grown_from` is the parent's architecture while a growth fades in."""

    def __init__(self, architecture, grown_from=None):
        super().__init__()
        self.architecture, self.grown_from = architecture, grown_from
        parent = grown_from or architecture
        growth = _growth(architecture.discriminator, parent.discriminator)
        _build(
            self, _discriminator_layers(architecture), growth, _discriminator_layers(parent), linear="score"
        )
        self.halving = {_layer(level, 0) for level in range(1, len(architecture.discriminator))}

    def forward(self, images, fade=1.0):
        """(N, 3, R, R) -> logits (N, 1). They depend on the whole batch (minibatch deviation). `fade`: see `fading`."""
        resolution = self.architecture.resolution
        if images.shape[1:] != (3, resolution, resolution):
            raise ValueError(
                f"this discriminator reads images (N, 3, {resolution}, {resolution}), not {tuple(images.shape)}"
            )
        growth = self.growth if fading(fade) else None
        x = images
        for name, layer in self.layers.items():
            if growth and name == growth.outer:
                old = self._step(name, self.bypass, downsample(x) if growth.doubled else x)
            x = self._step(name, layer, x)
            if growth and name == growth.inner:
                x = _mixed(old, x, fade)
        return x.flatten(1)

    def _step(self, name, layer, x):
        if name == "score":
            return layer(x)
        if name == _layer(0, 0):
            x = minibatch_deviation(x)
        x = _activate(layer(x))
        return downsample(x) if name in self.halving else x


def fading(fade):
    """Whether a network still computes its parent's part too: a float in [0, 1) says so, and any 0-d tensor, whose value is not read."""
    if torch.is_tensor(fade):
        return True
    if not 0 <= fade <= 1:
        raise ValueError(f"fade is in [0, 1], not {fade}")
    return fade < 1


def _mixed(old, new, fade):
    """(1 - fade) old + fade new, in the type of `new`: a GPU's autocast doubles resolutions in float32."""
    return torch.lerp(old.to(new.dtype), new, fade.to(new.dtype) if torch.is_tensor(fade) else fade)


@torch.no_grad()
def inherit(child, parent):
    """Copy into `child` what it takes over from `parent`; returns one line for each thing that it could not.

    The parent is of `child.grown_from`, or of the child's own architecture: so a network without bypass takes over a faded one.
    The layer next to a new one takes over the inputs or filters that fit; the bypass is the parent's layer whole. A parent that
    fades itself counts as having arrived at fade 1.
    """
    expected = child.grown_from or child.architecture
    if parent.architecture != expected:
        raise ValueError(f"the child grew from '{expected}', this parent is '{parent.architecture}'")
    missing = [f"{name} is new" for name in (child.growth.new if child.growth else ())]
    sources = _sources(child.layers, child.growth, parent.layers)
    for name, source in sources.items():
        missing += _copy(name, child.layers[name], parent.layers[source])
    if child.growth:
        _copy("bypass", child.bypass, parent.layers[sources.get(child.growth.outer, "rgb")])
    return missing


def _copy(name, mine, theirs):
    """Copy a layer as far as its filters and inputs go; returns a line for each of the two that differs."""
    shapes = tuple(zip(mine.weight.shape[:2], theirs.weight.shape[:2]))
    filters, inputs = (min(pair) for pair in shapes)
    mine.weight[:filters, :inputs] = theirs.weight[:filters, :inputs]
    mine.bias[:filters] = theirs.bias[:filters]
    return [
        f"{name} has {count - given} new {kind}" if count > given else f"{name} drops {given - count} {kind}"
        for kind, (count, given) in zip(("filters", "inputs"), shapes)
        if count != given
    ]


def growing_networks(architecture, grown_from=None, latent_dim=512, merged=False):
    """(generator, discriminator) of a text form, grown from another one if given: new weights from torch's global generator.

    `merged`: see models.layers.resampled.
    """
    architecture = GrowingArchitecture.parse(architecture)
    grown_from = GrowingArchitecture.parse(grown_from) if grown_from else None
    generator = GrowingGenerator(architecture, latent_dim, grown_from)
    return merge_resampling(generator) if merged else generator, GrowingDiscriminator(
        architecture, grown_from
    )


def parameter_counts(architecture, latent_dim=512):
    """(generator, discriminator): numbers of parameters, found without allocating them."""
    with torch.device("meta"):
        networks = GrowingGenerator(architecture, latent_dim), GrowingDiscriminator(architecture)
    return tuple(sum(parameter.numel() for parameter in network.parameters()) for network in networks)
