"""The families of architectures: how to build, initialise and load their networks.

    networks = family(architecture).networks(architecture, latent_dim, cells)

A new family adds one entry to FAMILIES, and its text form to models.architectures.
"""

from collections.abc import Callable
from typing import NamedTuple

from models.autogan.networks import Discriminator, Generator
from models.conditioning import NONE
from models.growing.networks import GrowingDiscriminator, GrowingGenerator
from models.layers.init import prepare


class Family(NamedTuple):
    """What the scripts need to know of a family."""

    networks: Callable
    """(architecture, latent_dim, cells, outputs=1, conditioning=NONE) -> (generator, discriminator), with
    weights from torch's global generator. `cells` has the sizes of AutoGAN's networks: gf_dim, df_dim,
    df_depth, df_halvings and bottom_width. A growing architecture contains its widths, so this family does
    not read them. outputs: of the discriminator. A growing one has one, and growing networks cannot be
    conditional."""

    initialise: Callable
    """(generator, discriminator, weights) -> (generator, discriminator), changed in place. `weights` has
    init_type, g_spectral_norm and d_spectral_norm. Growing networks are built with their own initialisation
    and returned as they are."""

    load_generator: Callable
    """(architecture, state dict) -> generator. Its widths are read off the tensors. Raises ArchitectureError
    if the weights belong to another architecture."""

    compiles_discriminator: bool
    """Whether the discriminator has a method `logits` that may be compiled."""

    widths: str
    """The options that decide on the networks' sizes."""


def _autogan_networks(architecture, latent_dim, cells, outputs=1, conditioning=NONE):
    generator = Generator.of(
        architecture, latent_dim=latent_dim, gf_dim=cells.gf_dim, bottom_width=cells.bottom_width,
        num_classes=conditioning.num_classes,
    )  # fmt: skip
    form = {"halvings": cells.df_halvings, "outputs": outputs, "deeper": cells.df_depth}
    form["conditioning"] = conditioning
    return generator, Discriminator(architecture.levels, cells.df_dim, **form)


def _initialise_autogan(generator, discriminator, weights):
    generator = prepare(generator, weights.init_type, weights.g_spectral_norm)
    return generator, prepare(discriminator, weights.init_type, weights.d_spectral_norm)


def _growing_networks(architecture, latent_dim, cells, outputs=1, conditioning=NONE):
    return GrowingGenerator(architecture, latent_dim), GrowingDiscriminator(architecture)


def _keep_initialisation(generator, discriminator, weights):
    return generator, discriminator


FAMILIES = {
    "autogan": Family(
        _autogan_networks,
        _initialise_autogan,
        Generator.from_state,
        compiles_discriminator=True,
        widths="--gf_dim, --df_dim, --latent_dim, --bottom_width",
    ),
    "growing": Family(
        _growing_networks,
        _keep_initialisation,
        GrowingGenerator.from_state,
        compiles_discriminator=False,
        widths="--arch, --latent_dim",
    ),
}


def family(architecture):
    """The Family of an architecture."""
    return FAMILIES[architecture.family]
