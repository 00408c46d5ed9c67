"""The least memory that a run takes, from its networks on the meta device, before anything is allocated.

A lower bound: what is refused cannot run, what is not refused may still be too large.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import torch

from utils.cli import UserError
from utils.distributed import size
from utils.training.inputs import NOISE_BLOCK
from utils.training.sizes import count_parameters, example_labels

PARAMETER_BYTES = 16  # in training, in float32: value, gradient, Adam's two averages
FLOAT_BYTES = 4
SMALLEST_INNER_BATCH = 32  # images that a FeatureNet takes at once: more on a GPU


@dataclass(frozen=True)
class Memory:
    """The least bytes of a run, by the options that decide on them: what is there all the time, and batches,
    one of which is there at a time.
    """

    networks: dict
    batches: dict

    @property
    def total(self):
        """Bytes that the run takes at least."""
        return sum(self.networks.values()) + max(self.batches.values(), default=0)

    def check(self, available_bytes):
        """Raise UserError, naming the options of the largest part, if the run cannot fit this memory."""
        if self.total <= available_bytes:
            return
        parts = self.networks | self.batches
        options = max(parts, key=parts.get)
        needed, there = (f"{count / 2**30:,.1f} GiB" for count in (self.total, available_bytes))
        raise UserError(f"{options}: the run takes {needed} of memory or more, there are {there}; lower one")


@contextmanager
def on_meta(options):
    """Networks made inside take no memory. Raises UserError, naming these options, where their bytes exceed
    64 bits.
    """
    try:
        with torch.device("meta"):
            yield
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise UserError(f"{options}: no memory holds networks of these sizes; give smaller ones") from None


def training_memory(
    networks, training, eval_batch_size, resolution, *, widths, averages=0, parts=1, **call
):  # fmt: skip
    """The Memory of training two networks, given on the meta device in the form in which they run, and of
    sampling images to score.

    training: the training options. widths: the options that decide on the networks' sizes. averages: number
    of moving average generators. parts: that a batch is computed in. call: further arguments of a call of the
    generator.
    """
    generator, discriminator = networks
    parameters = [count_parameters(network) for network in networks]
    latent_dim, share = generator.latent_dim, 2 if training.precision == "bfloat16" else 1
    made = _bytes_per_image(generator, networks, latent_dim, **call)
    judged = _bytes_per_image(discriminator, networks, 3, resolution, resolution)
    noise = NOISE_BLOCK * latent_dim * FLOAT_BYTES
    real_and_fake = 2 * sum(judged) // share
    batches = {
        "--gen_batch_size": -(-training.gen_batch_size // parts) * (sum(made) // share)
        + training.gen_batch_size * noise,
        "--dis_batch_size": -(-training.dis_batch_size // parts) * real_and_fake
        + training.dis_batch_size * noise,
        "--eval_batch_size": eval_batch_size * max(made),
    }
    for option in ("--gen_batch_size", "--dis_batch_size"):  # of each process
        batches[option] //= size()
    weights = PARAMETER_BYTES * sum(parameters) + FLOAT_BYTES * averages * parameters[0]
    return Memory({widths: weights}, batches)


def sampling_memory(generator, eval_batch_size, *, widths):
    """The Memory of sampling images from a generator of the meta device."""
    weights = {widths: FLOAT_BYTES * count_parameters(generator)}
    made = _bytes_per_image(generator, [generator], generator.latent_dim)
    return Memory(weights, {"--eval_batch_size": eval_batch_size * max(made)})


def scoring_memory(num_images, resolution, batch_size):
    """The Memory of a feature network's batches of stored images: bytes, and for some of them floats."""
    pixels, batch = 3 * resolution**2, min(num_images, batch_size)
    inside = min(batch, SMALLEST_INNER_BATCH) * FLOAT_BYTES
    return Memory({}, {"--batch_size, --img_size": pixels * (batch + inside)})


def _bytes_per_image(network, networks, *shape, **call):
    """Bytes of each tensor that a forward pass keeps for its gradient, for each image of the batch.

    What is made of the weights is as large for 2 as for 4 images, and drops out.
    """
    two, four = (_kept_bytes(network, networks, count, *shape, **call) for count in (2, 4))
    return [(after - before) // 2 for before, after in zip(two, four, strict=True)]


def _kept_bytes(network, networks, *shape, **call):
    kept = {each.untyped_storage()._cdata: None for network in networks for each in network.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept.setdefault(storage._cdata, storage)  # held, or another one could take its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.enable_grad():
        labels = example_labels(network, shape[0], "meta")
        result = network(torch.zeros(shape, device="meta"), **labels, **call)
    return [*(storage.nbytes() for storage in kept.values() if storage), result.untyped_storage().nbytes()]
