"""ASHA: random search without weight sharing, with early stopping (section 4.3.5; Li and Talwalkar 2019).

Every trial is a random architecture, trained alone. At each rung the best 1/eta of the trials go on to the
next one; nothing waits until a rung is full.

The score of a trial at a rung depends only on the options, its number and the rung. With one worker so does
the order of the jobs. With several, the order in which jobs end decides who is sent on and how many start.
"""

import math
import time
from dataclasses import dataclass, field

import torch

from models_search.asha import rungs
from models_search.asha.state import SearchState
from models_search.asha.trial import trial_folder, trial_task
from models_search.retraining.materials import find_materials, materials_of_process
from models_search.retraining.task import train_task
from models_search.scored import keep_score, log_cost
from utils.cli import UserError
from utils.metrics.scores import figure_name
from utils.run.save_point import SavePoint
from utils.run.workers import find_workers, first_device, workers
from utils.training.loop import Diverged


def search(state, jobs, pool):
    """Train trials until there is none left to train, or no time. The rule is in rungs.py."""
    try:
        for task, result in pool.as_they_end(train_task, jobs.next_task, jobs.size_left):
            if result:  # else the time is over
                jobs.finish(task, result)
    finally:
        jobs.save()
    if not any(trial.scores for trial in state.trials):
        raise UserError(
            "--budget_hours: no trial has reached its first rung; go on with more, or lower --rungs"
        )
    if not rungs.ranked(state.trials, 1):
        raise Diverged("no trial could be trained: all have diverged")


@dataclass
class Jobs:
    """Hands out trials to train, and keeps what comes of them."""

    state: SearchState
    plan: object
    run: object
    num_images: int
    at_work: dict = field(default_factory=dict)  # {folder: index of the trial that is in training there}

    def next_task(self):
        """The TrainingTask for a free worker, or None if there is none now."""
        state, plan, asha = self.state, self.plan, self.plan.asha
        left = plan.search.budget_seconds - self.run.seconds()
        if left <= 0:
            return None
        if state.interrupted:
            index = state.interrupted.pop(0)
        else:
            job = rungs.next_job(state.trials, len(asha.rungs), asha.eta, plan.most_trials)
            if job is None:
                return None
            index, rung = job
            architecture = str(plan.architecture(index))
            state.trials = rungs.sent(state.trials, index, rung, architecture)
            self.save()
        folder = trial_folder(self.run.folder, index)
        self.at_work[folder] = index
        return trial_task(
            plan, index, state.trials[index].rung, run_folder=self.run.folder, num_images=self.num_images,
            hint=f"go on with --load_path {self.run.folder}",
            deadline=None if left == math.inf else time.time() + left,
        )  # fmt: skip

    def size_left(self):
        """The size of all jobs that are not finished, about: one in eta of a rung goes on. None: no limit."""
        most, asha, trials = self.plan.most_trials, self.plan.asha, self.state.trials
        if most is None:
            return None
        counts = [sum(len(trial.scores) > rung for trial in trials) for rung in range(len(asha.rungs))]
        return sum(
            max(0, most // asha.eta**rung - finished) * self.plan.job_size(rung, self.num_images)
            for rung, finished in enumerate(counts)
        )

    def finish(self, task, result):
        """Keep the result of a task, in the state and in the logs."""
        state, index = self.state, self.at_work.pop(task.folder)
        rung, passes = state.trials[index].rung, self.plan.asha.rungs[state.trials[index].rung]
        score = reward_of(result, self.plan.search.reward)
        state.trials = rungs.finished(state.trials, index, score)
        where = f"trial {index}, {state.trials[index].architecture}, after {passes} passes"
        if score is None:
            self.run.log(f"{where}: failed, {result.get('failure', 'its score is not finite')}")
        else:
            final = result["final"]
            names = [figure_name(name, final["feature_net"]) for name in ("IS", "FID")]
            scores = f"{names[0]} {final['is_mean']:.2f}, {names[1]} {final['fid']:.2f}"
            self.run.log(f"{where}: {scores} (rung {rung + 1} of {len(self.plan.asha.rungs)})")
            figures = {"is": final["is_mean"], "fid": final["fid"], "passes": passes, "trial": index}
            self.run.record(state.finished_jobs, figures, "trial")
            keep_score(
                self.run, self.plan, state.trials[index].architecture, level=self.plan.levels,
                iteration=index + 1, purpose="trial", images=self.plan.search.rl_num_eval_img,
                is_mean=final["is_mean"], fid=final["fid"],
            )  # fmt: skip
        for name in ("checkpoint_best.pth", "checkpoint_previous.pth", "checkpoint_best_previous.pth"):
            (task.folder / "Model" / name).unlink(missing_ok=True)  # hundreds of trials take much room
        self.save()

    def save(self):
        """Save the state as a checkpoint to go on from."""
        self.run.save(self.state.to_saved(), self.state.finished_jobs)


def reward_of(result, reward):
    """The score of a training's result, higher is better: IS or -FID; None if there is none."""
    if "failure" in result:
        return None
    score = result["final"]["is_mean"] if reward == "is" else -result["final"]["fid"]
    return score if math.isfinite(score) else None


# How search.py runs it.


@dataclass
class Materials:
    """What a search needs to work with: whatever may be missing or unreadable."""

    device: torch.device
    num_images: int


def load_materials(plan):
    """Find the workers, the feature network and the images. Raises UserError."""
    find_workers(plan.independent, plan.run.device)
    device = first_device(plan.run.device)
    first = trial_task(plan, 0, 0, run_folder="", num_images=1, hint="")
    first.plan.check(device)
    _, image_set = find_materials(first.plan, device)
    return Materials(device, image_set.num_images)


def new_state(plan, saved):
    """The state to start from: that of the checkpoint `saved`, or no trials.

    Raises UserError where a checkpoint does not fit.
    """
    return SearchState.restore(saved, f"--load_path: {plan.run.load_path}") if saved else SearchState()


def read_images(state, plan, materials):
    """Read the images. Raises UserError."""
    materials_of_process(
        plan.data, plan.labels.source, plan.scoring, None, plan.run.compile, materials.device
    )


def run_search(state, plan, materials, run, stop):
    """Search to the end. Returns (ranked architectures, results).

    Both are plain data, the first for derived.json, the second for results.json.
    """
    jobs = Jobs(state, plan, run, materials.num_images)
    # A training saves itself in its own folder, and the search after each of them and at its end.
    save_point = SavePoint(None, stop, stop.hint)
    with workers(plan.independent, plan.run.device, run.folder, save_point, run.log) as pool:
        search(state, jobs, pool)
    best, passes = rungs.ranked(state.trials, plan.beam.topk), plan.asha.rungs
    run.log(f"the best of {len(state.trials)} trials")
    ranked = []
    for rank, index in enumerate(best, 1):
        trial = state.trials[index]
        reached = passes[len(trial.scores) - 1]
        entry = {"architecture": trial.architecture, "reward": trial.scores[-1], "passes": reached}
        folder = trial_folder(run.folder, index)
        ranked.append({**entry, "trial": str(folder.relative_to(run.folder))})
        run.log(f"  {rank}. {trial.architecture}   reward {trial.scores[-1]:.4g} after {reached} passes")
    longest = plan.iterations(len(passes) - 1, materials.num_images)
    run.log("to go on training the first of them as it is, for example 10 times as long as the last rung:")
    folder = trial_folder(run.folder, best[0])
    run.log(f"  python train_derived.py --load_path {folder} --max_iter {10 * longest}")
    results = {
        "trials": len(state.trials),
        "trials_per_rung": [
            sum(len(trial.scores) > rung for trial in state.trials) for rung in range(len(passes))
        ],
        "failed": sum(None in trial.scores for trial in state.trials),
        **log_cost(run),
    }
    return ranked, results
