"""A step of shared-GAN training at each level, plain and fast: `python bench/search_step.py [--quick]`.

A step is one discriminator update and a fifth of a generator update, batches 64 and 128, with an architecture
sampled for it.
"""

from functools import partial

from comparison import bench_parser, compare, print_rows, warm_up, write_rows
from networks import search_plan
from steps import Workload, fast_steps, plain_steps

from utils.cli import run_script


def measure(options):
    """Yield a row for each level and precision; each pair of runs samples other architectures."""
    width, repeats = (32, 2) if options.quick else (options.gf_dim, options.repeats)
    device, steps = options.device, options.steps
    for level in range(3):
        for precision in options.precisions:
            plain_plan = search_plan(width, fast=False)
            fast_plan = search_plan(width, precision=precision, compiled=options.compile)
            plain, fast = (Workload.search(plan, device, level, steps) for plan in (plain_plan, fast_plan))
            warm_up(device, repeats, partial(fast_steps, fast))
            yield compare(
                "search compiled" if options.compile else "search", partial(plain_steps, plain),
                partial(fast_steps, fast), steps=steps, repeats=repeats, device=device, level=level + 1,
                resolution=8 << level, width=width, precision=precision,
            )  # fmt: skip


def search_step_parser(description):
    """The options of `measure`."""
    parser = bench_parser(description)
    parser.add_argument(
        "--gf_dim", type=int, default=128, help="generator's width; the discriminator has half"
    )
    parser.add_argument("--compile", action="store_true", help="with the discriminator compiled")
    parser.add_argument("--steps", type=int, default=10, help="steps in a run; a multiple of five is typical")
    return parser


def main():
    options = search_step_parser(__doc__).parse_args()
    write_rows(options.json, print_rows(measure(options)))


if __name__ == "__main__":
    run_script(main)
