"""The paper's whole search, projected from measured steps: `python bench/whole_search.py [--quick]`.

The work is fixed, that on CIFAR-10: 90 iterations of 11,730 discriminator and 2,346 generator steps and 30
rewards of 5,000 images, a cell added after 25 and 55 iterations, 10 candidates scored at the end of each
level; then 50,000 generator iterations with architecture a, and 50,000 images scored. Projected is the fast
way's time in one precision. A GPU also records each architecture's steps once.
"""

from functools import partial

from comparison import (
    Spread, as_json, bench_parser, gpu_warm_ups, print_figures, timed, write_rows
)  # fmt: skip
from networks import random_architecture, retraining_options, search_plan
from steps import Workload, fast_steps

from utils.cli import run_script
from utils.inception.feature_net import FEATURE_NETS, load_feature_net
from utils.metrics.evaluate import evaluate
from utils.metrics.generator import noise_sampler
from utils.precision import PRECISIONS

ITERATIONS = (25, 30, 35)  # at 8, 16 and 32 px
STEPS_PER_ITERATION = 15 * 782
REWARDS_PER_ITERATION, CANDIDATES_PER_LEVEL, IMAGES_PER_REWARD = 30, 10, 5000
RETRAINING_STEPS = 5 * 50_000
SCORED_IMAGES = 50_000


def step_seconds(workload, options):
    """(seconds of a step, further seconds to record one), each the Spread of --repeats runs."""

    def run_all():
        runs = (partial(fast_steps, workload, seed) for seed in range(options.repeats))
        return [timed(run, options.device)[0] / options.steps for run in runs]

    *_, before_last = [run_all() for _ in range(max(1, gpu_warm_ups(options.device)))]
    last = run_all()
    recording = [0.0]
    if options.device.type == "cuda":
        recording = [max(0.0, first - again) for first, again in zip(before_last, last)]
    return Spread.of(last), Spread.of(recording)


def image_seconds(generate, latent_dim, net, options):
    """Seconds to generate and score one image: the Spread of --repeats runs."""
    sample = noise_sampler(generate, latent_dim, 0, device=options.device)
    score = partial(evaluate, sample, options.images, net, metrics=("is",), batch_size=100)
    score()
    return Spread.of([timed(score, options.device)[0] / options.images for _ in range(options.repeats)])


def level_row(level, net, options):
    """Hours of one level of the search."""
    plan = search_plan(options.search_width, precision=options.precisions[0], compiled=options.compile)
    workload = Workload.search(plan, options.device, level, options.steps)
    step, recording = step_seconds(workload, options)
    generator = workload.gan.generator.eval()
    generate = partial(generator, architecture=random_architecture(plan, level))
    image = image_seconds(generate, generator.latent_dim, net, options)
    images = (ITERATIONS[level] * REWARDS_PER_ITERATION + CANDIDATES_PER_LEVEL) * IMAGES_PER_REWARD
    return {
        "level": level + 1, "resolution": 8 << level, "step_ms": step.times(1000),
        "recording_ms": recording.times(1000), "image_ms": image.times(1000),
        "training_hours": step.times(ITERATIONS[level] * STEPS_PER_ITERATION / 3600),
        "scoring_hours": image.times(images / 3600),
    }  # fmt: skip


def project_search(net, options):
    """(a row for each level, hours of the whole search)."""
    rows = []
    for level in range(3):
        rows.append(level_row(level, net, options))
        print_figures(rows[-1])
    scoring = Spread.sum(row["scoring_hours"] for row in rows)
    hours = Spread.sum([scoring, *(row["training_hours"] for row in rows)])
    print(f"the search: {hours} hours, {scoring} of them scoring")
    return rows, hours


def project_retraining(net, options):
    """(hours of retraining architecture a, seconds of scoring it)."""
    width, precision = options.retraining_width, options.precisions[0]
    derived = retraining_options(width, precision=precision, compiled=options.compile)
    workload = Workload.retraining(derived, options.device, options.steps)
    step, _ = step_seconds(workload, options)
    average = workload.gan.average.eval()
    hours = step.times(RETRAINING_STEPS / 3600)
    seconds = image_seconds(average, average.latent_dim, net, options).times(SCORED_IMAGES)
    print(f"retraining a, {step.times(1000)} ms a step: {hours} hours for 50,000 generator iterations")
    print(f"scoring 50,000 images: {seconds} s")
    return hours, seconds


def main():
    parser = bench_parser(__doc__)
    parser.add_argument(
        "--search_width", type=int, default=128, help="shared generator's width; the discriminator has half"
    )
    parser.add_argument("--retraining_width", type=int, default=256, help="the same of the derived one")
    parser.add_argument("--steps", type=int, default=10, help="steps in a run")
    parser.add_argument("--images", type=int, default=300, help="images in a measured score")
    parser.add_argument("--feature_net", default="efficientnet-lite0", choices=FEATURE_NETS)
    parser.add_argument("--feature_precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--compile", action="store_true", help="compile what the scripts' --compile compiles")
    parser.add_argument("--inception_path", help="weights of --feature_net inception")
    options = parser.parse_args()
    if options.quick:
        options.search_width, options.retraining_width, options.repeats, options.images = 32, 32, 2, 100
    precision = options.precisions[0]
    net = load_feature_net(
        options.feature_net, inception_path=options.inception_path, precision=options.feature_precision,
        compiled=options.compile, device=options.device,
    )  # fmt: skip
    widths = f"{options.search_width} and {options.retraining_width}"
    print(f"training in {precision}, scoring by {net.name}, widths {widths}")
    rows, search_hours = project_search(net, options)
    retraining_hours, seconds = project_retraining(net, options)
    totals = {"search_hours": search_hours, "retraining_hours": retraining_hours, "scoring_seconds": seconds}
    write_rows(options.json, rows, totals=as_json(totals), feature_net=net.name, precision=precision)


if __name__ == "__main__":
    run_script(main)
