"""What a loss and the switches of a recipe need, checked before a run begins."""

from utils.cli import UserError
from utils.distributed import size
from utils.training.losses import LOSSES
from utils.training.recipe import r1_gamma


def check_recipe(training, recipe, family):
    """Raise UserError where the loss or a switch needs something that the other options do not give.

    training, recipe: the option groups. family: of the architectures that are trained, see models.families.
    """
    loss, batches = LOSSES[training.loss], (training.gen_batch_size, training.dis_batch_size)
    if size() > 1:
        _check_shares(training, recipe, loss)
    if loss.in_pairs and batches[0] != batches[1]:
        cure = f"set --gen_batch_size {batches[1]} or use another loss"
        raise UserError(f"--loss: {training.loss} compares images in pairs, batches of {batches}; {cure}")
    if loss.of_batch and min(batches) < 2:
        problem = f"{training.loss} compares the images of a batch, which is one of {min(batches)}"
        raise UserError(f"--loss: {problem}; use larger batches or another loss")
    if loss.outputs > 1 and family != "autogan":
        problem = f"{training.loss} takes a discriminator of {loss.outputs} outputs, a growing one has one"
        raise UserError(f"--loss: {problem}; use another loss")
    if recipe.r1_interval > 1 and not r1_gamma(recipe, training):
        raise UserError("--r1_interval: without effect without --r1_gamma; leave it out or give that too")
    if recipe.ada_target is not None and not loss.is_signed:
        problem = f"the sign of {training.loss}'s logits does not tell real from generated"
        raise UserError(f"--ada_target: {problem}; use --loss hinge or non-saturating, or --augment")
    if recipe.generator_topk < 1 and loss.reads_real:
        problem = f"{training.loss} has no loss of each image to choose by"
        raise UserError(f"--generator_topk: {problem}; use another loss or leave it out")
    if recipe.accumulate > 1:
        _check_parts(training, recipe, loss, batches)


# Switches that choose among the images of a whole batch or cut it up, and what they are by default.
NOT_SHARED = {"generator_topk": 1, "accumulate": 1}


def _check_shares(training, recipe, loss):
    """Raise UserError for what several processes that share a batch cannot do."""
    cure = "leave it out, or start one process without torchrun"
    if loss.reads_real:
        problem = f"{training.loss} compares images of a batch, which {size()} processes share"
        raise UserError(f"--loss: {problem}; use another loss, or start one process without torchrun")
    for name, off in NOT_SHARED.items():
        if getattr(recipe, name) != off:
            raise UserError(f"--{name}: {size()} processes that share a batch do not have it; {cure}")


def _check_parts(training, recipe, loss, batches):
    if recipe.accumulate > min(batches):
        problem = f"{recipe.accumulate} parts of a batch of {min(batches)}"
        raise UserError(f"--accumulate: {problem}; give fewer parts or larger batches")
    if loss.of_batch:
        problem = f"{training.loss} compares all images of a batch, so it has no parts"
        raise UserError(f"--accumulate: {problem}; use another loss or leave it out")
    if recipe.generator_topk < 1:
        raise UserError(
            "--accumulate: the best images of a part are not those of the batch; leave out --generator_topk"
        )
