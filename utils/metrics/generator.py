"""Scoring a generator module: its noise, its mode, and one or two executions of the feature network."""

import torch

from utils.cli import UserError
from utils.inception.feature_net import load_feature_net
from utils.metrics.evaluate import evaluate, evaluate_both
from utils.precision import multiplying
from utils.randomness import random_generator
from utils.metrics.real_statistics import load_fid_stat, real_statistics


def noise_sampler(generate, latent_dim, seed, *purpose, device, before_each=lambda: None):
    """sample(n) -> generate(noise (n, latent_dim)); the noise depends on seed, purpose and how many images were made before.

    before_each() is called before each batch: scoring takes long, and may have to end.
    """
    noise = random_generator(seed, *purpose, device=device)

    def sample(count):
        before_each()
        with multiplying("float32", device):
            return generate(torch.randn(count, latent_dim, generator=noise, device=device))

    return sample


def feature_nets_of(name, *, backend="torch", **how):
    """The feature networks to score with: one, or with backend "both" the torch and the TensorFlow execution of one.

    `how`: further arguments of load_feature_net.
    """
    return [
        load_feature_net(name, backend=each, **how)
        for each in (("torch", "tf") if backend == "both" else (backend,))
    ]


def real_statistics_for(feature_nets, images, *, fid_stat=None, sample_size=0, **expected):
    """Statistics of the real images for each feature network: from a file, or of `images` (ResizedImages), computed once and cached.

    `expected`: what a file must not contradict, see load_fid_stat. A file without features is refused if `sample_size` asks for some.
    """
    if not fid_stat:
        return [
            real_statistics(images, net, sample_size=sample_size, progress="statistics of the real images")
            for net in feature_nets
        ]
    reals = [load_fid_stat(fid_stat, net.feature_dim, net.name, **expected) for net in feature_nets]
    if sample_size and reals[0].sample is None:
        raise UserError(
            f"--fid_stat: {fid_stat} holds no features, which --metrics kid and precision_recall need; make it --with_features"
        )
    return reals


def score_generator(
    generator, feature_nets, reals, *, num_images, seed, batch_size=100, splits=10, metrics=("is", "fid"), real_images=None, progress=None,
    before_each=lambda: None,
):  # fmt: skip
    """Scores of `num_images` images of a generator in eval mode, always on the same noise for a seed; its mode is left as it was.

    Returns (Scores, differences between the two executions or None); see metrics.evaluate, metrics.evaluate_both and noise_sampler.
    """
    was_training, device = generator.training, next(generator.parameters()).device
    sample = noise_sampler(
        generator.eval(), generator.latent_dim, seed, "score", device=device, before_each=before_each
    )
    how = dict(
        batch_size=batch_size,
        splits=splits,
        metrics=metrics,
        real_images=real_images,
        seed=seed,
        progress=progress,
    )
    try:
        if len(feature_nets) == 2:
            first, _, differences = evaluate_both(sample, num_images, feature_nets, reals=reals, **how)
            return first, differences
        return evaluate(sample, num_images, feature_nets[0], real=reals[0], **how), None
    finally:
        generator.train(was_training)
