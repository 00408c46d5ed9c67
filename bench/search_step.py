"""A step of shared-GAN training, the plain way and the fast way, at each level: `python bench/search_step.py [--quick]`.

A step here is one discriminator update and a fifth of a generator update, batches 64 and 128, an architecture drawn per step.
"""

import itertools
from functools import partial

from comparison import bench_parser, compare, print_row, warm_ups, write_rows
from steps import RandomImages, build, fast_steps, lower_beam, plain_steps

from models_search.autogan.controller import Controller
from utils.cli import run_script


def rows(options):
    """A row for each level and precision; every pair of runs draws other architectures."""
    width, repeats = (32, 2) if options.quick else (options.gf_dim, options.repeats)
    for level in range(3):
        resolution = 8 << level
        images = RandomImages(options.steps * 64, resolution, options.device)
        policy = Controller(level), lower_beam(level)
        for precision in options.precisions:
            plain_gan, fast_gan = (
                build(
                    options.device,
                    fast=fast,
                    gf_dim=width,
                    df_dim=width // 2,
                    precision=precision,
                    compiled=options.compile and fast,
                )
                for fast in (False, True)
            )
            common = dict(images=images, steps=options.steps, policy=policy, level=level)
            plain = in_turn(partial(plain_steps, plain_gan, **common), repeats)
            fast = in_turn(partial(fast_steps, fast_gan, **common, precision=precision), repeats)
            for _ in range(warm_ups(options.device) * (repeats + 1)):
                fast()
            yield compare(
                "search compiled" if options.compile else "search", plain, fast, steps=options.steps, repeats=repeats,
                device=options.device, level=level + 1, resolution=resolution, width=width, precision=precision,
            )  # fmt: skip


def in_turn(run, repeats):
    """A function that calls run(seed=...) with seed 0 (the warm-up), 1, ..., `repeats`, and from the first on again."""
    seeds = itertools.cycle(range(repeats + 1))
    return lambda: run(seed=next(seeds))


def search_step_parser(description):
    """The options of `rows`."""
    parser = bench_parser(description)
    parser.add_argument(
        "--gf_dim", type=int, default=128, help="width of the generator; the discriminator has half of it"
    )
    parser.add_argument("--compile", action="store_true", help="with the discriminator compiled")
    parser.add_argument(
        "--steps",
        type=int,
        default=10,
        help="steps in a run: a multiple of five trains both networks in proportion",
    )
    return parser


def printed_rows(options):
    """`rows` as a list, each printed as soon as it is measured."""
    measured = []
    for row in rows(options):
        measured.append(row)
        print_row(row)
    return measured


def main():
    options = search_step_parser(__doc__).parse_args()
    write_rows(options.json, printed_rows(options))


if __name__ == "__main__":
    run_script(main)
