"""The paper's CIFAR-10 search, retraining and scoring, projected from measured steps: `python bench/whole_search.py [--quick]`.

The work is fixed: 90 iterations of 11,730 discriminator and 2,346 generator steps and 30 rewards of 5,000 images, a cell added after
25 and 55 iterations, 10 candidates scored at the end of each level; then 50,000 generator iterations with architecture a, and 50,000
images scored. What is projected is the fast way's time in one precision; a run on a GPU also records each architecture's steps once.
"""

from functools import partial

from comparison import Spread, as_json, bench_parser, timed, warm_ups, write_rows
from steps import LATENT, PUBLISHED, RandomImages, build, fast_steps, lower_beam

from models_search.autogan.controller import Controller
from utils.cli import run_script
from utils.inception.feature_net import FEATURE_NETS, load_feature_net
from utils.metrics.evaluate import evaluate
from utils.precision import PRECISIONS
from utils.metrics.generator import noise_sampler

ITERATIONS = (25, 30, 35)  # at 8, 16 and 32 px
STEPS_PER_ITERATION = 15 * 782
REWARDS_PER_ITERATION, CANDIDATES_PER_LEVEL, IMAGES_PER_REWARD = 30, 10, 5000
RETRAINING_STEPS = 5 * 50_000
SCORED_IMAGES = 50_000


def step_seconds(gan, resolution, options, policy=None, level=None):
    """(seconds of a step, further seconds of a step that is recorded first), each the Spread of --repeats runs."""
    images = RandomImages(options.steps * 64, resolution, options.device)
    seeds = range(options.repeats)
    run = partial(
        fast_steps, gan, images, options.steps, policy=policy, level=level, precision=options.precisions[0]
    )

    def once_through():
        return [timed(partial(run, seed=seed), options.device)[0] / options.steps for seed in seeds]

    *_, before_last = [once_through() for _ in range(max(1, warm_ups(options.device)))]
    last = once_through()
    is_recorded = options.device.type == "cuda"
    return Spread.of(last), Spread.of(
        [max(0.0, first - again) if is_recorded else 0.0 for first, again in zip(before_last, last)]
    )


def image_seconds(generator, net, options, architecture=None):
    """Seconds to generate and score one image: the Spread of --repeats runs."""
    sample = noise_sampler(partial(generator, architecture=architecture), LATENT, 0, device=options.device)
    score = partial(evaluate, sample, options.images, net, metrics=("is",), batch_size=100)
    score()
    return Spread.of([timed(score, options.device)[0] / options.images for _ in range(options.repeats)])


def level_row(level, net, options):
    """Hours of one level of the search."""
    width = options.search_width
    gan = build(
        options.device,
        fast=True,
        gf_dim=width,
        df_dim=width // 2,
        precision=options.precisions[0],
        compiled=options.compile,
    )
    beam = lower_beam(level)
    step, recording = step_seconds(gan, 8 << level, options, policy=(Controller(level), beam), level=level)
    architecture = lower_beam(level + 1)[0].architecture
    image = image_seconds(gan.generator.eval(), net, options, architecture)
    images = (ITERATIONS[level] * REWARDS_PER_ITERATION + CANDIDATES_PER_LEVEL) * IMAGES_PER_REWARD
    return {
        "level": level + 1, "resolution": 8 << level, "step_ms": step.times(1000), "recording_ms": recording.times(1000),
        "image_ms": image.times(1000), "training_hours": step.times(ITERATIONS[level] * STEPS_PER_ITERATION / 3600),
        "scoring_hours": image.times(images / 3600),
    }  # fmt: skip


def main():
    parser = bench_parser(__doc__)
    parser.add_argument(
        "--search_width",
        type=int,
        default=128,
        help="width of the shared generator; the discriminator has half of it",
    )
    parser.add_argument("--retraining_width", type=int, default=256, help="the same of the derived one")
    parser.add_argument("--steps", type=int, default=10, help="steps in a run")
    parser.add_argument("--images", type=int, default=300, help="images in a measured score")
    parser.add_argument("--feature_net", default="efficientnet-lite0", choices=FEATURE_NETS)
    parser.add_argument("--feature_precision", default="float32", choices=PRECISIONS)
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the feature network and both networks; in the search the discriminator",
    )
    parser.add_argument("--inception_path", help="weights of --feature_net inception")
    options = parser.parse_args()
    if options.quick:
        options.search_width, options.retraining_width, options.repeats, options.images = 32, 32, 2, 100
    net = load_feature_net(
        options.feature_net, inception_path=options.inception_path, precision=options.feature_precision, compiled=options.compile,
        device=options.device,
    )  # fmt: skip
    print(
        f"training in {options.precisions[0]}, scoring by {net.name}, widths {options.search_width} and {options.retraining_width}"
    )
    rows = []
    for level in range(3):
        rows.append(level_row(level, net, options))
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    scoring = Spread.sum(row["scoring_hours"] for row in rows)
    hours = Spread.sum([scoring, *(row["training_hours"] for row in rows)])
    print(f"the search: {hours} hours, {scoring} of them scoring")

    gan = build(
        options.device, fast=True, gf_dim=options.retraining_width, df_dim=options.retraining_width // 2, architecture=PUBLISHED,
        precision=options.precisions[0], compiled=options.compile,
    )  # fmt: skip
    step, _ = step_seconds(gan, 32, options)
    image = image_seconds(gan.average.eval(), net, options)
    totals = {
        "search_hours": hours,
        "retraining_hours": step.times(RETRAINING_STEPS / 3600),
        "scoring_seconds": image.times(SCORED_IMAGES),
    }
    print(
        f"retraining a, {step.times(1000)} ms a step: {totals['retraining_hours']} hours for 50,000 generator iterations"
    )
    print(f"scoring 50,000 images: {totals['scoring_seconds']} s")
    write_rows(
        options.json, rows, totals=as_json(totals), feature_net=net.name, precision=options.precisions[0]
    )


if __name__ == "__main__":
    run_script(main)
