"""The networks that the benchmarks train, built from the options of search.py and train_derived.py."""

import comparison  # noqa: F401  (puts the project on the path)
import torch

import cfg
from models.families import family
from models.layers.fast_form import fast_form
from models_search.autogan.controller import BeamEntry, first_beam, sample_architectures
from models_search.autogan.plan import make_plan
from models_search.autogan.state import new_policy
from models_search.shared_gan.network import new_shared_gan
from utils.precision import check_precision
from utils.randomness import global_seed, random_generator
from utils.training.compiled import check_compiler, compile_discriminator, compile_generator
from utils.training.gan import new_gan

GROWING_ITERATIONS = (25, 55, 75)  # the paper's two, and one more for a fourth level


def search_plan(gf_dim, *, levels=3, batch=64, beam=5, **computing):
    """The plan of a search by search.py. The discriminator has half of the generator's width.

    batch: real images in a discriminator step; a generator step has twice as many. beam: architectures kept
    at the end of a level. computing: see `_arguments`.
    """
    arguments = _arguments(gf_dim, batch, **computing)
    arguments += ["--img_size", 4 << levels, "--grow_steps", *GROWING_ITERATIONS[: levels - 1]]
    arguments += ["--topk", beam, "--num_candidate", max(10, beam)]
    return make_plan(cfg.parse("search", list(map(str, arguments))))


def retraining_options(gf_dim, *, batch=64, **computing):
    """The options of train_derived.py for architecture a; the arguments are those of `search_plan`."""
    arguments = ["--gen_model", "autogan_cifar10_a", *_arguments(gf_dim, batch, **computing)]
    return cfg.parse("train_derived", list(map(str, arguments)))


def _arguments(gf_dim, batch, fast=True, precision="float32", compiled=False):
    """What both scripts' command lines share. `fast`, `precision` and `compiled` are their options."""
    arguments = ["--gf_dim", gf_dim, "--df_dim", gf_dim // 2, "--dis_batch_size", batch]
    arguments += ["--gen_batch_size", 2 * batch, "--fast", "on" if fast else "off", "--precision", precision]
    return arguments + ["--compile"] * compiled


def shared_gan(plan, device):
    """The untrained shared GAN of a `search_plan`; UserError where the device cannot do what it asks for."""
    _check(plan, device)
    return new_shared_gan(plan, device)


def derived_gan(options, device):
    """The untrained Gan of `retraining_options`, as train_derived.py builds it; UserError as `shared_gan`."""
    _check(options, device)
    architecture = cfg.generator_architecture(options)
    built, is_fast = family(architecture), options.run.is_fast
    with global_seed(options.run.random_seed, "networks"):
        networks = built.networks(architecture, options.network.latent_dim, options.cells)
        generator, discriminator = built.initialise(*networks, options.weights)
    if is_fast:
        generator, discriminator = fast_form(generator), fast_form(discriminator)
    gan = new_gan(generator, discriminator, device, options.training, with_average=True, fast=is_fast)
    if options.run.compile:
        compile_generator(gan.generator)
        compile_discriminator(gan.discriminator)
    return gan


def _check(options, device):
    check_precision("--precisions", options.training.precision, device)
    if options.run.compile:
        check_compiler(device)


def untrained_controller(plan, level):
    """The controller of a level before its first update."""
    return new_policy(plan, level).controller


def random_beam(plan, level):
    """The beam that `level` starts from, sampled from untrained controllers: random architectures."""
    beam = first_beam(plan.controller.hid_size)
    for below in range(level):
        controller, random = untrained_controller(plan, below), random_generator(0, "beam", below)
        with torch.no_grad():
            architectures, rollout = sample_architectures(controller, beam, plan.beam.topk, random)
        beam = [BeamEntry(each, 0.0, tuple(state)) for each, *state in zip(architectures, *rollout.state)]
    return beam


def random_architecture(plan, level):
    """An architecture that an untrained controller of `level` samples."""
    return random_beam(plan, level + 1)[0].architecture
