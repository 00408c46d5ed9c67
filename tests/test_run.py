"""A run's folder when things go wrong: a full disk, a folder that is taken away, several runs at once, logs
cut short.
"""

import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image
from running import ROOT
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from utils.run.checkpoint import load_latest, save_checkpoint
from utils.cli import UserError, run_script
from models_search.dggan.picture import save_growth_picture
from utils.metrics.real_statistics import RealStatistics, save_statistics
from utils.run.files import write_text
from utils.run.folder import Run, load_run
from utils.run.machine import code_commit
from utils.run.save_point import SavePoint, StopRequested, StopSignal

STATE = {"network": {f"weight {index}": torch.randn(400) for index in range(20)}}


@contextmanager
def full_disk(free_bytes):
    """No file can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fails_with_one_line(action, capsys):
    """Whether a script that does this ends with one line on stderr and exit code 1; returns the line."""
    with pytest.raises(SystemExit) as ending:
        run_script(action)
    line = capsys.readouterr().err
    assert ending.value.code == 1 and line.startswith("error: ") and line.count("\n") == 1, line
    return line


def test_a_checkpoint_that_does_not_fit_the_disk_leaves_the_old_one_wherever_the_disk_is_full(
    tmp_path, capsys
):
    save_checkpoint(tmp_path / "checkpoint.pth", STATE)
    size = (tmp_path / "checkpoint.pth").stat().st_size
    save_checkpoint(tmp_path / "checkpoint.pth", {"step": 1})
    for free_bytes in np.linspace(0, size - 1, 40, dtype=int).tolist():
        with full_disk(free_bytes):
            line = fails_with_one_line(lambda: save_checkpoint(tmp_path / "checkpoint.pth", STATE), capsys)
        assert "checkpoint.pth: File too large" in line
        assert load_latest(tmp_path) == ({"step": 1}, tmp_path / "checkpoint.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pth", "checkpoint_previous.pth"]


WRITES = {
    "log": lambda run: run.log("a line"),
    "figures": lambda run: run.record(3, {"loss": 1.0}),
    "grid": lambda run: run.grid("name", torch.zeros(4, 3, 8, 8), 3),
    "checkpoint": lambda run: run.save(STATE, 3),
    "best checkpoint": lambda run: run.save(STATE, 3, best=True),
    "results": lambda run: run.finish({"fid": 1.0}),
    "growth tree": lambda run: save_growth_picture(
        [{"step": 0, "parent": None, "lines": "ab", "fate": "kept"}], run.folder / "tree.png"
    ),
    "statistics": lambda run: save_statistics(
        RealStatistics(np.zeros(9), np.zeros((9, 9))), run.folder / "real.npz"
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_full_disk_ends_the_run_with_one_line_and_the_checkpoint_stays(tmp_path, capsys, name):
    run = Run.create(tmp_path, "run", {})
    run.save({"a": 1}, 2)
    with full_disk(8):
        assert "File too large" in fails_with_one_line(lambda: WRITES[name](run), capsys)
    assert load_run(run.folder)["step"] == 2


def test_a_full_disk_is_noticed_by_tensorboard_and_no_line_of_figures_is_cut(tmp_path, capsys):
    run = Run.create(tmp_path, "run", {})
    with full_disk(300):
        fails_with_one_line(lambda: [run.record(step, {"loss": 1.0}) for step in range(30)], capsys)
    steps = [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()]
    assert steps == list(range(len(steps))) and 0 < len(steps) < 15


@pytest.mark.parametrize("name", sorted(WRITES.keys() - {"statistics"}))
def test_a_folder_taken_away_ends_the_run_with_one_line(tmp_path, capsys, name):
    run = Run.create(tmp_path, "run", {})
    shutil.rmtree(run.folder)
    line = fails_with_one_line(lambda: WRITES[name](run), capsys)
    assert "No such file" in line or "does not exist" in line
    assert not run.folder.exists()


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path):
    start = Barrier(8)

    def create(_):
        start.wait()
        return Run.create(tmp_path, "run", {}).folder

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(create, range(8)))
    assert len(set(folders)) == 8 and all((folder / "config.json").is_file() for folder in folders)


def events_of(path):
    """The events of a TensorBoard file: records of length (8 bytes), checksum (4), content, checksum (4)."""
    content, events = path.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return events


def values_of(run):
    """{tag: (step, value)} of all that a run's TensorBoard files hold; the last one of each tag."""
    events = [event for path in sorted(run.logs.glob("events*")) for event in events_of(path)]
    return {value.tag: (event.step, value) for event in events for value in event.summary.value}


def test_tensorboard_shows_figures_and_the_very_pictures_at_once(tmp_path):
    run = Run.create(tmp_path, "run", {})
    run.record(3, {"loss": 1.5, "unknown": None}, "train")
    saved = run.grid("grid", torch.rand(20, 3, 8, 8), 3, ["first row", "second row"])
    values = values_of(run)
    assert values["train/loss"][0] == 3 and values["train/loss"][1].simple_value == 1.5
    step, picture = values["samples"]
    shown = Image.open(io.BytesIO(picture.image.encoded_image_string))
    assert step == 3 and np.array_equal(np.asarray(shown), np.asarray(Image.open(saved)))
    assert not any("unknown" in tag for tag in values)
    (file,) = run.logs.glob("events*")
    times = [event.wall_time for event in events_of(file)]
    assert all(abs(each - time.time()) < 600 for each in times)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error:
        Run.create(tmp_path / "file" / "logs", "run", {})
    assert re.fullmatch(
        rf"--exp_name: cannot write {tmp_path}/file/logs/run_[\d_]+ \(Not a directory\); "
        "run in a folder you may write to",
        str(error.value),
    )


def test_a_grid_is_enlarged_until_an_image_has_64_pixels(tmp_path):
    run = Run.create(tmp_path, "run", {})
    for resolution, zoom in ((8, 8), (16, 4), (48, 1), (64, 1), (128, 1)):
        path = run.grid(f"grid_{resolution}", torch.rand(10, 3, resolution, resolution), 1)
        assert path == run.folder / "Samples" / f"grid_{resolution}.png"
        assert Image.open(path).width == zoom * (10 * (resolution + 1) + 1)


def test_tensorboard_has_the_command_and_the_hyperparameters_and_knows_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["search.py", "--data_path", "two words", "latin-\udce9"])
    options = {"n_critic": 5, "compile": False, "loss": "hinge", "grow_steps": (3, 9), "fid_stat": None}
    run = Run.create(tmp_path, "run", options)
    values = values_of(run)
    (command,) = values["command/text_summary"][1].tensor.string_val
    assert command == rb"` python search.py --data_path 'two words' 'latin-\udce9' `"  # code: no * is lost
    content = values["_hparams_/session_start_info"][1].metadata.plugin_data.content
    shown = HParamsPluginData.FromString(content).session_start_info.hparams
    assert shown.keys() == {"n_critic", "compile", "loss", "grow_steps"}
    assert shown["n_critic"].number_value == 5 and shown["compile"].bool_value is False
    assert shown["loss"].string_value == "hinge" and shown["grow_steps"].string_value == "3 9"
    assert "_hparams_/session_end_info" not in values
    run.finish({})
    assert "_hparams_/session_end_info" in values_of(run)


def test_tensorboard_shows_backticks_of_a_command_within_more_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["search.py", "a``b`"])
    command = values_of(Run.create(tmp_path, "run", {}))["command/text_summary"][1]
    assert command.tensor.string_val == [b"``` python search.py 'a``b`' ```"]


def test_a_run_that_goes_on_within_a_second_keeps_what_tensorboard_has(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorboardX.event_file_writer.time.time", lambda: 1.7e9)
    for value in (1.0, 2.0, 3.0):
        run, _ = Run.at(tmp_path / "run", {})
        run.record(int(value), {f"loss_{value}": value}, "train")
        run.close()
    tags = {tag for tag in values_of(run) if tag.startswith("train/")}
    assert tags == {"train/loss_1.0", "train/loss_2.0", "train/loss_3.0"}


def test_a_run_going_on_loses_nothing_from_before_its_checkpoint_in_tensorboard_or_metrics(tmp_path):
    run = Run.create(tmp_path, "run", {})
    run.record(
        700, {"loss": 1.5}, "train"
    )  # a search's checkpoints count iterations, its figures training steps
    run.save({}, 2)
    run.record(800, {"loss": 1.4}, "train")
    (path,) = run.logs.glob("events*")
    path.rename(f"{path}.first")  # its name is the second it was opened in
    again = Run.reopen(run.folder, load_run(run.folder))
    again.finish({})
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [700]
    events = [event for path in sorted(run.logs.glob("events*"), reverse=True) for event in events_of(path)]
    scalars = [event for event in events for value in event.summary.value if value.tag == "train/loss"]
    assert [event.step for event in scalars] == [700, 800]
    assert not any(
        event.HasField("session_log") for event in events
    )  # TensorBoard purges all tags from such an event's step on


def test_a_signal_is_answered_at_once_and_a_stopped_run_says_so_in_its_log(tmp_path, capfd):
    run = Run.create(tmp_path, "run", {})
    stop = StopSignal("go on with --load_path RUN", run.note)
    save_point = SavePoint(lambda: run.save({}, 1), stop, stop.hint)
    with pytest.raises(StopRequested) as ending, stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert "stopping at the next save point; once more ends at once" in capfd.readouterr().err
        save_point.reached()
    assert ending.value.exit_code == 130 and load_run(run.folder)["step"] == 1
    assert (run.logs / "log.txt").read_text().endswith(" stopped by SIGINT; go on with --load_path RUN\n")


def test_sigterm_ends_pytest_at_once_inside_a_run_that_would_save_first():
    child = os.fork()
    if not child:
        try:
            with StopSignal("go on"):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_whatever_fails_once_a_signal_has_come_is_a_stop_in_one_line(tmp_path, capsys):
    def script():
        with StopSignal("go on with --load_path RUN"):
            os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("g++ was killed\nand a thousand lines more")

    with pytest.raises(SystemExit) as ending:
        run_script(script)
    *_, line = capsys.readouterr().err.splitlines()
    assert ending.value.code == 130
    assert (
        line
        == "stopped: by SIGINT; not saved (RuntimeError: g++ was killed); if there is a checkpoint, go on with --load_path RUN"
    )


def test_without_a_signal_a_failure_stays_what_it_is():
    with pytest.raises(RuntimeError, match="a bug"), StopSignal("go on"):
        raise RuntimeError("a bug")


def test_lines_of_the_log_reach_a_pipe_at_once(tmp_path):
    program = "import sys, time; from utils.run.folder import Run; Run.create(sys.argv[1], 'run', {}).log('a line'); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        try:
            assert process.stdout.readline().startswith(b"writing to ")
            assert process.stdout.readline() == b"a line\n" and process.poll() is None
        finally:
            process.kill()


def test_a_runs_configuration_names_the_device_that_computes_and_the_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    run = Run.create(tmp_path, "run", {}, torch.device("cpu"))
    environment = json.loads((run.folder / "config.json").read_text())["environment"]
    assert (environment["device"], environment["gpu"]) == ("cpu", None)
    assert (
        environment["numpy"] == np.__version__
        and {"torch", "torchvision", "Pillow", "python", "commit"} <= environment.keys()
    )


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_a_runs_configuration_names_the_commit_of_the_code(tmp_path):
    git = partial(subprocess.check_output, cwd=tmp_path, text=True)
    (tmp_path / "code.py").write_text("first")
    assert code_commit(tmp_path) is None
    git(["git", "init", "--quiet"])
    git(["git", "add", "code.py"])
    git(["git", "-c", "user.name=N", "-c", "user.email=E", "commit", "--quiet", "--message", "first"])
    commit = git(["git", "rev-parse", "HEAD"]).strip()
    assert code_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("second")
    assert code_commit(tmp_path) == f"{commit} (modified)"


def test_temporary_files_of_processes_that_are_gone_are_removed(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = socket.gethostname()
    leftover, others = (
        tmp_path / f".a.pth.{host}.{ended.pid}.part",
        tmp_path / f".a.pth.elsewhere.{ended.pid}.part",
    )
    own = tmp_path / f".b.pth.{host}.{os.getpid()}.part"
    for path in (leftover, others, own):
        path.write_text("")
    write_text(tmp_path / "a.txt", "text")
    assert sorted(tmp_path.iterdir()) == sorted([others, own, tmp_path / "a.txt"])


@pytest.mark.parametrize("name", WRITES)
def test_the_line_for_a_full_disk_names_the_file(tmp_path, capsys, name):
    run = Run.create(tmp_path, "run", {})
    with full_disk(8):
        assert str(tmp_path) in fails_with_one_line(lambda: WRITES[name](run), capsys)
