"""What changes from step to step of a training: the decay of the average generator, the learning rates."""

import math


def average_decay(ema_decay, average, training):
    """The average generator's decay for `train`: a number, or a function of the step where it changes.

    average: the option group of --ema_halflife. training: the training options. With a half-life of n images
    the decay is 0.5 ** (images of a step / n), and the ramp keeps n below a share of the images generated
    before (StyleGAN2). Before --ema_start the average is a copy (BigGAN).
    """
    batch_size, n_critic, halflife = training.gen_batch_size, training.n_critic, average.ema_halflife
    if halflife is None and not average.ema_start:
        return ema_decay

    def decay(step):
        update = step // n_critic
        if update < average.ema_start:
            return 0.0
        if halflife is None:
            return ema_decay
        images = halflife
        if average.ema_rampup:
            images = min(images, average.ema_rampup * update * batch_size)
        return 0.5 ** (batch_size / images) if images else 0.0

    return decay


def rate_factors(lr_decay, rates, total, n_critic):
    """The factors of both learning rates: (that of the start, a function of the step for `train`, or None).

    lr_decay: whether they fall as in the authors' code. rates: the option group of --lr_schedule, or None.
    total: discriminator steps of the whole training. In generator iteration i of T the factor is 1 up to
    iteration --lr_decay_start, and then falls to 0 at T, linearly or as half a cosine; before --lr_warmup
    iterations are done, it is (i + 1) / lr_warmup times that.
    """
    if rates is None or (rates.lr_schedule == "constant" and not rates.lr_warmup):
        return 1.0, (lambda step: 1 - step / total) if lr_decay else None
    iterations, is_constant = math.ceil(total / n_critic), rates.lr_schedule == "constant"
    start = 0 if is_constant else rates.lr_decay_start

    def factor(iteration):
        passed = max(0, iteration - start) / (iterations - start)
        by_schedule = {"constant": 1.0, "linear": 1 - passed, "cosine": (1 + math.cos(math.pi * passed)) / 2}
        warm = min(1.0, (iteration + 1) / rates.lr_warmup) if rates.lr_warmup else 1.0
        return warm * by_schedule[rates.lr_schedule]

    def factor_after(step):
        authors = 1 - step / total if lr_decay else 1.0
        return authors * factor(step // n_critic + 1)

    return factor(0), factor_after
