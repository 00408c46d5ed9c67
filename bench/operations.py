"""Operations of a training step, the plain way and the fast way, at each level: `python bench/operations.py`.

At 8 px a GPU mostly starts kernels, so their number is what counts there; it can be found without a GPU.
Counted are PyTorch's operations on tensors in one update of each network: backward pass and optimiser
included, views not. Once a step is recorded, the host has only its inputs to prepare, which must take less
time than the GPU computes. It is timed with recordings that compute nothing.
"""

from contextlib import nullcontext
from functools import partial

import torch
from comparison import Spread, bench_parser, print_figures, timed, write_rows
from networks import random_architecture, search_plan, shared_gan
from steps import Workload, fast_steps
from torch.utils._python_dispatch import TorchDispatchMode

from utils.cli import run_script
from utils.training.adversarial import StepFunctions, discriminator_step, generator_step
from utils.training.cuda_graphs import StepGraphs

CPU, WIDTH = torch.device("cpu"), 8
COMPUTES_NOTHING = {
    "detach", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "alias",
    "_unsafe_view", "lift_fresh",
}  # fmt: skip


class OperationCounter(TorchDispatchMode):
    """Counts the operations inside."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        library, name = function._schema.name.split("::")
        self.count += library == "aten" and not function.is_view and name not in COMPUTES_NOTHING
        return function(*arguments, **(keywords or {}))


def count_operations(level, fast):
    """(of the discriminator's update, of the generator's) with an architecture of this level."""
    plan = search_plan(WIDTH, fast=fast)
    gan, architecture = shared_gan(plan, CPU), random_architecture(plan, level)
    functions = StepFunctions(
        partial(gan.generator, architecture=architecture), partial(gan.discriminator, level=level)
    )
    size, noise = plan.resolutions[level], torch.randn(4, plan.network.latent_dim)
    updates = (
        partial(discriminator_step, gan, functions, torch.zeros(4, 3, size, size), noise),
        partial(generator_step, gan, functions, noise),
    )
    counts = []
    for update in updates:
        update()  # the first one allocates gradients and Adam's averages
        with OperationCounter() as counter:
            update()
        counts.append(counter.count)
    return counts


class EmptyRecorder:
    """Records steps that copy their inputs and return a tensor, as a recorded step does on the host."""

    failed = False

    def start_anew(self):
        """There is no memory pool."""

    def is_short_of_memory(self):
        return False

    def stream(self):
        return nullcontext()

    def record(self, call, inputs):
        static, output = [tensor.clone() for tensor in inputs], torch.ones(2)

        def replay(*inputs):
            torch._foreach_copy_(static, list(inputs))
            return output.clone()

        return replay


def host_time(level, repeats, steps=200):
    """Microseconds of the host for a recorded step: a Spread.

    Sampling its architecture and preparing its inputs are included.
    """
    torch.set_num_threads(1)
    workload = Workload.search(search_plan(WIDTH, batch=1), CPU, level, steps)
    workload.gan.graphs = StepGraphs(EmptyRecorder())
    run = partial(fast_steps, workload)
    for _ in range(3):  # until all are recorded
        run()
    return Spread.of([timed(run, CPU)[0] / steps * 1e6 for _ in range(repeats)])


def measure(repeats):
    """Yield the rows of each level."""
    for level in range(3):
        counts = count_operations(level, fast=False), count_operations(level, fast=True)
        for network, plain, fast in zip(("discriminator", "generator"), *counts):
            name = f"{network}'s update"
            yield {"name": name, "level": level + 1, "resolution": 8 << level, "plain": plain, "fast": fast}
        name = "host, microseconds a recorded step"
        yield {"name": name, "level": level + 1, "host": host_time(level, repeats)}


def main():
    options, rows = bench_parser(__doc__).parse_args(), []
    for row in measure(options.repeats):
        rows.append(row)
        print_figures(row)
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
