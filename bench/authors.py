"""A training step of this project beside the authors' own: `python bench/authors.py --authors DIR [--quick]`.

DIR is a clone of https://github.com/VITA-Group/AutoGAN. Its code of 2019 runs in a child process
(bench/authors_child.py says what is changed for that) and takes turns with ours: same machine, PyTorch and
number of threads. In the table "plain" is the authors' way and "fast" ours.

- **search**: their functions.train_shared on the networks of their search.py, at each level. Their controller
  samples an architecture in every step, as in a search, but the step then trains the one that our controller
  sampled: both do the same work.
- **retrain**: their functions.train with models/autogan_cifar10_a.py, at 32 px.

Both read random images of the right size from memory. Theirs come from a DataLoader without workers, as float
images that need no decoding, resizing or scaling, which is less work than their own loader has; ours are
uint8 images on the device. Their figures go to no TensorBoard.
"""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from comparison import bench_parser, compare, print_rows, warm_up, write_rows
from networks import retraining_options, search_plan
from steps import Workload, fast_steps

from utils.cli import Ending, UserError, run_script
from utils.randomness import random_generator
from utils.training.sizes import count_parameters

SOURCE = "https://github.com/VITA-Group/AutoGAN"
NEEDED = (
    "cfg.py", "functions.py", "search.py", "train.py", "models/autogan_cifar10_a.py",
    "models_search/shared_gan.py",
)  # fmt: skip


class Authors:
    """The authors' training of one workload in a child process; a context manager.

    parameters: {network: its number of parameters}.
    """

    def __init__(self, folder, workload, level):
        images = workload.images
        described = {"authors": str(folder), "level": level, "options": authors_arguments(workload.options)}
        described |= {"steps": workload.steps, "resolution": images.resolution, "device": str(images.device)}
        described |= {"threads": torch.get_num_threads()}
        child = Path(__file__).with_name("authors_child.py")
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, child, json.dumps(described)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip
        self.parameters = self._answer()

    def train(self, architectures):
        """Train for one run, a step per architecture (None: retraining), and wait until it is done."""
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
        self.process.__exit__(*_)  # closes its stdin, which ends it, and waits for that
        self.errors.close()


def authors_arguments(options):
    """Their scripts' command line for our widths and batches; one epoch a run, and never a dynamic reset."""
    groups = vars(options.training) | vars(options.network) | vars(options.cells)
    names = ("gen_batch_size", "dis_batch_size", "n_critic", "latent_dim", "gf_dim", "df_dim")
    values = {name: groups[name] for name in names}
    values |= {"d_spectral_norm": True, "shared_epoch": 1, "dynamic_reset_threshold": "-inf"}
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


def check_same_sizes(theirs, gan, is_search):
    """Refuse networks of other sizes.

    Their shared generator may be larger: it also holds layers that no architecture uses. theirs: the
    `parameters` of Authors.
    """
    ours = {name: count_parameters(getattr(gan, name)) for name in ("generator", "discriminator")}
    unused = theirs["generator"] - ours["generator"]
    if unused < 0 or (unused and not is_search) or theirs["discriminator"] != ours["discriminator"]:
        problem = f"its networks have {theirs} parameters, ours {ours}"
        raise UserError(f"--authors: {problem}; give an unchanged clone of {SOURCE}")


def new_workload(level, width, precision, options):
    """Our training at a level of the search, or with `level` None of architecture a."""
    if level is None:
        return Workload.retraining(
            retraining_options(width, precision=precision), options.device, options.steps
        )
    return Workload.search(search_plan(width, precision=precision), options.device, level, options.steps)


def architecture_tokens(workload, seed):
    """The architectures that fast_steps samples for this seed, as lists of tokens; None for retraining."""
    if workload.policy is None:
        return None
    architectures = workload.sample(workload.steps, random_generator(seed, "architectures"))
    return [list(architecture.tokens) for architecture in architectures]


def measure(folder, level, options):
    """Yield a row for each precision of ours at a level of the search; `level` None is retraining."""
    width, repeats = (32, 2) if options.quick else (options.gf_dim, options.repeats)
    name, steps, device = "retrain" if level is None else "search", options.steps, options.device
    first = new_workload(level, width, options.precisions[0], options)
    # The first run of `compare`, which warms up, has architectures too.
    sampled = [architecture_tokens(first, seed) for seed in range(repeats + 1)]
    with Authors(folder, first, level) as authors:
        for precision in options.precisions:
            workload = new_workload(level, width, precision, options)
            check_same_sizes(authors.parameters, workload.gan, is_search=level is not None)

            def theirs(seed):
                authors.train(sampled[seed])

            ours = partial(fast_steps, workload)
            warm_up(device, repeats, theirs, ours)  # theirs too: cuDNN tries its algorithms
            row = compare(
                name, theirs, ours, steps=steps, repeats=repeats, device=device,
                level=3 if level is None else level + 1, resolution=workload.images.resolution, width=width,
                precision=precision,
            )  # fmt: skip
            yield {**row, "plain_busy": None}  # theirs computes in another process


def main():
    parser = bench_parser(__doc__)
    parser.add_argument("--authors", metavar="DIR", help=f"clone of {SOURCE}")
    parser.add_argument(
        "--gf_dim", type=int, default=128, help="generator's width; the discriminator has half"
    )
    parser.add_argument("--steps", type=int, default=5, help="steps in a run; a multiple of five is typical")
    options = parser.parse_args()
    folder = check_clone(options.authors)
    print("plain: the authors' code; fast: ours, and peak_mib is of our process alone")
    rows = (row for level in (0, 1, 2, None) for row in measure(folder, level, options))
    write_rows(options.json, print_rows(rows))


if __name__ == "__main__":
    run_script(main)
