"""Operations of a training step, the plain way and the fast way, at each level: `python bench/operations.py`.

At 8 px a GPU is busy starting kernels, so their number is what counts there; it needs no GPU to be found. Counted are PyTorch's
operations on tensors, backward pass and optimiser included and views not, for one update of each network.
"""

from functools import partial

import torch
from comparison import bench_parser, write_rows
from steps import LATENT, build, lower_beam
from torch.utils._python_dispatch import TorchDispatchMode

from utils.adversarial import discriminator_step, generator_step
from utils.cli import run_script

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
        self.count += not function.is_view and name.startswith("aten::") and name.removeprefix("aten::") not in NOTHING_COMPUTED
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
    real, noise, frozen = torch.zeros(4, 3, 8 << level, 8 << level), torch.randn(4, LATENT), list(gan.discriminator.parameters())
    return (
        partial(discriminator_step, *networks, gan.discriminator_optimizer, real, noise),
        partial(generator_step, *networks, gan.generator_optimizer, noise, frozen),
    )


def main():
    options = bench_parser(__doc__).parse_args()
    rows = []
    for level in range(3):
        ways = [[operations(update) for update in updates(level, fast)] for fast in (False, True)]
        for network, plain, fast in zip(("discriminator", "generator"), *ways):
            rows.append({"name": f"{network}'s update", "level": level + 1, "resolution": 8 << level, "plain": plain, "fast": fast})
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()))
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
