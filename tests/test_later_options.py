"""Options that came after the first checkpoints: runs of before do not name them, and go on with their defaults."""

import json

import pytest
from running import (
    assert_equal_states, only_run, read_metrics, short_run, stop_at, use_tiny_net, write_pictures,
)  # fmt: skip

import cfg
from utils.run.checkpoint import load_checkpoint, save_checkpoint

LATER = {script: cfg.SCRIPTS[script].later_defaults() for script in cfg.SCRIPTS}


def forget_later_options(run, script):
    """Take out of a run's files whatever an earlier version did not know."""
    config = json.loads((run / "config.json").read_text())
    path = run / "Model" / "checkpoint.pth"
    saved = load_checkpoint(path)
    for options in (config["options"], saved["options"]):
        for name in LATER[script]:
            del options[name]
    (run / "config.json").write_text(json.dumps(config))
    save_checkpoint(path, saved)


@pytest.mark.parametrize("again", ["typed again", "named"])
@pytest.mark.parametrize("name, call", [("train_derived", 2), ("random_sharing", 3), ("dggan", 5)])
def test_a_run_of_before_goes_on_as_if_it_had_the_defaults(
    type_command, tmp_path, monkeypatch, name, call, again
):
    use_tiny_net(monkeypatch)
    (tmp_path / "pictures").mkdir()
    command = short_run(name, write_pictures(tmp_path / "pictures"))
    script = command.split()[0]
    assert LATER[script]
    type_command(command)
    through = only_run(tmp_path, name).rename(tmp_path / "through")
    stops, heal = stop_at(call, monkeypatch)
    with pytest.raises(stops):
        type_command(command)
    heal()
    stopped = only_run(tmp_path, name)
    forget_later_options(stopped, script)
    type_command(command if again == "typed again" else f"{script} --load_path {stopped}")
    assert only_run(tmp_path, name) == stopped and read_metrics(stopped) == read_metrics(through)
    assert_equal_states(*(load_checkpoint(run / "Model" / "checkpoint.pth") for run in (stopped, through)))


def test_an_option_that_is_not_a_later_one_may_not_be_missing(type_command, fail_command, short_runs):
    options = cfg.parse("train_derived", ["--load_path", "RUN"])
    saved = {name: value for name, value in options.flat().items() if name != "g_lr"}
    with pytest.raises(cfg.UserError, match="lacks the option --g_lr"):
        cfg.resumed(options, saved)
