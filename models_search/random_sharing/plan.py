"""What a random search with weight sharing is going to do, checked before anything is read or built."""

from dataclasses import dataclass

from models_search.restrictions import restricted_space
from models_search.search_space import number_of_architectures, random_architecture
from models_search.shared_gan.checks import CELL_BYTES, check_machine, check_options, number_of_cells
from models_search.shared_gan.network import shared_gan_memory, shared_network_sizes
from models_search.shared_gan.progress import periodic_images
from utils.cli import UserError
from utils.data.labels import Classes
from utils.data.load import load_classes


@dataclass(frozen=True)
class Plan:
    """The option groups that the search reads, and what follows from them."""

    data: object
    labels: object
    network: object
    cells: object
    weights: object
    training: object
    recipe: object
    scoring: object
    run: object
    search: object
    beam: object
    shared_gan: object
    random_sharing: object
    levels: int  # number of cells
    space: object  # the RestrictedSpace, or None
    classes: Classes | None = None  # of a conditional GAN

    @property
    def conditioning(self):
        """How the networks are conditioned."""
        return self.labels.conditioning(self.classes)

    @property
    def iterations(self):
        """Number of search iterations."""
        return self.shared_gan.max_search_iter

    def random_architecture(self, generator):
        """An architecture, all equally likely. generator: a torch.Generator on the CPU."""
        return random_architecture(self.levels, generator, self.space)

    def cheap_protocol(self):
        """How a candidate is scored cheaply: one part, since few images in ten parts say little."""
        return {"images": self.random_sharing.cheap_eval_imgs, "splits": 1}

    def scoring_seconds(self, seconds):
        """How long the scoring after the training takes, where a cheap score takes so many seconds."""
        images = self.shared_gan.num_candidate * self.search.rl_num_eval_img
        in_full = images / self.random_sharing.cheap_eval_imgs
        return seconds * (self.random_sharing.random_candidates + in_full)

    @property
    def bytes_of_a_draw(self):
        """The least memory of an architecture."""
        return CELL_BYTES * self.levels

    def memory(self):
        """The Memory of the search."""
        return shared_gan_memory(self)

    def describe(self):
        """The plan as plain data, for --dry_run."""
        shared, options = self.shared_gan, self.random_sharing
        scored_images = options.random_candidates * options.cheap_eval_imgs
        scored_images += shared.num_candidate * self.search.rl_num_eval_img
        scored_images += periodic_images(self)
        return {
            "architecture": "searched",
            "resolution": self.data.img_size,
            "resolutions": [self.data.img_size],
            "architectures_in_space": number_of_architectures(self.levels, self.space),
            **shared_network_sizes(self),
            "memory_bytes": self.memory().total,
            "search_iterations": self.iterations,
            "scored_images": scored_images,
        }


GROUPS = ("data", "labels", "network", "cells", "weights", "training", "recipe", "scoring", "run", "search")
GROUPS += ("beam", "shared_gan", "random_sharing")


def make_plan(options):
    """The Plan of resolved options; raises UserError where they do not go together."""
    check_options(options)
    in_full, candidates = options.shared_gan.num_candidate, options.random_sharing.random_candidates
    if in_full > candidates:
        problem = f"cannot score {in_full} of --random_candidates {candidates} in full"
        raise UserError(f"--num_candidate: {problem}; lower it or draw more")
    groups, levels = {name: getattr(options, name) for name in GROUPS}, number_of_cells(options)
    classes = load_classes(options.data, options.labels, options.reads_no_data)
    widths = options.network.latent_dim, options.cells, options.labels.conditioning(classes)
    space = restricted_space(levels, options.space, *widths)
    plan = Plan(**groups, levels=levels, space=space, classes=classes)
    check_machine(plan)
    return plan
