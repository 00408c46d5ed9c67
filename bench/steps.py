"""AutoGAN's adversarial training, the plain way and the fast way, on the same work."""

import itertools
from dataclasses import dataclass
from functools import partial

import torch
from networks import derived_gan, random_beam, shared_gan, untrained_controller
from torch.utils.data import DataLoader

from models_search.autogan.controller import sample_architectures
from utils.images import from_uint8
from utils.precision import multiplying
from utils.randomness import random_generator
from utils.training.adversarial import StepFunctions, discriminator_step, generator_step
from utils.training.gan import Gan
from utils.training.inputs import StepInputs
from utils.training.loop import train


class RandomImages:
    """Random uint8 images on a device, with what training needs of utils.data.image_set.ResizedImages."""

    def __init__(self, count, resolution, device):
        shape, random = (count, 3, resolution, resolution), torch.Generator().manual_seed(0)
        self.tensor = torch.randint(256, shape, dtype=torch.uint8, generator=random).to(device)
        self.num_images, self.resolution, self.device = count, resolution, device

    def batches(self, order, batch_size):
        return (self.tensor[rows] for rows in order.to(self.device).split(batch_size))


@dataclass(frozen=True)
class Workload:
    """Training steps that can be repeated: one pass over some random images.

    options: a search's plan, or the options of train_derived.py; training and network are read here.
    policy: the controller and the beam that sample an architecture for each step of a search; else None.
    """

    gan: Gan
    options: object
    images: RandomImages
    steps: int
    policy: tuple | None = None

    @classmethod
    def search(cls, plan, device, level, steps):
        """Steps of shared-GAN training at a level (0-based)."""
        images = RandomImages(steps * plan.training.dis_batch_size, plan.resolutions[level], device)
        policy = untrained_controller(plan, level), random_beam(plan, level)
        return cls(shared_gan(plan, device), plan, images, steps, policy)

    @classmethod
    def retraining(cls, options, device, steps):
        """Steps of the training of one architecture."""
        images = RandomImages(steps * options.training.dis_batch_size, options.data.img_size, device)
        return cls(derived_gan(options, device), options, images, steps)

    def sample(self, count, random):
        """The architectures of `count` steps; None for each step if only one is trained."""
        if self.policy is None:
            return [None] * count
        with torch.no_grad():
            architectures, _ = sample_architectures(*self.policy, count, random)
        return architectures

    def functions(self, architecture):
        """The StepFunctions of a step."""
        generator, discriminator = self.gan.generator, self.gan.discriminator
        if architecture is None:
            return StepFunctions(generator, discriminator, key="derived")
        generate = partial(generator, architecture=architecture)
        discriminate = partial(discriminator, level=architecture.levels - 1)
        return StepFunctions(generate, discriminate, key=architecture)


def plain_steps(workload, seed=0):
    """The 2019 way on a current PyTorch. Returns the discriminator's losses.

    A DataLoader, an architecture sampled for each step, both losses read in every step.
    """
    gan, images, training = workload.gan, workload.images, workload.options.training
    latent_dim = workload.options.network.latent_dim
    rows, order = [from_uint8(image) for image in images.tensor.cpu()], torch.Generator().manual_seed(seed)
    loader = DataLoader(rows, batch_size=training.dis_batch_size, shuffle=True, generator=order)
    random, losses = random_generator(seed, "architectures"), []
    with multiplying("float32", images.device):
        for step, real in enumerate(itertools.islice(loader, workload.steps)):
            real = real.to(images.device)
            (architecture,) = workload.sample(1, random)
            functions = workload.functions(architecture)
            noise = torch.randn(len(real), latent_dim).to(images.device)
            losses.append(discriminator_step(gan, functions, real, noise)[0].item())
            if step % training.n_critic == 0:
                noise = torch.randn(training.gen_batch_size, latent_dim).to(images.device)
                generator_step(gan, functions, noise)[0].item()
    return losses


def fast_steps(workload, seed=0):
    """The way of search.py and train_derived.py. Returns the discriminator's losses."""
    options = workload.options
    inputs = StepInputs(workload.images, seed, options.training, options.network.latent_dim)
    architectures = workload.sample(workload.steps, random_generator(seed, "architectures"))

    def functions_at(step):
        return workload.functions(architectures[step])

    (look,) = train(workload.gan, inputs, functions_at, [workload.steps], options.training)
    return look.d_losses
