"""A run's folder: configuration, log, figures, pictures, checkpoints and results, so that a result explains itself.

logs/EXP_NAME_TIME/
    config.json    every option as resolved, versions, machine
    results.json   what came out
    Log/           log.txt, metrics.jsonl, TensorBoard events
    Model/         checkpoint.pth, the one before it, checkpoint_best.pth
    Samples/       grids of images on fixed noise
"""

import contextlib
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tqdm import tqdm

from utils.run.checkpoint import load_latest, save_checkpoint
from utils.cli import Ending, UserError
from utils.images import save_grid, to_uint8
from utils.run.files import write_json


class Run:
    """Where one run writes. Make it with `Run.create` or `Run.reopen`, after everything the user gave has been checked."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.models, self.logs, self.samples = (self.folder / name for name in ("Model", "Log", "Samples"))
        self.metrics = self.logs / "metrics.jsonl"
        self._seconds_before, self._since = 0.0, time.monotonic()

    def seconds(self):
        """How long the run has taken, sessions before this one included, each up to its last checkpoint."""
        return self._seconds_before + time.monotonic() - self._since

    @classmethod
    def create(cls, root, exp_name, config, device=None):
        """A new folder root/EXP_NAME_TIME; never one that exists, however many runs start at once."""
        stamp = time.strftime("%Y_%m_%d_%H_%M_%S")
        for attempt in range(1000):
            folder = Path(root) / f"{exp_name}_{stamp}{f'_{attempt}' if attempt else ''}"
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                continue
            except OSError as error:
                raise UserError(
                    f"--exp_name: cannot write {folder} ({error.strerror}); run in a folder you may write to"
                ) from None
        run = cls(folder)
        for sub_folder in (run.models, run.logs, run.samples):
            sub_folder.mkdir()
        write_json(folder / "config.json", {"options": config, "environment": environment(device)})
        run._open()
        run.log(f"writing to {folder}")
        return run

    @classmethod
    def reopen(cls, path, state):
        """The folder of a checkpoint that `load_run` gave; figures that metrics.jsonl got after it are dropped, they come again."""
        run = cls(run_folder(path))
        run._seconds_before = state.get("seconds", 0.0)  # none in checkpoints of earlier versions
        run._open(state["metrics_bytes"])
        run.log(f"going on with {run.folder} from step {state['step']}")
        return run

    def _open(self, metrics_bytes=0):
        """Lock the folder and open the logs, to go on from so many bytes of metrics.jsonl."""
        self._lock = open(
            self.folder / ".lock", "a"
        )  # held open: the lock ends with the process, however that ends
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"--load_path: another process is writing to {self.folder}; let it end, or stop it first"
            ) from None
        self.metrics.touch()
        os.truncate(self.metrics, min(metrics_bytes, self.metrics.stat().st_size))
        # Not SummaryWriter: its thread dies of a full disk, and the program then waits for it for ever.
        # It is told of no new session: that would take away all that stands at later steps, and tags count different things.
        self._tensorboard = EventsWriter(str(self.logs / "events"))

    def log(self, message):
        """One line on the console, above any progress bar, and in log.txt."""
        tqdm.write(message)
        sys.stdout.flush()  # into a pipe or a file, lines would wait for hours
        self.note(message)

    def note(self, message):
        """One line in log.txt alone."""
        with open(self.logs / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def record(self, step, figures, prefix=""):
        """Figures of one step: a line of metrics.jsonl and TensorBoard scalars `prefix/name`; only numbers, no None."""
        named = {
            f"{prefix}/{name}" if prefix else name: value
            for name, value in figures.items()
            if value is not None
        }
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **named}) + "\n")
        self._show(step, *(summary.scalar(name, value) for name, value in named.items()))

    def grid(self, name, images, step):
        """Write images (N, 3, R, R) as Samples/NAME.png and to TensorBoard; returns the path."""
        path = save_grid(images, self.samples / f"{name}.png", zoom=max(1, 64 // images.shape[-1]))
        self._show(step, summary.image("samples", to_uint8(images).cpu().numpy(), dataformats="NCHW"))
        return path

    def _show(self, step, *summaries):
        """Tell TensorBoard."""
        for each in summaries:
            self._tensorboard.write_event(Event(wall_time=time.time(), step=step, summary=each))
        self._tensorboard.flush()

    def save(self, state, step, best=False):
        """Write Model/checkpoint.pth (or checkpoint_best.pth) at `step`, with the length of metrics.jsonl and the time taken so far."""
        state = {
            **state,
            "step": step,
            "metrics_bytes": self.metrics.stat().st_size,
            "seconds": self.seconds(),
        }
        save_checkpoint(self.models / ("checkpoint_best.pth" if best else "checkpoint.pth"), state)

    def finish(self, results):
        """Write results.json and close the log."""
        write_json(self.folder / "results.json", results)
        self._tensorboard.close()


def progress_line(position, total, figures, seconds, done, left, of_what=""):
    """A line for the log, such as "iteration 3 of 90: d_loss 1.21, g_loss 0.33, about 1:02:40 left".

    figures: {name: number or None}. The time is what `left` takes where `done` took so many seconds; `of_what`: if that is not the end
    of everything. None left: no word of time.
    """
    parts = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
    if left is not None:
        parts.append(f"about {tqdm.format_interval(seconds / done * left)} left{of_what}")
    return f"{position} of {total}: {', '.join(parts)}"


def run_folder(path):
    """The run that --load_path names: its folder, or a checkpoint in its Model folder."""
    path = Path(path)
    folder = path.parent.parent if path.is_file() else path
    if not (folder / "config.json").is_file():
        raise UserError(
            f"--load_path: {folder} is not a run's folder; give one that holds config.json and Model/"
        )
    return folder


def load_run(path):
    """State of the newest good checkpoint of a run, on the CPU."""
    state, used = load_latest(run_folder(path) / "Model")
    if used.name != "checkpoint.pth":
        tqdm.write(f"warning: checkpoint.pth is damaged, going on from {used.name}", file=sys.stderr)
    return state


class StopRequested(Ending):
    """A signal asked the run to end, and it has been saved."""

    label = "stopped"

    def __init__(self, signal_number, message):
        super().__init__(f"by {signal.Signals(signal_number).name}; {message}")
        self.exit_code = 128 + signal_number


class SafePoint:
    """Call it wherever the run could be saved: it calls `save()` when that is due, and ends the run there if a signal asked for it.

    Used as a context manager: inside, SIGINT and SIGTERM take note instead of killing; a second one ends the program at once. The
    end by a signal is told to `note`.
    """

    def __init__(self, save, resume_hint, interval_seconds=600, note=lambda message: None):
        self.save, self.resume_hint, self.interval_seconds, self.note = (
            save,
            resume_hint,
            interval_seconds,
            note,
        )
        self.last_save, self.signal_number = time.monotonic(), None

    def __call__(self, due=False):
        if due or self.signal_number or time.monotonic() - self.last_save > self.interval_seconds:
            self.save()
            self.last_save = time.monotonic()
        if self.signal_number:
            raise StopRequested(self.signal_number, self.resume_hint)

    def stop_if_asked(self):
        """A safe point that does no more than end the run, where a signal asked for it: for places that come often."""
        if self.signal_number:
            self()

    def __enter__(self):
        self.previous = {
            number: signal.signal(number, self._take_note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, kind, error, traceback):
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        if self.signal_number and error and not isinstance(error, Ending):
            # Ctrl-C goes to all processes of a terminal: what fails then, such as a compiler that was at work, has been ended by it.
            cause = f"{kind.__name__}: {error}".splitlines()[0][:200]
            error = StopRequested(
                self.signal_number, f"not saved ({cause}); if there is a checkpoint, {self.resume_hint}"
            )
        if isinstance(error, StopRequested):
            self.note(f"{error.label} {error}")
            raise error from None

    def _take_note(self, signal_number, frame):
        if self.signal_number:
            os._exit(128 + signal_number)
        self.signal_number = signal_number
        with contextlib.suppress(OSError):  # not print: the program may be in the middle of one
            os.write(2, b"\nstopping at the next safe point; once more ends at once without saving\n")


def pick_device(name):
    """The torch.device of --device: `auto` takes a CUDA device if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device: '{name}' is no device; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device: there is no {name} here ({torch.cuda.device_count()} CUDA devices); use auto or cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device: '{name}' is not supported; use auto, cpu, cuda or cuda:N")
    return device


def worker_devices(device, workers):
    """The device of each worker process: the one given, or for "cuda" without an index all GPUs in turn."""
    is_any_gpu = device.type == "cuda" and device.index is None
    devices = (
        [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        if is_any_gpu
        else [device]
    )
    return [devices[worker % len(devices)] for worker in range(workers)]


def device_memory(device):
    """Bytes of memory of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def environment(device=None):
    """Versions and machine, for config.json: what a figure needs beside it. device: what computes, by default as --device auto."""
    device = device or pick_device("auto")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: version(package) for package in ("torchvision", "numpy", "Pillow")},
        "commit": code_commit(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def code_commit(folder=Path(__file__).resolve().parents[2]):
    """The git commit of the code, "(modified)" where files differ from it; None for a copy without history."""
    command = [
        "git",
        f"--git-dir={folder / '.git'}",
        f"--work-tree={folder}",
        "describe",
        "--always",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        return subprocess.check_output(
            [*command, "--dirty= (modified)"], stderr=subprocess.DEVNULL, text=True
        ).strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return None
