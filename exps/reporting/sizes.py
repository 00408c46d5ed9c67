"""Parameters and MACs of the generator of an architecture, counted on the meta device."""

import json
from functools import lru_cache

import cfg
from models import architectures
from models.errors import ArchitectureError


def generator_sizes(text, options, num_classes=0):
    """(parameters, MACs of an image) with a run's options; None if the text is no architecture.

    options: {option: value}; what is missing is the default of train_derived.py. num_classes: of a
    conditional generator.
    """
    widths = {name: options.get(name) for name in ("latent_dim", "gf_dim", "bottom_width")}
    return _sizes(text, json.dumps(widths), num_classes)


@lru_cache(maxsize=4096)
def _sizes(text, widths, num_classes):
    import torch

    from models.conditioning import Conditioning
    from models.families import family
    from utils.training.sizes import count_macs, count_parameters

    given = {name: value for name, value in json.loads(widths).items() if value}
    try:
        architecture = architectures.parse(text)
    except ArchitectureError:
        return None
    growing = architecture.family == "growing"
    latent_dim = given.pop(
        "latent_dim", cfg.GROWING_DEFAULTS["latent_dim"] if growing else cfg.NetworkOptions().latent_dim
    )
    with torch.device("meta"):
        cells, conditioning = cfg.CellOptions(**given), Conditioning(num_classes)
        generator, _ = family(architecture).networks(architecture, latent_dim, cells, conditioning)
        return count_parameters(generator), count_macs(generator, torch.zeros(1, latent_dim))
