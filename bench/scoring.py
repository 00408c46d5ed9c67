"""Scoring candidates for their reward, the plain way and the fast way: `python bench/scoring.py [--quick]`.

A step here is one image generated and scored. Plain: images leave the device as a list of NumPy arrays, are batched again for the
feature network, and all class probabilities are kept for the Inception score, as in the 2019 code. Fast: utils.metrics.evaluate.
"""

from functools import partial

import numpy as np
import torch
from comparison import bench_parser, compare, print_row, write_rows
from steps import LATENT, PUBLISHED, build

from utils.cli import run_script
from utils.images import to_uint8
from utils.inception.feature_net import load_feature_net
from utils.metrics.distances import inception_score
from utils.metrics.evaluate import evaluate
from utils.metrics.generator import noise_sampler

BATCH = 100


@torch.inference_mode()
def plain_score(generator, net, count, device):
    """(mean, std) of the Inception score by way of a list of images on the host."""
    images, noise = [], torch.Generator(device).manual_seed(0)
    for _ in range(count // BATCH):
        batch = generator(torch.randn(BATCH, LATENT, generator=noise, device=device), PUBLISHED)
        images.extend(to_uint8(batch).permute(0, 2, 3, 1).cpu().numpy())
    logits = []
    for start in range(0, count, BATCH):
        batch = np.stack([image.transpose(2, 0, 1) for image in images[start : start + BATCH]])
        logits.append(net(torch.from_numpy(batch).to(device))[1].cpu())
    return inception_score(torch.cat(logits))


def main():
    parser = bench_parser(__doc__)
    parser.add_argument("--gf_dim", type=int, default=128, help="width of the generator")
    parser.add_argument("--images", type=int, default=500, help="images in a score, a multiple of 100")
    parser.add_argument(
        "--feature_net", default="efficientnet-lite0", choices=("efficientnet-lite0", "inception")
    )
    parser.add_argument("--compile", action="store_true", help="compile the fast way's feature network")
    parser.add_argument("--inception_path", help="weights of --feature_net inception")
    options = parser.parse_args()
    count, repeats, device = (
        (200, 2, options.device) if options.quick else (options.images, options.repeats, options.device)
    )
    net, *others = (
        load_feature_net(options.feature_net, inception_path=options.inception_path, device=device, **how)
        for how in (
            {},
            *({"precision": precision, "compiled": options.compile} for precision in options.precisions),
        )
    )
    plain, fast = (
        build(device, fast=way, gf_dim=options.gf_dim, df_dim=4).generator.eval() for way in (False, True)
    )

    def fast_score(feature_net):
        sample = noise_sampler(lambda z: fast(z, PUBLISHED), LATENT, 0, device=device)
        return evaluate(sample, count, feature_net, metrics=("is",), batch_size=BATCH)

    rows = []
    for precision, feature_net in zip(options.precisions, others):
        rows.append(
            compare(
                f"score {options.feature_net}{' compiled' if options.compile else ''}", lambda: plain_score(plain, net, count, device),
                partial(fast_score, feature_net), steps=count, repeats=repeats, device=device, level=3, resolution=32,
                width=options.gf_dim, precision=precision,
            )
        )  # fmt: skip
        print_row(rows[-1])
        print(f"fast: {1000 / rows[-1]['fast_ms']:.0f} images/s")
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
