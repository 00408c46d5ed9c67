"""--reuse_rewards: an architecture that is drawn again in one controller phase keeps its reward."""

import json

import pytest
from running import (
    assert_equal_states, only_run, read_metrics, scored_lines, short_run, stop_at, use_tiny_net, write_pictures,
)  # fmt: skip

from models_search.shared_gan.reward import Reward
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.training.loop import Diverged


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def command(monkeypatch, pictures):
    """A search of few architectures, with many updates: most are drawn several times."""
    use_tiny_net(monkeypatch)
    words = "--ctrl_step 6 --ctrl_sample_batch 2 --only norm=none up=nearest conv=post --reuse_rewards"
    return f"{short_run('search', pictures).replace('--ctrl_step 3 ', '')} {words}"


@pytest.fixture
def rewarded(monkeypatch):
    """(purpose, architecture, reward) of every architecture that is scored, in order."""
    original, found = Reward.__call__, []

    def noting(self, generator, architecture, *purpose, **protocol):
        scored = original(self, generator, architecture, *purpose, **protocol)
        found.append((purpose, architecture, scored.score))
        return scored

    monkeypatch.setattr(Reward, "__call__", noting)
    return found


def controller_lines(run):
    return [line for line in read_metrics(run) if "controller/reward" in line]


def test_an_architecture_is_scored_once_in_an_iteration_and_again_in_the_next(
    type_command, tmp_path, command, rewarded
):
    type_command(command)
    phases = {}
    for purpose, architecture, _ in rewarded:
        if purpose[0] == "reward":
            phases.setdefault(purpose[1], []).append(architecture)
    assert sorted(phases) == [0, 1, 2, 3]
    assert all(len(set(scored)) == len(scored) for scored in phases.values())
    assert set(phases[0]) & set(phases[1])
    run = only_run(tmp_path, "search")
    kept = [line for line in scored_lines(run) if line["purpose"] == "reward"]
    assert len(kept) == sum(map(len, phases.values()))
    lines = controller_lines(run)
    for iteration, scored in phases.items():
        own = [line for line in lines if line["iteration"] == iteration + 1]
        assert sum(line["controller/reused"] for line in own) == 6 * 2 - len(scored) > 0
    reused = 4 * 6 * 2 - len(kept)
    assert json.loads((run / "results.json").read_text())["reused_rewards"] == reused
    log = (run / "Log" / "log.txt").read_text()
    assert f"{reused} rewards were reused" in log
    assert f"reused rewards {6 * 2 - len(phases[0])}" in log


def test_the_reward_of_an_update_is_the_mean_of_the_first_scores_of_its_architectures(
    type_command, tmp_path, monkeypatch, command, rewarded
):
    from models_search.autogan import search

    original, drawn = search.sample_architectures, []

    def noting(controller, beam, count, generator):
        result = original(controller, beam, count, generator)
        drawn.append(result[0])
        return result

    monkeypatch.setattr(search, "sample_architectures", noting)
    type_command(command)
    updates = [each for each in drawn if len(each) == 2][:6]
    first = {}
    for purpose, architecture, reward in rewarded:
        if purpose[:2] == ("reward", 0):
            first.setdefault(architecture, reward)
    means = [line["controller/reward"] for line in controller_lines(only_run(tmp_path, "search"))[:6]]
    assert means == pytest.approx([sum(first[each] for each in pair) / 2 for pair in updates])


@pytest.mark.parametrize("call, by_signal", [(4, True), (9, True), (4, False), (12, False)])
def test_a_search_that_stops_and_goes_on_reuses_the_same_rewards(
    type_command, tmp_path, monkeypatch, command, call, by_signal
):
    type_command(command)
    unbroken = only_run(tmp_path, "search").rename(tmp_path / "unbroken")
    stops, heal = stop_at(call, monkeypatch, by_signal)
    with pytest.raises(stops):
        type_command(command)
    heal()
    run = only_run(tmp_path, "search")
    if not (run / "Model" / "checkpoint.pth").is_file():
        assert not by_signal
        return
    type_command(f"search --load_path {run}")
    assert scored_lines(run) == scored_lines(unbroken)
    assert controller_lines(run) == controller_lines(unbroken)
    assert json.loads((run / "results.json").read_text())["reused_rewards"] > 0
    assert_equal_states(*(load_checkpoint(each / "Model" / "checkpoint.pth") for each in (run, unbroken)))


def test_rewards_of_an_update_that_was_rolled_back_are_not_kept(
    type_command, tmp_path, monkeypatch, command, rewarded
):
    from models_search.autogan import search

    original, calls = search.reinforce, []

    def diverging(*arguments):
        calls.append(len(rewarded))
        if len(calls) == 1:
            raise Diverged("the loss of the controller is nan")
        return original(*arguments)

    monkeypatch.setattr(search, "reinforce", diverging)
    type_command(f"{command} --on_nan rollback")
    run = only_run(tmp_path, "search")
    kept = [line["architecture"] for line in scored_lines(run) if line["purpose"] == "reward"]
    assert kept == [str(each) for purpose, each, _ in rewarded if purpose[0] == "reward"][calls[0] :]


def test_a_checkpoint_without_this_option_is_as_before(type_command, tmp_path, command, monkeypatch):
    stops, _ = stop_at(6, monkeypatch)
    with pytest.raises(stops):
        type_command(command.replace(" --reuse_rewards", ""))
    file = only_run(tmp_path, "search") / "Model" / "checkpoint.pth"
    assert not {"rewards", "reused_rewards"} & load_checkpoint(file).keys()
    assert not any("controller/reused" in line for line in controller_lines(file.parents[1]))


@pytest.mark.parametrize("rewards", [[("0 0 0", 1.0)], [(3, 1.0)], [("0 0 0 0", "x")], 3])
def test_a_checkpoint_whose_rewards_are_none_is_refused(
    type_command, fail_command, tmp_path, command, monkeypatch, rewards, capsys
):
    stops, heal = stop_at(6, monkeypatch)
    with pytest.raises(stops):
        type_command(command)
    heal()
    run = only_run(tmp_path, "search")
    file = run / "Model" / "checkpoint.pth"
    save_checkpoint(file, {**load_checkpoint(file), "rewards": rewards, "reused_rewards": 1})
    capsys.readouterr()
    assert fail_command(f"search --load_path {run}").startswith("error: --load_path: ")


@pytest.mark.parametrize(
    "command, words",
    [
        ("--controller random --reuse_rewards", "--reuse_rewards: without effect with --controller random"),
        ("--method random_sharing --reuse_rewards", "--reuse_rewards: without effect with random_sharing"),
        ("--method asha --reuse_rewards", "--reuse_rewards: without effect with asha"),
    ],
)
def test_it_is_refused_where_no_controller_learns(fail_command, command, words):
    assert words in fail_command(f"search {command}")
