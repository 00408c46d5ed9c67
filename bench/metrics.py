"""Images per second of each feature network and seconds of each score, beside torch-fidelity on the same images in the same run.

    python bench/metrics.py --json metrics.json
    python bench/metrics.py --inception_path classify_image_graph_def.pb --device cuda --images 5000

Without --inception_path the Inception network gets random weights, which cost the same. Ours and torch-fidelity's runs alternate;
figures are the median and the range of --repeats runs.
"""

import importlib.util
import itertools
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
import torch_fidelity
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from synthetic_graph import write_synthetic_graph  # noqa: E402

from utils.cli import Parser, run_script  # noqa: E402
from utils.metrics.sums import FEATURE_SAMPLE  # noqa: E402
from utils.inception.feature_net import load_feature_net  # noqa: E402
from utils.inception.files import convert  # noqa: E402
from utils.metrics.distances import (  # noqa: E402
    frechet_distance,
    inception_score,
    kernel_inception_distance,
    precision_recall,
)
from utils.metrics.evaluate import evaluate  # noqa: E402
from utils.metrics.real_statistics import real_statistics  # noqa: E402
from utils.run.folder import environment, pick_device  # noqa: E402
from utils.options import number  # noqa: E402
from utils.metrics.sliced_wasserstein import sliced_wasserstein_distance  # noqa: E402


class Images(torch.utils.data.Dataset):
    """uint8 images (N, 3, R, R) as a data set for torch-fidelity, and as the ResizedImages for ours."""

    def __init__(self, count, resolution, seed, device):
        coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        self.cpu = (
            torch.nn.functional.interpolate(coarse, resolution, mode="bilinear").mul(255).to(torch.uint8)
        )
        self.tensor = self.cpu.to(device)
        self.name, self.split, self.num_images, self.resolution, self.seed = (
            "random",
            "train",
            count,
            resolution,
            seed,
        )

    def __len__(self):
        return self.num_images

    def __getitem__(self, index):
        return self.cpu[index]

    def sha256(self):
        return f"seed {self.seed}"

    def batches(self, order, batch_size):
        return (self.tensor[rows] for rows in order.to(self.tensor.device).split(batch_size))


def timed(call):
    """(result, seconds) of call(), the GPU's work included."""
    start = time.perf_counter()
    result = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def alternate(repeats, **calls):
    """Run the calls in turn, `repeats` times -> {name: {"seconds": median, "range": [least, most], "result": of the last}}."""
    seconds = {name: [] for name in calls}
    results = {}
    for _ in range(repeats):
        for name, call in calls.items():
            results[name], elapsed = timed(call)
            seconds[name].append(elapsed)
    return {
        name: {
            "seconds": statistics.median(times),
            "range": [min(times), max(times)],
            "result": results[name],
        }
        for name, times in seconds.items()
    }


def network_speeds(options, pb):
    """Images per second of every network that can be had here, warm."""
    networks = {
        "efficientnet-lite0": lambda: load_feature_net("efficientnet-lite0", device=options.device),
        "inception (torch)": lambda: load_feature_net("inception", inception_path=pb, device=options.device),
        "inception (TensorFlow)": lambda: load_feature_net(
            "inception", inception_path=pb, backend="tf", device=options.device
        ),
    }
    if importlib.util.find_spec("tensorflow") is None or str(pb).endswith(".pth"):
        del networks["inception (TensorFlow)"]
    images = Images(options.images, options.img_size, 0, options.device).tensor
    found = {}
    for name, load in networks.items():
        net = load()
        net(images[: options.batch_size])
        runs = alternate(
            options.repeats, net=lambda net=net: [net(part) for part in images.split(options.batch_size)]
        )["net"]
        fastest, slowest = (options.images / seconds for seconds in runs["range"])
        found[name] = {"images_per_second": options.images / runs["seconds"], "range": [slowest, fastest]}
        print(f"{name:24} {found[name]['images_per_second']:9.1f} images/s  ({slowest:.1f} to {fastest:.1f})")
    return found


def whole_scores(options, pth, folder):
    """IS, FID and KID of generated against real images, weights loaded and both sets read anew: ours and calculate_metrics."""
    real, fake = (Images(options.images, options.img_size, seed, options.device) for seed in (1, 2))
    runs = itertools.count()

    def ours():
        net = load_feature_net("inception", inception_path=pth, device=options.device)
        size = options.batch_size
        known = real_statistics(
            real, net, cache_dir=folder / str(next(runs)), batch_size=size, sample_size=FEATURE_SAMPLE
        )
        batches = fake.batches(torch.arange(options.images), size)
        metrics = ("is", "fid", "kid")
        scores = evaluate(
            lambda count: next(batches), options.images, net, real=known, batch_size=size, metrics=metrics
        )
        return [scores.is_mean, scores.fid, scores.kid_mean]

    def theirs():
        found = torch_fidelity.calculate_metrics(
            input1=fake,
            input2=real,
            isc=True,
            fid=True,
            kid=True,
            kid_subset_size=min(1000, options.images),
            rng_seed=0,
            samples_shuffle=False,
            feature_extractor_weights_path=str(pth),
            cuda=options.device.type == "cuda",
            batch_size=options.batch_size,
            cache=False,
            verbose=False,
        )
        names = ("inception_score_mean", "frechet_inception_distance", "kernel_inception_distance_mean")
        return [found[name] for name in names]

    compared = alternate(options.repeats, ours=ours, torch_fidelity=theirs)
    pairs = zip(
        ("is", "fid", "kid"), compared["ours"]["result"], compared["torch_fidelity"]["result"], strict=True
    )
    compared["relative_differences"] = {
        name: abs(first - second) / abs(second) for name, first, second in pairs
    }
    print_pair(f"IS, FID, KID of 2 x {options.images}", compared)
    print(
        "  relative differences:",
        ", ".join(f"{name} {value:.1e}" for name, value in compared["relative_differences"].items()),
    )
    return compared


def distances(options):
    """Each score on ready features, at 2048 dimensions."""
    generator = torch.Generator().manual_seed(0)
    mix = (
        torch.randn(2048, 2048, generator=generator) * torch.logspace(0, -3, 2048)[:, None]
    )  # eigenvalues over six decades
    fake, real = (
        (torch.randn(options.features, 2048, generator=generator) @ mix / 10 + 0.3).relu() for _ in range(2)
    )
    logits = 3 * torch.randn(options.features, 1008, generator=generator)
    known = [(x.double().mean(0).numpy(), torch.cov(x.double().T).numpy()) for x in (fake, real)]
    theirs = [{"mu": mu, "sigma": sigma} for mu, sigma in known]
    subset_size = min(1000, options.features)
    pairs = {
        "IS": (lambda: inception_score(logits), lambda: isc_features_to_metric(logits, shuffle=False)),
        "Frechet": (
            lambda: frechet_distance(*known[0], *known[1]),
            lambda: fid_statistics_to_metric(*theirs, False),
        ),
        "KID": (
            lambda: kernel_inception_distance(fake, real),
            lambda: kid_features_to_metric(
                fake, real, kid_subset_size=subset_size, rng_seed=0, verbose=False
            ),
        ),
        "precision, recall": (
            lambda: precision_recall(fake, real),
            lambda: prc_features_to_metric(fake, real, verbose=False),
        ),
    }
    found = {}
    for name, (ours, others) in pairs.items():
        found[name] = alternate(options.repeats, ours=ours, torch_fidelity=others)
        print_pair(f"{name} of {options.features}", found[name])
    images = [Images(options.features, 32, seed, "cpu").cpu for seed in (1, 2)]
    found["SWD"] = alternate(1, ours=lambda: sliced_wasserstein_distance(*images))
    print(f"{f'SWD of {options.features} at 32 px':28} ours {found['SWD']['ours']['seconds']:8.2f} s")
    return found


def print_pair(name, compared):
    stated = [f"{who} {run['seconds']:8.2f} s ({run['range'][0]:.2f} to {run['range'][1]:.2f})"
              for who, run in compared.items() if who in ("ours", "torch_fidelity")]  # fmt: skip
    print(f"{name:28}", "   ".join(stated))


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--inception_path", help="the graph (.pb or .tgz) or torch-fidelity's .pth; default: random weights"
    )
    parser.add_argument("--images", type=number(int, 20), default=200, help="images through the networks")
    parser.add_argument("--img_size", type=number(int, 7), default=32, help="their resolution")
    parser.add_argument(
        "--features", type=number(int, 20), default=5000, help="images behind the scores on ready features"
    )
    parser.add_argument("--batch_size", type=number(int, 1), default=100, help="images in a network at once")
    parser.add_argument("--repeats", type=number(int, 1), default=3, help="runs of each")
    parser.add_argument("--device", type=pick_device, default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    warnings.filterwarnings(
        "ignore", "This DataLoader will create", UserWarning
    )  # torch-fidelity's choice of workers
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pb = options.inception_path or write_synthetic_graph(folder / "graph.pb")
        pth = folder / "weights.pth"
        convert(pb, pth)
        found = {
            "environment": environment(),
            "options": vars(options),
            "networks": network_speeds(options, pb),
        }
        found["whole"] = whole_scores(options, pth, folder)
    found["distances"] = distances(options)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2, default=str) + "\n")


if __name__ == "__main__":
    run_script(main)
