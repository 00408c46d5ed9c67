"""ASHA: the rule against the published one, and a search that stops, goes on, or runs out of time."""

import json
import random
import time

import pytest
from running import (
    SHORT,
    SHORT_RUNS,
    assert_equal_states,
    load_script,
    only_run,
    read_metrics,
    short_run,
    stop_at,
    use_tiny_net,
    write_pictures,
)

import cfg
import utils.training.loop
from models_search.asha import rungs
from models_search.asha.plan import make_plan
from models_search.asha.rungs import Trial
from models_search.asha.search import reward_of
from models_search.asha.state import SearchState
from models_search.asha.trial import trial_task
import utils.run.save_point
from utils.cli import UserError
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.run.folder import Run


# The rule


@pytest.mark.parametrize("is_mean, fid", [(2.5, 30.0), (float("nan"), float("nan"))])
def test_a_trials_score_is_its_is_or_minus_its_fid_and_none_if_that_is_not_finite(is_mean, fid):
    result = {"final": {"is_mean": is_mean, "fid": fid}}
    expected = [2.5, -30.0] if fid == 30 else [None, None]
    assert [reward_of(result, reward) for reward in ("is", "fid")] == expected
    assert reward_of({"failure": "NaN"}, "is") is None


@pytest.mark.parametrize("trial", [{}, {"architecture": "1 0 1 1", "scores": [1.0], "rung": "0"}, 3])
def test_a_checkpoint_of_other_trials_is_refused_and_named(trial):
    with pytest.raises(UserError, match="^--load_path: logs/asha is no checkpoint to go on from: trials"):
        SearchState.restore({"trials": [trial]}, "--load_path: logs/asha")


class PublishedRule:
    """Algorithm 2 of Li et al., as it is printed: losses, lower is better; configurations are numbers."""

    def __init__(self, top_rung, eta):
        self.eta, self.top_rung, self.drawn = eta, top_rung, 0
        self.rungs = [{} for _ in range(top_rung + 1)]  # {configuration: loss}
        self.promoted = [set() for _ in range(top_rung + 1)]

    def get_job(self):
        for k in range(self.top_rung - 1, -1, -1):
            by_loss = sorted(self.rungs[k], key=self.rungs[k].get)
            candidates = by_loss[: len(self.rungs[k]) // self.eta]
            promotable = [each for each in candidates if each not in self.promoted[k]]
            if promotable:
                self.promoted[k].add(promotable[0])
                return promotable[0], k + 1
        self.drawn += 1
        return self.drawn - 1, 0


@pytest.mark.parametrize("eta, top_rung, free_workers", [(4, 3, 1), (4, 3, 7), (2, 4, 3), (3, 2, 12)])
def test_jobs_are_handed_out_as_the_published_rule_does(eta, top_rung, free_workers):
    chance, published, trials, at_work = random.Random(eta), PublishedRule(top_rung, eta), [], []
    quality = [chance.random() for _ in range(1000)]
    reached = set()
    for _ in range(700):
        while len(at_work) < free_workers:
            job = rungs.next_job(trials, top_rung + 1, eta)
            assert job == published.get_job()
            trials = rungs.sent(trials, *job, architecture=f"a{job[0]}")
            at_work.append(job)
        index, rung = at_work.pop(chance.randrange(len(at_work)))
        loss = quality[index] + chance.random() / (1 + rung)
        published.rungs[rung][index] = loss
        trials = rungs.finished(trials, index, -loss)
        reached.add(rung)
    assert reached == set(range(top_rung + 1))


def test_a_free_worker_looks_from_the_highest_rung_down_before_it_starts_a_new_trial():
    trials = [
        Trial("a", (4.0,), 0),
        Trial("b", (3.0, 5.0), 1),
        Trial("c", (2.0, 6.0), 1),
        Trial("d", (1.0,), 0),
    ]
    assert rungs.next_job(trials, 3, eta=2) == (2, 2)
    assert rungs.next_job(rungs.sent(trials, 2, 2), 3, eta=2) == (0, 1)
    assert rungs.next_job(rungs.sent(rungs.sent(trials, 2, 2), 0, 1), 3, eta=2) == (4, 0)


def test_fewer_than_eta_trials_at_a_rung_send_nobody_on():
    trials = [Trial("a", (score,), 0) for score in (1.0, 2.0, 3.0)]
    assert rungs.promotable(trials, 0, eta=4) is None
    assert rungs.promotable([*trials, Trial("a", (0.0,), 0)], 0, eta=4) == 2


def test_of_equal_scores_the_earlier_trial_goes_on():
    assert rungs.promotable([Trial("a", (1.0,), 0), Trial("b", (1.0,), 0)], 0, eta=2) == 0


def test_a_failed_trial_counts_at_its_rung_but_never_goes_on():
    trials = [Trial("a", (None,), 0), Trial("b", (1.0,), 0)]
    assert rungs.promotable(trials, 0, eta=2) == 1
    assert rungs.promotable([Trial("a", (None,), 0)] * 4, 0, eta=2) is None


def test_no_trial_starts_beyond_the_most_allowed_but_promotions_go_on():
    trials = [Trial("a", (1.0,), 0), Trial("b", (2.0,), 0)]
    assert rungs.next_job(trials, 2, 2, most_trials=2) == (1, 1)
    assert rungs.next_job(rungs.sent(trials, 1, 1), 2, 2, most_trials=2) is None


def test_the_best_at_the_highest_rung_comes_first_and_each_architecture_once():
    trials = [
        Trial("a", (9.0,), 0), Trial("b", (1.0, 2.0), 1), Trial("c", (1.0, 3.0), 2), Trial("b", (8.0,), 0),
        Trial("d", (1.0, None), 1), Trial("e", (), 0),
    ]  # fmt: skip
    assert rungs.ranked(trials, 9) == [2, 1, 0]
    assert rungs.ranked(trials, 1) == [2]


# Trials


def new_plan(command=""):
    return make_plan(cfg.parse("search", f"{SHORT_RUNS['asha']} {SHORT} {command}".split()[1:]))


def test_a_trial_depends_on_its_number_alone_and_trials_differ():
    def task(index, rung, folder="x"):
        return trial_task(new_plan(), index, rung, run_folder=folder, num_images=20, hint="")

    assert task(3, 0).plan == task(3, 0, "elsewhere").plan
    assert task(3, 0).plan.run.random_seed != task(4, 0).plan.run.random_seed
    assert len({str(task(index, 0).plan.architecture) for index in range(9)}) > 5
    assert [task(3, rung).plan.iterations for rung in range(3)] == [3, 5, 8]  # 5, 10 and 15 steps, n_critic 2


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures):
    """The folder of an uninterrupted search, and how many steps it took."""
    folder, steps = tmp_path_factory.mktemp("finished"), []
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_net(monkeypatch)
        count_steps(monkeypatch, steps)
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.argv", short_run("asha", pictures).split())
        load_script("search").main()
    return only_run(folder, "asha"), len(steps)


def count_steps(monkeypatch, steps):
    original = utils.training.loop.discriminator_step

    def counted(*arguments, **options):
        steps.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(utils.training.loop, "discriminator_step", counted)


def trials_of(run):
    """{file: content} of all trials: results without times, and checkpoints without options."""
    results = {}
    for path in sorted((run / "trials").glob("*/rung_*.json")):
        results[str(path.relative_to(run))] = json.loads(path.read_text())
        del results[str(path.relative_to(run))]["seconds"]
    weights = {path.parent.parent.name: load_checkpoint(path) for path in run.glob("trials/*/Model/*.pth")}
    return results, weights


def test_a_search_trains_promotes_and_ranks_its_trials(finished):
    """Nothing waits for a full rung: of five trials three were among the better half at some time."""
    run, steps = finished
    results = json.loads((run / "results.json").read_text())
    assert results["trials_per_rung"] == [5, 3, 2] and results["trials"] == 5 and results["failed"] == 0
    assert steps == 2 * (5 * 3 + 3 * (5 - 3) + 2 * (8 - 5))
    ranked = json.loads((run / "derived.json").read_text())["architectures"]
    assert [entry["passes"] for entry in ranked] == [3, 3]
    best = json.loads((run / ranked[0]["trial"] / "rung_0003.json").read_text())
    assert (
        ranked[0]["reward"] == best["final"]["is_mean"] and ranked[0]["architecture"] == best["architecture"]
    )
    scored = [json.loads(line) for line in (run / "scored.jsonl").read_text().splitlines()]
    assert [line["purpose"] for line in scored] == ["trial"] * 10 and results["scored_images"] == 80
    scores = [(entry["architecture"], entry["final"]["fid"]) for entry in trials_of(run)[0].values()]
    assert sorted(scores) == sorted((line["architecture"], line["fid"]) for line in scored)
    assert {path.name for path in run.glob("trials/*/Model/*")} == {"checkpoint.pth"}


@pytest.mark.parametrize("call, by_signal", [(2, True), (9, False), (14, True), (20, False)])
def test_a_search_of_trials_that_stops_and_goes_on_equals_the_uninterrupted_one(
    type_command, tmp_path, monkeypatch, pictures, finished, call, by_signal
):
    use_tiny_net(monkeypatch)
    stops, heal = stop_at(call, monkeypatch, by_signal)
    with pytest.raises(stops):
        type_command(short_run("asha", pictures))
    heal()
    run, (unbroken, _) = only_run(tmp_path, "asha"), finished
    type_command(f"search --load_path {run}")
    assert (run / "derived.json").read_text() == (unbroken / "derived.json").read_text()
    assert read_metrics(run) == read_metrics(unbroken)
    (results, weights), (other_results, other_weights) = map(trials_of, (run, unbroken))
    assert results == other_results
    assert_equal_states(weights, other_weights)


def test_no_rung_that_a_trial_has_finished_is_trained_again(
    type_command, tmp_path, monkeypatch, pictures, finished
):
    use_tiny_net(monkeypatch)
    stops, heal = stop_at(14, monkeypatch)
    steps = []
    count_steps(monkeypatch, steps)
    with pytest.raises(stops):
        type_command(short_run("asha", pictures))
    heal()
    type_command(f"search --load_path {only_run(tmp_path, 'asha')}")
    assert len(steps) == finished[1]


def test_the_budget_ends_a_search_in_order_counts_all_sessions_and_can_be_raised(
    type_command, tmp_path, monkeypatch, pictures
):
    use_tiny_net(monkeypatch)
    stops, heal = stop_at(9, monkeypatch)
    with pytest.raises(stops):
        type_command(short_run("asha", pictures))
    heal()
    run = only_run(tmp_path, "asha")
    file = run / "Model" / "checkpoint.pth"
    save_checkpoint(file, {**load_checkpoint(file), "seconds": 7200.0})
    type_command(f"search --load_path {run} --budget_hours 2")
    results = json.loads((run / "results.json").read_text())
    assert 1 <= results["trials_per_rung"][0] < 5 and 2 <= results["hours"] < 2.1
    assert (run / "derived.json").is_file()
    type_command(f"search --load_path {run} --budget_hours 3 --device cpu")
    assert json.loads((run / "results.json").read_text())["trials_per_rung"] == [5, 3, 2]


def test_a_trial_at_work_when_the_time_is_over_is_left_unfinished(
    type_command, tmp_path, monkeypatch, pictures
):
    """Two hours pass at the eighth step, the second of the second trial."""
    use_tiny_net(monkeypatch)
    steps, real = [], time.time
    count_steps(monkeypatch, steps)
    hours = lambda: 2 if len(steps) >= 8 else 0  # noqa: E731
    monkeypatch.setattr(Run, "seconds", lambda run: 3600 * hours())
    monkeypatch.setattr(utils.run.save_point.time, "time", lambda: real() + 3600 * hours())
    type_command(f"{short_run('asha', pictures)} --budget_hours 1")
    run = only_run(tmp_path, "asha")
    assert json.loads((run / "results.json").read_text())["trials_per_rung"] == [1, 0, 0]
    assert len(steps) == 8 and load_checkpoint(run / "trials/trial_0001/Model/checkpoint.pth")["step"] == 2


def test_training_goes_on_with_a_trial_as_with_any_run(type_command, tmp_path, monkeypatch, pictures):
    use_tiny_net(monkeypatch)
    type_command(f"{short_run('asha', pictures)} --max_trials 2")
    trial = only_run(tmp_path, "asha") / "trials" / "trial_0001"
    type_command(f"train_derived --load_path {trial} --max_iter 9")
    results = json.loads((trial / "results.json").read_text())
    assert [score["iteration"] for score in results["history"]][-1] == 9


@pytest.mark.parametrize(
    "options, words",
    [
        ("--budget_hours 0", "--budget_hours: must be more than 0"),
        ("--rungs 5 5", "--rungs: [5, 5] must rise"),
        ("--rungs 0 5", "--rungs: must be at least 1"),
        ("--eta 1", "--eta: must be at least 2"),
        ("--max_trials 4 --topk 5", "--topk: cannot keep 5 of --max_trials 4"),
        ("--reward swd", "--reward: swd is a reward of --method dggan and proggan"),
        ("--img_size 33", "--img_size"),
        ("--ctrl_step 3", "--ctrl_step: without effect with asha"),
    ],
)
def test_a_search_of_trials_refuses_a_mistake_before_it_begins(fail_command, options, words):
    assert words in fail_command(f"search --method asha --device cpu {options}")


def test_a_dry_run_states_the_rungs_and_how_many_trials(type_command, capsys):
    for options, trials in (("", 64), ("--max_trials 9", 9), ("--budget_hours 1", None)):
        type_command(f"search --method asha --dry_run {options}")
        resolved = json.loads(capsys.readouterr().out)
        assert resolved["trials"] == trials and resolved["rungs"] == [5, 20, 80, 320]
        assert resolved["architectures_in_space"] == 36 * 72 * 144
