"""Prove that the torch network computes what TensorFlow computes from the same frozen graph, for any weights
and sizes:

    python tests/inception_parity.py --seed 3 --sizes 40x56,72x72 --batch 5

Writes a full-size graph with random weights, has both backends read it, and prints the largest relative
differences of pool_3, logits, FID and IS; exit code 1 if one is above its bound.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from synthetic_graph import write_synthetic_graph  # noqa: E402

from utils.cli import Parser, UserError, run_script  # noqa: E402
from utils.inception.feature_net import load_feature_net, relative_difference  # noqa: E402
from utils.metrics.distances import frechet_distance, inception_score  # noqa: E402

BOUNDS = {"pool_3": 1e-5, "logits": 1e-5, "FID": 1e-5, "IS": 1e-6}


def varied_images(number, height, width, seed):
    """uint8 images (N, 3, H, W) that differ in brightness, contrast, colour, scale of structure and noise."""
    random = torch.Generator().manual_seed(seed)
    images = []
    for _ in range(number):
        cells = int(torch.randint(2, 9, (), generator=random))
        structure = torch.randn(1, 3, cells, cells, generator=random)
        structure = F.interpolate(structure, (height, width), mode="bicubic", align_corners=False)[0]
        brightness, contrast, noise = torch.rand(3, generator=random) * torch.tensor([255.0, 90.0, 30.0])
        colour = 40 * torch.randn(3, 1, 1, generator=random)
        noise = noise * torch.randn(3, height, width, generator=random)
        images.append(brightness + colour + contrast * structure + noise)
    return torch.stack(images).clamp_(0, 255).to(torch.uint8)


def compare_feature_nets(first, second, images):
    """Both networks on the same uint8 images (N, 3, H, W): the largest relative difference of their features
    and of their logits.

    Returns {"features": float, "logits": float, "images": N}; see `relative_difference`.
    """
    (first_features, first_logits), (second_features, second_logits) = first(images), second(images)
    return {
        "features": relative_difference(first_features, second_features),
        "logits": relative_difference(first_logits, second_logits),
        "images": len(images),
    }


def feature_differences(first, second, sizes, batch, seed):
    """Largest relative differences of pool_3 and logits, over `batch` images of each (height, width)."""
    pairs = [
        compare_feature_nets(first, second, varied_images(batch, *size, seed + index))
        for index, size in enumerate(sizes)
    ]
    return {
        "pool_3": max(pair["features"] for pair in pairs),
        "logits": max(pair["logits"] for pair in pairs),
    }


def score_differences(first, second, size, num_images, seed):
    """Relative differences of the networks' FID of two sets of `num_images` images, and of their IS."""
    sets = [varied_images(num_images, *size, seed), varied_images(num_images, *size, seed + 1)]
    fid, score = [], []
    for net in (first, second):
        statistics = []
        for images in sets:
            features, logits = net(images)
            features = features.double().cpu().numpy()
            statistics += [features.mean(0), np.cov(features, rowvar=False)]
        fid.append(frechet_distance(*statistics))
        score.append(inception_score(logits, splits=2)[0])
    return {"FID": abs(fid[0] - fid[1]) / fid[1], "IS": abs(score[0] - score[1]) / score[1]}


def parse_size(text):
    height, width = map(int, text.split("x"))
    if min(height, width) < 1:
        raise ValueError
    return height, width


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and images")
    parser.add_argument("--sizes", default="32x32,40x56", help="image sizes HxW, separated by commas")
    parser.add_argument("--batch", type=int, default=5, help="images of each size")
    parser.add_argument(
        "--images", type=int, default=32, help="images in each of the two sets of the FID, of the first size"
    )
    parser.add_argument("--tf_python", help="a Python that has TensorFlow, if this one has not")
    options = parser.parse_args()
    try:
        sizes = [parse_size(text) for text in options.sizes.split(",")]
    except ValueError:
        raise UserError(
            f"--sizes: {options.sizes} is not a list of sizes; give them as 40x56,72x72"
        ) from None
    if options.seed < 0 or options.batch < 1 or options.images < 2:
        raise UserError(
            "--seed, --batch, --images: give a seed of 0 or more, a batch of 1 or more and 2 images or more"
        )

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # the user's cache is not filled with random networks
        graph = write_synthetic_graph(Path(folder) / "graph.pb", options.seed)
        ours = load_feature_net(inception_path=graph)
        with load_feature_net(inception_path=graph, backend="tf", tf_python=options.tf_python) as tensorflow:
            found = feature_differences(ours, tensorflow, sizes, options.batch, options.seed)
            found |= score_differences(ours, tensorflow, sizes[0], options.images, options.seed + len(sizes))
    for name, bound in BOUNDS.items():
        print(f"{name:7} {found[name]:.2e}  (bound {bound:.0e}){'' if found[name] <= bound else '  ABOVE'}")
    if any(not found[name] <= bound for name, bound in BOUNDS.items()):
        sys.exit(1)


if __name__ == "__main__":
    run_script(main)
