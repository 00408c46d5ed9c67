"""The growing generator and discriminator of DGGAN and ProgGAN.

A network that has grown by one step keeps one layer of its parent beside its own: the bypass. `forward` fades
from the parent's function to its own: at `fade` 0 it computes what its parent computed, at 1 what its
architecture says.
"""

from math import sqrt

from torch import nn

from models.errors import ArchitectureError
from models.growing.architecture import FIRST_RESOLUTION, GrowingArchitecture
from models.growing.growth import blend, find_growth, is_fading, match_bypass
from models.growing.layers import (
    EqualizedConv,
    activate,
    downsample,
    layer_name,
    minibatch_deviation,
    pixel_norm,
    upsample,
)
from models.layers.resampled import merge_resampling
from models.layers.weights import load_weights


def _generator_layers(architecture, latent_dim):
    """{name: (inputs, filters, kernel)} of every layer, from the latent to the image."""
    inputs = architecture.generator[0][0].filters
    layers = {"latent": (latent_dim, inputs, FIRST_RESOLUTION)}
    for level, convs in enumerate(architecture.generator):
        for index, conv in enumerate(convs):
            layers[layer_name(level, index)] = (inputs, conv.filters, conv.kernel)
            inputs = conv.filters
    return layers | {"rgb": (inputs, 3, 1)}


def _discriminator_layers(architecture):
    """{name: (inputs, filters, kernel)} of every layer, from the image to the score."""
    filters = architecture.discriminator[0][0].filters
    layers = {"score": (filters, 1, 1), "hidden": (filters, filters, FIRST_RESOLUTION)}
    for level, convs in enumerate(architecture.discriminator):
        for index, conv in enumerate(convs):
            deviation = level == index == 0  # the minibatch standard deviation adds an input map
            layers[layer_name(level, index)] = (conv.filters + deviation, filters, conv.kernel)
            filters = conv.filters
    return dict(reversed((layers | {"rgb": (3, filters, 1)}).items()))


def _add_layers(network, layers, growth, parent_layers, linear):
    """Give `network` its layers, its growth and, if it grew, the bypass.

    `linear` names the one layer without an activation after it; its gain is 1.
    """

    def layer(name, shape):
        return EqualizedConv(*shape, gain=1.0 if name == linear else sqrt(2))

    network.layers = nn.ModuleDict({name: layer(name, shape) for name, shape in layers.items()})
    network.growth, network.bypass = growth, None
    if growth:
        source = match_bypass(layers, growth, parent_layers)
        network.bypass = layer(growth.outer, parent_layers[source])


class GrowingGenerator(nn.Module):
    """The generator of a growing architecture.

    `grown_from` is the parent's architecture while a growth fades in, else None.
    """

    def __init__(self, architecture, latent_dim=512, grown_from=None):
        super().__init__()
        self.architecture, self.latent_dim, self.grown_from = architecture, latent_dim, grown_from
        parent = grown_from or architecture
        growth = find_growth(architecture.generator, parent.generator)
        layers, parent_layers = (_generator_layers(each, latent_dim) for each in (architecture, parent))
        _add_layers(self, layers, growth, parent_layers, linear="rgb")
        self.doubling = {layer_name(level, 0) for level in range(1, len(architecture.generator))}

    @classmethod
    def from_state(cls, architecture, state):
        """The generator with these weights, without a bypass. `latent_dim` is read off the tensors.

        Raises ArchitectureError if the weights are of another architecture.
        """
        latent_weight = state.get("layers.latent.weight")
        if latent_weight is None or latent_weight.dim() != 4 or not latent_weight.numel():
            reason = "their first layer is none"
            raise ArchitectureError(f"the weights are not of architecture {architecture}: {reason}")
        return load_weights(lambda: cls(architecture, latent_dim=latent_weight.shape[1]), state, architecture)

    @property
    def resolution(self):
        """Width and height of the images in pixels."""
        return self.architecture.resolution

    def widths(self):
        """The options that, with the architecture, make this generator."""
        return {"latent_dim": self.latent_dim}

    def forward(self, latents, fade=1.0):
        """(N, latent_dim), standard normal -> images (N, 3, R, R).

        The images are trained towards [-1, 1] but not bounded. `fade` is a number in [0, 1] or a 0-d tensor;
        a network that has not grown ignores it.
        """
        growth = self.growth if is_fading(fade) else None
        x = pixel_norm(latents)[:, :, None, None]
        for name, layer in self.layers.items():
            if growth and name == growth.inner:
                before = x
            x = self._run(name, layer, x)
            if growth and name == growth.outer:
                old = self._run(name, self.bypass, before)
                x = blend(upsample(old) if growth.doubled else old, x, fade)
        return x

    def _run(self, name, layer, x):
        if name == "rgb":
            return layer(x)
        if name == "latent":
            return pixel_norm(activate(layer.spread(x)))
        return pixel_norm(activate(layer.convolve_doubled(x) if name in self.doubling else layer(x)))


class GrowingDiscriminator(nn.Module):
    """The discriminator of a growing architecture. `grown_from`: as in GrowingGenerator."""

    gather = None  # where batches are shared out: from a part to (the whole batch, the slice that it is)

    def __init__(self, architecture, grown_from=None):
        super().__init__()
        self.architecture, self.grown_from = architecture, grown_from
        parent = grown_from or architecture
        growth = find_growth(architecture.discriminator, parent.discriminator)
        layers, parent_layers = (_discriminator_layers(each) for each in (architecture, parent))
        _add_layers(self, layers, growth, parent_layers, linear="score")
        self.halving = {layer_name(level, 0) for level in range(1, len(architecture.discriminator))}

    def forward(self, images, fade=1.0):
        """(N, 3, R, R) -> logits (N, 1).

        Each logit depends on the whole batch, through the minibatch standard deviation. `fade`: as in the
        generator. Raises ValueError for images of another shape.
        """
        resolution = self.architecture.resolution
        if images.shape[1:] != (3, resolution, resolution):
            expected = f"(N, 3, {resolution}, {resolution})"
            raise ValueError(f"this discriminator reads images {expected}, not {tuple(images.shape)}")
        growth = self.growth if is_fading(fade) else None
        x = images
        for name, layer in self.layers.items():
            if growth and name == growth.outer:
                old = self._run(name, self.bypass, downsample(x) if growth.doubled else x)
            x = self._run(name, layer, x)
            if growth and name == growth.inner:
                x = blend(old, x, fade)
        return x.flatten(1)

    def _run(self, name, layer, x):
        if name == "score":
            return layer(x)
        if name == layer_name(0, 0):
            x = minibatch_deviation(x, gather=self.gather)
        x = activate(layer(x))
        return downsample(x) if name in self.halving else x


def growing_networks(architecture, grown_from=None, latent_dim=512, merged=False):
    """(generator, discriminator) of an architecture's text, with weights from torch's global generator.

    `grown_from` is the text of the parent that they grew from, if any. `merged` computes the generator's
    convolutions in their merged form (models.layers.resampled).
    """
    architecture = GrowingArchitecture.parse(architecture)
    parent = GrowingArchitecture.parse(grown_from) if grown_from else None
    generator = GrowingGenerator(architecture, latent_dim, parent)
    if merged:
        merge_resampling(generator)
    return generator, GrowingDiscriminator(architecture, parent)


def parameter_counts(architecture, latent_dim=512):
    """(generator, discriminator): their numbers of parameters, counted without building them."""
    layers = _generator_layers(architecture, latent_dim), _discriminator_layers(architecture)
    return tuple(
        sum((inputs * kernel**2 + 1) * filters for inputs, filters, kernel in each.values())
        for each in layers
    )
