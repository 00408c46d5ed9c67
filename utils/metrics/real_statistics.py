"""Statistics of real images under a feature network: compute, cache, write and read them."""

import contextlib
import dataclasses
import hashlib
import json
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from utils.cli import UserError, warn
from utils.distributed import batches, from_first, is_first, own_order, size
from utils.inception.files import cache_folder
from utils.metrics.sums import FEATURE_SAMPLE, FeatureSums
from utils.progress import Progress
from utils.run.checkpoint import load_checkpoint, previous_of, save_checkpoint
from utils.run.files import open_regular, write_atomically

LARGEST_VALUE = 1e12  # of a mean or covariance; the products of such values are still finite
MOST_PROVENANCE = 2**16  # bytes

SECONDS_PER_SAVE = 60
LABEL = "statistics of the real images"


@dataclass(frozen=True, eq=False)
class RealStatistics:
    """What the scores need to know about the real images.

    mu (D,), sigma (D, D): float64 arrays. sample (k, D): float32 features for KID, precision and recall, or
    None. The other fields say where they come from, and are None if a file does not say it.
    """

    mu: np.ndarray
    sigma: np.ndarray
    sample: np.ndarray | None = None
    num_images: int | None = None
    data: str | None = None
    split: str | None = None
    resolution: int | None = None
    data_sha256: str | None = None
    feature_net: str | None = None
    backend: str | None = None
    weights_sha256: str | None = None

    def provenance(self):
        """All fields but the arrays, as a dict."""
        return {name: getattr(self, name) for name in PROVENANCE}


ARRAYS = ("mu", "sigma", "sample")
PROVENANCE = tuple(name for name in RealStatistics.__dataclass_fields__ if name not in ARRAYS)
CACHE_KEY = ("num_images", "resolution", "data_sha256", "feature_net", "backend", "weights_sha256")


@torch.inference_mode()
def real_statistics(images, feature_net, *, cache_dir=None, batch_size=100, sample_size=0, progress=LABEL):
    """The RealStatistics of `images` (ResizedImages) under a FeatureNet.

    They are read from the cache, or computed and cached.
    sample_size: images whose features are kept for KID, precision and recall (`sums.FEATURE_SAMPLE`), 0 for
    none.
    cache_dir: default is the user's cache folder. A damaged cache file is written anew.
    progress: what the work is called where progress is shown.
    """
    provenance = {
        "num_images": images.num_images, "data": images.name, "split": images.split,
        "resolution": images.resolution, "data_sha256": images.sha256(), "feature_net": feature_net.name,
        "backend": feature_net.backend, "weights_sha256": feature_net.weights_sha256,
    }  # fmt: skip
    sample_size = min(sample_size, images.num_images)
    path, cached = from_first(_find_cached, cache_dir, feature_net.feature_dim, provenance)
    if cached is not None:
        kept = 0 if cached.sample is None else len(cached.sample)
        if sample_size in (0, kept):
            return cached
    # What is done so far is kept for one process alone: the shares of several would not fit other numbers.
    partial_file = path and size() == 1 and _partial_file(path, sample_size)
    sums = sum_features(images, feature_net, batch_size, sample_size, progress, partial_file)
    mu, sigma = sums.mean_and_covariance()
    sample = sums.sample.rows.cpu().numpy() if sample_size else None
    statistics = RealStatistics(mu.numpy(), sigma.numpy(), sample, **provenance)
    try:
        if path and is_first():
            save_statistics(statistics, path)
    except OSError as error:
        warn(f"the statistics of the real images could not be cached: {error}")
    return statistics


def sum_features(images, feature_net, batch_size, sample_size=0, progress=LABEL, partial_file=None):
    """The FeatureSums of all images.

    What is done is saved to `partial_file` every minute, to go on from; None: it is not saved.
    """
    count = images.num_images
    sums = FeatureSums(
        count, feature_net.feature_dim, feature_net.num_classes, feature_net.device,
        covariance=True, sample_size=sample_size,
    )  # fmt: skip
    start = _load_partial(sums, partial_file, batch_size) if partial_file else 0
    saved_at = time.monotonic()
    sample = images.batches(own_order(torch.arange(start, count), batch_size), batch_size)
    with Progress(count, progress, "image", first=start) as bar:
        for first, length, is_own in batches(count, batch_size, start):
            if is_own:
                features, logits = feature_net(next(sample))
                sums.add(features, logits, first)
            bar.update(length)
            is_due, done = time.monotonic() - saved_at > SECONDS_PER_SAVE, first + length
            if partial_file and is_due and done < count:
                _save_partial(sums, partial_file, batch_size, done)
                saved_at = time.monotonic()
    sums.add_up()
    for file in (partial_file, previous_of(partial_file)) if partial_file else ():
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
    return sums


def _find_cached(cache_dir, feature_dim, provenance):
    """(the cache file, the RealStatistics in it), each None if there is none."""
    try:
        path = _cache_file(cache_dir, provenance)
        return path, _read_cache(path, feature_dim, provenance)
    except OSError as error:
        warn(f"there is no cache for the statistics of the real images: {error}")
        return None, None


def _load_partial(sums, file, batch_size):
    """Load the sums that an interrupted computation saved; returns their number of images, or 0."""
    try:
        saved = load_checkpoint(file)
        if saved["batch_size"] != batch_size:
            return 0
        sums.load_state_dict(saved["sums"])
        return saved["start"]
    except (OSError, UserError, KeyError, RuntimeError):  # no such file, or one of another kind
        return 0


def _save_partial(sums, file, batch_size, start):
    with contextlib.suppress(OSError):  # the cache only saves time
        file.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(file, {"sums": sums.state_dict(), "start": start, "batch_size": batch_size})


def _cache_file(cache_dir, provenance):
    """The cache file: the same for the same images and network, whatever the data set's name."""
    key = hashlib.sha256(json.dumps([provenance[name] for name in CACHE_KEY]).encode()).hexdigest()
    return Path(cache_dir or cache_folder()) / f"real-{key[:24]}.npz"


def _partial_file(path, sample_size):
    """Where the sums are kept while they are computed."""
    return path.with_name(f"{path.stem}-{sample_size}-partial.pth")


def _read_cache(path, feature_dim, provenance):
    """The RealStatistics in a cache file, or None."""
    if not path.is_file():
        return None
    try:
        statistics = load_fid_stat(path, feature_dim)
    except UserError:
        return None
    if any(getattr(statistics, name) != provenance[name] for name in CACHE_KEY):
        return None
    return dataclasses.replace(statistics, **provenance)


def save_statistics(statistics, path):
    """Write RealStatistics as `.npz`, whole or not at all.

    It holds `mu`, `sigma`, `provenance` as JSON, and if there is one, `sample`.
    """
    arrays = {
        "mu": statistics.mu,
        "sigma": statistics.sigma,
        "provenance": np.array(json.dumps(statistics.provenance())),
    }
    if statistics.sample is not None:
        arrays["sample"] = statistics.sample
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: np.savez(file, **arrays))


def load_fid_stat(path, feature_dim, feature_net=None, *, data=None, split=None, resolution=None):
    """RealStatistics from an `.npz` with `mu` and `sigma`.

    The file may be this project's, TTUR's or the AutoGAN authors'. feature_net, data, split, resolution: how
    the generated images are scored; a file that says it was made differently is refused. Raises UserError,
    which names --fid_stat, for an unsound file. Unpickles nothing, and reads nothing larger than expected.
    """
    statistics = _read_npz(path, feature_dim)
    mu, sigma = statistics.mu, statistics.sigma
    cure = "make the file anew with python -m utils.fid_stats"
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise UserError(f"--fid_stat: {path} holds values that are not finite; {cure}")
    if max(np.abs(mu).max(), np.abs(sigma).max()) > LARGEST_VALUE:
        raise UserError(
            f"--fid_stat: {path} holds values above {LARGEST_VALUE:.0e}, as no features have; {cure}"
        )
    if not _is_covariance(sigma):
        reason = "is no covariance matrix (not symmetric, or a negative variance)"
        raise UserError(f"--fid_stat: sigma in {path} {reason}; {cure}")
    for name, words, wanted in (
        ("feature_net", "network", feature_net), ("data", "data set", data), ("split", "split", split),
        ("resolution", "resolution", resolution),
    ):  # fmt: skip
        found = getattr(statistics, name)
        if None not in (wanted, found) and found != wanted:
            raise UserError(
                f"--fid_stat: {path} was made with the {words} {found}, the images are scored with {wanted}; "
                f"make a file with the same {words}"
            )
    return dataclasses.replace(statistics, data=statistics.data or Path(path).name)


def _is_covariance(sigma):
    """Whether a matrix is symmetric and without negative eigenvalues, up to rounding."""
    if np.abs(sigma - sigma.T).max() > 1e-6 * np.abs(sigma).max():
        return False
    slack = 1e-6 * abs(np.trace(sigma)) or 1.0  # the trace is no less than the largest eigenvalue
    with_slack = torch.from_numpy(sigma) + slack * torch.eye(len(sigma), dtype=torch.float64)
    return not torch.linalg.cholesky_ex(with_slack).info


def _read_npz(path, feature_dim):
    """The RealStatistics in an `.npz` file, before their values are checked.

    Raises UserError, which names --fid_stat.
    """
    cure = "make one with python -m utils.fid_stats"
    file = open_regular(path, "--fid_stat", cure)
    try:
        with file, zipfile.ZipFile(file) as archive:
            _check_header(archive, "mu", (feature_dim,))
            _check_header(archive, "sigma", (feature_dim, feature_dim))
            ours = "provenance.npy" in archive.namelist()
            if "sample.npy" in archive.namelist():
                _check_header(archive, "sample", (range(4, FEATURE_SAMPLE + 1), feature_dim))
            if ours and archive.getinfo("provenance.npy").file_size > MOST_PROVENANCE:
                raise UserError(f"its provenance is too long; {cure}")
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            mu, sigma = arrays["mu"].astype(np.float64), arrays["sigma"].astype(np.float64)
            sample = arrays["sample"] if ours and "sample" in arrays else None
            provenance = dict(json.loads(str(arrays["provenance"]))) if ours else {}
        if sample is not None and not np.isfinite(sample).all():
            raise UserError(f"it holds features that are not finite; {cure}")
        return RealStatistics(mu, sigma, sample, **{name: provenance.get(name) for name in PROVENANCE})
    except UserError as error:
        raise UserError(f"--fid_stat: {path}: {error}") from None
    except OSError as error:
        raise UserError(f"--fid_stat: cannot read {path}: {error.strerror or error}") from None
    except (
        zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError, KeyError, NotImplementedError,
        RuntimeError, MemoryError,
    ):  # fmt: skip
        raise UserError(f"--fid_stat: {path} is not a sound .npz file; {cure}") from None


def _check_header(archive, key, shape):
    """Refuse an array of another shape or type before any of it is read.

    A range in `shape` allows any of its lengths.
    """
    if f"{key}.npy" not in archive.namelist():
        raise UserError(f"the array {key} is missing; make the file with python -m utils.fid_stats")
    with archive.open(f"{key}.npy") as member:
        if np.lib.format.read_magic(member) == (1, 0):
            found, _, dtype = np.lib.format.read_array_header_1_0(member)
        else:
            found, _, dtype = np.lib.format.read_array_header_2_0(member)
    if dtype.kind != "f":
        raise UserError(f"{key} is of type {dtype}; floats are needed")
    allowed = [length if isinstance(length, range) else (length,) for length in shape]
    if len(found) != len(shape) or any(each not in lengths for each, lengths in zip(found, allowed)):
        wanted = tuple(f"{each[0]} to {each[-1]}" if len(each) > 1 else each[0] for each in allowed)
        reason = f"{key} has the shape {found}, the feature network needs {wanted}"
        raise UserError(f"{reason}; make a file with the same network")
