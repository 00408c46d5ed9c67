"""Scoring candidates for their reward, the plain way and the fast way: `python bench/scoring.py [--quick]`.

A step is one image generated and scored. Plain: images leave the device as a list of NumPy arrays, are
batched again for the feature network, and all its logits are kept for the Inception score, as in the 2019
code. Fast: utils.metrics.evaluate.
"""

from functools import partial

import numpy as np
import torch
from comparison import bench_parser, compare, print_rows, write_rows
from networks import search_plan, shared_gan

from models.autogan.architecture import Architecture
from utils.cli import run_script
from utils.images import to_uint8
from utils.inception.feature_net import FEATURE_NETS, load_feature_net
from utils.metrics.distances import inception_score
from utils.metrics.evaluate import evaluate
from utils.metrics.generator import noise_sampler

BATCH, ARCHITECTURE = 100, Architecture.parse("autogan_cifar10_a")


@torch.inference_mode()
def plain_score(generator, net, count, device, seed):
    """The Inception score of architecture a, (mean, std), by way of a list of images on the host."""
    images, noise = [], torch.Generator(device).manual_seed(seed)
    for _ in range(count // BATCH):
        z = torch.randn(BATCH, generator.latent_dim, generator=noise, device=device)
        batch = generator(z, ARCHITECTURE)
        images.extend(to_uint8(batch).permute(0, 2, 3, 1).cpu().numpy())
    logits = []
    for start in range(0, count, BATCH):
        batch = np.stack([image.transpose(2, 0, 1) for image in images[start : start + BATCH]])
        logits.append(net(torch.from_numpy(batch).to(device))[1].cpu())
    return inception_score(torch.cat(logits))


def fast_score(generator, net, count, device, seed):
    """The Scores of architecture a, as a reward is computed."""
    generate = partial(generator, architecture=ARCHITECTURE)
    sample = noise_sampler(generate, generator.latent_dim, seed, device=device)
    return evaluate(sample, count, net, metrics=("is",), batch_size=BATCH)


def measure(options):
    """Yield a row for each precision of the feature network."""
    count, repeats = (200, 2) if options.quick else (options.images, options.repeats)
    name, width, device = options.feature_net, options.gf_dim, options.device
    load_net = partial(load_feature_net, name, inception_path=options.inception_path, device=device)
    plain_net = load_net()
    plain_plan, fast_plan = (search_plan(width, fast=is_fast) for is_fast in (False, True))
    plain, fast = (shared_gan(plan, device).generator.eval() for plan in (plain_plan, fast_plan))
    for precision in options.precisions:
        fast_net = load_net(precision=precision, compiled=options.compile)
        row = compare(
            f"score {name}{' compiled' if options.compile else ''}",
            partial(plain_score, plain, plain_net, count, device),
            partial(fast_score, fast, fast_net, count, device), steps=count, repeats=repeats, device=device,
            level=3, resolution=32, width=width, precision=precision,
        )  # fmt: skip
        yield row
        print(f"fast: {1000 / row['fast_ms']:.0f} images/s")


def main():
    parser = bench_parser(__doc__)
    parser.add_argument("--gf_dim", type=int, default=128, help="width of the generator")
    parser.add_argument("--images", type=int, default=500, help="images in a score, a multiple of 100")
    parser.add_argument("--feature_net", default="efficientnet-lite0", choices=FEATURE_NETS)
    parser.add_argument("--compile", action="store_true", help="compile the fast way's feature network")
    parser.add_argument("--inception_path", help="weights of --feature_net inception")
    options = parser.parse_args()
    write_rows(options.json, print_rows(measure(options)))


if __name__ == "__main__":
    run_script(main)
