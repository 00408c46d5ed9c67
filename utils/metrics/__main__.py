"""Score generated images against real ones, each a folder or a zip file; or against statistics of real ones.

python -m utils.metrics --real DIR --fake DIR --inception_path classify_image_graph_def.pb --json
"""

import json
import sys
from dataclasses import replace

import numpy as np
import torch

from utils.cli import Parser, UserError, run_script
from utils.data.load import load_images
from utils.metrics.evaluate import evaluate, evaluate_both
from utils.metrics.generator import StoredImages
from utils.metrics.network_options import add_network_options, load_networks
from utils.metrics.real_statistics import load_fid_stat, real_statistics
from utils.metrics.scores import METRICS, fewest_images
from utils.metrics.sums import FEATURE_SAMPLE
from utils.option_types import number
from utils.run.machine import device_memory
from utils.run.together import together
from utils.training.memory import scoring_memory

DEFAULT_METRICS = METRICS[:4]


def main():
    options = parse()
    is_file = options.real.endswith(".npz")
    real_images = None if is_file else load_folder("--real", options.real, options)
    fake_images = load_folder("--fake", options.fake, options)
    check_images(real_images, fake_images, options)
    scores = score_folders(real_images, fake_images, options)
    if options.json:
        fake = {
            "fake": fake_images.name,
            "fake_resolution": fake_images.resolution,
            "fake_sha256": fake_images.sha256(),
            "shuffle_seed": options.shuffle_seed,
        }
        print(json.dumps(scores.as_dict() | fake))
    else:
        print(scores.text())


def parse():
    parser = Parser(prog="python -m utils.metrics", description="Score generated images against real ones.")
    add = parser.add_argument
    add("--real", required=True, help="folder or zip of real images, or an .npz of utils.fid_stats")
    add("--fake", required=True, help="folder or zip of generated images, scored in the order of their names")
    add(
        "--img_size", type=number(int, 1, at_most=2**14),
        help="resize all images to this; needed unless a folder's have one square size",
    )  # fmt: skip
    add("--metrics", nargs="+", choices=METRICS, default=DEFAULT_METRICS, help="scores to compute")
    add("--splits", type=number(int, 1, at_most=10**4), default=10, help="parts of the Inception score")
    add(
        "--shuffle_seed", type=number(int, 0, at_most=2**32 - 1),
        help="shuffle the generated images first (torch-fidelity: 2020)",
    )  # fmt: skip
    add_network_options(parser)
    add("--json", action="store_true", help="print the scores and their protocol as one JSON object")
    return parser.parse_args()


def load_folder(option, path, options):
    """The ResizedImages of a folder or zip, at --img_size.

    Without --img_size they stay as stored, if all have the same square size; UserError if not.
    """
    try:
        images = load_images("folder", path)
        if options.img_size is None:
            images = replace(images, picture=_require_one_square_size(images.picture, path))
        resolution = options.img_size or images.native_size
        memory = scoring_memory(images.num_images, resolution, options.batch_size)
        memory.check(device_memory(options.device))
        return images.resized(resolution, options.device, num_workers=options.num_workers)
    except UserError as error:
        raise UserError(str(error).replace("--data_path", option)) from error


def _require_one_square_size(picture, path):
    """`picture`, but raising UserError for an image that is not square or not as large as the first."""
    width, height = picture(0).size

    def checked(index):
        image = picture(index)
        if image.size != (width, height) or width != height:
            stated = " and ".join(f"{w}x{h}" for w, h in sorted({(width, height), image.size}))
            raise UserError(
                f"--img_size: {path} holds images of {stated} pixels; give --img_size N for N x N"
            )
        return image

    return checked


def check_images(real_images, fake_images, options):
    """Raise UserError if the images are too few or too small for the metrics asked for."""
    fewest = fewest_images(options.metrics)
    for option, images in (("--real", real_images), ("--fake", fake_images)):
        if images and images.num_images < fewest:
            reason = f"{images.num_images} images are too few for these --metrics"
            raise UserError(f"{option}: {reason}; give {fewest} or more")
    if "is" in options.metrics and fake_images.num_images < options.splits:
        reason = f"{fake_images.num_images} images cannot make {options.splits} parts"
        raise UserError(f"--splits: {reason}; give --splits 1 or more images")
    if "swd" not in options.metrics:
        return
    if real_images is None:
        reason = f"swd needs images, and {options.real} holds statistics"
        raise UserError(f"--metrics: {reason}; give --real FOLDER")
    if fake_images.resolution != real_images.resolution or real_images.resolution < 7:
        raise UserError("--metrics: swd compares images of one size, of 7 pixels at least; give --img_size N")


def score_folders(real_images, fake_images, options):
    """The Scores of the generated images. With two backends, their differences are printed to stderr."""
    networks = [None] if set(options.metrics) == {"swd"} else load_networks(options)
    sample_size = FEATURE_SAMPLE if {"kid", "precision_recall"} & set(options.metrics) else 0
    reals = [net and _load_real(real_images, net, sample_size, options) for net in networks]
    order = torch.arange(fake_images.num_images)
    if options.shuffle_seed is not None:
        shuffled = np.random.RandomState(options.shuffle_seed).permutation(fake_images.num_images)
        order = torch.from_numpy(shuffled)
    images = StoredImages(fake_images, order, options.batch_size), fake_images.num_images
    protocol = dict(
        real_images=real_images, batch_size=options.batch_size, splits=options.splits,
        metrics=options.metrics, progress="generated images",
    )  # fmt: skip
    if len(networks) == 1:
        return evaluate(*images, networks[0], real=reals[0], **protocol)
    scores, _, differences = evaluate_both(*images, networks, reals=reals, **protocol)
    print("largest relative differences between torch and tf:", json.dumps(differences), file=sys.stderr)
    return scores


def _load_real(real_images, net, sample_size, options):
    """The RealStatistics of the images, or those that --real names."""
    if real_images is not None:
        return real_statistics(
            real_images, net, batch_size=options.batch_size, sample_size=sample_size, progress="real images"
        )
    try:
        statistics = load_fid_stat(options.real, net.feature_dim, net.name)
    except UserError as error:
        raise UserError(str(error).replace("--fid_stat", "--real")) from None
    if sample_size and statistics.sample is None and options.metrics is not DEFAULT_METRICS:
        reason = f"kid and precision_recall need features, which {options.real} does not hold"
        cure = "leave them out, or make it with python -m utils.fid_stats --with_features"
        raise UserError(f"--metrics: {reason}; {cure}")
    return statistics


if __name__ == "__main__":
    run_script(together(main))
