"""The plain way and the fast way of AutoGAN's adversarial training, on the same work."""

import itertools
from functools import partial

import torch
from comparison import ROOT  # noqa: F401  (puts the project on the path)
from torch.utils.data import DataLoader

from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator, Generator
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from models_search.autogan.controller import Controller, first_beam, sample_architectures
from models_search.shared_gan.network import shared_generator
from utils.training.adversarial import Setting, discriminator_step, generator_step, train_steps
from utils.training.compiled import check_compiler, compile_discriminator, compile_generator
from utils.training.gan import new_gan, update_average
from utils.images import from_uint8
from utils.precision import multiplying
from utils.randomness import global_seed, random_generator
from utils.training.inputs import StepInputs

N_CRITIC, BATCH, GENERATOR_BATCH, LATENT = 5, 64, 128, 128


class RandomImages:
    """As many random uint8 images as some steps need, in the form of utils.data.image_set.ResizedImages."""

    def __init__(self, count, resolution, device):
        generator = torch.Generator().manual_seed(0)
        self.tensor = torch.randint(
            256, (count, 3, resolution, resolution), dtype=torch.uint8, generator=generator
        ).to(device)
        self.num_images, self.resolution, self.device = count, resolution, device

    def batches(self, order, batch_size):
        return (self.tensor[rows] for rows in order.to(self.device).split(batch_size))


def build(device, *, fast, gf_dim, df_dim, architecture=None, levels=3, precision="float32", compiled=False):
    """A shared GAN, or with `architecture` a derived one with its average generator; the same weights either way.

    `compiled`: as --compile has it, the discriminator and a derived generator.
    """
    with global_seed(0, "bench"):
        if architecture is None:
            generator = shared_generator(levels, latent_dim=LATENT, gf_dim=gf_dim)
        else:
            generator = Generator.of(architecture, latent_dim=LATENT, gf_dim=gf_dim)
        generator = prepare(generator)
        discriminator = prepare(Discriminator(levels, df_dim), with_spectral_norm=True)
    if fast:
        generator, discriminator = fast_form(generator), fast_form(discriminator)
    gan = new_gan(
        generator, discriminator, device, g_lr=2e-4, d_lr=2e-4, betas=(0.0, 0.9), with_average=architecture is not None, fast=fast,
        precision=precision,
    )  # fmt: skip
    if compiled:
        check_compiler(device)
        compile_discriminator(gan.discriminator)
        if architecture:
            compile_generator(gan.generator)
    return gan


def lower_beam(level, seed=0, kept=5):
    """A beam of `kept` for `level`, drawn by untrained controllers: its parents are random architectures."""
    beam = first_beam()
    for below in range(level):
        with torch.no_grad(), global_seed(seed, below):
            architectures, rollout = sample_architectures(
                Controller(below), beam, kept, torch.Generator().manual_seed(seed)
            )
        beam = [
            entry._replace(architecture=a, state=tuple(s))
            for entry, a, *s in zip(beam * kept, architectures, *rollout.state)
        ]
    return beam


def plain_steps(gan, images, steps, *, policy=None, level=None, seed=0):
    """The 2019 way on a current PyTorch: a DataLoader, one architecture drawn per step, a wait for both losses in every step.

    Returns the discriminator's losses.
    """
    rows = [from_uint8(image) for image in images.tensor.cpu()]
    loader = DataLoader(rows, batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(seed))
    batches = itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), steps)
    drawn, frozen, losses = random_generator(seed, "architectures"), list(gan.discriminator.parameters()), []
    discriminate = gan.discriminator if level is None else partial(gan.discriminator, level=level)
    with multiplying("float32", images.device):
        for step, real in enumerate(batches):
            real, generate = real.to(images.device), gan.generator
            if policy:
                with torch.no_grad():
                    (architecture,), _ = sample_architectures(*policy, 1, drawn)
                generate = partial(generate, architecture=architecture)
            noise = torch.randn(len(real), LATENT).to(images.device)
            losses.append(
                discriminator_step(generate, discriminate, gan.discriminator_optimizer, real, noise)[0].item()
            )
            if step % N_CRITIC == 0:
                noise = torch.randn(GENERATOR_BATCH, LATENT).to(images.device)
                generator_step(generate, discriminate, gan.generator_optimizer, noise, frozen)[0].item()
                if gan.average is not None:
                    update_average(gan.average, gan.generator)
    return losses


def fast_steps(gan, images, steps, *, policy=None, level=None, seed=0, precision="float32", batch=BATCH):
    """The way of search.py and train_derived.py; the generator's batch is twice `batch`. Returns the discriminator's losses."""
    inputs = StepInputs(
        images,
        seed,
        batch_size=batch,
        generator_batch_size=2 * batch,
        latent_dim=LATENT,
        generator_every=N_CRITIC,
    )
    discriminate = gan.discriminator if level is None else partial(gan.discriminator, level=level)
    settings = itertools.repeat(Setting(gan.generator, discriminate, key="derived"), steps)
    if policy:
        with torch.no_grad():
            architectures, _ = sample_architectures(*policy, steps, random_generator(seed, "architectures"))
        settings = [
            Setting(partial(gan.generator, architecture=each), discriminate, key=each)
            for each in architectures
        ]
    return train_steps(gan, inputs.steps(0, steps), list(settings).__getitem__, precision=precision)[0]


PUBLISHED = Architecture.parse("autogan_cifar10_a")
