"""The shared GAN: one generator that can run every architecture, and its discriminator."""

from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator, Generator
from models.families import FAMILIES
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from models_search.search_space import every_cell, space_name
from utils.randomness import global_seed
from utils.training.compiled import compile_discriminator, compiles_discriminator
from utils.training.gan import new_gan
from utils.training.losses import LOSSES
from utils.training.memory import on_meta, training_memory
from utils.training.sizes import network_sizes

WIDTHS = FAMILIES["autogan"].widths


def shared_generator(levels=3, space="authors", **widths):
    """A Generator whose cells can run every candidate of their level. space: its name.

    Call it with an architecture of at most `levels` cells.
    """
    return Generator([every_cell(level, space) for level in range(levels)], **widths)


def shared_networks(plan, weights=None):
    """(generator, discriminator), their weights drawn from torch's global generator in this order.

    plan: of any search that shares weights; its `levels`, `space` and `conditioning` and the option groups
    network, cells and training are read here. weights: the option group of this name. Without it: for
    counting only.
    """
    cells, conditioning = plan.cells, plan.conditioning
    widths = {"gf_dim": cells.gf_dim, "bottom_width": cells.bottom_width}
    widths |= {"num_classes": conditioning.num_classes, "latent_dim": plan.network.latent_dim}
    generator = shared_generator(plan.levels, space_name(plan.space), **widths)
    if weights:
        generator = prepare(generator, weights.init_type, weights.g_spectral_norm)
    outputs = LOSSES[plan.training.loss].outputs
    form = {"halvings": cells.df_halvings, "outputs": outputs, "deeper": cells.df_depth}
    discriminator = Discriminator(plan.levels, cells.df_dim, conditioning=conditioning, **form)
    if weights:
        discriminator = prepare(discriminator, weights.init_type, weights.d_spectral_norm)
    return generator, discriminator


def shared_network_sizes(plan):
    """Parameters and MACs of the shared networks, counted without allocating them.

    plan: as for `shared_networks`.
    """
    with on_meta(WIDTHS):
        return network_sizes(*shared_networks(plan), plan.cells.bottom_width << plan.levels)


def shared_gan_memory(plan):
    """The Memory of training the shared networks on the cheapest architecture, and of sampling from it.

    plan: as for `shared_network_sizes`; the option groups training, scoring and run are read, too.
    """
    name = space_name(plan.space)
    architecture = Architecture(tuple(every_cell(level, name)[0] for level in range(plan.levels)))
    with on_meta(WIDTHS):
        networks = shared_networks(plan)
        if plan.run.is_fast:
            networks = tuple(map(fast_form, networks))
        return training_memory(
            networks, plan.training, plan.scoring.eval_batch_size, plan.cells.bottom_width << plan.levels,
            widths=WIDTHS, parts=plan.recipe.accumulate, architecture=architecture,
        )  # fmt: skip


def new_shared_gan(plan, device, resets=0):
    """A Gan with initial weights, which are different after each dynamic reset.

    plan: of any search that shares weights. Its number of `levels`, its `conditioning` and the option groups
    network, cells, weights, training, recipe and run are read here.
    """
    with global_seed(plan.run.random_seed, "shared GAN", resets):
        generator, discriminator = shared_networks(plan, plan.weights)
    if plan.run.is_fast:
        generator, discriminator = fast_form(generator), fast_form(discriminator)
    if compiles_discriminator(plan.run, plan.training, plan.recipe):
        compile_discriminator(discriminator)
    gan = {"recipe": plan.recipe, "fast": plan.run.is_fast}
    return new_gan(generator, discriminator, device, plan.training, **gan)
