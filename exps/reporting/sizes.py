"""Parameters and MACs of a run's generator, as scored.jsonl counts them."""

import json
from functools import lru_cache

import cfg
from option_groups.shared import CellOptions, NetworkOptions
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
    from models.conditioning import Conditioning
    from models_search.sizes import generator_sizes as count_sizes  # torch, which takes seconds

    given = {name: value for name, value in json.loads(widths).items() if value}
    try:
        architecture = architectures.parse(text)
    except ArchitectureError:
        return None
    growing = architecture.family == "growing"
    latent_dim = given.pop(
        "latent_dim", cfg.GROWING_DEFAULTS["latent_dim"] if growing else NetworkOptions().latent_dim
    )
    return count_sizes(str(architecture), latent_dim, CellOptions(**given), Conditioning(num_classes))
