"""Proxy against real (section 4.3.1, Fig. 7): python exps/proxy_correlation.py RUN [options]

Architectures from all over the search space are scored in the shared GAN of a finished search, and after
training each alone. How well do the first scores predict the order of the second? Further options are those
of train_derived.py. The same command goes on where it stopped.
"""

import dataclasses
import json
import math
import shlex
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import cfg  # noqa: E402
from models_search import autogan, random_sharing  # noqa: E402
from models_search.retraining.materials import check_statistics, find_materials, materials_of_process  # noqa: E402
from models_search.retraining.plan import training_plan  # noqa: E402
from models_search.retraining.study import name_after, open_study  # noqa: E402
from models_search.retraining.task import TrainingTask, train_task  # noqa: E402
from models_search.search_space import stratified_architectures  # noqa: E402
from models_search.shared_gan.network import new_shared_gan  # noqa: E402
from utils.cli import Parser, UserError, run_script  # noqa: E402
from utils.data.load import load_images  # noqa: E402
from utils.metrics.correlation import rank_correlations  # noqa: E402
from utils.metrics.evaluate import NonFiniteImages, evaluate  # noqa: E402
from utils.metrics.generator import noise_sampler  # noqa: E402
from utils.metrics.scores import figure_name  # noqa: E402
from utils.option_types import engine, number  # noqa: E402
from utils.randomness import random_generator  # noqa: E402
from utils.run.files import read_json, write_json  # noqa: E402
from utils.run.folder import find_run, load_run  # noqa: E402
from utils.run.schema import COUNT, Least, refuse_other_parts  # noqa: E402
from utils.run.save_point import SavePoint, StopSignal  # noqa: E402
from utils.run.workers import check_workers, find_workers, first_device, workers  # noqa: E402
from utils.training.inputs import steps_per_epoch  # noqa: E402

# Searches whose checkpoint holds a shared GAN: {--method: its make_plan}.
SHARED_GAN_PLANS = {
    "autogan": autogan.make_plan, "slas": autogan.make_plan, "random_sharing": random_sharing.make_plan,
}  # fmt: skip
# Options of train_derived.py that this script sets, or that name other work.
WITHOUT_EFFECT = {"--arch", "--arch_file", "--gen_model", "--rank", "--init_from", "--derive", "--max_iter"}
WITHOUT_EFFECT |= {"--max_epoch", "--load_path", "--resume", "--topk", "--estimate", "--seeds", "--rank_by"}
METRICS = {"is": "is_mean", "fid": "fid"}
SCORES = {"is": (None, float), "fid": (None, float), "seconds": float}


# The search


@dataclasses.dataclass(frozen=True)
class FinishedSearch:
    """A search in a shared GAN that has ended. gan: the state of the shared GAN."""

    folder: Path
    options: object
    plan: object
    gan: dict
    hours: float


def read_search(path):
    """The FinishedSearch in a folder; raises UserError if there is none."""
    try:
        folder, saved = find_run(path), load_run(path)
        results = read_json(folder / "results.json", "RUN", "give a finished search")
        refuse_other_parts(results, Least(hours=(float, COUNT)), f"RUN: {path}")
    except UserError:
        raise UserError(f"RUN: {path} is not the folder of a finished search; give one") from None
    method = saved["options"].get("method")
    if method not in SHARED_GAN_PLANS:
        known = ", ".join(SHARED_GAN_PLANS)
        raise UserError(f"RUN: {path} is no search in a shared GAN; give one of --method {known}")
    if not saved["gan"]["generator_optimizer"]["state"]:
        problem = "was reset after its last iteration, so there is nothing to score in"
        raise UserError(f"RUN: the shared GAN of {path} {problem}; give another search")
    options = cfg.resumed(cfg.parse("search", ["--load_path", str(folder)]), saved["options"])
    plan = SHARED_GAN_PLANS[method](options)
    return FinishedSearch(folder, options, plan, saved["gan"], results["hours"])


# The options


def parse_command_line():
    """(finished search, options of this script, Options of the trainings). A mistake ends in one line."""
    parser = Parser(
        description=__doc__.splitlines()[0], epilog="Further options: python train_derived.py --help"
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a finished search in a shared GAN")
    parser.add_argument(
        "--architectures", type=number(int, at_least=5), default=20, help="how many, all over the space"
    )
    parser.add_argument(
        "--epochs",
        type=number(int, at_least=1, at_most=10**6),
        default=30,
        help="passes over the data to train each for",
    )
    parser.add_argument(
        "--workers", type=number(int, at_least=1, at_most=1024), default=1, help="trainings at once"
    )
    parser.add_argument(
        "--engine", type=engine, default="local", help="local, ray or ray:HOST:PORT, see docs/SCALE.md"
    )
    parser.add_argument(
        "--gpus_per_task", type=number(float, above=0, at_most=1), help="GPUs that a training gets"
    )
    ours, words = parser.parse_known_args()
    for option in sorted(WITHOUT_EFFECT & {word.split("=")[0] for word in words}):
        raise UserError(f"{option}: without effect in this script; leave it out or see --epochs")
    searched = read_search(ours.run)
    # Both sides are scored alike, on as many images as the search's own rewards by default.
    images = searched.options.search.rl_num_eval_img
    shared = shlex.split(cfg.command("train_derived", searched.options))[2:]
    shared += ["--num_eval_imgs", str(images), "--is_splits", str(searched.options.scoring.is_splits)]
    shared += ["--val_freq", str(ours.epochs + 1), "--exp_name", "proxy_correlation"]
    return searched, ours, cfg.parse("train_derived", shared + words)


def options_of_training(options, architecture, iterations):
    """The Options of one training: as if --arch and --max_iter were typed."""
    derive = dataclasses.replace(
        options.derive, arch=tuple(str(architecture).split()), max_iter=iterations, max_epoch=None
    )
    return dataclasses.replace(options, derive=derive)


# The two sides


def read_scores(file):
    """{architecture: scores} that `score_in_shared_gan` has kept. Raises UserError for another file."""
    if not file.is_file():
        return {}
    try:
        scores = read_json(file, "--exp_name", "")
        refuse_other_parts(scores, {str: SCORES}, "--exp_name")
    except UserError:
        cure = "remove it, and it is scored again"
        raise UserError(f"--exp_name: {file} holds no scores of architectures; {cure}") from None
    return scores


def score_in_shared_gan(searched, architectures, plan, file, device, save_point):
    """{architecture: {"is", "fid", "seconds"}} by the weights of the shared GAN; IS and FID may be None.

    plan: a TrainingPlan, for the protocol. file: where the scores are kept, so that none is computed twice.
    """
    scores = read_scores(file)
    gan = new_shared_gan(searched.plan, device)
    gan.load_state_dict(searched.gan)
    generator = gan.generator.eval()
    protocol = plan.label_source, plan.scoring, plan.fid_stat, plan.run.compile
    materials = materials_of_process(plan.data, *protocol, device)
    for architecture in architectures:
        save_point.reached()
        if str(architecture) in scores:
            continue
        started = time.monotonic()
        sample = noise_sampler(
            partial(generator, architecture=architecture), generator.latent_dim, plan.run.random_seed,
            "proxy", device=device, stop_if_asked=save_point.stop_if_asked, classes=plan.classes,
        )  # fmt: skip
        try:
            found = evaluate(
                sample, plan.num_eval_imgs, materials.feature_nets[0], metrics=tuple(METRICS),
                real=materials.reals[0], splits=plan.scoring.is_splits,
                batch_size=plan.scoring.eval_batch_size,
            )  # fmt: skip
            figures = {name: getattr(found, field) for name, field in METRICS.items()}
        except NonFiniteImages:
            figures = dict.fromkeys(METRICS)
        scores[str(architecture)] = {**figures, "seconds": time.monotonic() - started}
        write_json(file, scores)
    return scores


def real_scores(result):
    """{"is", "fid", "seconds"} at the end of a training; IS and FID are None if it failed."""
    if "failure" in result:
        return {**dict.fromkeys(METRICS), "seconds": None}
    return {**{name: result["final"][field] for name, field in METRICS.items()}, "seconds": result["seconds"]}


# The result


def compare(pairs):
    """{metric: rank correlations of proxy and real, and the number of pairs}, of pairs with both scores."""
    found = {}
    for name in METRICS:
        scores = [(pair["proxy"][name], pair["real"][name]) for pair in pairs]
        scores = [pair for pair in scores if None not in pair and all(map(math.isfinite, pair))]
        coefficients = rank_correlations(*map(list, zip(*scores))) if len(scores) > 1 else {}
        found[name] = {"pairs": len(scores), **coefficients}
    return found


def summary(correlations, costs, feature_net):
    """The result as lines of text."""
    lines = []
    for name, found in correlations.items():
        label, count = figure_name(name.upper(), feature_net), found["pairs"]
        for coefficient in ("spearman", "kendall"):
            numbers = found.get(coefficient, {"value": None})
            text = "not defined"
            if numbers["value"] is not None:
                text = "{value:.3f}, 95 % interval [{low:.3f}, {high:.3f}]".format(**numbers)
            lines.append(f"{label}, {count} architectures: {coefficient.capitalize()}'s coefficient {text}")
    cost = "the search took {search:.0f} s, scoring in it {proxy:.1f} s, training alone {real:.0f} s"
    lines.append(cost.format(**costs))
    return lines


def save_scatter(path, pairs, correlations, feature_net):
    """Draw proxy against real for each metric. Returns whether it could: matplotlib is optional."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(8, 4), layout="constrained")
    for name, axes in zip(METRICS, figure.subplots(1, 2)):
        points = [(pair["proxy"][name], pair["real"][name]) for pair in pairs]
        points = [point for point in points if None not in point]
        axes.scatter([proxy for proxy, _ in points], [real for _, real in points], s=18)
        value = correlations[name].get("spearman", {}).get("value")
        axes.set_title("" if value is None else f"Spearman {value:.2f}")
        label = figure_name(name.upper(), feature_net)
        axes.set(xlabel=f"{label} in the shared GAN", ylabel=f"{label} after training alone")
    figure.savefig(path)
    return True


def main():
    searched, ours, options = parse_command_line()
    data, seed = options.data, options.run.random_seed
    check_workers(ours, options.run.device)
    device = first_device(options.run.device)
    random = random_generator(seed, "proxy correlation")
    try:
        architectures = stratified_architectures(
            searched.plan.levels, ours.architectures, random, searched.plan.space
        )
    except ValueError as error:
        raise UserError(f"--architectures: {error}; give fewer") from None
    count = load_images(data.dataset, data.data_path, image_size=data.img_size, fewest=2).num_images
    steps = ours.epochs * steps_per_epoch(count, options.training)
    iterations = math.ceil(steps / options.training.n_critic)
    trainings = [options_of_training(options, each, iterations) for each in architectures]
    plans = [training_plan(each, cfg.generator_architecture(each)) for each in trainings]
    if options.run.dry_run:
        described = {"architectures": list(map(str, architectures)), **plans[0].describe()}
        print(json.dumps({"script": Path(__file__).name, "options": options.flat(), **described}, indent=2))
        return
    find_workers(ours, options.run.device)
    for plan in plans:
        feature_nets, _ = find_materials(plan, device)
    check_statistics(plans[0], feature_nets)

    values = {**options.flat(), "architectures": ours.architectures, "epochs": ours.epochs}
    study = open_study(options.run, name_after(searched.folder), values, cfg.FREE_ON_RESUME, device)
    folder, hint = study.folder, f"the same command goes on in {study.folder}"
    tasks = [
        TrainingTask(plan, folder / f"architecture_{index:03d}", each.flat(), hint)
        for index, (plan, each) in enumerate(zip(plans, trainings))
    ]
    with StopSignal(hint, study.note) as stop:
        save_point = SavePoint(None, stop, hint)
        proxies = score_in_shared_gan(
            searched, architectures, plans[0], folder / "proxies.json", device, save_point
        )
        study.log(f"scored {len(architectures)} architectures in the shared GAN of {searched.folder}")
        with workers(ours, options.run.device, folder, save_point, study.log) as pool:
            reals = list(map(real_scores, pool.in_order(train_task, tasks)))

    pairs = [
        {"architecture": str(each), "proxy": proxies[str(each)], "real": real}
        for each, real in zip(architectures, reals)
    ]
    costs = {"search": 3600 * searched.hours}
    costs |= {side: sum(pair[side]["seconds"] or 0 for pair in pairs) for side in ("proxy", "real")}
    correlations, net = compare(pairs), options.scoring.feature_net
    content = {"feature_net": net, "epochs": ours.epochs, "correlations": correlations, "seconds": costs}
    write_json(folder / "proxy_correlation.json", {**content, "pairs": pairs})
    for line in summary(correlations, costs, net):
        study.log(line)
    drawn = [
        file
        for file in (folder / "scatter.png", folder / "scatter.svg")
        if save_scatter(file, pairs, correlations, net)
    ]
    study.log(f"wrote {folder / 'proxy_correlation.json'}" + "".join(f", {file.name}" for file in drawn))
    study.close()


if __name__ == "__main__":
    run_script(main)
