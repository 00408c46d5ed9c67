"""Where a random search with weight sharing stands: what a checkpoint holds."""

from dataclasses import dataclass, field

from models.autogan.architecture import Architecture
from models.errors import ArchitectureError
from models_search.search_space import is_inside
from models_search.shared_gan.training import COUNTERS, SharedGan
from utils.cli import UserError
from utils.data.labels import saved_classes
from utils.run.schema import COUNT, Each, Least, refuse_other_parts


@dataclass
class SearchState:
    """Where the search stands. `iteration` is the one it is in; after the last one comes the scoring."""

    shared: SharedGan
    iteration: int = 0
    trained: int = 0  # iterations done: fewer than `iteration` where --budget_hours has ended the training
    cheap: list = field(default_factory=list)  # (Architecture, reward) of the candidates so far
    in_full: list = field(default_factory=list)  # the same of the best of them

    @classmethod
    def start(cls, plan, device):
        """The state before the first iteration."""
        return cls(SharedGan.start(plan, device))

    def to_saved(self):
        """Plain data and tensors, for `restore`."""
        return {
            "gan": self.shared.gan.state_dict(),
            "collapse": self.shared.collapse.state_dict(),
            **saved_classes(self.shared.classes),
            "counters": {"iteration": self.iteration, "trained": self.trained, **self.shared.counters()},
            "cheap": [(str(architecture), reward) for architecture, reward in self.cheap],
            "in_full": [(str(architecture), reward) for architecture, reward in self.in_full],
        }

    @classmethod
    def restore(cls, saved, plan, device, source="--load_path: the checkpoint"):
        """The state that a checkpoint holds.

        Raises UserError, beginning with `source`, where it does not fit the plan.
        """
        state, scored = cls.start(plan, device), Each(Each((str, float), length=2))
        counters = {"iteration": COUNT, "trained": COUNT} | COUNTERS
        parts = Least(state.shared.schema(), counters=counters, cheap=scored, in_full=scored)
        refuse_other_parts(saved, parts, source)
        state.shared.restore(saved)
        state.iteration, state.trained = (saved["counters"][name] for name in ("iteration", "trained"))
        for name in ("cheap", "in_full"):
            try:
                found = [(Architecture.parse(text), float(reward)) for text, reward in saved[name]]
            except (ArchitectureError, AttributeError, ValueError):
                raise UserError(f"{source} holds no scores in {name}; use another one") from None
            if any(architecture.levels != plan.levels for architecture, _ in found):
                raise UserError(f"{source} holds architectures of other sizes; use another one")
            if not all(is_inside(architecture, plan.space) for architecture, _ in found):
                raise UserError(f"{source} holds architectures outside the search's space; use another one")
            setattr(state, name, found)
        return state

    def begin_iteration(self, iteration):
        """Go on with an iteration, which has done no steps yet."""
        self.iteration, self.trained = iteration, self.trained + 1
        self.shared.end_iteration()
