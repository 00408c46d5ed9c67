"""What a loss and the switches of a recipe need, checked before a run begins."""

from utils.cli import UserError
from utils.training.losses import LOSSES
from utils.training.recipe import r1_gamma


def check_recipe(training, recipe, family):
    """Raise UserError where the loss or a switch needs something that the other options do not give.

    training, recipe: the option groups. family: of the architectures that are trained, see models.families.
    """
    loss, batches = LOSSES[training.loss], (training.gen_batch_size, training.dis_batch_size)
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
