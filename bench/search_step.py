"""A step of shared-GAN training, the plain way and the fast way, at each level: `python bench/search_step.py [--quick]`.

A step here is one discriminator update and a fifth of a generator update, batches 64 and 128, an architecture drawn per step.
"""

from comparison import bench_parser, compare, print_row, write_rows
from steps import RandomImages, build, fast_steps, lower_beam, plain_steps

from models_search.controller import Controller
from utils.cli import run_script


def main():
    parser = bench_parser(__doc__)
    parser.add_argument("--gf_dim", type=int, default=128, help="width of the generator; the discriminator has half of it")
    parser.add_argument("--steps", type=int, default=5, help="steps in a run: a multiple of five trains both networks in proportion")
    options = parser.parse_args()
    width, repeats = (32, 2) if options.quick else (options.gf_dim, options.repeats)
    rows = []
    for level in range(3):
        resolution = 8 << level
        images = RandomImages(options.steps * 64, resolution, options.device)
        policy = Controller(level), lower_beam(level)
        plain_gan, *fast_gans = (build(options.device, fast=fast, gf_dim=width, df_dim=width // 2) for fast in (False, True, True))
        for precision, fast_gan in zip(("float32", "bfloat16"), fast_gans):
            rows.append(
                compare(
                    "search", lambda: plain_steps(plain_gan, images, options.steps, policy=policy, level=level),
                    lambda: fast_steps(fast_gan, images, options.steps, policy=policy, level=level, precision=precision),
                    steps=options.steps, repeats=repeats, device=options.device, level=level + 1, resolution=resolution,
                    width=width, precision=precision,
                )
            )  # fmt: skip
            print_row(rows[-1])
    write_rows(options.json, rows)


if __name__ == "__main__":
    run_script(main)
