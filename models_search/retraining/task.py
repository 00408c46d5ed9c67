"""The training of one architecture as a task: a run folder of its own, in which it goes on if started again.

The result depends only on the task, so any process can do it. A task that has a result is never done again.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

from models_search.retraining.materials import materials_of_process
from models_search.retraining.plan import TrainingPlan
from models_search.retraining.training import Scorer, new_state, train_generator, training_results
from utils.cli import UserError
from utils.metrics.evaluate import NonFiniteImages
from utils.run.files import read_json, write_json
from utils.run.folder import Run
from utils.run.save_point import OutOfTime, SavePoint
from utils.run.schema import Least, refuse_other_parts
from utils.run.workers import one_thread_on_cpu
from utils.training.inputs import StepInputs
from utils.training.loop import Diverged

# A killed process's lock is free at once. On NFS that of a lost machine is free when its time is up.
SECONDS_FOR_THE_LOCK = 120
SCORES = Least(iteration=int, is_mean=float, fid=float)
FAILURE = Least(failure=str, on_nan=str)
RESULT = Least(final=SCORES, best=SCORES, history=list, seconds=float)


@dataclass(frozen=True)
class TrainingTask:
    """What to train, and where.

    folder: of the run. options: {option: value} of train_derived.py, plain data for config.json and
    checkpoints, with which that script can go on. hint: what to type after a stop. result_name: the file of
    the result, in the folder. deadline: a time.time() at which the training stops unfinished. size: how much
    work it is, compared with other tasks.
    """

    plan: TrainingPlan
    folder: Path
    options: dict
    hint: str
    result_name: str = "results.json"
    deadline: float | None = None
    size: float = 1

    @property
    def name(self):
        """What the log calls it."""
        return self.folder.name

    def failed(self, reason):
        """The result of a training that cannot be done."""
        on_nan = self.plan.training.on_nan
        return {"architecture": str(self.plan.architecture), "failure": reason, "on_nan": on_nan}

    def result(self):
        """The result, if there is one: see `train_task`.

        A failure is none if --on_nan rollback now allows another attempt. Raises UserError if the file is
        something else.
        """
        file = self.folder / self.result_name
        if not file.is_file():
            return None
        try:
            result = read_json(file, "--load_path", "")
            refuse_other_parts(result, (FAILURE, RESULT), "--load_path")
        except UserError:
            cure = "remove it, and the training is done again"
            raise UserError(f"--load_path: {file} is not the result of a training; {cure}") from None
        if "failure" in result and result["on_nan"] != self.plan.training.on_nan:
            return None
        return result


def train_task(task, device, stop):
    """Train and score the architecture of a TrainingTask, or read the result if that has been done.

    Returns what results.json says of a training (see training_results). A training that diverges, or makes
    images that are not finite, has a result too: {"architecture", "failure", "on_nan"}. stop: see SavePoint;
    after a signal, what is done so far is saved and StopRequested is raised. At the deadline it is saved too,
    and None is returned.
    """
    result = task.result()
    if result:
        return result
    with one_thread_on_cpu(device), _memory_errors(task, device):
        label = f"{task.name}: "
        run, saved = Run.at(task.folder, task.options, device, label, SECONDS_FOR_THE_LOCK)
        try:
            result = _train(task, run, saved, device, stop)
        except (Diverged, NonFiniteImages) as error:
            run.log(f"failed: {error}")
            result = task.failed(str(error))
        except OutOfTime:
            return None
        finally:
            run.close()
    write_json(task.folder / task.result_name, result)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # another process may need the memory
    return result


def _train(task, run, saved, device, stop):
    """Train to the end from the checkpoint `saved`, or from the start, and return the results."""
    plan = task.plan
    materials = materials_of_process(
        plan.data, plan.label_source, plan.scoring, plan.fid_stat, plan.run.compile, device
    )
    state = new_state(plan, device)
    if saved:
        state.restore(saved, f"--load_path: {task.folder}")
    inputs = StepInputs(
        materials.images, plan.run.random_seed, plan.training, plan.network.latent_dim, plan.classes
    )
    save_point = SavePoint(
        lambda: run.save(state.to_saved(), state.step), stop, task.hint, deadline=task.deadline
    )
    scorer = Scorer(plan, materials.feature_nets, materials.reals, run)
    total = plan.total_steps(materials.images.num_images)
    train_generator(state, plan, inputs, total, scorer, run, save_point)
    return training_results(plan, state, run)


@contextlib.contextmanager
def _memory_errors(task, device):
    """Turn an out-of-memory error into a UserError: with fewer processes on the device it may fit."""
    try:
        yield
    except torch.OutOfMemoryError:
        problem = f"{task.folder.name} does not fit the memory of {device}"
        raise UserError(f"--workers: {problem}; use fewer, or smaller networks or batches") from None
