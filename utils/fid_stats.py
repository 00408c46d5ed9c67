"""Write the statistics of a data set's images, for --fid_stat.

python -m utils.fid_stats --dataset cifar10 --data_path ./data --img_size 32 --output fid_stat/cifar10_train.npz
"""

import json
import os
from pathlib import Path

import torch

from utils.cli import Parser, UserError, run_script
from utils.data.load import DATASETS, load_images
from utils.metrics.sums import FEATURE_SAMPLE
from utils.metrics.evaluate import evaluate_both
from utils.metrics.real_statistics import real_statistics, save_statistics
from utils.metrics.__main__ import add_network_options, at_least, networks_of


def main():
    parser = Parser(
        prog="python -m utils.fid_stats", description="Write a data set's feature statistics, for --fid_stat."
    )
    parser.add_argument("--dataset", choices=DATASETS, required=True, help="data set")
    parser.add_argument(
        "--data_path", default="./data", help="where it is kept or downloaded to; a folder or zip of images"
    )
    parser.add_argument(
        "--img_size", type=at_least(1), default=32, help="resolution the images are resized to"
    )
    parser.add_argument(
        "--split",
        choices=("train", "test"),
        default="train",
        help="the authors compare with train, SN-GAN with test",
    )
    parser.add_argument("--output", type=Path, required=True, help=".npz file to write")
    parser.add_argument(
        "--with_features", action="store_true", help=f"keep {FEATURE_SAMPLE:,} features, for KID"
    )
    add_network_options(parser)
    options = parser.parse_args()
    if options.output.suffix != ".npz" or options.output.is_dir():
        raise UserError(f"--output: {options.output} is not the name of an .npz file; give FILE.npz")
    existing = next(folder for folder in options.output.absolute().parents if folder.exists())
    if not existing.is_dir() or not os.access(
        existing, os.W_OK
    ):  # known before the work begins, and no folder made for nothing
        raise UserError(f"--output: cannot write into {existing}; give another file")
    images = load_images(options.dataset, options.data_path, options.split, fewest=2).resized(
        options.img_size, options.device, num_workers=options.num_workers
    )
    networks = networks_of(options)
    if len(networks) == 2:
        differences = _differences(images, networks, options.batch_size)
        print("largest relative differences between torch and tf:", json.dumps(differences))
    statistics = real_statistics(
        images,
        networks[0],
        batch_size=options.batch_size,
        progress=images.name,
        sample_size=FEATURE_SAMPLE if options.with_features else 0,
    )
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        save_statistics(statistics, options.output)
    except OSError as error:
        raise UserError(
            f"--output: cannot write {options.output} ({error.strerror}); give another file"
        ) from None
    print(f"{options.output}: {json.dumps(statistics.provenance())}")


def _differences(images, networks, batch_size):
    batches = images.batches(torch.arange(images.num_images), batch_size)
    splits = min(10, images.num_images)
    return evaluate_both(
        lambda count: next(batches), images.num_images, networks, batch_size=batch_size, splits=splits
    )[2]


if __name__ == "__main__":
    run_script(main)
