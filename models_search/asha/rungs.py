"""ASHA's rule: which trial to train next, and how far. Plain data, no torch.

Algorithm 2 of Li et al., A System for Massively Parallel Hyperparameter Tuning (MLSys 2020).
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Trial:
    """An architecture on its way up.

    scores: at the end of each rung it has finished, higher is better; None for a training that failed there.
    rung: the one it was last sent to, 0 for the lowest.
    """

    architecture: str
    scores: tuple = ()
    rung: int = 0

    @property
    def is_training(self):
        """Whether it was sent to a rung that it has not finished."""
        return len(self.scores) == self.rung


def next_job(trials, rungs, eta, most_trials=None):
    """(index of a trial, rung to train it to) for a free worker, or None if there is none now.

    rungs: how many there are. The index len(trials) means a new trial: one starts if no trial can be
    promoted, and fewer than `most_trials` (None: no limit) were started.
    """
    for rung in reversed(range(rungs - 1)):
        promoted = promotable(trials, rung, eta)
        if promoted is not None:
            return promoted, rung + 1
    return None if most_trials is not None and len(trials) >= most_trials else (len(trials), 0)


def promotable(trials, rung, eta):
    """The best trial among the top 1/eta of a rung that was not sent on yet: its index, or None.

    The rung consists of all trials that have finished it. Of equal scores the earlier trial comes first. A
    failed training counts as the worst, and is never sent on.
    """
    finished = [index for index, trial in enumerate(trials) if len(trial.scores) > rung]
    finished.sort(key=lambda index: _worst_last(trials[index].scores[rung]))
    top = finished[: len(finished) // eta]
    waiting = (i for i in top if trials[i].rung == rung and trials[i].scores[rung] is not None)
    return next(waiting, None)


def sent(trials, index, rung, architecture=None):
    """The trials after one was sent to a rung; `architecture` is that of a new one."""
    if index == len(trials):
        return [*trials, Trial(architecture)]
    return _with(trials, index, rung=rung)


def finished(trials, index, score):
    """The trials after one has finished the rung it was sent to, with this score, or None if it failed."""
    return _with(trials, index, scores=(*trials[index].scores, score))


def _with(trials, index, **changes):
    return [*trials[:index], replace(trials[index], **changes), *trials[index + 1 :]]


def ranked(trials, k):
    """Indices of the k best trials with distinct architectures, best first.

    A higher rung wins, then the score there. Trials without a score, or that failed last, do not count.
    """
    scored = [i for i, trial in enumerate(trials) if trial.scores and trial.scores[-1] is not None]
    scored.sort(key=lambda i: (-len(trials[i].scores), -trials[i].scores[-1]))
    first = {}
    for index in scored:
        first.setdefault(trials[index].architecture, index)
    return list(first.values())[:k]


def _worst_last(score):
    return (score is None, 0 if score is None else -score)
