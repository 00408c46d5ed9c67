"""A training step of this project beside the authors' own code of 2019: `python bench/authors.py --authors DIR [--quick]`.

DIR is a clone of https://github.com/VITA-Group/AutoGAN. Its code runs in a child process, since its packages have the names of ours, and
takes turns with ours: same machine, PyTorch and number of threads. In the table "plain" is the authors' way and "fast" is ours.

- **search**: their functions.train_shared on the networks of their search.py, at each level. Their controller draws an architecture in
  every step, as it does in a search, but then the one that our controller drew for that step is built: both do the same work.
- **retrain**: their functions.train with models/autogan_cifar10_a.py, at 32 px.

Both are given random images of the right size in memory: their way by a DataLoader without workers over float images that need no decoding,
resizing or scaling, which is less work than their own loader has; ours as uint8 images on the device. Their figures go to no TensorBoard.

What is put into the child so that their files run as they are:

- Modules they import and no training step calls are empty: utils.inception_score and utils.fid_score (TensorFlow 1), dateutil.
- ReLU in the shared generator's blocks is torch.threshold, which is what PyTorch 1.1 ran: their cells add shortcuts and skips in place to
  a ReLU's output, and ReLU's gradient needs that output today ("modified by an inplace operation"; every post-activation cell with either).
- On a CPU, `.cuda()` changes nothing and torch.cuda.FloatTensor is torch.FloatTensor.

Two things that today's PyTorch does otherwise than theirs stay: zero_grad drops gradients, so their Adam passes over whatever the sampled
architecture does not use (ours does not, see README, difference 10), and on a GPU their float32 convolutions multiply in TF32.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import types
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

SERVING = sys.argv[1:2] == ["--serve"]  # in the child, which must import nothing of ours
if not SERVING:
    from comparison import bench_parser, compare, print_row, write_rows
    from steps import (
        BATCH,
        GENERATOR_BATCH,
        LATENT,
        N_CRITIC,
        PUBLISHED,
        RandomImages,
        build,
        fast_steps,
        lower_beam,
    )

    from models_search.autogan.controller import Controller, sample_architectures
    from utils.cli import Ending, UserError, run_script
    from utils.randomness import random_generator

SOURCE = "https://github.com/VITA-Group/AutoGAN"
GPU_WARM_UPS = 3  # of every run: one that makes Adam's state complete, one unrecorded, one that is recorded
NEEDED = (
    "cfg.py",
    "functions.py",
    "search.py",
    "train.py",
    "models/autogan_cifar10_a.py",
    "models_search/shared_gan.py",
)


# The child: the authors' code


def serve(workload):
    """Build the authors' networks, answer with their sizes, then run what each line of stdin asks for and answer when it is done."""
    answers, sys.stdout = sys.stdout, sys.stderr
    device = torch.device(workload["device"])
    torch.set_num_threads(workload["threads"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    let_authors_import(workload["authors"], on_cpu=device.type == "cpu")
    sys.argv = ["authors", *workload["options"]]
    arguments = importlib.import_module("cfg").parse_args()
    if workload["level"] is None:
        parameters, train = authors_retraining(arguments)
    else:
        parameters, train = authors_search(arguments, workload["level"])
    loader = random_loader(
        workload["steps"] * arguments.dis_batch_size, workload["resolution"], arguments.dis_batch_size
    )
    print(json.dumps(parameters), file=answers, flush=True)
    for line in sys.stdin:
        train(loader, json.loads(line))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        print("{}", file=answers, flush=True)


def let_authors_import(folder, on_cpu):
    """Make the clone's modules importable and runnable, as the module's docstring lists."""
    sys.dont_write_bytecode = True  # the clone stays as it is
    sys.path[0] = folder
    for name in ("utils.inception_score", "utils.fid_score", "dateutil", "dateutil.tz"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__getattr__ = lambda attribute: None
    if on_cpu:
        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self: self
        torch.cuda.FloatTensor = torch.FloatTensor
    blocks = importlib.import_module("models_search.building_blocks_search")
    blocks.nn = types.SimpleNamespace(**{**vars(torch.nn), "ReLU": ReLUOfItsInput})


class ReLUOfItsInput(torch.nn.Module):
    """ReLU whose gradient needs its input and not its output."""

    def forward(self, x):
        return torch.threshold(x, 0.0, 0.0)


def random_loader(count, resolution, batch_size):
    """Batches of random images and labels, in a new order each time."""
    images = torch.rand(count, 3, resolution, resolution) * 2 - 1
    return DataLoader(TensorDataset(images, torch.zeros(count)), batch_size=batch_size, shuffle=True)


def authors_search(arguments, level):
    """(numbers of parameters, train(loader, architectures)) of shared-GAN training at `level`."""
    search, functions, helpers = (
        importlib.import_module(name) for name in ("search", "functions", "utils.utils")
    )
    generator, discriminator, *optimizers = search.create_shared_gan(arguments, keep_weights)
    beam = {"prev_archs": None, "prev_hiddens": None}
    for stage in range(level + 1):
        controller, _ = search.create_ctrler(arguments, stage, keep_weights)
        if stage < level:
            drawn, _, _, states = controller.sample(arguments.topk, with_hidden=True, **beam)
            beam = {"prev_archs": list(drawn), "prev_hiddens": [list(state.detach()) for state in states]}

    def train(loader, architectures):
        histories = [helpers.RunningStats(arguments.dynamic_reset_window) for _ in range(2)]
        drawing = DrawingThenGiven(controller, architectures)
        functions.train_shared(
            arguments, generator, discriminator, *histories, drawing, *optimizers, loader, **beam
        )

    return count_parameters(generator, discriminator), train


class DrawingThenGiven:
    """The authors' controller as train_shared uses it: it draws in every step, and then hands out the next architecture given."""

    def __init__(self, controller, architectures):
        self.controller, self.cur_stage, self.eval = controller, controller.cur_stage, controller.eval
        device = next(
            controller.parameters()
        ).device  # where theirs are drawn: set_arch fetches each from there
        self.given = iter(torch.tensor(architectures, device=device).split(1))

    def sample(self, count, **beam):
        _, *others = self.controller.sample(count, **beam)
        return next(self.given), *others


def authors_retraining(arguments):
    """(numbers of parameters, train(loader, None)) of training architecture a."""
    importlib.import_module("train")  # for its settings of cuDNN
    functions, networks = (
        importlib.import_module(name) for name in ("functions", "models.autogan_cifar10_a")
    )
    generator, discriminator = networks.Generator(arguments).cuda(), networks.Discriminator(arguments).cuda()
    optimizers = [
        torch.optim.Adam(network.parameters(), lr, (arguments.beta1, arguments.beta2))
        for network, lr in ((generator, arguments.g_lr), (discriminator, arguments.d_lr))
    ]
    average = functions.copy_params(generator)

    def train(loader, _):
        writer = types.SimpleNamespace(add_scalar=lambda *figure: None)
        progress = {"writer": writer, "train_global_steps": 0}
        functions.train(arguments, generator, discriminator, *optimizers, average, loader, 0, progress)

    return count_parameters(generator, discriminator), train


def keep_weights(module):
    """In place of their weight initialisation, which is local to their main functions: time does not depend on it."""


def count_parameters(generator, discriminator):
    """{network: its number of parameters}."""
    networks = {"generator": generator, "discriminator": discriminator}
    return {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in networks.items()
    }


# This side: starting the child, taking turns with it


class Authors:
    """The authors' training of one workload in a child process; a context manager."""

    def __init__(self, folder, *, level, resolution, width, steps, device):
        workload = {
            "authors": str(folder),
            "level": level,
            "resolution": resolution,
            "steps": steps,
            "device": str(device),
        }
        workload.update(threads=torch.get_num_threads(), options=authors_options(width))
        self.errors = tempfile.TemporaryFile("w+")
        command = [sys.executable, __file__, "--serve", json.dumps(workload)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.parameters = self._answer()

    def train(self, architectures=None):
        """Train for one run, a step per architecture in a search, and wait until it is done."""
        print(json.dumps(architectures), file=self.process.stdin, flush=True)
        self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            *_, last = ["nothing was printed", *filter(str.strip, self.errors)]
            raise Ending(f"the authors' code ended with {self.process.returncode}: {last}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.__exit__(*_)  # closes its stdin, upon which it ends, and waits for that
        self.errors.close()


def authors_options(width):
    """Command line of the authors' scripts for our widths and batches; one epoch a run, and never a dynamic reset."""
    values = {
        "gen_batch_size": GENERATOR_BATCH,
        "dis_batch_size": BATCH,
        "latent_dim": LATENT,
        "n_critic": N_CRITIC,
    }
    values.update(
        gf_dim=width, df_dim=width // 2, d_spectral_norm=True, shared_epoch=1, dynamic_reset_threshold="-inf"
    )
    return [f"--{name}={value}" for name, value in values.items()]


def check_clone(folder):
    """The absolute path of a clone of the authors' repository; raises UserError for anything else."""
    cure = f"git clone {SOURCE} and name the folder"
    if folder is None:
        raise UserError(f"--authors: the authors' code is needed and not part of this project; {cure}")
    missing = [name for name in NEEDED if not (Path(folder) / name).is_file()]
    if missing:
        raise UserError(f"--authors: {folder} is no clone of AutoGAN, it has no {missing[0]}; {cure}")
    return Path(folder).resolve()


def check_same_work(authors, gan, level):
    """Refuse networks of other sizes. A shared generator of theirs also holds layers that no architecture uses, so it may be larger."""
    ours, theirs = count_parameters(gan.generator, gan.discriminator), authors.parameters
    same_generator = (
        theirs["generator"] == ours["generator"]
        if level is None
        else theirs["generator"] >= ours["generator"]
    )
    if not same_generator or theirs["discriminator"] != ours["discriminator"]:
        raise UserError(
            f"--authors: its networks have {theirs} parameters, ours {ours}; give an unchanged clone of {SOURCE}"
        )


def rows_of(folder, level, options, width, repeats):
    """A row per precision of ours; `level` None is retraining."""
    name, architecture, resolution = (
        ("retrain", PUBLISHED, 32) if level is None else ("search", None, 8 << level)
    )
    sizes, steps, device = {"resolution": resolution, "width": width}, options.steps, options.device
    images = RandomImages(steps * BATCH, resolution, device)
    policy = None if level is None else (Controller(level), lower_beam(level))
    drawn = [
        drawn_architectures(policy, steps, seed) for seed in range(repeats + 1)
    ]  # compare's warm-up is a run too
    with Authors(folder, level=level, steps=steps, device=device, **sizes) as authors:
        for precision in options.precisions:
            gan = build(
                device,
                fast=True,
                gf_dim=width,
                df_dim=width // 2,
                architecture=architecture,
                precision=precision,
            )
            check_same_work(authors, gan, level)
            theirs = partial(next, map(authors.train, cycle(drawn)))
            train = partial(fast_steps, gan, images, steps, policy=policy, level=level, precision=precision)
            ours = partial(next, (train(seed=seed) for seed in cycle(range(repeats + 1))))
            if (
                device.type == "cuda"
            ):  # an architecture's first steps take longer than all later ones: cuDNN tries, our way records
                for work in (theirs, ours) * (GPU_WARM_UPS * len(drawn)):
                    work()
            described = {"level": 3 if level is None else level + 1, **sizes, "precision": precision}
            row = compare(name, theirs, ours, steps=steps, repeats=repeats, device=device, **described)
            yield {**row, "plain_busy": None}  # theirs works in another process


def drawn_architectures(policy, steps, seed):
    """The architectures that fast_steps draws for this seed, as lists of tokens; None without a policy."""
    if policy is None:
        return None
    with torch.no_grad():
        architectures, _ = sample_architectures(*policy, steps, random_generator(seed, "architectures"))
    return [list(architecture.tokens) for architecture in architectures]


def main():
    parser = bench_parser(__doc__)
    parser.add_argument("--authors", metavar="DIR", help=f"clone of {SOURCE}")
    parser.add_argument(
        "--gf_dim", type=int, default=128, help="width of the generator; the discriminator has half of it"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=5,
        help="steps in a run: a multiple of five trains both networks in proportion",
    )
    options = parser.parse_args()
    folder = check_clone(options.authors)
    width, repeats = (32, 2) if options.quick else (options.gf_dim, options.repeats)
    rows = []
    print("plain: the authors' code; fast: ours, and peak_mib is of our process alone")
    for level in (0, 1, 2, None):
        for row in rows_of(folder, level, options, width, repeats):
            rows.append(row)
            print_row(row)
    write_rows(options.json, rows)


if __name__ == "__main__":
    if SERVING:
        serve(json.loads(sys.argv[2]))
    else:
        run_script(main)
