"""Where an AutoGAN search stands: what a checkpoint holds."""

from dataclasses import dataclass, field

import torch

from models.autogan.architecture import Architecture
from models.errors import ArchitectureError
from models_search.autogan.controller import BeamEntry, Controller, UniformController, first_beam
from models_search.search_space import is_inside
from models_search.shared_gan.training import COUNTERS, SharedGan
from utils.cli import UserError
from utils.data.labels import saved_classes
from utils.randomness import global_seed
from utils.run.schema import COUNT, Each, Least, refuse_other_parts
from utils.training.gan import adam_schema, load_adam


@dataclass
class Policy:
    """The controller of a level, its optimiser and the moving average of its rewards.

    optimizer: None if the controller learns nothing.
    """

    controller: torch.nn.Module
    optimizer: torch.optim.Optimizer | None
    baseline: float | None = None

    def state_dict(self):
        optimizer = self.optimizer.state_dict() if self.optimizer else None
        return {
            "controller": self.controller.state_dict(),
            "controller_optimizer": optimizer,
            "baseline": self.baseline,
        }

    def schema(self):
        """What `load_state_dict` reads, see utils.run.schema."""
        return {
            "controller": dict(self.controller.state_dict()),
            "controller_optimizer": adam_schema(self.optimizer) if self.optimizer else None,
            "baseline": (None, float),
        }

    def load_state_dict(self, saved):
        self.controller.load_state_dict(saved["controller"])
        if self.optimizer:
            load_adam(self.optimizer, saved["controller_optimizer"])
        self.baseline = saved["baseline"]


def new_policy(plan, level):
    """The untrained controller of a level."""
    controller_class, options = UniformController if plan.is_random else Controller, plan.controller
    with global_seed(plan.run.random_seed, "controller", level):
        controller = controller_class(level, options.hid_size, plan.first_cell(level), plan.space)
    parameters, training = list(controller.parameters()), plan.training
    betas = (training.beta1, training.beta2)
    return Policy(controller, torch.optim.Adam(parameters, options.ctrl_lr, betas) if parameters else None)


@dataclass
class SearchState:
    """Where the search stands.

    `iteration` is the current one. The steps of the shared GAN and of the controller are counted from its
    start. With --reuse_rewards, `rewards` has the {architecture: reward} of this iteration's updates, and
    `reused_rewards` counts how often one was used again, in the whole search.
    """

    shared: SharedGan
    policy: Policy
    beam: list  # of BeamEntry: the best architectures of the level below, best first
    iteration: int = 0
    controller_steps: int = 0
    rewards: dict = field(default_factory=dict)
    reused_rewards: int = 0

    @classmethod
    def start(cls, plan, device):
        """The state before the first iteration."""
        beam = first_beam(plan.controller.hid_size)
        return cls(SharedGan.start(plan, device), new_policy(plan, plan.first_level), beam)

    def to_saved(self):
        """Plain data and tensors, for `restore`."""
        shared = self.shared
        return {
            "gan": shared.gan.state_dict(),
            "level": self.policy.controller.level,
            **self.policy.state_dict(),
            "beam": [
                {"architecture": str(entry.architecture), "reward": entry.score, "state": entry.lstm_state}
                for entry in self.beam
            ],
            "collapse": shared.collapse.state_dict(),
            **saved_classes(shared.classes),
            "counters": {
                "iteration": self.iteration,
                "controller_steps": self.controller_steps,
                **shared.counters(),
            },
            **self._reuse_to_saved(),
        }

    def _reuse_to_saved(self):
        """What --reuse_rewards keeps; nothing where there is nothing to keep."""
        if not (self.rewards or self.reused_rewards):
            return {}
        rewards = [(str(architecture), reward) for architecture, reward in self.rewards.items()]
        return {"rewards": rewards, "reused_rewards": self.reused_rewards}

    @classmethod
    def restore(cls, saved, plan, device, source="--load_path: the checkpoint"):
        """The state that a checkpoint holds.

        Raises UserError, beginning with `source`, where it does not fit the plan.
        """
        own = {"iteration": COUNT, "controller_steps": COUNT}
        refuse_other_parts(saved, Least(level=range(plan.levels), counters=own | COUNTERS), source)
        state, counters = cls.start(plan, device), saved["counters"]
        state.policy = new_policy(plan, saved["level"])
        lstm_state = Each(torch.zeros(plan.controller.hid_size), length=2)
        beam = Each({"architecture": str, "reward": float, "state": lstm_state})
        refuse_other_parts(saved, Least(state.shared.schema(), beam=beam, **state.policy.schema()), source)
        _refuse_other_level(saved, plan, source)
        state.shared.restore(saved)
        state.policy.load_state_dict(saved)
        state.beam = [
            BeamEntry(Architecture.parse(entry["architecture"]), entry["reward"], entry["state"])
            for entry in saved["beam"]
        ]
        state.iteration, state.controller_steps = counters["iteration"], counters["controller_steps"]
        state._restore_reuse(saved, source)
        return state

    def _restore_reuse(self, saved, source):
        """Take over what --reuse_rewards has kept. Raises UserError where that does not fit."""
        saved = {"rewards": [], "reused_rewards": 0} | saved
        scored = Each(Each((str, float), length=2))
        refuse_other_parts(saved, Least(rewards=scored, reused_rewards=COUNT), source)
        try:
            self.rewards = {Architecture.parse(text): float(reward) for text, reward in saved["rewards"]}
        except (ArchitectureError, AttributeError, ValueError):
            raise UserError(f"{source} holds no rewards of architectures; use another one") from None
        self.reused_rewards = saved["reused_rewards"]

    def begin_iteration(self, iteration):
        """Move on to an iteration, which has done no steps yet."""
        self.iteration, self.controller_steps, self.rewards = iteration, 0, {}
        self.shared.end_iteration()


def _refuse_other_level(saved, plan, source):
    """Raise UserError unless a checkpoint's level and beam are those of its search iteration."""
    iteration, level = saved["counters"]["iteration"], saved["level"]
    wanted = level + 1 if iteration >= plan.iterations else plan.first_cell(level)
    try:
        architectures = [Architecture.parse(entry["architecture"]) for entry in saved["beam"]]
    except ArchitectureError as error:
        raise UserError(f"{source} holds no beam of architectures ({error}); use another one") from None
    cells = {each.levels for each in architectures}
    if level != plan.level_at(min(iteration, plan.iterations - 1)) or cells != {wanted}:
        problem = f"level {level} and architectures of {sorted(cells)} cells at iteration {iteration}"
        raise UserError(f"{source} holds {problem}, which do not go together; use another one")
    if not all(is_inside(architecture, plan.space) for architecture in architectures):
        raise UserError(f"{source} holds architectures outside the search's space; use another one")
