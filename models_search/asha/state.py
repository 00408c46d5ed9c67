"""Where an ASHA search stands: what a checkpoint holds."""

from dataclasses import asdict, dataclass, field

from models_search.asha.rungs import Trial
from utils.run.schema import COUNT, Each, Least, refuse_other_parts


@dataclass
class SearchState:
    """All trials so far. The weights of each are in its own folder.

    interrupted: indices of the trials that were in training when the search stopped, to go on with first.
    """

    trials: list = field(default_factory=list)
    interrupted: list = field(default_factory=list)

    def to_saved(self):
        """Plain data, for `restore`."""
        trials = [asdict(trial) for trial in self.trials]
        return {"trials": [{**trial, "scores": list(trial["scores"])} for trial in trials]}

    @classmethod
    def restore(cls, saved, source):
        """The state that a checkpoint holds.

        Raises UserError, beginning with `source`, where it holds none.
        """
        trial = {"architecture": str, "scores": Each((None, float)), "rung": COUNT}
        refuse_other_parts(saved, Least(trials=Each(trial)), source)
        trials = [Trial(**{**trial, "scores": tuple(trial["scores"])}) for trial in saved["trials"]]
        return cls(trials, [index for index, trial in enumerate(trials) if trial.is_training])

    @property
    def finished_jobs(self):
        """How often a trial has finished a rung."""
        return sum(len(trial.scores) for trial in self.trials)
