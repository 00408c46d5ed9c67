"""What a training of one architecture works with: whatever may be missing or unreadable."""

from dataclasses import dataclass
from functools import lru_cache

from utils.data.image_set import ResizedImages
from utils.data.load import DATASETS, load_images
from utils.metrics.generator import load_feature_nets, load_real_statistics
from utils.training.inputs import refuse_uneven_batches


@dataclass
class Materials:
    """Networks to score with, images to learn, and their statistics by each network."""

    feature_nets: list
    images: ResizedImages
    reals: list


def find_materials(plan, device):
    """(feature networks, ImageSet) of a training; raises UserError for what is missing."""
    feature_nets = load_feature_nets(**plan.scoring.network(), compiled=plan.run.compile, device=device)
    data = plan.data
    image_set = load_images(
        data.dataset, data.data_path, image_size=data.img_size, fewest=2, labels=plan.label_source
    )
    refuse_uneven_batches(plan.training, image_set.num_images)
    plan.refuse_single_values(image_set.num_images % plan.training.dis_batch_size)
    plan.refuse_late_decay(plan.total_iterations(image_set.num_images))
    return feature_nets, image_set


def check_statistics(plan, feature_nets):
    """Raise UserError unless the file of --fid_stat, if one is named, is of the images to learn from."""
    if plan.fid_stat:
        _real_statistics(feature_nets, None, plan.data, plan.fid_stat)


def read_materials(feature_nets, image_set, data, fid_stat, device):
    """The Materials: reads all images and computes their statistics, which can take minutes."""
    images = image_set.resized(data.img_size, device, num_workers=data.num_workers)
    return Materials(feature_nets, images, _real_statistics(feature_nets, images, data, fid_stat))


def _real_statistics(feature_nets, images, data, fid_stat):
    return load_real_statistics(
        feature_nets, images, fid_stat=fid_stat, data=DATASETS[data.dataset], split="train",
        resolution=data.img_size,
    )  # fmt: skip


@lru_cache(maxsize=1)
def materials_of_process(data, label_source, scoring, fid_stat, compiled, device):
    """The Materials of all trainings that a process does, loaded once.

    data, scoring: option groups. label_source: see utils.data.load.load_images.
    """
    feature_nets = load_feature_nets(**scoring.network(), compiled=compiled, device=device)
    image_set = load_images(
        data.dataset, data.data_path, image_size=data.img_size, fewest=2, labels=label_source
    )
    return read_materials(feature_nets, image_set, data, fid_stat, device)
