"""Initial weights. Initialise first, then add spectral norm: initialising later has no effect."""

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from models.layers.spectral_norm import add_spectral_norm

INITIALISATIONS = {
    "normal": lambda weight: nn.init.normal_(weight, 0.0, 0.02),
    "orth": nn.init.orthogonal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "false": None,  # the authors' spelling of torch's own defaults
}


def initialise(network, init_type="xavier_uniform"):
    """Initialise a network as the authors do, in place, and return it.

    `init_type` applies to the weights of Conv2d, not to ConvTranspose2d or Linear. Batch norm starts with
    weights around 1 and biases of 0. Layers that already have spectral norm, which divides by the scale of
    the weights, stay as they are.
    """
    draw = INITIALISATIONS[init_type]
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and draw and not is_parametrized(layer):
            draw(layer.weight)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)
    return network


def prepare(network, init_type="xavier_uniform", with_spectral_norm=False):
    """Initialise a network, add spectral norm if wanted, and return it."""
    network = initialise(network, init_type)
    return add_spectral_norm(network) if with_spectral_norm else network
