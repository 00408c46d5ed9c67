"""What a search by growth is going to do, checked before anything is read or built.

DGGAN tries random actions and keeps the best K networks. ProgGAN follows a fixed list of actions, one in each
growing step.
"""

from contextlib import contextmanager
from dataclasses import dataclass

from models.conditioning import NONE
from models.growing.architecture import ArchitectureError, GrowingArchitecture, proggan_architecture
from models.growing.networks import growing_networks, parameter_counts
from models.layers.fast_form import fast_form
from models_search.dggan.actions import (
    ACTIONS,
    GrowResolution,
    GrowthError,
    apply,
    apply_all,
    doublings,
    draw_actions,
    every_action,
    legal_actions,
    parse_action,
    progressive_actions,
)  # fmt: skip
from models_search.dggan.tree import path_actions
from utils.cli import UserError
from utils.metrics.sliced_wasserstein import PATCH_SIZE
from utils.precision import check_precision
from utils.randomness import random_generator
from utils.run.machine import pick_device
from utils.run.workers import check_workers, memory_of_task
from utils.training.checks import check_recipe
from utils.training.memory import on_meta, training_memory
from utils.training.sizes import network_sizes

MOST_ACTIONS = 500
WIDTHS = "--growth_width, --filters, --latent_dim"


@dataclass(frozen=True)
class Plan:
    """The option groups that the search reads, and what follows from them. Picklable."""

    data: object
    network: object
    training: object
    recipe: object
    scoring: object
    run: object
    search: object
    independent: object
    independent_average: object
    growth: object
    root: GrowingArchitecture
    actions: tuple  # DGGAN: to choose from; ProgGAN: to take one after the other
    growing_steps: int
    kept: int  # K
    action_probability: float | None  # None: the actions are a list

    classes, conditioning = None, NONE  # growing networks know no classes

    @property
    def fade_steps(self):
        """Training steps over which a growth fades in."""
        return round(self.growth.fade_share * self.growth.growth_iterations)

    @property
    def images_per_node(self):
        """Real images that each pair of networks is trained on."""
        return self.growth.growth_iterations * self.training.dis_batch_size

    def actions_for(self, tree, parent, step):
        """The actions to try on node `parent` in a growing step.

        DGGAN draws them at random; they depend only on the seed and the parent's path. ProgGAN takes the next
        one.
        """
        if self.action_probability is None:
            return self.actions[step - 1 : step]
        architecture = GrowingArchitecture.parse(tree[parent].architecture)
        steps_left = self.growing_steps - step + 1
        legal = legal_actions(self.actions, architecture, self.data.img_size, steps_left=steps_left)
        path = path_actions(tree, parent)
        random = random_generator(self.run.random_seed, "actions", tree[0].architecture, *path)
        return draw_actions(legal, self.action_probability, random)

    def memory(self):
        """The Memory of training the largest networks of the search: ProgGAN's at the final resolution, in
        DGGAN with one more action on top.
        """
        final, latent_dim = self.data.img_size, self.network.latent_dim
        largest = apply_all(progressive_actions(self.root.resolution, final), self.root)
        if self.action_probability is None:
            grown = [apply_all(self.actions, self.root)]
        else:
            grown = [apply(action, largest) for action in legal_actions(self.actions, largest, final)]
        widest = max(grown or [largest], key=lambda each: sum(parameter_counts(each, latent_dim)))
        with on_meta(WIDTHS):
            networks = growing_networks(str(widest), latent_dim=latent_dim)
            if self.run.is_fast:
                networks = tuple(map(fast_form, networks))
            batch = self.scoring.eval_batch_size
            return training_memory(
                networks, self.training, batch, final, widths=WIDTHS, averages=1, parts=self.recipe.accumulate
            )

    def describe(self):
        """The plan as plain data, for --dry_run."""
        start, final = self.growth.start_resolution, self.data.img_size
        with on_meta(WIDTHS):
            networks = growing_networks(str(self.root), latent_dim=self.network.latent_dim)
            sizes = network_sizes(*networks, self.root.resolution)
        is_list = self.action_probability is None
        return {
            "architecture": str(apply_all(self.actions, self.root)) if is_list else "searched",
            "resolution": final,
            "resolutions": [start << level for level in range(doublings(start, final) + 1)],
            "root": str(self.root),
            **sizes,
            "memory_bytes": self.memory().total,
            "actions": [str(action) for action in self.actions],
            "growing_steps": self.growing_steps,
            "kept": self.kept,
            "training_images_per_network": self.images_per_node,
        }


GROUPS = ("data", "network", "training", "scoring", "run", "search", "independent", "growth")
GROUPS += ("recipe", "independent_average")


def make_plan(options):
    """The Plan of resolved options. Raises UserError if they do not fit together."""
    growth, final, is_list = options.growth, options.data.img_size, options.search.method == "proggan"
    device = pick_device(options.run.device)
    check_precision("--precision", options.training.precision, device)
    check_recipe(options.training, options.recipe, "growing")
    with _blaming("--start_resolution, --img_size"):
        root = proggan_architecture(growth.start_resolution, growth.growth_width)
        actions = progressive_actions(growth.start_resolution, final)
    with _blaming("--actions" if growth.actions else "--kernels, --filters"):
        if growth.actions:
            actions = tuple(map(parse_action, growth.actions))
        elif not is_list:
            actions = every_action(options.dggan.kernels, options.dggan.filters)
        if is_list:
            check_list(actions, root, final)
            growing_steps, kept, probability = len(actions), 1, None
        else:
            growing_steps, kept = options.dggan.growing_steps, options.beam.topk
            probability = options.dggan.action_probability
            check_choice(actions, root, final)
    with _blaming("--growing_steps"):
        check_steps(growing_steps, growth.start_resolution, final, actions)
    if options.search.reward == "swd" and growth.start_resolution < PATCH_SIZE:
        cure = "give --start_resolution 8, or --reward fid or is"
        raise UserError(f"--reward: swd compares images of {PATCH_SIZE} pixels or more; {cure}")
    groups = {name: getattr(options, name) for name in GROUPS}
    plan = Plan(
        **groups,
        root=root,
        actions=actions,
        growing_steps=growing_steps,
        kept=kept,
        action_probability=probability,
    )
    check_workers(options.independent, options.run.device)
    plan.memory().check(memory_of_task(options.independent, options.run.device))
    return plan


@contextmanager
def _blaming(option):
    """Turn an error about growth inside the block into a UserError about this option."""
    try:
        yield
    except (GrowthError, ArchitectureError) as error:
        raise UserError(f"{option}: {error}") from None


# Checks: each raises GrowthError where it fails.


def check_choice(actions, root, final_resolution):
    """Check DGGAN's actions: distinct, possible on the root, enough to reach the final resolution."""
    if not actions:
        raise GrowthError("a search needs one action or more")
    if len(actions) > MOST_ACTIONS:
        raise GrowthError(f"a search has at most {MOST_ACTIONS} actions, not {len(actions)}")
    if len(set(actions)) < len(actions):
        raise GrowthError("an action is listed twice")
    if doublings(root.resolution, final_resolution) and GrowResolution() not in actions:
        raise GrowthError(
            f"without 'double' the actions never reach {final_resolution} pixels from {root.resolution}"
        )
    for action in actions:
        apply(action, root)  # every place exists


def check_list(actions, root, final_resolution):
    """Check ProgGAN's actions: possible one after the other, and they end at the final resolution."""
    if len(actions) > MOST_ACTIONS:
        raise GrowthError(f"a list has at most {MOST_ACTIONS} actions, not {len(actions)}")
    start, needed = root.resolution, doublings(root.resolution, final_resolution)
    count = sum(action == GrowResolution() for action in actions)
    if count != needed:
        raise GrowthError(
            f"the list doubles {count} times: from {start} to {final_resolution} pixels takes {needed}"
        )
    apply_all(actions, root)


def check_steps(growing_steps, start_resolution, final_resolution, actions=ACTIONS):
    """Check that this many growing steps reach the final resolution, and that each has an action."""
    needed = doublings(start_resolution, final_resolution)
    way = f"from {start_resolution} to {final_resolution} pixels"
    if growing_steps < needed:
        raise GrowthError(f"{way} takes {needed} growing steps, not {growing_steps}")
    if growing_steps > needed and set(actions) == {GrowResolution()}:
        cure = f"set --growing_steps {needed} or add actions"
        raise GrowthError(f"'double' alone makes {needed} growing steps {way}, not {growing_steps}; {cure}")
