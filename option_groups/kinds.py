"""The bounds and lists that several groups of options share."""

import argparse
from functools import partial

from models.autogan.architecture import PUBLISHED, parse_choice
from models.errors import ArchitectureError
from utils.option_types import engine
from utils.options import count, option

SEARCH, TRAIN, TEST = "search", "train_derived", "test"
ALL, TRAINING, SCORING = (SEARCH, TRAIN, TEST), (SEARCH, TRAIN), (TRAIN, TEST)
DATASETS = ("cifar10", "stl10", "mnist", "fashion_mnist", "digits", "folder")
GENERATORS = ("shared_gan", *PUBLISHED)
PRECISIONS = ("float32", "tf32", "bfloat16")  # those of utils.precision, which needs torch
# Methods of search.py: those that search AutoGAN's cells in a shared GAN. "autogan" is also their family.
SHARED_GAN_METHODS = ("autogan", "slas", "random_sharing")
CELL_METHODS = (*SHARED_GAN_METHODS, "asha")  # those that draw AutoGAN's cells

# Larger ones fit no memory, and the products of these fit 64 bits; what fits this machine is checked later.
width = partial(count, at_most=2**20)
size = partial(option, at_most=2**14)
images = partial(option, at_least=2, at_most=10**8)  # a random order of so many takes 800 MB
million = partial(count, at_most=10**6)
processes = partial(option, at_most=1024)

# Of trainings that do not depend on each other.
engines = partial(
    option,
    "local",
    "what trains at once: local: processes of this machine; ray, ray:HOST:PORT: all machines of a Ray "
    "cluster (docs/SCALE.md); the same results",
    kind=engine,
    later=True,
)
gpu_shares = partial(
    option,
    None,
    "GPUs that a training gets, such as 0.5; by default local: each GPU in turn; ray: 1 if there are any",
    above=0,
    at_most=1,
    later=True,
)


def choice(text):
    """An argparse type: a choice of the cells and the options that it may take, such as norm=none,batch."""
    try:
        parse_choice(text, "extended")  # which has all that the authors' has
    except ArchitectureError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
