"""Labels, and what they are for: conditional GANs."""

from models.conditioning import Conditioning
from option_groups.kinds import CELL_METHODS, TRAINING
from utils.options import group, option


@group(scripts=TRAINING, methods=CELL_METHODS)
class LabelOptions:
    conditional: bool = option(
        False, "learn to make images of each class; labels: the data set's, or class folders", later=True
    )
    labels: str = option(
        None, "file of labels (JSON or CSV) for --dataset folder, instead of class folders", later=True
    )

    semi_supervised: bool = option(
        False, "images without a label count too, as of the class that the discriminator predicts", later=True
    )
    rotation_loss: bool = option(
        False, "the discriminator also learns how images were rotated; needs no labels", later=True
    )

    def conditioning(self, classes):
        """How networks that know these classes (None: none) are conditioned."""
        return Conditioning(len(classes or ()), self.semi_supervised, self.rotation_loss)

    @property
    def source(self):
        """Where labels come from, for utils.data.load.load_images."""
        return (self.labels or True) if self.conditional else None
