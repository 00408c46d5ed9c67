"""A run goes on without its console; a script whose result goes there says that it failed. Signals, warnings."""

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest
from running import ROOT

from utils import console
from utils.cli import Parser, UserError, run_script
from utils.progress import Progress, say
from utils.run.folder import Run
from utils.run.save_point import SavePoint, StopRequested, StopSignal

CLOSED = None


def in_child(action, streams=()):
    """The exit code of a process that runs a script. streams: {1 or 2: a file's path or number, or CLOSED}."""
    child = os.fork()
    if not child:
        code = 99
        try:
            for number, path in {1: "/dev/null", 2: "/dev/null", **dict(streams)}.items():
                file = (
                    path if isinstance(path, int) else os.open(path or "/dev/null", os.O_WRONLY | os.O_CREAT)
                )
                os.dup2(file, number)
                stream = open(number, "w", 1, encoding="ascii", closefd=False) if path is not CLOSED else None
                setattr(sys, {1: "stdout", 2: "stderr"}[number], stream)
            for number in (number for number, path in dict(streams).items() if path is CLOSED):
                os.close(number)
            run_script(action)
            code = 0
        except SystemExit as ending:
            code = ending.code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def small_run(folder, name="run"):
    """A script that writes a run's folder and says so."""

    def main():
        run = Run.create(folder, name, {})
        for number in range(3):
            run.log(f"line {number}")
            say("a line of progress")
        with Progress(3, "bar") as bar:
            bar.update(3)
        run.finish({})

    return main


FULL, LOST = "No space left on device", "it is closed"


@pytest.mark.parametrize(
    "streams, failed",
    [
        ({1: "/dev/full"}, [f"stdout failed ({FULL})"]),
        ({2: "/dev/full"}, [f"stderr failed ({FULL})"]),
        ({1: "/dev/full", 2: "/dev/full"}, [f"stdout failed ({FULL})", f"stderr failed ({FULL})"]),
        ({1: CLOSED}, [f"stdout failed ({LOST})"]),
        ({2: CLOSED}, [f"stderr failed ({LOST})"]),
    ],
)
def test_a_run_goes_on_without_its_console_and_its_log_says_so(tmp_path, streams, failed):
    assert in_child(small_run(tmp_path), streams) == 0
    (folder,) = tmp_path.iterdir()
    log = (folder / "Log" / "log.txt").read_text()
    assert "line 2" in log and (folder / "results.json").is_file()
    assert [line[20:] for line in log.splitlines() if "going on" in line] == [
        f"{failure}: going on without it" for failure in failed
    ]


def test_a_run_goes_on_when_nobody_reads_its_pipe_any_more(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    assert in_child(small_run(tmp_path), {1: writing}) == 0
    os.close(writing)
    (log,) = tmp_path.rglob("log.txt")
    assert "stdout failed (Broken pipe): going on without it" in log.read_text()


def test_a_name_that_neither_utf8_nor_the_console_can_encode_ends_no_run(tmp_path):
    name = "é" + os.fsdecode(b"caf\xe9")
    assert in_child(small_run(tmp_path / "logs", name), {1: tmp_path / "out"}) == 0
    (folder,) = (tmp_path / "logs").iterdir()
    assert folder.name.startswith(name)
    assert rb"/\xe9caf" + b"\xe9_2" in (tmp_path / "out").read_bytes()  # as an escape, and the very byte
    assert "/écaf\\udce9_2" in (folder / "Log" / "log.txt").read_text()


@pytest.mark.parametrize("path, cause", [("/dev/full", FULL), (CLOSED, LOST)])
def test_a_result_that_cannot_be_printed_is_an_error_in_one_line(tmp_path, path, cause):
    assert in_child(lambda: print(1), {1: path, 2: tmp_path / "err"}) == 1
    assert (tmp_path / "err").read_text() == f"error: stdout: {cause}\n"


@pytest.mark.parametrize("path", ["/dev/full", CLOSED])
def test_an_exit_code_stays_where_its_line_cannot_be_printed(path):
    def main():
        raise UserError("--option: wrong")

    assert in_child(main, {2: path}) == 2


def test_nothing_is_said_where_a_reader_has_read_enough():
    code = "from utils.cli import run_script; run_script(lambda: print('a' * 10 ** 6))"
    command = f'{sys.executable} -c "{code}" | head -c 5; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + signal.SIGPIPE, "aaaaa", "")


def test_a_file_never_gets_the_number_of_a_closed_stderr(tmp_path):
    def main():
        with open(tmp_path / "file", "w"):
            os.write(2, b"text")

    assert in_child(main, {2: CLOSED}) == 0
    assert (tmp_path / "file").read_text() == ""


def test_warnings_of_libraries_do_not_stand_before_the_error_line(capfd):
    def main():
        warnings.warn("a library's warning")
        raise UserError("--option: wrong")

    with pytest.raises(SystemExit):
        run_script(main)
    assert capfd.readouterr().err == "error: --option: wrong\n"


def test_the_streams_are_as_before_once_a_script_has_ended():
    before = sys.stdout, sys.stderr
    run_script(lambda: None)
    assert (sys.stdout, sys.stderr) == before


def test_a_log_that_fails_too_is_left_to_its_next_line(monkeypatch):
    class Broken:
        closed = False

        def write(self, text):
            raise OSError(5, "Input/output error")

    def note(line):
        raise OSError(28, "No space left on device")

    stream = console.Stream(Broken(), "stdout")
    monkeypatch.setattr(sys, "stdout", stream)
    console.go_on_without(note)
    stream.write("text")
    assert stream.failure.strerror == "Input/output error"


def test_home_is_found_after_an_equals_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/user")
    parser = Parser(prog="a")
    parser.add_argument("--path")
    parser.add_argument("--name")
    options = parser.parse_args(["--path=~/images", "--name", "a~b"])
    assert (options.path, options.name) == ("/home/user/images", "a~b")


# SIGHUP


def test_a_closing_terminal_is_a_stop_even_if_it_says_so_twice(tmp_path, request):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    run = Run.create(tmp_path, "run", {})
    stop = StopSignal("go on with --load_path RUN", run.note)
    save_point = SavePoint(lambda: run.save({}, 1), stop, stop.hint)
    with pytest.raises(StopRequested) as ending, stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        save_point.reached()
    assert ending.value.exit_code == 129 and (run.models / "checkpoint.pth").is_file()
    assert (run.logs / "log.txt").read_text().endswith(" stopped by SIGHUP; go on with --load_path RUN\n")


def test_under_nohup_a_closing_terminal_stops_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal("go on") as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            assert stop.number is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_process_leaves_signals_to_the_first_one(capfd):
    with StopSignal("go on") as stop:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(stop.number or 0)
        assert os.waitpid(child, 0)[1] == 0
    assert capfd.readouterr().err == ""
