"""The scores of one evaluation, with all that is needed to repeat it."""

from dataclasses import asdict, dataclass

METRICS = ("is", "fid", "kid", "precision_recall", "swd")


def fewest_images(metrics):
    """How many images of each kind the metrics need at least."""
    return 4 if "precision_recall" in metrics else 2


def figure_name(name, feature_net):
    """A score's label, with the feature network's name unless that is Inception.

    Scores of different networks are on different scales.
    """
    return name if feature_net == "inception" else f"{feature_net} {name}"


@dataclass(frozen=True)
class Scores:
    """Scores, and how they were measured.

    A score is None if it was not asked for or could not be computed.
    """

    feature_net: str | None
    backend: str | None
    weights_sha256: str | None
    num_fake: int
    seed: int | None = None  # of the generated images, as stated by the caller
    rounding: str = "truncated to uint8"
    is_mean: float | None = None
    is_std: float | None = None
    splits: int | None = None
    fid: float | None = None
    kid_mean: float | None = None
    kid_std: float | None = None
    precision: float | None = None
    recall: float | None = None
    feature_sample_fake: int | None = None  # images used for KID, precision and recall
    feature_sample_real: int | None = None
    swd: float | None = None  # mean of swd_levels
    swd_levels: dict | None = None  # {resolution: distance x 1000}
    swd_images: int | None = None
    num_real: int | None = None
    data: str | None = None
    split: str | None = None
    resolution: int | None = None
    data_sha256: str | None = None

    def as_dict(self):
        """All fields, for JSON."""
        return asdict(self)

    def text(self):
        """One short line: "IS 8.55 +- 0.10, FID 12.42"; see figure_name."""
        prefix = figure_name("", self.feature_net)
        parts = []
        if self.is_mean is not None:
            parts.append(f"{prefix}IS {self.is_mean:.2f} +- {self.is_std:.2f}")
        if self.fid is not None:
            parts.append(f"{prefix}FID {self.fid:.2f}")
        if self.kid_mean is not None:
            parts.append(f"{prefix}KID {round(self.kid_mean, 5) + 0.0:.5f} +- {self.kid_std:.5f}")
        if self.precision is not None:
            parts.append(f"{prefix}precision {self.precision:.3f}, {prefix}recall {self.recall:.3f}")
        if self.swd is not None:
            parts.append(f"SWD {self.swd:.2f}")
        return ", ".join(parts)
