"""A run's folder, which holds all that is needed to understand its results.

logs/EXP_NAME_TIME/
    config.json    every option as resolved, versions, machine
    results.json   what came out
    scored.jsonl   of a search: every architecture it scored
    Log/           log.txt, metrics.jsonl, TensorBoard events
    Model/         checkpoint.pth, the one before it, checkpoint_best.pth
    Samples/       grids of images on fixed noise
"""

import fcntl
import json
import math
import os
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tqdm import tqdm

from utils.cli import UserError, naming, warn
from utils.console import go_on_without
from utils.distributed import Lost, from_first, highest, is_first, size
from utils.images import grid, save_picture
from utils.progress import spoken
from utils.run.checkpoint import load_latest, save_checkpoint
from utils.run.files import write_json, write_text
from utils.run.follower import Follower
from utils.run.machine import environment
from utils.run.schema import COUNT, Least, refuse_other_parts
from utils.run.shown import shown_command, shown_options
from utils.run.together import refuse_other_options

POSITION = Least(  # what Run.save adds; what it did not always add comes as None
    options=dict, step=COUNT, metrics_bytes=COUNT, scored_bytes=(None, COUNT), seconds=(float, COUNT)
)


class Run:
    """The folder that one run writes to, and its logs.

    Make it with `Run.create` or `Run.reopen`, after everything that the user typed has been checked.
    options: {option: value}, plain data; part of every checkpoint. label: put before the run's lines on the
    console, where several runs write.
    """

    def __init__(self, folder, options, label=""):
        self.folder, self.options, self.label = Path(folder), options, label
        self.models, self.logs, self.samples = (self.folder / name for name in ("Model", "Log", "Samples"))
        self.metrics, self.scored = self.logs / "metrics.jsonl", self.folder / "scored.jsonl"
        self._earlier_seconds, self._started, self._lock = 0.0, time.monotonic(), None

    @classmethod
    def create(cls, root, exp_name, options, device=None):
        """A run in a new folder root/EXP_NAME_TIME.

        The folder never existed before, even if many runs start at once. Raises UserError if it cannot be
        made.
        """
        stamp, is_first = time.strftime("%Y_%m_%d_%H_%M_%S"), not Path(root).exists()
        for attempt in range(1000):
            folder = Path(root) / f"{exp_name}_{stamp}{f'_{attempt}' if attempt else ''}"
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                continue
            except OSError as error:
                if is_first:
                    with suppress(OSError):  # not made, or another run is in it
                        Path(root).rmdir()
                reason = error.strerror
                raise UserError(
                    f"--exp_name: cannot write {folder} ({reason}); run in a folder you may write to"
                ) from None
        run = cls(folder, options)
        run._begin(device)
        run.log(f"writing to {folder}")
        return run

    @classmethod
    def at(cls, folder, options, device=None, label="", patience=0):
        """(run, its newest checkpoint) in exactly this folder, for work that the same command goes on with.

        The checkpoint is None if there is none, or none that is whole: then the run begins anew.
        patience: seconds to wait for another process that still writes there.
        """
        run, saved = cls(folder, options, label), None
        run._lock_folder(patience)
        with suppress(UserError):
            saved, _ = load_latest(run.models)
        if saved:
            run._earlier_seconds = saved["seconds"]
            run._open(saved["metrics_bytes"], saved.get("scored_bytes") or 0)
        else:
            run._begin(device)
        return run, saved

    def _begin(self, device):
        """Make the sub-folders and config.json, and open the logs."""
        for sub_folder in (self.models, self.logs, self.samples):
            sub_folder.mkdir(parents=True, exist_ok=True)
        configuration = {"options": self.options, "environment": environment(device)}
        write_json(self.folder / "config.json", configuration)
        self._open()
        self._show_options()

    @classmethod
    def reopen(cls, path, saved, options=None):
        """The run of a checkpoint that `load_run` read.

        Figures and scores written after that checkpoint are dropped: they will come again.
        options: those to go on with, by default the saved ones.
        """
        run = cls(find_run(path), options or saved["options"])
        run._earlier_seconds = saved["seconds"]
        run._open(saved["metrics_bytes"], saved["scored_bytes"] or 0)
        run._show_options(saved["step"])
        run.log(f"going on with {run.folder} from step {saved['step']}")
        return run

    def _open(self, metrics_bytes=0, scored_bytes=0):
        """Lock the folder and open the logs; metrics.jsonl and scored.jsonl are cut to these lengths.

        From here on the program goes on if its console fails.
        """
        if self._lock is None:
            self._lock_folder()
        self.metrics.touch()
        for file, kept in ((self.metrics, metrics_bytes), (self.scored, scored_bytes)):
            if file.exists():
                os.truncate(file, min(kept, file.stat().st_size))
        go_on_without(self.note)
        # Not SummaryWriter: its thread dies if the disk is full, and the program then waits for it for ever.
        # No session-start event either: at this event TensorBoard drops all figures at later steps, but each
        # tag counts its own steps.
        # The file is named after the time in seconds: one opened within the same second would replace it.
        number = len(list(self.logs.glob("events.*")))
        with naming(self.logs / "events"):
            self._tensorboard = EventsWriter(str(self.logs / "events"), f".{number}" if number else "")

    def _lock_folder(self, patience=0):
        """Lock the folder, or raise UserError if another process does not give it up in so many seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Stays open: the lock is released when the process ends, even if it is killed.
        self._lock, end = open(self.folder / ".lock", "a"), time.monotonic() + patience
        while True:
            try:
                return fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= end:
                    message = f"another process is writing to {self.folder}; let it end, or stop it first"
                    raise UserError(f"--load_path: {message}") from None
            time.sleep(0.5)

    @contextmanager
    def removed_if_refused(self):
        """Inside, a mistake of the user's removes the folder of a run that has just been made.

        The mistake may be one that another process has found.
        """
        try:
            yield
        except (UserError, Lost):
            if not any(self.models.iterdir()):
                self.close()
                shutil.rmtree(self.folder)
                with suppress(OSError):  # other runs are there
                    self.folder.parent.rmdir()
            raise

    def seconds(self):
        """How long the run has taken, including earlier processes up to their last checkpoints."""
        return self._earlier_seconds + time.monotonic() - self._started

    def is_past(self, deadline):
        """Whether the run has taken more seconds than `deadline`, by the clock of the first process."""
        return deadline < math.inf and bool(highest(is_first() and self.seconds() > deadline))

    def log(self, message):
        """One line on the console, above any progress bar, and in log.txt."""
        tqdm.write(self.label + message)
        sys.stdout.flush()  # otherwise a pipe or file gets the line hours later
        spoken()
        self.note(message)

    def note(self, message):
        """One line in log.txt alone. Of a name that is no UTF-8, the odd bytes become escapes."""
        path = self.logs / "log.txt"
        with naming(path), open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def record(self, step, figures, prefix="", iteration=None):
        """Record figures {name: number or None} of one step, without the None.

        They become a line of metrics.jsonl, with the `iteration`, if there is one, and the `seconds` since
        the run's start, and TensorBoard scalars `prefix/name` over the steps.
        """
        named = {
            f"{prefix}/{name}" if prefix else name: value
            for name, value in figures.items()
            if value is not None
        }
        clock = {"step": step} if iteration is None else {"step": step, "iteration": iteration}
        line = {**clock, "seconds": round(self.seconds(), 2), **named}
        with naming(self.metrics), open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._show(step, *(summary.scalar(name, value) for name, value in named.items()))

    def keep_score(self, entry):
        """A line of scored.jsonl: plain data on an architecture that was scored, and the seconds by now.

        Write it in the moment that the state counts the score, so that a checkpoint has both or neither.
        """
        with open(self.scored, "a", encoding="utf-8") as file:
            file.write(json.dumps({**entry, "seconds": round(self.seconds(), 1)}) + "\n")

    def grid(self, name, images, step, labels=()):
        """Write images (N, 3, R, R) as Samples/NAME.png, and show the same picture in TensorBoard.

        labels: a text for each row of ten images, see utils.images.grid. Returns the path.
        """
        picture = grid(images, zoom=max(1, 64 // images.shape[-1]), labels=labels)
        path = save_picture(picture, self.samples / f"{name}.png")
        self._show(step, summary.image("samples", picture, dataformats="HWC"))
        return path

    def _show_options(self, step=0):
        """Show the command and the options in TensorBoard, under Text and HParams."""
        _, start, _ = summary.hparams(shown_options(self.options), {})
        command = summary.text("command", shown_command(["python", *sys.argv]))
        self._show(step, command, start)

    def _show(self, step, *summaries):
        """Write to TensorBoard."""
        with naming(self.logs / "events"):
            for each in summaries:
                self._tensorboard.write_event(Event(wall_time=time.time(), step=step, summary=each))
            self._tensorboard.flush()

    def save(self, state, step, best=False):
        """Write `state` as Model/checkpoint.pth, or checkpoint_best.pth if `best`.

        Options, step, time and the lengths of metrics.jsonl and scored.jsonl are added to it.
        """
        scored_bytes = self.scored.stat().st_size if self.scored.exists() else 0
        lengths = {"metrics_bytes": self.metrics.stat().st_size, "scored_bytes": scored_bytes}
        position = {"step": step, **lengths, "seconds": self.seconds()}
        name = "checkpoint_best.pth" if best else "checkpoint.pth"
        save_checkpoint(self.models / name, {"options": self.options, **state, **position})

    def finish(self, results):
        """Write results.json and close the log."""
        write_json(self.folder / "results.json", results)
        self._show(0, summary.hparams({}, {})[2])  # HParams lists the run as finished
        with naming(self.logs / "events"):
            self._tensorboard.close()

    def close(self):
        """Close the log and unlock the folder."""
        self._tensorboard.close()
        self._lock.close()


def find_run(path):
    """The folder of a run, from that folder or from a checkpoint in its Model folder.

    Raises UserError (--load_path) if there is none.
    """
    path = Path(path)
    folder = path.parent.parent if os.path.isfile(path) else path  # os.path: a name may be too long
    if not os.path.isfile(folder / "config.json"):
        raise UserError(
            f"--load_path: {folder} is not a run's folder; give one that holds config.json and Model/"
        )
    return folder


def load_run(path):
    """The newest good checkpoint of a run, on the CPU."""
    saved, used = load_latest(find_run(path) / "Model")
    saved = {"scored_bytes": None, **saved} if isinstance(saved, dict) else saved
    refuse_other_parts(saved, POSITION, f"--load_path: {used}")
    if used.name != "checkpoint.pth":
        warn(f"checkpoint.pth is damaged, going on from {used.name}")
    return saved


def open_run(options, values, saved, device):
    """The Run of a script: a new one, or the one that --load_path names.

    options: the run options. values: all options as plain data. saved: the checkpoint to go on from, or None.
    --folder_file gets the folder's path.
    """
    refuse_other_options(values)
    if not saved:
        return new_run("logs", options, values, device)
    return _of_all(options, values, Run.reopen, options.load_path, saved, values)


def new_run(root, options, values, device):
    """The Run of a script in a new folder root/EXP_NAME_TIME; the arguments are those of `open_run`."""
    return _of_all(options, values, Run.create, root, options.exp_name, values, device)


def _of_all(options, values, open_folder, *arguments):
    """The Run that open_folder(*arguments) returns in the first process, and a Follower in the others."""
    run = open_folder(*arguments) if is_first() else None
    folder = from_first(lambda: run.folder)
    if run is None:
        return Follower(folder, values)
    if options.folder_file:
        write_text(options.folder_file, f"{run.folder}\n")
    if size() > 1:
        run.log(f"{size()} processes share every batch and every score")
    return run
