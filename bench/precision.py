"""What a lower precision of the feature network would change in the scores: `python bench/precision.py --dataset cifar10 --data_path DIR`.

Sets of training images stand for generated ones and are scored against the test split, in each precision. Beside the change of a set's
scores stands their standard deviation over the sets: the noise that a change has to be judged by. "mixed" has reference statistics in
float32 for images in another precision, which a file for --fid_stat would amount to. TF32 is arithmetic of a GPU; elsewhere it is
imitated by rounding both factors of every product to its 10 bits.
"""

import statistics
import time
from dataclasses import replace

import torch
from comparison import bench_parser, write_rows
from torch import nn

from utils.cli import run_script
from utils.data.load import DATASETS, load_images
from utils.inception.feature_net import FEATURE_NETS, load_feature_net
from utils.metrics.evaluate import evaluate
from utils.precision import PRECISIONS
from utils.metrics.real_statistics import real_statistics

FIGURES, METRICS = ("is_mean", "fid"), ("is", "fid")


def to_tf32(values):
    """float32 values rounded to the nearest with 10 bits of mantissa, ties away from zero as NVIDIA's conversion does."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def imitate_tf32(net):
    """Let a FeatureNet round what its layers multiply."""
    net.name += " in tf32 (imitated)"
    for layer in net._network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.weight.data = to_tf32(layer.weight.data)
            layer.register_forward_pre_hook(lambda layer, inputs: tuple(to_tf32(each) for each in inputs))
    return net


def nets(options):
    """A feature network for each precision, the exact one first."""
    imitated = options.device.type != "cuda"
    for precision in PRECISIONS:
        asked = "float32" if imitated and precision == "tf32" else precision
        net = load_feature_net(
            options.feature_net, inception_path=options.inception_path, precision=asked, device=options.device
        )
        yield imitate_tf32(net) if imitated and precision == "tf32" else net


def score(images, rows, net, reference, metrics=METRICS):
    """(scores of these rows of the images, images per second)."""
    batches = images.batches(rows, 100)
    start = time.perf_counter()
    scores = evaluate(
        lambda count: next(batches), len(rows), net, metrics=metrics, batch_size=100, real=reference
    )
    return {name: getattr(scores, name) for name in FIGURES}, len(rows) / (time.perf_counter() - start)


def row_of(net, fake, real, sets, exact_reference):
    """Scores of every set of images by one network; `exact_reference` are the float32 statistics, None for the network that makes them."""
    reference = real_statistics(real, net, progress=net.name)
    scored = [score(fake, rows, net, reference) for rows in sets]
    figures = {name: [scores[name] for scores, _ in scored] for name in FIGURES}
    speed = statistics.median(images_per_second for _, images_per_second in scored)
    row = {"feature_net": net.name, "images_per_second": speed, **figures}
    if exact_reference is not None:
        nameless = replace(
            exact_reference, feature_net=None
        )  # as a file's: statistics of another network's name are refused
        row["fid mixed"] = [score(fake, rows, net, nameless, ("fid",))[0]["fid"] for rows in sets]
    return row, reference


def show(rows):
    """The exact scores with their noise, then the relative change by each other precision: the mean over the sets, and the largest."""
    exact, *others = rows
    for name in FIGURES:
        mean, noise = statistics.mean(exact[name]), statistics.stdev(exact[name])
        print(f"{exact['feature_net']:40} {name:9} {mean:.6g}, from set to set {100 * noise / mean:.2g} %")
    for row in others:
        for name, figure in [(name, name) for name in FIGURES] + [("fid mixed", "fid")]:
            changes = [100 * (mine / theirs - 1) for mine, theirs in zip(row[name], exact[figure])]
            print(
                f"{row['feature_net']:40} {name:9} {statistics.mean(changes):+.2g} %, at most {max(changes, key=abs):+.2g} %"
            )
    for row in rows:
        print(f"{row['feature_net']:40} {row['images_per_second']:.0f} images/s")


def main():
    parser = bench_parser(__doc__)
    parser.add_argument("--dataset", default="cifar10", choices=DATASETS)
    parser.add_argument("--data_path", default="./data", help="where it is kept or downloaded to")
    parser.add_argument("--img_size", type=int, default=32, help="resolution the images are resized to")
    parser.add_argument("--images", type=int, default=2000, help="images in a set; there are --repeats sets")
    parser.add_argument("--feature_net", default="efficientnet-lite0", choices=FEATURE_NETS)
    parser.add_argument("--inception_path", help="weights of --feature_net inception")
    options = parser.parse_args()
    count, repeats = (500, 3) if options.quick else (options.images, options.repeats)
    fake, real = (
        load_images(options.dataset, options.data_path, split, options.img_size).resized(
            options.img_size, options.device
        )
        for split in ("train", "test")
    )
    order = torch.randperm(fake.num_images, generator=torch.Generator().manual_seed(0))
    rows, exact_reference = [], None
    for net in nets(options):
        row, reference = row_of(net, fake, real, order[: count * repeats].split(count), exact_reference)
        exact_reference = exact_reference or reference
        rows.append(row)
    show(rows)
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
