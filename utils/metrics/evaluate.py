"""Score the images of a callable `sample(n) -> images`: all metrics in one pass over them."""

import torch

from utils.cli import Ending
from utils.distributed import batches, from_first, highest, is_stop_asked, size
from utils.images import all_finite, to_uint8
from utils.inception.feature_net import relative_difference
from utils.metrics.distances import frechet_distance, kernel_inception_distance, precision_recall
from utils.metrics.scores import METRICS, Scores, fewest_images
from utils.metrics.sliced_wasserstein import IMAGE_SAMPLE, sliced_wasserstein_distance
from utils.metrics.sums import FEATURE_SAMPLE, FeatureSums, RowSample, sample_indices
from utils.progress import Progress

LARGEST_DIFFERENCE = 1e-4  # relative, between two backends of one network


class NonFiniteImages(Ending):
    """The images hold NaN or infinity, which the cast to uint8 would turn into black or white pixels."""

    exit_code = 3


class BackendsDiffer(Ending):
    """Two backends of one network differ by more than rounding."""


@torch.inference_mode()
def evaluate(
    sample, num_images, feature_net, *, real=None, real_images=None, batch_size=100, splits=10,
    metrics=("is", "fid"), seed=None, progress="scoring",
):  # fmt: skip
    """Score `num_images` images of a generator in one pass.

    sample: sample(n) -> n images (n, 3, H, W), uint8, or float in [-1, 1]. Floats are truncated to uint8
    here, as in the authors' code. Several processes take the batches in turn: there it has a method skip(n),
    too, for those of the others, and perhaps stop_if_asked(), see noise_sampler.
    feature_net: a FeatureNet, or None if "swd" is the only metric. metrics: some of METRICS.
    real: RealStatistics for "fid"; with a sample of features also for "kid" and "precision_recall". Without
    them these scores are None in the result.
    real_images: ResizedImages for "swd", at the resolution of the generated ones. seed: only recorded.
    progress: what the work is called where progress is shown.

    Memory does not grow with num_images. Scores depend on batch_size and on the number of processes only by
    float64 rounding; all processes return the same. The global random state and the module behind `sample`
    are not touched. Raises NonFiniteImages for images with NaN or infinity, which get no score.
    """
    scoring = _Scoring(num_images, feature_net, real, real_images, splits, metrics)
    _one_pass(sample, num_images, scoring.add, batch_size, progress)
    return scoring.scores(seed)


@torch.inference_mode()
def evaluate_both(
    sample, num_images, feature_nets, *, reals=(None, None), real_images=None, batch_size=100, splits=10,
    metrics=("is", "fid"), seed=None, progress="scoring",
):  # fmt: skip
    """Score the same images with two backends of one network.

    reals: RealStatistics for each backend. The rest is as in `evaluate`.
    Returns (Scores, Scores, differences): all `metrics` by the first backend, IS and FID by the second, and
    the relative differences between them: "features" (largest over the images, see `relative_difference`),
    "is" and "fid" (None where not scored). Raises BackendsDiffer if one is above 1e-4.
    """
    scorings = [
        _Scoring(num_images, feature_nets[0], reals[0], real_images, splits, metrics),
        _Scoring(num_images, feature_nets[1], reals[1], None, min(splits, num_images), ("is", "fid")),
    ]
    features = []

    def add(images, start):
        first, second = (scoring.add(images, start) for scoring in scorings)
        features.append(relative_difference(first, second))

    _one_pass(sample, num_images, add, batch_size, progress)
    first, second = (scoring.scores(seed) for scoring in scorings)
    differences = {"features": highest(max(features, default=0.0)), "is": None, "fid": None}
    if first.is_mean is not None:
        differences["is"] = abs(first.is_mean / second.is_mean - 1)
    if first.fid is not None and second.fid is not None:
        # Near 0 a relative difference means nothing.
        differences["fid"] = abs(first.fid - second.fid) / max(second.fid, 1.0)
    if not all(value is None or value <= LARGEST_DIFFERENCE for value in differences.values()):
        stated = ", ".join(f"{name} {value:.1e}" for name, value in differences.items() if value is not None)
        backends = " and ".join(net.backend for net in feature_nets)
        raise BackendsDiffer(
            f"the backends {backends} differ by more than {LARGEST_DIFFERENCE:.0e}: {stated}"
        )
    return first, second, differences


def _one_pass(sample, num_images, add, batch_size, progress):
    """Call add(uint8 images, index of the first one) for each batch of this process.

    Raises NonFiniteImages. If one process is asked to stop, all leave their batches and stop together.
    """
    finite, asked = torch.ones(()), False
    stop_if_asked = getattr(sample, "stop_if_asked", None) if size() > 1 else None
    with Progress(num_images, progress, "image") as bar:
        for number, (start, wanted, is_own) in enumerate(batches(num_images, batch_size)):
            if not is_own:
                sample.skip(wanted)
                bar.update(wanted)
                continue
            asked = stop_if_asked is not None and is_stop_asked()
            if asked:
                break
            images = sample(wanted)
            if images.dim() != 4 or images.shape[:2] != (wanted, 3):
                found = tuple(images.shape)
                raise ValueError(f"sample({wanted}) returned {found} instead of ({wanted}, 3, H, W)")
            finite = finite.to(images.device)
            if images.is_floating_point():
                finite = torch.minimum(finite, all_finite(images).float())
                # Reading the flag waits for the GPU, so read it rarely there. Several processes can only stop
                # together, at the end.
                if size() == 1 and (images.device.type == "cpu" or number % 32 == 31):
                    _check_finite(finite)
                images = to_uint8(images)
            add(images, start)
            bar.update(wanted)
    if highest(asked):
        stop_if_asked()
    _check_finite(not highest(not finite))


def _check_finite(finite):
    if not finite:
        raise NonFiniteImages("the generated images hold NaN or infinity; they get no score")


class _Scoring:
    """Collects what one feature network needs to score the images of one pass."""

    def __init__(self, num_images, feature_net, real, real_images, splits, metrics):
        unknown = set(metrics) - set(METRICS)
        if unknown:
            raise ValueError(f"unknown metrics {sorted(unknown)}; there are {METRICS}")
        self.num_images, self.feature_net = num_images, feature_net
        self.real, self.real_images = real, real_images
        self.splits = splits if "is" in metrics else 0
        self.with_fid = "fid" in metrics and real is not None
        has_sample = real is not None and real.sample is not None
        self.with_kid = "kid" in metrics and has_sample
        self.with_precision = "precision_recall" in metrics and has_sample
        self.with_swd = "swd" in metrics and real_images is not None
        needs_network = self.splits or self.with_fid or self.with_kid or self.with_precision
        if not (needs_network or self.with_swd):
            raise ValueError(f"none of {metrics} can be computed: real statistics or real images are missing")
        if num_images < max(self.splits, fewest_images(metrics if self.with_precision else ())):
            raise ValueError(f"{num_images} images are too few for {self.splits} splits and {metrics}")
        self.sums = self.images = None
        if needs_network:
            self._check_real()
            self.sums = FeatureSums(
                num_images, feature_net.feature_dim, feature_net.num_classes, feature_net.device,
                splits=self.splits, covariance=self.with_fid,
                sample_size=FEATURE_SAMPLE if self.with_kid or self.with_precision else 0,
            )  # fmt: skip
        if self.with_swd:
            self.images = RowSample(num_images, min(IMAGE_SAMPLE, real_images.num_images))

    def _check_real(self):
        net, real = self.feature_net, self.real
        if real is not None and (len(real.mu) != net.feature_dim or real.feature_net not in (None, net.name)):
            raise ValueError(
                f"real statistics of {real.feature_net} ({len(real.mu)} features) for the network {net.name} "
                f"({net.feature_dim} features)"
            )

    def add(self, images, start):
        """Add uint8 images (n, 3, H, W); `start` is the index of the first one.

        Returns their features, or None without a network.
        """
        features = None
        if self.with_swd:
            resolution = self.real_images.resolution
            if images.shape[2:] != (resolution, resolution):
                raise ValueError(f"generated images {tuple(images.shape)}, real ones of {resolution} pixels")
            self.images.add(images, start)
        if self.sums is not None:
            features, logits = self.feature_net(images)
            self.sums.add(features, logits, start)
        return features

    def scores(self, seed=None):
        """The Scores, once all images have been added. The first process computes them for all."""
        if self.sums is not None:
            self.sums.add_up()
        if self.images is not None and size() > 1:
            resolution = self.real_images.resolution
            self.images.add_up(3, resolution, resolution, dtype=torch.uint8, device=self.real_images.device)
        return from_first(self._scores, seed)

    def _scores(self, seed):
        found = {}
        real = self.real
        if self.splits:
            found["is_mean"], found["is_std"] = self.sums.inception_score()
            found["splits"] = self.splits
        if self.with_fid:
            found["fid"] = frechet_distance(*self.sums.mean_and_covariance(), real.mu, real.sigma)
        if self.with_kid or self.with_precision:
            features = self.sums.sample.rows
            real_features = torch.from_numpy(real.sample).to(self.feature_net.device)
            found["feature_sample_fake"], found["feature_sample_real"] = len(features), len(real_features)
            if self.with_kid:
                found["kid_mean"], found["kid_std"] = kernel_inception_distance(features, real_features)
            if self.with_precision:
                found["precision"], found["recall"] = precision_recall(features, real_features)
        if self.with_swd:
            found |= self._sliced_wasserstein()
        found |= self._provenance()
        net = self.feature_net if self.sums is not None else None
        identity = (net.name, net.backend, net.weights_sha256) if net else (None, None, None)
        return Scores(*identity, self.num_images, seed, **found)

    def _sliced_wasserstein(self):
        fake = self.images.rows
        indices = torch.from_numpy(sample_indices(self.real_images.num_images, len(fake)))
        real = torch.cat([batch.to(fake.device) for batch in self.real_images.batches(indices, 100)])
        levels = sliced_wasserstein_distance(fake, real)
        return {"swd": sum(levels.values()) / len(levels), "swd_levels": levels, "swd_images": len(fake)}

    def _provenance(self):
        """What is known about the real images, from their statistics or from the images themselves."""
        if self.with_fid or self.with_kid or self.with_precision:
            real = self.real
            name, sha256 = real.data, real.data_sha256
        elif self.with_swd:
            real = self.real_images
            name, sha256 = real.name, real.sha256()
        else:
            return {}
        return dict(
            num_real=real.num_images,
            data=name,
            split=real.split,
            resolution=real.resolution,
            data_sha256=sha256,
        )
