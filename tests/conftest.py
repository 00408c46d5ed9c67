"""Every test runs on one CPU thread, with a cache folder of its own and the project on the path."""

import signal
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from promises import count, kept_by, table  # noqa: E402
from running import (  # noqa: E402
    default_dtype, load_script, only_run, short_run, use_tiny_net, write_pictures
)  # fmt: skip

import utils.progress  # noqa: E402
from utils.cli import run_script  # noqa: E402
from utils.run.save_point import StopSignal  # noqa: E402

torch.set_num_threads(1)  # the networks here are tiny, and test processes share the machine


def pytest_addoption(parser):
    parser.addoption("--promises", action="store_true", help="print the table of promises at the end")


def pytest_collection_modifyitems(items):
    for item in items:
        item.user_properties += kept_by(item.originalname)


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--promises"):
        stats = terminalreporter.stats
        reports = [each for kind in ("passed", "failed", "error") for each in stats.get(kind, ())]
        for line in table(*count(reports)):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True, scope="session")
def private_cache(tmp_path_factory):
    """Statistics of real images are cached for the whole test session, never in the user's folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(autouse=True, scope="session")
def end_at_sigterm():
    """SIGTERM ends pytest at once, as `timeout N pytest` expects, also inside a test whose code saves first.

    Scripts in processes of their own catch it as ever.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(StopSignal, "caught", (signal.SIGINT, signal.SIGHUP))
        yield


@pytest.fixture(scope="session")
def short_runs(tmp_path_factory, private_cache):
    """A folder with the runs logs/derive, logs/search and logs/dggan of SHORT_RUNS."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "pictures").mkdir()
    write_pictures(folder / "pictures")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        use_tiny_net(monkeypatch)
        for name in ("train_derived", "search", "dggan"):
            script, *arguments = short_run(name, folder / "pictures").split()
            monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
            load_script(script).main()
            only_run(folder, name).rename(folder / "logs" / name.replace("train_derived", "derive"))
    return folder


@pytest.fixture(autouse=True)
def quiet_progress(monkeypatch):
    """No lines of progress between the lines that a test expects, however slow the machine is."""
    monkeypatch.setattr(utils.progress, "FIRST_PAUSE", float("inf"))
    monkeypatch.setattr(utils.progress, "LATER_PAUSE", float("inf"))


@pytest.fixture
def in_float64():
    """All that the test draws is float64, and the same each time: float32 rounding differs between processors."""
    with default_dtype(torch.float64):
        torch.manual_seed(0)
        yield


@pytest.fixture
def type_command(tmp_path, monkeypatch):
    """Run "script option option ...", or a list of these words, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(command):
        script, *arguments = command.split() if isinstance(command, str) else command
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        load_script(script).main()

    return run


@pytest.fixture
def fail_command(type_command, capsys, tmp_path):
    """Run a command that must end with one line on stderr and exit code 2, leaving nothing behind; returns
    that line.
    """

    def run(command):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as ending:
            run_script(lambda: type_command(command))
        assert ending.value.code == 2
        line = capsys.readouterr().err
        assert line.startswith("error: --") or line.startswith("error: unrecognized"), line
        assert line.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return run
