"""Intra-class FID: the images of each class against the real ones of this class, and the mean over classes.

As in the code of Miyato and Koyama's "cGANs with projection discriminator": 5,000 generated images a class.
"""

import torch

from utils.cli import UserError
from utils.metrics.evaluate import evaluate
from utils.metrics.generator import noise_sampler
from utils.metrics.real_statistics import RealStatistics, sum_features
from utils.metrics.scores import figure_name

FEWEST = 2  # images of a class: a covariance takes two


def check_classes(image_set, classes):
    """Raise UserError unless an ImageSet has FEWEST images of each of the generator's Classes."""
    missing = [name for name in classes.names if name not in image_set.class_names]
    if missing:
        theirs = f"a class {missing[0]}, the {image_set.split} images of {image_set.name} have none"
        raise UserError(f"--metrics: intra_fid: the generator has {theirs}; give its data or leave it out")
    for name in classes.names:
        count = int((image_set.labels == image_set.class_names.index(name)).sum())
        if count < FEWEST:
            problem = f"{image_set.name} has {count} {image_set.split} images of the class {name}"
            raise UserError(f"--metrics: intra_fid: {problem}, too few; give {FEWEST} or leave it out")


@torch.inference_mode()
def intra_fid(generator, feature_net, images, class_names, classes, *, num_images, seed, batch_size=100):
    """{class: FID} of a conditional generator in eval mode.

    images: ResizedImages with labels, whose classes are `class_names`. classes: the generator's Classes.
    num_images: generated of each class. The noise depends only on seed and class.
    """
    device, found = next(generator.parameters()).device, {}
    for number, name in enumerate(classes.names):
        rows = (images.labels == class_names.index(name)).nonzero().flatten()
        label = f"class {name}"
        real = sum_features(images.subset(rows), feature_net, batch_size, progress=f"{label}, real")
        sample = noise_sampler(
            generator, generator.latent_dim, seed, "intra_fid", number, device=device,
            classes=classes.only_number(number),
        )  # fmt: skip
        mu, sigma = real.mean_and_covariance()
        scores = evaluate(
            sample, num_images, feature_net, real=RealStatistics(mu.numpy(), sigma.numpy()),
            batch_size=batch_size, metrics=("fid",), progress=label,
        )  # fmt: skip
        found[name] = scores.fid
    return found


def summary(found, num_images, feature_net):
    """(plain data for results.json, one line for the log) of what `intra_fid` returned."""
    mean, name = sum(found.values()) / len(found), figure_name("intra-FID", feature_net)
    classes = ", ".join(f"{each} {fid:.2f}" for each, fid in found.items())
    line = f"{name} {mean:.2f}, the mean of {len(found)} classes of {num_images} generated images: {classes}"
    return {"mean": mean, "images_per_class": num_images, "classes": found}, line
