"""Train one architecture, from scratch or from a search's weights. Or train all that a search kept, and rank.

The architecture is a published one, a vector, or one that a search found.

python train_derived.py --gen_model autogan_cifar10_a --dataset cifar10 --exp_name autogan_cifar10_a
python train_derived.py --derive RUN/derived.json --topk 5 --seeds 3
"""

import dataclasses
from functools import partial

import cfg
from option_groups.training import RetrainOptions
from utils.cli import UserError, answer_first, run_script

if __name__ == "__main__":
    answer_first(partial(cfg.parse, "train_derived"))

from models.architectures import family_name
from models_search.estimate import print_plan
from models_search.retraining.costs import estimate
from models_search.retraining.materials import check_statistics, find_materials, read_materials
from models_search.retraining.plan import training_plan
from models_search.retraining.study import name_after, open_study
from models_search.retraining.table import (
    architecture_row,
    best_training,
    ranked_rows,
    training_row,
    write_table,
)  # fmt: skip
from models_search.retraining.task import TrainingTask, train_task
from models_search.retraining.training import (
    Scorer,
    new_state,
    start_from,
    train_generator,
    training_results,
)  # fmt: skip
from utils.distributed import from_first, is_first, size
from utils.run.derived import read_derived
from utils.run.folder import load_run, open_run
from utils.run.machine import pick_device
from utils.run.save_point import SavePoint, StopSignal
from utils.run.together import together
from utils.run.workers import check_workers, find_workers, first_device, workers
from utils.training.inputs import StepInputs
from utils.training.loop import Diverged
from utils.training.sizes import count_parameters

# What may differ when a derivation goes on: more of the same, or another view of it.
FREE_IN_DERIVATION = cfg.FREE_ON_RESUME | {"topk", "seeds", "rank_by"}


def main():
    options = cfg.parse("train_derived")
    if options.retrain.derive:
        derive(options)
    else:
        train_one(options)


# One architecture


def train_one(options):
    """Train the architecture that the options name, or go on with --load_path."""
    options, saved = from_first(cfg.find_run, options), None
    if options.run.load_path:
        saved = load_run(options.run.load_path)
        options = cfg.resumed(options, saved["options"])
    architecture = cfg.generator_architecture(options)
    if architecture is None:
        ways = "--arch, --arch_file of a search, or a published --gen_model"
        raise UserError(f"--arch: no architecture to train; give {ways}")
    plan, device = training_plan(options, architecture), pick_device(options.run.device)
    plan.check(device)
    if size() > 1 and options.estimating.estimate:
        raise UserError("--estimate: one process measures; start it without torchrun")
    if options.run.dry_run or options.estimating.estimate:
        resolved = {"script": "train_derived.py", "options": options.flat(), "processes": size()}
        found = options.estimating.estimate and estimate([plan], device)
        print_plan(resolved | plan.describe(), found, options.run)
        return

    # Where the training stands.
    state = new_state(plan, device)
    if saved:
        state.restore(saved, f"--load_path: {options.run.load_path}")
    elif options.derive.init_from:
        start_from(state.gan, options.derive.init_from, architecture)

    # What can be missing.
    feature_nets, image_set = find_materials(plan, device)

    # What takes long: reading the images, and their statistics.
    run = open_run(options.run, options.flat(), saved, device)
    parameters, count = count_parameters(state.gan.generator), image_set.num_images
    run.log(f"architecture {architecture}, {parameters:,} parameters, {count} images of {image_set.name}")
    if plan.classes:
        run.log(plan.classes.text())
    with run.removed_if_refused():
        materials = read_materials(feature_nets, image_set, plan.data, plan.fid_stat, device)

    inputs = StepInputs(
        materials.images, plan.run.random_seed, plan.training, plan.network.latent_dim, plan.classes
    )
    hint = f"go on with --load_path {run.folder}"
    with StopSignal(hint, run.note) as stop:
        save_point = SavePoint(lambda: run.save(state.to_saved(), state.step), stop, hint)
        scorer = Scorer(plan, feature_nets, materials.reals, run)
        total = plan.total_steps(materials.images.num_images)
        train_generator(state, plan, inputs, total, scorer, run, save_point)

    if not is_first():  # the first process writes
        return
    run.finish(training_results(plan, state, run))
    pictures = sorted(run.samples.glob("iteration_*.png"))
    run.log(f"samples {pictures[-1]}, their history {run.samples / 'training.gif'}")
    for name, entry in (("best", state.best), ("last", state.history[-1])):
        run.log(f"{name} checkpoint: iteration {entry['iteration']}, FID {entry['fid']:.2f}")
    run.log(f"results {run.folder / 'results.json'}; to score the best again (--checkpoint last: the last):")
    run.log("  " + cfg.command("test", options, load_path=run.folder, exp_name="test"))


# The best architectures of a search (section 3.3.3)


def derive(options):
    """Train the --topk best of --derive, --seeds times each, and rank them.

    Each training is what this script does with --arch_file, --rank and --random_seed, in a folder of its own.
    The same command goes on where it stopped.
    """
    retrain, run_options = options.retrain, options.run
    refuse_beside_derive(options)
    entries = read_derived(retrain.derive, "--derive")
    wanted = retrain.topk or len(entries)
    if wanted > len(entries):
        found = f"{retrain.derive} holds {len(entries)} architectures"
        raise UserError(f"--topk: {found}; give 1 to {len(entries)}")
    if len({family_name(entry["architecture"]) for entry in entries}) > 1:
        raise UserError(
            f"--derive: {retrain.derive} holds architectures of several families; give one of each"
        )
    seeds = range(run_options.random_seed, run_options.random_seed + retrain.seeds)
    pairs = [(rank, seed) for rank in range(1, wanted + 1) for seed in seeds]
    trainings = {pair: options_of_training(options, *pair) for pair in pairs}
    plans = {
        pair: training_plan(each, cfg.generator_architecture(each, "--derive"))
        for pair, each in trainings.items()
    }
    check_workers(retrain, run_options.device)
    device = first_device(run_options.device)
    for plan in plans.values():
        plan.check(device)
    if run_options.dry_run or options.estimating.estimate:
        described = [{"rank": rank, "seed": seed, **plans[rank, seed].describe()} for rank, seed in pairs]
        resolved = {"script": "train_derived.py", "options": options.flat(), "trainings": described}
        found = options.estimating.estimate and estimate(plans.values(), device, retrain.workers)
        print_plan(resolved, found, run_options)
        return

    find_workers(retrain, run_options.device)
    first = plans[1, run_options.random_seed]
    feature_nets, _ = find_materials(first, device)  # the same for all
    check_statistics(first, feature_nets)

    # The file may have been written again since, so its architectures are compared, not its path.
    values = {**options.flat(), "derive": [entry["architecture"] for entry in entries]}
    study = open_study(run_options, name_after(retrain.derive), values, FREE_IN_DERIVATION, device)
    hint = f"the same command goes on in {study.folder}"
    tasks = {
        pair: TrainingTask(plans[pair], study.folder / "rank_{:02d}_seed_{}".format(*pair), each.flat(), hint)
        for pair, each in trainings.items()
    }
    with StopSignal(hint, study.note) as stop:
        save_point = SavePoint(None, stop, hint)
        with workers(retrain, run_options.device, study.folder, save_point, study.log) as pool:
            results = dict(zip(pairs, pool.in_order(train_task, tasks.values())))
    # With --extend what was trained has more cells than what was searched.
    entries = [
        {**entry, "architecture": str(plans[rank, run_options.random_seed].architecture)}
        for rank, entry in enumerate(entries[:wanted], 1)
    ]
    write_ranking(study, entries, seeds, tasks, results, options)


def refuse_beside_derive(options):
    """Raise UserError for what goes with a single training only."""
    if size() > 1:
        problem = f"torchrun's {size()} processes share one training, these are several"
        raise UserError(f"--derive: {problem}; start it without torchrun, with --workers")
    for name in {"load_path", "resume"} & options.typed:
        cure = "the same command goes on by itself, and with another --exp_name it starts anew"
        raise UserError(f"--{name}: without effect beside --derive; {cure}")


def options_of_training(options, rank, seed):
    """The Options of one training of a derivation: as if --arch_file, --rank and --random_seed were typed."""
    return dataclasses.replace(
        options,
        derive=dataclasses.replace(options.derive, arch_file=options.retrain.derive, rank=rank),
        run=dataclasses.replace(options.run, random_seed=seed),
        retrain=RetrainOptions(),
    )


def write_ranking(study, entries, seeds, tasks, results, options):
    """Write the table and log the winner. Raises Diverged if no training has a score."""
    rank_by = options.retrain.rank_by
    rows = []
    for rank, entry in enumerate(entries, 1):
        trained = [training_row(seed, tasks[rank, seed].folder, results[rank, seed]) for seed in seeds]
        rows.append(architecture_row({**entry, "rank": rank}, trained))
    if not any(row["last"]["is"]["mean"] is not None for row in rows):
        raise Diverged(f"no training of {study.folder} ended: {rows[0]['trainings'][0]['failure']}")
    rows = ranked_rows(rows, rank_by)
    winner = best_training(rows[0], rank_by)["folder"]
    study.log(write_table(study.folder, rows, rank_by, options.scoring.feature_net))
    study.log(f"the best is {rows[0]['architecture']}, trained in {winner}; to score it again:")
    study.log("  " + cfg.command("test", options, load_path=winner, exp_name="test"))
    study.log(f"wrote {study.folder / 'derive.json'} and derive.md")
    study.close()


if __name__ == "__main__":
    run_script(together(main))
