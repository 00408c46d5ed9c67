"""Labels, and what they are for: conditional GANs."""

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

    @property
    def source(self):
        """Where labels come from, for utils.data.load.load_images."""
        return (self.labels or True) if self.conditional else None
