"""Operations of a training step, the plain way and the fast way, at each level: `python bench/operations.py`.

At 8 px a GPU is busy starting kernels, so their number is what counts there; it needs no GPU to be found. Counted are PyTorch's
operations on tensors, backward pass and optimiser included and views not, for one update of each network. Where a step has been recorded,
only the host's part is left, which must take less time than the GPU's: it is timed with recordings that compute nothing.
"""

from contextlib import nullcontext
from functools import partial

import torch
from comparison import Spread, bench_parser, timed, write_rows
from steps import LATENT, RandomImages, build, fast_steps, lower_beam
from torch.utils._python_dispatch import TorchDispatchMode

from models_search.autogan.controller import Controller
from utils.training.adversarial import discriminator_step, generator_step
from utils.cli import run_script
from utils.training.cuda_graphs import StepGraphs

NOTHING_COMPUTED = {
    "detach", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "alias", "_unsafe_view", "lift_fresh",
}  # fmt: skip


class Operations(TorchDispatchMode):
    """Counts the operations inside."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function._schema.name
        self.count += (
            not function.is_view
            and name.startswith("aten::")
            and name.removeprefix("aten::") not in NOTHING_COMPUTED
        )
        return function(*arguments, **(named or {}))


def operations(update):
    """Of a second update: the first one allocates gradients and Adam's averages."""
    update()
    with Operations() as counted:
        update()
    return counted.count


def updates(level, fast):
    """(discriminator's, generator's): one update each, as calls, with the best architecture of an untrained controller."""
    gan = build(torch.device("cpu"), fast=fast, gf_dim=8, df_dim=4)
    architecture = lower_beam(level + 1)[0].architecture
    networks = partial(gan.generator, architecture=architecture), partial(gan.discriminator, level=level)
    real, noise, frozen = (
        torch.zeros(4, 3, 8 << level, 8 << level),
        torch.randn(4, LATENT),
        list(gan.discriminator.parameters()),
    )
    return (
        partial(discriminator_step, *networks, gan.discriminator_optimizer, real, noise),
        partial(generator_step, *networks, gan.generator_optimizer, noise, frozen),
    )


class EmptyRecorder:
    """Records steps that do nothing but take their inputs and give a tensor, as a recorded step does on the host."""

    failed, start_anew, is_short_of_memory, stream = (
        None,
        staticmethod(lambda: None),
        staticmethod(lambda: False),
        nullcontext,
    )

    def record(self, call, inputs):
        static, output = [tensor.clone() for tensor in inputs], torch.ones(2)

        def replay(*inputs):
            torch._foreach_copy_(static, list(inputs))
            return output.clone()

        return replay


def host_time(level, repeats, steps=200):
    """Microseconds of the host for a recorded step, drawing its architecture and preparing its inputs included: a Spread."""
    device = torch.device("cpu")
    torch.set_num_threads(1)
    gan = build(device, fast=True, gf_dim=8, df_dim=4)
    gan.graphs = StepGraphs(EmptyRecorder())
    policy, images = (Controller(level), lower_beam(level)), RandomImages(steps, 8 << level, device)
    run = partial(fast_steps, gan, images, steps, policy=policy, level=level, batch=1)
    for _ in range(3):  # until all are recorded
        run()
    return Spread.of([timed(run, device)[0] / steps * 1e6 for _ in range(repeats)])


def main():
    options = bench_parser(__doc__).parse_args()
    rows = []
    for level in range(3):
        ways = [[operations(update) for update in updates(level, fast)] for fast in (False, True)]
        for network, plain, fast in zip(("discriminator", "generator"), *ways):
            rows.append(
                {
                    "name": f"{network}'s update",
                    "level": level + 1,
                    "resolution": 8 << level,
                    "plain": plain,
                    "fast": fast,
                }
            )
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()))
        rows.append(
            {
                "name": "host, microseconds a recorded step",
                "level": level + 1,
                "host": host_time(level, options.repeats),
            }
        )
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()))
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
