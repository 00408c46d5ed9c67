"""How weights begin. Initialise first, add spectral norm second: wrapped layers ignore a later initialisation."""

from torch import nn

from models.layers.spectral_norm import add_spectral_norm

INITIALISATIONS = {
    "normal": lambda weight: nn.init.normal_(weight, 0.0, 0.02),
    "orth": nn.init.orthogonal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "false": None,  # the authors' spelling of torch's own defaults
}


def initialise(network, init_type="xavier_uniform"):
    """The authors' rule, in place: `init_type` for Conv2d only (not ConvTranspose2d or Linear), batch norm around 1. Returns it."""
    draw = INITIALISATIONS[init_type]
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and draw:
            draw(layer.weight)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)
    return network


def prepare(network, init_type="xavier_uniform", with_spectral_norm=False):
    """Initialise, then add spectral norm if wanted: the order that counts. Returns the network."""
    network = initialise(network, init_type)
    return add_spectral_norm(network) if with_spectral_norm else network
