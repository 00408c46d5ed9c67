"""The adversarial step: one update of the discriminator, one update of the generator.

Networks come as functions, `generate(noise) -> images` and `discriminate(images) -> logits (N, 1)`, so the
step knows no architecture.
"""

from typing import Callable, Hashable, NamedTuple

import torch

from utils.distributed import add_up, size
from utils.precision import in_precision
from utils.training.gan import update_average
from utils.training.losses import AdversarialLoss, hinge


class StepFunctions(NamedTuple):
    """What one training step computes: how images are made and judged, and the loss.

    Steps with the same `key` compute the same, so a GPU may record one and replay it; None: never record.
    """

    generate: Callable
    discriminate: Callable
    loss: AdversarialLoss = hinge
    key: Hashable = None

    def in_precision(self, precision, device):
        """The same functions with both networks in `precision`, see utils.precision."""
        return self._replace(
            generate=in_precision(self.generate, precision, device),
            discriminate=in_precision(self.discriminate, precision, device),
        )


def discriminator_step(gan, functions, real, noise, *random, max_grad_norm=0.0, share=1.0):
    """Update the discriminator once, on as many generated images as real ones.

    real (N, 3, R, R), noise (N, latent_dim), `random`: the tensors of functions.loss.draw(real). The
    gradient's norm is clipped to `max_grad_norm`; 0: never. Returns (loss, norm of the gradient before
    clipping) as a tensor (2,) on the device. ValueError if generated and real images differ in shape.
    share: of several processes, how much of the batch this one has. Loss and gradient are those of the whole.
    """
    with torch.no_grad():
        fake = functions.generate(noise)
    if fake.shape != real.shape:
        raise ValueError(
            f"generated images {tuple(fake.shape)} and real ones {tuple(real.shape)} differ in shape"
        )
    # None, not zeros, so Adam skips unused layers: one that goes out of use is never used again.
    gan.discriminator_optimizer.zero_grad(set_to_none=True)
    loss = functions.loss.discriminator(functions.discriminate, real, fake, *random)
    return _minimise(loss, gan.discriminator_optimizer, max_grad_norm, share)


def generator_step(gan, functions, noise, *, max_grad_norm=0.0, ema_decay=0.999):
    """Update the generator once, then its moving average if there is one.

    noise (M, latent_dim), as many in each process; the rest and the result as for `discriminator_step`.
    """
    # Zeros, not None: as in the authors' search, Adam's averages also decay for weights that this
    # architecture does not use.
    gan.generator_optimizer.zero_grad(set_to_none=False)
    frozen = list(gan.discriminator.parameters())  # nobody needs their gradients
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        loss = functions.loss.generator(functions.discriminate, functions.generate(noise))
        result = _minimise(loss, gan.generator_optimizer, max_grad_norm, 1 / size())
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    if gan.average is not None:
        update_average(gan.average, gan.generator, ema_decay)
    return result


def _minimise(loss, optimizer, max_grad_norm, share):
    if size() > 1:
        loss = loss * share
    loss.backward()
    loss = loss.detach()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    add_up([*(parameter.grad for parameter in trained), loss])
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trained])
    if max_grad_norm:
        torch.nn.utils.clip_grads_with_norm_(trained, max_grad_norm, norm)
    optimizer.step()
    return torch.stack([loss, norm])
