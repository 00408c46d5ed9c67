"""What a search in a shared GAN works with."""

from dataclasses import dataclass

import torch

from models_search.shared_gan.checks import check_steps
from models_search.shared_gan.images import LevelImages
from models_search.shared_gan.reward import Reward
from utils.data.labels import refuse_other_classes
from utils.data.load import load_images
from utils.inception.feature_net import load_feature_net
from utils.run.machine import pick_device


@dataclass
class Materials:
    """Everything that can be missing or unreadable."""

    device: torch.device
    feature_net: object
    images: LevelImages

    def reward(self, plan, run, save_point):
        """The Reward of a search with these materials."""
        return Reward(
            plan.search, plan.scoring, plan.run.random_seed, self.feature_net, self.images, run.log,
            save_point.stop_if_asked, plan.classes,
        )  # fmt: skip


def load_materials(plan):
    """Load the feature network and find the images; raises UserError.

    plan: of any search that shares weights. Its `levels` and the option groups data, labels, network, cells,
    training, scoring and run are read here.
    """
    device = pick_device(plan.run.device)
    feature_net = load_feature_net(**plan.scoring.network(), compiled=plan.run.compile, device=device)
    data, bottom_width = plan.data, plan.cells.bottom_width
    image_set = load_images(
        data.dataset, data.data_path, image_size=data.img_size, fewest=2, labels=plan.labels.source
    )
    check_steps(plan, image_set.num_images)
    resolutions = [bottom_width << cells for cells in range(1, plan.levels + 1)]
    images = LevelImages(image_set, resolutions, feature_net, device, data.num_workers)
    return Materials(device, feature_net, images)


def new_or_restored(state_class, plan, saved):
    """The state a search starts from: new, or that of the checkpoint `saved`.

    state_class: a SearchState, with `start` and `restore`. Raises UserError where a checkpoint does not fit
    the plan.
    """
    device = pick_device(plan.run.device)
    if saved is None:
        return state_class.start(plan, device)
    source = f"--load_path: {plan.run.load_path}"
    refuse_other_classes(saved, plan.classes, source)
    return state_class.restore(saved, plan, device, source)
