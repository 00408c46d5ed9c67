"""Statistics of real images under a feature network: computed once and cached, written, read from other people's files."""

import dataclasses
import hashlib
import json
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from utils.run.files import write_atomically
from utils.cli import UserError
from utils.metrics.sums import FeatureSums
from utils.inception.files import cache_folder


@dataclass(frozen=True, eq=False)
class RealStatistics:
    """What scoring needs of the real images. Provenance is None where a file does not state it.

    mu (D,), sigma (D, D): float64 arrays. sample (k, D): float32 features for KID, precision and recall, or None.
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
        """All but the arrays, as a dict."""
        return {name: getattr(self, name) for name in PROVENANCE}


PROVENANCE = tuple(
    name for name in RealStatistics.__dataclass_fields__ if name not in ("mu", "sigma", "sample")
)
CACHE_KEY = ("num_images", "resolution", "data_sha256", "feature_net", "backend", "weights_sha256")


@torch.inference_mode()
def real_statistics(images, feature_net, *, cache_dir=None, batch_size=100, sample_size=0, progress=None):
    """RealStatistics of a `ResizedImages` under a FeatureNet: read from the cache, or computed once and written there.

    sample_size: images whose features are kept for KID, precision and recall (`feature_sums.FEATURE_SAMPLE`), 0 for none.
    cache_dir: default the user's cache folder. A damaged cache file is computed anew.
    """
    provenance = {
        "num_images": images.num_images,
        "data": images.name,
        "split": images.split,
        "resolution": images.resolution,
        "data_sha256": images.sha256(),
        "feature_net": feature_net.name,
        "backend": feature_net.backend,
        "weights_sha256": feature_net.weights_sha256,
    }
    sample_size = min(sample_size, images.num_images)
    path = _cache_file(cache_dir, provenance)
    cached = _read_cache(path, feature_net.feature_dim, provenance)
    if cached is not None and (
        sample_size == 0 or (cached.sample is not None and len(cached.sample) == sample_size)
    ):
        return cached
    sums = FeatureSums(
        images.num_images,
        feature_net.feature_dim,
        feature_net.num_classes,
        feature_net.device,
        covariance=True,
        sample_size=sample_size,
    )
    with tqdm(
        total=images.num_images, desc=progress, unit="image", leave=False, disable=None if progress else True
    ) as bar:
        start = 0
        for batch in images.batches(torch.arange(images.num_images), batch_size):
            features, logits = feature_net(batch)
            sums.add(features, logits, start)
            start += len(batch)
            bar.update(len(batch))
    mu, sigma = sums.mean_and_covariance()
    sample = sums.sample.rows.cpu().numpy() if sample_size else None
    statistics = RealStatistics(mu.numpy(), sigma.numpy(), sample, **provenance)
    try:
        save_statistics(statistics, path)
    except OSError as error:
        print(f"warning: the statistics of the real images could not be cached: {error}", file=sys.stderr)
    return statistics


def _cache_file(cache_dir, provenance):
    """One file for the same images under the same network, whatever the data set is called."""
    key = hashlib.sha256(json.dumps([provenance[name] for name in CACHE_KEY]).encode()).hexdigest()
    return Path(cache_dir or cache_folder()) / f"real-{key[:24]}.npz"


def _read_cache(path, feature_dim, provenance):
    """The RealStatistics in a cache file, or None."""
    if not path.exists():
        return None
    try:
        statistics = load_fid_stat(path, feature_dim)
    except UserError:
        return None
    if any(getattr(statistics, name) != provenance[name] for name in CACHE_KEY):
        return None
    return dataclasses.replace(statistics, **provenance)


def save_statistics(statistics, path):
    """Write RealStatistics as `.npz` (`mu`, `sigma`, perhaps `sample`, and `provenance` as JSON), atomically."""
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
    """RealStatistics from an `.npz` with `mu` and `sigma`: ours, TTUR's, or the AutoGAN authors' (`fid_stats_cifar10_train.npz`).

    feature_net, data, split, resolution: what the images to be scored are compared by and with; a file that says that it was made with
    others is refused. UserError naming --fid_stat when the file is not what it should be. Nothing is unpickled and nothing larger than
    expected is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for key, shape in (("mu", (feature_dim,)), ("sigma", (feature_dim, feature_dim))):
                _check_header(archive, key, shape)
            ours = "provenance.npy" in archive.namelist()
            if "sample.npy" in archive.namelist():
                _check_header(archive, "sample", (None, feature_dim))
        with np.load(path, allow_pickle=False) as arrays:
            mu, sigma = arrays["mu"].astype(np.float64), arrays["sigma"].astype(np.float64)
            sample = arrays["sample"] if ours and "sample" in arrays else None
            provenance = dict(json.loads(str(arrays["provenance"]))) if ours else {}
    except UserError as error:
        raise UserError(f"--fid_stat: {path}: {error}") from None
    except OSError as error:
        raise UserError(f"--fid_stat: cannot read {path}: {error.strerror or error}") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ):
        raise UserError(
            f"--fid_stat: {path} is not a sound .npz file; make one with python -m utils.fid_stats"
        ) from None
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise UserError(
            f"--fid_stat: {path} holds values that are not finite; make it anew with python -m utils.fid_stats"
        )
    if np.abs(sigma - sigma.T).max() > 1e-6 * np.abs(sigma).max() or (np.diagonal(sigma) < 0).any():
        raise UserError(
            f"--fid_stat: sigma in {path} is no covariance matrix (not symmetric, or a negative variance); "
            "make the file anew with python -m utils.fid_stats"
        )
    known = {name: provenance.get(name) for name in PROVENANCE}
    for name, words, wanted in (
        ("feature_net", "network", feature_net), ("data", "data set", data), ("split", "split", split),
        ("resolution", "resolution", resolution),
    ):  # fmt: skip
        if None not in (wanted, known[name]) and known[name] != wanted:
            raise UserError(
                f"--fid_stat: {path} was made with the {words} {known[name]}, the images are scored with {wanted}; "
                f"make a file with the same {words}"
            )
    return RealStatistics(mu, sigma, sample, **known | {"data": known["data"] or Path(path).name})


def _check_header(archive, key, shape):
    """Refuse an array of another shape or kind before a byte of it is read; None in `shape` means any length."""
    if f"{key}.npy" not in archive.namelist():
        raise UserError(f"the array {key} is missing; make the file with python -m utils.fid_stats")
    with archive.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        found, _, dtype = read_header(member)
    if dtype.kind != "f":
        raise UserError(f"{key} is of type {dtype}; floats are needed")
    if len(found) != len(shape) or any(
        wanted not in (None, length) for length, wanted in zip(found, shape, strict=True)
    ):
        wanted = tuple("any" if length is None else length for length in shape)
        raise UserError(
            f"{key} has the shape {found}, the feature network needs {wanted}; make a file with the same network"
        )
