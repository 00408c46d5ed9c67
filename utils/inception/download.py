"""Download the Inception weights into the user's cache, or find them there."""

import contextlib
import hashlib
import http.client
import os
import re
import sys
import urllib.request
from pathlib import Path

import torch
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from tqdm import tqdm

from utils.cli import UserError
from utils.inception.files import GRAPH_NAME, MAX_BYTES, cache_folder, in_home
from utils.run.files import remove_leftovers, temporary_file

TGZ_URL = "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
TORCH_FIDELITY_NAME = URL_INCEPTION_V3.rsplit("/", 1)[1]
TGZ_BYTES = 88_931_400
NETWORK_TIMEOUT_SECONDS = 10


def cached_archive():
    """Where `python -m utils.inception --download` puts the archive."""
    return cache_folder() / "inception-2015-12-05.tgz"


def torch_fidelity_file():
    """Where torch-fidelity keeps the weights that it downloads. Raises OSError where there is no home."""
    return in_home(torch.hub.get_dir()) / "checkpoints" / TORCH_FIDELITY_NAME


def find_inception_weights():
    """The file of the Inception weights on this machine.

    If there is none, torch-fidelity's is downloaded. Raises UserError, which lists the ways to get the
    weights.
    """
    for find in (torch_fidelity_file, cached_archive):
        with contextlib.suppress(OSError):  # there is no home, or it cannot be read
            if find().is_file():
                return find()
    try:
        return download(URL_INCEPTION_V3, torch_fidelity_file())
    except (OSError, UserError) as error:
        reason = str(error).split(": ", 1)[1] if isinstance(error, UserError) else error.strerror
        raise UserError(
            f"--inception_path: there are no Inception weights here, and the download failed: {reason}. "
            f"Give a file with --inception_path ({TORCH_FIDELITY_NAME}, {GRAPH_NAME} or its .tgz), "
            "or run `python -m utils.inception --download` where there is a network, "
            "or score with --feature_net efficientnet-lite0, another scale that needs none"
        ) from None


def download(url, output, *, expected_bytes=None, check=None):
    """Download `url` as the file `output`, with a progress bar, and return `output`.

    expected_bytes: the only length accepted. check: called with the complete file under its temporary name;
    raises if the file is wrong. If `output` is called *-HASH.pth, its sha256 must begin with HASH.
    Raises UserError if anything fails; then there is no file.
    """
    output = Path(output)
    part = temporary_file(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(output.parent)
        digest = _fetch(url, part, expected_bytes)
        named = re.search(r"-([0-9a-f]{8,64})\.pth$", output.name)
        if named and not digest.startswith(named[1]):
            reason = f"what came from {url} has sha256 {digest}, not {named[1]}..."
            raise UserError(f"--download: {reason}; try again")
        if check:
            check(part)
        os.replace(part, output)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise UserError(f"--download: {url} to {output}: {reason or type(error).__name__}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return output


def _fetch(url, part, expected_bytes):
    """Write the content of `url` to the file `part` and return its sha256."""
    if not url.startswith(("http://", "https://")):
        raise UserError(f"--download: {url} is not a web address")
    print(f"downloading {url}", file=sys.stderr)
    digest, count = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_SECONDS) as response, open(part, "wb") as file:
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced else None
        if expected_bytes and total not in (None, expected_bytes):
            reason = f"{url} has {total:,} bytes, not {expected_bytes:,}"
            raise UserError(f"--download: {reason}: another file (an error page?)")
        total = expected_bytes or total
        with tqdm(total=total, unit="B", unit_scale=True, disable=None) as bar:
            while block := response.read(2**18):
                count += len(block)
                if count > (total or MAX_BYTES):
                    break
                digest.update(block)
                file.write(block)
                bar.update(len(block))
    if count != (total or count) or count > MAX_BYTES:
        reason = f"{count:,} of {total or MAX_BYTES:,} bytes came from {url}"
        raise UserError(f"--download: {reason}: cut short; try again")
    return digest.hexdigest()
