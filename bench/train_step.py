"""A step of retraining architecture a, the plain way and the fast way: `python bench/train_step.py [--quick]`.

A step here is one discriminator update and a fifth of a generator update with its moving average, batches 64 and 128, 32 px.
"""

import itertools
from functools import partial

from comparison import bench_parser, compare, print_row, warm_ups, write_rows
from steps import PUBLISHED, RandomImages, build, fast_steps, plain_steps

from utils.cli import run_script


def main():
    parser = bench_parser(__doc__)
    parser.add_argument(
        "--gf_dim", type=int, default=256, help="width of the generator; the discriminator has half of it"
    )
    parser.add_argument("--steps", type=int, default=5, help="steps in a run")
    parser.add_argument("--compile", action="store_true", help="also with both networks compiled")
    options = parser.parse_args()
    width, repeats = (32, 2) if options.quick else (options.gf_dim, options.repeats)
    images = RandomImages(options.steps * 64, 32, options.device)
    rows = []
    for precision, compiled in itertools.product(
        options.precisions, (False, True) if options.compile else (False,)
    ):
        plain_gan, fast_gan = (
            build(
                options.device, fast=fast, gf_dim=width, df_dim=width // 2, architecture=PUBLISHED, precision=precision,
                compiled=compiled and fast,
            )
            for fast in (False, True)
        )  # fmt: skip
        plain, fast = (
            partial(plain_steps, plain_gan, images, options.steps),
            partial(fast_steps, fast_gan, images, options.steps, precision=precision),
        )
        for _ in range(warm_ups(options.device)):
            fast()
        rows.append(
            compare(
                "retrain compiled" if compiled else "retrain", plain, fast, steps=options.steps, repeats=repeats,
                device=options.device, level=3, resolution=32, width=width, precision=precision,
            )
        )  # fmt: skip
        print_row(rows[-1])
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
