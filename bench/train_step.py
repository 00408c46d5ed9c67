"""A step of retraining architecture a, plain and fast: `python bench/train_step.py [--quick]`.

A step is one discriminator update and a fifth of a generator update with its moving average, batches 64 and
128, 32 px.
"""

from functools import partial

from comparison import bench_parser, compare, print_rows, warm_up, write_rows
from networks import retraining_options
from steps import Workload, fast_steps, plain_steps

from utils.cli import run_script


def measure(options):
    """Yield a row for each precision, with --compile two."""
    width, repeats = (32, 2) if options.quick else (options.gf_dim, options.repeats)
    device, steps = options.device, options.steps
    for precision in options.precisions:
        for compiled in (False, True) if options.compile else (False,):
            plain_options = retraining_options(width, fast=False)
            fast_options = retraining_options(width, precision=precision, compiled=compiled)
            plain, fast = (Workload.retraining(each, device, steps) for each in (plain_options, fast_options))
            warm_up(device, repeats, partial(fast_steps, fast))
            yield compare(
                "retrain compiled" if compiled else "retrain", partial(plain_steps, plain),
                partial(fast_steps, fast), steps=steps, repeats=repeats, device=device, level=3,
                resolution=32, width=width, precision=precision,
            )  # fmt: skip


def main():
    parser = bench_parser(__doc__)
    parser.add_argument(
        "--gf_dim", type=int, default=256, help="generator's width; the discriminator has half"
    )
    parser.add_argument("--steps", type=int, default=5, help="steps in a run")
    parser.add_argument("--compile", action="store_true", help="also with both networks compiled")
    options = parser.parse_args()
    write_rows(options.json, print_rows(measure(options)))


if __name__ == "__main__":
    run_script(main)
