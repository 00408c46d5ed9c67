"""What the project promises (docs/RELIABILITY.md), and the tests that hold it.

`bash exps/test_suite.sh --full` prints the table: it runs the suite with `--promises`, then tests/kill_runs.py.
"""

from collections import Counter
from typing import NamedTuple


class Promise(NamedTuple):
    """A promise and its tests."""

    text: str
    tests: dict  # {name of a test function: number of trials in each of its cases}


PROMISES = {
    "R1": Promise(
        "a search killed anywhere goes on to the same end",
        {
            "test_a_search_that_is_killed_and_goes_on_ends_as_the_unbroken_one": 1,
            "test_a_random_search_that_is_killed_and_goes_on_ends_as_the_unbroken_one": 1,
            "test_a_search_of_trials_that_is_killed_and_goes_on_ends_as_the_unbroken_one": 1,
            "test_a_search_that_stops_and_goes_on_equals_the_uninterrupted_one": 1,
            "test_a_run_that_goes_on_with_an_older_part_of_its_checkpoint_ends_otherwise": 1,
            "test_a_command_typed_again_ends_as_the_run_that_was_not_interrupted": 1,
        },
    ),
    "R2": Promise(
        "so does a training",
        {
            "test_a_training_that_is_killed_and_goes_on_ends_as_the_unbroken_one": 1,
            "test_a_training_that_stops_and_goes_on_equals_the_uninterrupted_one": 1,
        },
    ),
    "R3": Promise(
        "so does DGGAN, and no network is trained twice",
        {
            "test_a_growth_that_is_killed_and_goes_on_ends_as_the_unbroken_one": 1,
            "test_a_search_that_stops_goes_on_without_training_a_finished_network_again": 1,
        },
    ),
    "R4": Promise(
        "a signal saves and ends the run with its exit code, a second one ends it at once",
        {
            "test_a_signal_ends_a_run_with_its_exit_code_and_a_checkpoint_to_go_on_from": 1,
            "test_a_second_signal_ends_a_run_at_once": 1,
            "test_a_stop_while_images_are_scored_is_heard_there_and_they_are_scored_again": 1,
        },
    ),
    "R5": Promise(
        "damaged and foreign checkpoints are noticed",
        {
            "test_no_damage_is_loaded": 112,
            "test_another_format_is_refused": 1,
            "test_the_previous_checkpoint_stands_in_for_a_damaged_one": 1,
            "test_what_a_run_computes_cannot_be_changed_when_it_goes_on": 1,
        },
    ),
    "R6": Promise(
        "a full disk or a lost folder ends in one line, the old checkpoint loads",
        {
            "test_a_checkpoint_that_does_not_fit_the_disk_leaves_the_old_one_wherever_the_disk_is_full": 40,
            "test_a_full_disk_ends_the_run_with_one_line_and_the_checkpoint_stays": 1,
            "test_a_folder_taken_away_ends_the_run_with_one_line": 1,
        },
    ),
    "R7": Promise(
        "no pickle runs anything",
        {
            "test_a_pickle_that_would_run_something_is_refused": 16,
            "test_malicious_pickles_are_refused_and_nothing_runs": 12,
        },
    ),
    "R8": Promise(
        "hostile archives write nothing outside and fill no memory",
        {
            "test_hostile_archives_are_refused_and_write_nothing": 9,
            "test_archives_that_claim_gigabytes_are_refused_in_little_memory": 3,
        },
    ),
    "R9": Promise(
        "a mistake is one line that names the option, and leaves nothing behind",
        {
            "test_a_mistake_gets_one_line_that_names_the_option": 1,
            "test_a_mistake_about_growth_gets_one_line_that_names_the_option": 1,
            "test_one_image_is_refused_before_a_run_begins": 1,
        },
    ),
    "R10": Promise(
        "equal seeds give equal bits, whatever is scored or logged; other seeds give others",
        {
            "test_what_is_trained_depends_on_the_seed_and_not_on_scoring_or_logging": 1,
            "test_another_seed_gives_another_run": 1,
        },
    ),
    "R11": Promise(
        "NaN and infinity are seen at their step",
        {
            "test_a_loss_or_a_gradient_that_is_not_finite_is_named_with_its_step": 5,
            "test_a_run_that_rolls_back_goes_on_with_other_noise_and_can_be_stopped_anywhere": 3,
            "test_a_run_rolls_back_three_times_at_most": 1,
            "test_a_candidate_whose_images_are_not_finite_gets_the_lowest_reward_and_a_reason": 1,
            "test_a_reward_that_is_not_finite_ends_the_search": 1,
            "test_a_training_whose_images_are_not_finite_ends_with_exit_code_3": 1,
        },
    ),
    "R16": Promise(
        "runs that start at once get folders of their own, and a run has one writer",
        {
            "test_runs_that_start_at_once_get_folders_of_their_own": 8,
            "test_two_processes_never_write_to_one_run": 1,
        },
    ),
    "R17": Promise(
        "every complete line of a killed run's log parses, steps rise",
        {
            "test_a_search_that_is_killed_and_goes_on_ends_as_the_unbroken_one": 1,
            "test_a_training_that_is_killed_and_goes_on_ends_as_the_unbroken_one": 1,
            "test_a_growth_that_is_killed_and_goes_on_ends_as_the_unbroken_one": 1,
        },
    ),
    "R19": Promise(
        "losses and rewards of a stored run come again, in float64",
        {"test_the_golden_run_gives_the_stored_losses_and_rewards": 1},
    ),
    "R20": Promise(
        "wrong weight files are refused",
        {"test_a_released_file_is_not_loaded_as_a_network_that_leaves_weights_over": 1},
    ),
    "R21": Promise(
        "a killed worker or a lost machine costs a task another attempt, not the run, and no bit",
        {
            "test_a_dead_worker_costs_only_its_task_another_attempt_and_the_third_death_fails_it": 4,
            "test_a_worker_that_is_asked_to_end_saves_and_an_idle_one_that_is_killed_is_replaced": 3,
            "test_a_growth_with_two_workers_of_which_one_is_killed_equals_that_of_one_process": 1,
            "test_a_search_of_trials_with_two_workers_of_which_one_is_killed_scores_each_alike": 1,
        },
    ),
}


def kept_by(test):
    """The (promise, number of trials) pairs that a test function holds."""
    return [(name, promise.tests[test]) for name, promise in PROMISES.items() if test in promise.tests]


def table(passed, failed):
    """The lines of the table. passed, failed: Counters {promise: trials}."""
    yield f"{'':4} {'passed':>7} {'failed':>7}  promise"
    for name, promise in PROMISES.items():
        yield f"{name:4} {passed[name]:7} {failed[name]:7}  {promise.text}"


def count(reports):
    """Counters (passed, failed) of the trials in pytest's reports."""
    passed, failed = Counter(), Counter()
    for report in reports:
        for name, trials in report.user_properties:
            if name in PROMISES:
                (passed if report.passed else failed)[name] += trials
    return passed, failed
