"""Two folders of images scored against each other: the body of `python -m utils.metrics`."""

import json
import sys
from dataclasses import replace

import numpy as np
import torch

from utils.cli import Parser, UserError, run_script
from utils.data.load import load_images
from utils.metrics.sums import FEATURE_SAMPLE
from utils.inception.feature_net import FEATURE_NETS
from utils.metrics.evaluate import METRICS, evaluate, evaluate_both
from utils.precision import PRECISIONS
from utils.metrics.real_statistics import real_statistics
from utils.run.folder import pick_device
from utils.metrics.generator import feature_nets_of


def main():
    parser = Parser(prog="python -m utils.metrics", description="Score generated images against real ones.")
    parser.add_argument("--real", required=True, help="folder or zip of real images")
    parser.add_argument(
        "--fake", required=True, help="folder or zip of generated images, scored in the order of their names"
    )
    parser.add_argument(
        "--img_size",
        type=at_least(1),
        help="resize all images to this; needed unless a folder's have one square size",
    )
    parser.add_argument(
        "--metrics", nargs="+", choices=METRICS, default=list(METRICS[:4]), help="scores to compute"
    )
    parser.add_argument("--splits", type=at_least(1), default=10, help="parts of the Inception score")
    parser.add_argument(
        "--shuffle_seed", type=at_least(0), help="shuffle the generated images first (torch-fidelity: 2020)"
    )
    add_network_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the scores and their protocol as one JSON object"
    )
    options = parser.parse_args()
    scores, fake_images = score_folders(options)
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


def add_network_options(parser):
    """The options of a feature network, for `networks_of`, and of how images come to it."""
    parser.add_argument(
        "--feature_net", choices=FEATURE_NETS, default="inception", help="network whose features are compared"
    )
    parser.add_argument(
        "--inception_path", help="classify_image_graph_def.pb, the .tgz it comes in, or torch-fidelity's .pth"
    )
    parser.add_argument(
        "--inception_backend",
        choices=("torch", "tf", "both"),
        default="torch",
        help="what executes the graph",
    )
    parser.add_argument(
        "--tf_python", help="a Python that has TensorFlow, for --inception_backend tf and both"
    )
    parser.add_argument(
        "--feature_precision",
        choices=PRECISIONS,
        default="float32",
        help="of the network; the others are faster and move scores",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the network: faster after a minute, the same to rounding",
    )
    parser.add_argument("--batch_size", type=at_least(1), default=100, help="images in the network at once")
    parser.add_argument(
        "--num_workers", type=at_least(0), default=8, help="processes that read images, at most one a core"
    )
    parser.add_argument("--device", type=pick_device, default="auto", help="auto, cpu, cuda or cuda:N")


def networks_of(options):
    """The FeatureNets that the options of `add_network_options` name: one, or two for --inception_backend both."""
    return feature_nets_of(
        options.feature_net,
        inception_path=options.inception_path,
        backend=options.inception_backend,
        tf_python=options.tf_python,
        precision=options.feature_precision,
        compiled=options.compile,
        device=options.device,
    )


def at_least(smallest):
    """An argparse type: a whole number not below `smallest`."""

    def number(text):
        if int(text) < smallest:
            raise ValueError
        return int(text)

    number.__name__ = f"whole number of {smallest} or more"
    return number


def score_folders(options):
    """(Scores, generated images) of `options.fake` against `options.real`; the difference of two backends is printed."""
    real_images, fake_images = (
        _folder(option, path, options)
        for option, path in (("--real", options.real), ("--fake", options.fake))
    )
    fewest = 4 if "precision_recall" in options.metrics else 2
    for option, images in (("--real", real_images), ("--fake", fake_images)):
        if images.num_images < fewest:
            raise UserError(
                f"{option}: {images.num_images} images are too few for these --metrics; give {fewest} or more"
            )
    num_images = fake_images.num_images
    if "is" in options.metrics and num_images < options.splits:
        raise UserError(
            f"--splits: {num_images} images cannot make {options.splits} parts; give --splits 1 or more images"
        )
    if "swd" in options.metrics and (
        fake_images.resolution != real_images.resolution or real_images.resolution < 7
    ):
        raise UserError("--metrics: swd compares images of one size, of 7 pixels at least; give --img_size N")
    networks = [None] if set(options.metrics) == {"swd"} else networks_of(options)
    sample_size = FEATURE_SAMPLE if {"kid", "precision_recall"} & set(options.metrics) else 0
    reals = [
        net
        and real_statistics(
            real_images, net, batch_size=options.batch_size, sample_size=sample_size, progress="real images"
        )
        for net in networks
    ]
    sample = _reader(fake_images, options)
    protocol = {
        "real_images": real_images,
        "batch_size": options.batch_size,
        "splits": options.splits,
        "metrics": options.metrics,
    }
    if len(networks) == 2:
        scores, _, differences = evaluate_both(
            sample, num_images, networks, reals=reals, progress="generated images", **protocol
        )
        print("largest relative differences between torch and tf:", json.dumps(differences), file=sys.stderr)
    else:
        scores = evaluate(
            sample, num_images, networks[0], real=reals[0], progress="generated images", **protocol
        )
    return scores, fake_images


def _folder(option, path, options):
    """The ResizedImages of a folder or zip: as stored if all have one square size, else at --img_size."""
    try:
        images = load_images("folder", path)
        if options.img_size is None:
            images = replace(images, picture=_of_one_square_size(images.picture, path))
        return images.resized(
            options.img_size or images.native_size, options.device, num_workers=options.num_workers
        )
    except UserError as error:
        raise UserError(str(error).replace("--data_path", option)) from error


def _of_one_square_size(picture, path):
    """`picture`, but an image that is not square or not of the first one's size is refused where it is read."""
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


def _reader(images, options):
    """sample(n) for `evaluate`: the next n images of a folder."""
    order = torch.arange(images.num_images)
    if options.shuffle_seed is not None:
        order = torch.from_numpy(np.random.RandomState(options.shuffle_seed).permutation(images.num_images))
    batches = images.batches(order, options.batch_size)
    return lambda count: next(batches)


if __name__ == "__main__":
    run_script(main)
