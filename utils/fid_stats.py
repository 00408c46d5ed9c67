"""Write the statistics of a data set's images, for --fid_stat.

python -m utils.fid_stats --dataset cifar10 --img_size 32 --output fid_stat/cifar10_train.npz
"""

import json
import os
from pathlib import Path

import torch

from utils.cli import Parser, UserError, run_script
from utils.data.load import DATASETS, load_images
from utils.distributed import is_first
from utils.metrics.evaluate import evaluate_both
from utils.metrics.generator import StoredImages
from utils.metrics.network_options import add_network_options, load_networks
from utils.metrics.real_statistics import real_statistics, save_statistics
from utils.metrics.sums import FEATURE_SAMPLE
from utils.option_types import number
from utils.run.machine import device_memory
from utils.run.together import together
from utils.training.memory import scoring_memory


def main():
    options = parse()
    check_output(options.output)
    images = load_images(options.dataset, options.data_path, options.split, fewest=2)
    memory = scoring_memory(images.num_images, options.img_size, options.batch_size)
    memory.check(device_memory(options.device))
    images = images.resized(options.img_size, options.device, num_workers=options.num_workers)
    networks = load_networks(options)
    if len(networks) == 2:
        differences = compare(images, networks, options.batch_size)
        print("largest relative differences between torch and tf:", json.dumps(differences))
    statistics = real_statistics(
        images, networks[0], batch_size=options.batch_size, progress=images.name,
        sample_size=FEATURE_SAMPLE if options.with_features else 0,
    )  # fmt: skip
    if not is_first():  # the first process writes
        return
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        save_statistics(statistics, options.output)
    except OSError as error:
        reason = f"cannot write {options.output} ({error.strerror})"
        raise UserError(f"--output: {reason}; give another file") from None
    print(f"{options.output}: {json.dumps(statistics.provenance())}")


def parse():
    parser = Parser(
        prog="python -m utils.fid_stats", description="Write a data set's feature statistics, for --fid_stat."
    )
    add = parser.add_argument
    add("--dataset", choices=DATASETS, required=True, help="data set")
    add("--data_path", default="./data", help="where it is kept or downloaded to; a folder or zip of images")
    add(
        "--img_size",
        type=number(int, 1, at_most=2**14),
        default=32,
        help="resolution the images are resized to",
    )
    add(
        "--split", choices=("train", "test"), default="train",
        help="the authors compare with train, SN-GAN with test",
    )  # fmt: skip
    add("--output", type=Path, required=True, help=".npz file to write")
    add("--with_features", action="store_true", help=f"keep {FEATURE_SAMPLE:,} features, for KID")
    add_network_options(parser)
    return parser.parse_args()


def check_output(output):
    """Raise UserError if the file cannot be written, before the work begins. Creates no folder."""
    if output.suffix != ".npz" or (os.path.exists(output) and not output.is_file()):
        raise UserError(f"--output: {output} is not the name of an .npz file; give FILE.npz")
    existing = next(folder for folder in output.absolute().parents if os.path.exists(folder))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"--output: cannot write into {existing}; give another file")


def compare(images, networks, batch_size):
    """The relative differences of two backends on the images, see evaluate_both."""
    sample = StoredImages(images, torch.arange(images.num_images), batch_size)
    splits = min(10, images.num_images)
    _, _, differences = evaluate_both(
        sample, images.num_images, networks, batch_size=batch_size, splits=splits
    )
    return differences


if __name__ == "__main__":
    run_script(together(main))
