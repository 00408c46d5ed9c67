"""A trial up to the end of a rung, as a task: an ordinary training, with which train_derived.py can go on."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from models_search.retraining.plan import GROUPS, TrainingPlan
from models_search.retraining.task import TrainingTask
from utils.randomness import derived_seed

NEVER = 10**9  # passes over the data: a trial is drawn and scored at the end of a rung only


@dataclass(frozen=True)
class TrialSchedule:
    """The schedule of a TrainingPlan."""

    ema_decay: float
    lr_decay: bool = False
    score_start: bool = False
    val_freq: int = NEVER
    sample_freq: int = NEVER


def trial_folder(run_folder, index):
    """The folder of a trial's run, in that of the search."""
    return Path(run_folder) / "trials" / f"trial_{index:04d}"


def trial_task(plan, index, rung, *, run_folder, num_images, hint, deadline=None):
    """The TrainingTask of a trial up to the end of a rung.

    What comes out depends on the search's options, `index` and `rung` alone. The result of each rung is a
    file of its own.
    """
    seed = derived_seed(plan.run.random_seed, "trial", index) % 2**31
    groups = {name: getattr(plan, name) for name in GROUPS}
    training = TrainingPlan(
        plan.architecture(index),
        **{**groups, "run": replace(plan.run, random_seed=seed)},
        schedule=TrialSchedule(plan.independent.ema_decay),
        average=plan.independent_average,
        num_eval_imgs=plan.search.rl_num_eval_img,
        iterations=plan.iterations(rung, num_images),
        classes=plan.classes,
    )
    name = f"rung_{plan.asha.rungs[rung]:04d}.json"
    folder = trial_folder(run_folder, index)
    size = plan.job_size(rung, num_images)
    return TrainingTask(training, folder, training_options(training), hint, name, deadline, size)


def training_options(training):
    """The options of train_derived.py that make this training, as plain data."""
    values = {"exp_name": "trial", "gen_model": "shared_gan"}
    for name in GROUPS:
        values |= asdict(getattr(training, name))
    for of_one_call in ("load_path", "config", "dry_run", "folder_file"):
        del values[of_one_call]
    values |= (
        asdict(training.schedule)
        | asdict(training.average)
        | {"arch": tuple(str(training.architecture).split())}
    )
    values |= {"max_iter": training.iterations, "max_epoch": None, "arch_file": None, "init_from": None}
    values |= {"rank": 1, "derive": None, "topk": None, "seeds": 1, "rank_by": "is", "workers": 1}
    values |= {"engine": "local", "gpus_per_task": None}
    return values | {"num_eval_imgs": training.num_eval_imgs, "fid_stat": training.fid_stat}
