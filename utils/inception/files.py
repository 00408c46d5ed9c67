"""Where the Inception weights come from: files in any of their forms, the cache, downloads.

Every file is somebody else's: it is told by its first bytes, bounded in size, never unpickled freely and never unpacked to disk.
What is wrong with it is raised as one line (UserError).
"""

import gzip
import hashlib
import http.client
import os
import re
import sys
import tarfile
import urllib.request
from pathlib import Path, PurePosixPath

import safetensors
import safetensors.torch
import torch
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from tqdm import tqdm

from utils.cli import UserError
from utils.inception.graph import GraphError, tensors_from_graph
from utils.inception.network import inception_shapes

TGZ_URL = "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
TGZ_BYTES = 88_931_400
GRAPH_NAME = "classify_image_graph_def.pb"
MAX_BYTES = 128 * 2**20  # of a weights file, and of everything in the archive; the graph itself has 96 MB
MAX_MEMBERS = 100
NETWORK_TIMEOUT_SECONDS = 10


def cache_folder():
    """The user's cache folder for this project: $XDG_CACHE_HOME/autogan, or ~/.cache/autogan."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autogan"


def cached_archive():
    """Where `python -m utils.inception --download` puts the archive."""
    return cache_folder() / "inception-2015-12-05.tgz"


def torch_fidelity_file():
    """Where torch-fidelity keeps the weights that it downloads."""
    return Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]


def find_inception_weights():
    """The Inception weights already on this machine, or torch-fidelity's downloaded now; UserError with the ways to get them."""
    for path in (torch_fidelity_file(), cached_archive()):
        if path.is_file():
            return path
    try:
        return download(URL_INCEPTION_V3, torch_fidelity_file())
    except UserError as error:
        reason = str(error).split(": ", 1)[1]
        raise UserError(
            f"--inception_path: there are no Inception weights here, and the download failed: {reason}. Give a file with "
            f"--inception_path ({torch_fidelity_file().name}, {GRAPH_NAME} or its .tgz), or run `python -m utils.inception "
            "--download` where there is a network, or score with --feature_net efficientnet-lite0, another scale that needs none"
        ) from None


def read_weights(path):
    """(tensors of torch-fidelity's network, sha256 of the file) from a .pb, .tgz, .pth or .safetensors, else UserError."""
    path, kind, sha256 = inspect_file(path)
    named = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if named and not sha256.startswith(named[1]):
        raise UserError(
            f"--inception_path: {path} is damaged: its sha256 is {sha256}, its name says {named[1]}; fetch it again"
        )
    if kind == "pth":
        return check_tensors(read_pickle(path), path), sha256
    if kind == "safetensors":
        return read_safetensors(path), sha256

    cached = cache_folder() / f"inception-{sha256}.safetensors"
    if cached.is_file():
        try:
            return read_safetensors(cached), sha256
        except UserError:
            pass  # damaged: read the graph again and write the cache anew
    tensors = graph_tensors(graph_bytes(path, kind), path)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(tensors, cached)
    except OSError:
        pass  # the cache only saves time
    return tensors, sha256


def read_graph(path):
    """(bytes of the frozen graph, sha256 of the file) from a .pb or the .tgz, its structure checked; UserError otherwise."""
    path, kind, sha256 = inspect_file(path)
    if kind not in ("graph", "archive"):
        raise UserError(
            f"--inception_path: TensorFlow runs {GRAPH_NAME} or its .tgz, and {path} is neither; give one, or use --inception_backend torch"
        )
    graph = graph_bytes(path, kind)
    graph_tensors(graph, path)
    return graph, sha256


def inspect_file(path):
    """(path, kind by the first bytes, sha256) of a weights file."""
    path = Path(path)
    try:
        if not path.is_file():
            raise UserError(
                f"--inception_path: {path} is {'not a file' if path.exists() else 'missing'}; {_files_wanted()}"
            )
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise UserError(f"--inception_path: {path} has {size:,} bytes; {_files_wanted()}")
        with open(path, "rb") as file:
            head = file.read(64)
            file.seek(0)
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise UserError(
            f"--inception_path: {path} cannot be read ({error.strerror}); {_files_wanted()}"
        ) from None
    if head.lstrip().startswith(b"<"):
        raise UserError(f"--inception_path: {path} is a web page, not weights; {_files_wanted()}")
    if head.startswith(b"\x1f\x8b"):
        return path, "archive", digest.hexdigest()
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):
        return path, "pth", digest.hexdigest()
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return path, "safetensors", digest.hexdigest()
    return path, "graph", digest.hexdigest()


def _files_wanted():
    return f"give {GRAPH_NAME}, its .tgz (python -m utils.inception --download fetches it) or torch-fidelity's .pth"


def graph_bytes(path, kind):
    return graph_from_archive(path) if kind == "archive" else path.read_bytes()


def graph_tensors(graph, path):
    """The tensors in the bytes of a graph that came from `path`."""
    try:
        return check_tensors(tensors_from_graph(graph), path)
    except GraphError as error:
        raise UserError(f"--inception_path: {path} {error}; {_files_wanted()}") from None


class _Bounded:
    """A stream that refuses to give more than MAX_BYTES, so that no archive fills the memory."""

    def __init__(self, stream):
        self.stream, self.left = stream, MAX_BYTES

    def read(self, size):
        data = self.stream.read(min(size, 2**20))
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError("it unpacks to more than the Inception archive")
        return data


def graph_from_archive(path):
    """The bytes of classify_image_graph_def.pb in the .tgz. Nothing is written; links, devices and odd paths are refused."""
    graph = None
    try:
        with gzip.open(path) as stream:
            bounded = _Bounded(stream)
            with tarfile.open(fileobj=bounded, mode="r|") as archive:
                for count, member in enumerate(archive):
                    name = PurePosixPath(member.name)
                    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                        raise tarfile.ReadError(
                            f"it holds {member.name[:80]!r}, which is not a plain file inside it"
                        )
                    if count == MAX_MEMBERS or member.size > MAX_BYTES:
                        raise tarfile.ReadError("it unpacks to more than the Inception archive")
                    if str(name) == GRAPH_NAME and member.isfile():
                        if graph is not None:
                            raise tarfile.ReadError(f"it holds {GRAPH_NAME} twice")
                        graph = archive.extractfile(member).read()
            while bounded.read(2**20):  # to the end, where gzip's checksum is
                pass
    except Exception as error:  # a hostile archive can raise anything
        raise UserError(
            f"--inception_path: {path} is not the Inception archive, or is damaged ({_first_line(error)}); fetch it again"
        ) from None
    if graph is None:
        raise UserError(f"--inception_path: {path} holds no {GRAPH_NAME}; {_files_wanted()}")
    return graph


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:150]


def read_pickle(path):
    """The dictionary in a .pth file; only tensors and plain containers are unpickled."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can raise anything
        raise UserError(
            f"--inception_path: {path} is not a file of weights, or is damaged ({_first_line(error)}); {_files_wanted()}"
        ) from None


def tensors_digest(tensors):
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy())
    return digest.hexdigest()


def write_safetensors(tensors, path):
    """Write a state dict with a digest of its values, so that a flipped bit is noticed; complete or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        safetensors.torch.save_file(tensors, part, metadata={"tensors_sha256": tensors_digest(tensors)})
        os.replace(part, path)
    except safetensors.SafetensorError as error:  # a full disk, for one
        raise OSError(str(error)) from None
    finally:
        part.unlink(missing_ok=True)


def read_safetensors(path):
    """The tensors in a .safetensors file, checked; also against their digest, if `write_safetensors` wrote it."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: what safe_open gives is the file itself, and would change with it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except Exception as error:  # a foreign file can raise anything
        raise UserError(
            f"--inception_path: {path} is not a file of weights, or is damaged ({_first_line(error)}); {_files_wanted()}"
        ) from None
    tensors = check_tensors(tensors, path)
    if "tensors_sha256" in metadata and tensors_digest(tensors) != metadata["tensors_sha256"]:
        raise UserError(
            f"--inception_path: {path} is damaged: its values do not match their sha256; convert it again"
        )
    return tensors


def check_tensors(tensors, path):
    """The 472 tensors if by name, shape and type they are the 2015 Inception network's, and finite; UserError otherwise."""
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise UserError(f"--inception_path: {path} does not hold the tensors of a network; {_files_wanted()}")
    shapes = inception_shapes()
    tensors = {
        name: value.detach()
        for name, value in tensors.items()
        if not str(name).endswith("num_batches_tracked")
    }
    odd = sorted(map(str, tensors.keys() ^ shapes.keys())) or [
        name for name in shapes if not _fits(tensors[name], shapes[name])
    ]
    if odd:
        raise UserError(
            f"--inception_path: {path} holds another network than the Inception of 2015 (first difference: {odd[0][:80]}); "
            + _files_wanted()
        )
    damaged = [name for name in shapes if not torch.isfinite(tensors[name]).all()]
    if damaged:
        raise UserError(f"--inception_path: {path} is damaged: {damaged[0]} is not finite; fetch it again")
    return {name: tensors[name].contiguous() for name in shapes}


def _fits(tensor, shape):
    plain = tensor.dtype == torch.float32 and tensor.layout == torch.strided and tensor.device.type == "cpu"
    return plain and tuple(tensor.shape) == shape


def download(url, output, *, expected_bytes=None, check=None):
    """Fetch `url` into `output` by way of a .part file, with a progress bar; returns `output`. UserError if anything is wrong.

    `expected_bytes`: the only length accepted; `check(part)`: looks at the complete file before it gets its name. A name that
    ends in -HASH.pth is checked against the file's sha256.
    """
    output = Path(output)
    part = output.with_name(f"{output.stem}.{os.getpid()}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        digest = _fetch(url, part, expected_bytes)
        named = re.search(r"-([0-9a-f]{8,64})\.pth$", output.name)
        if named and not digest.startswith(named[1]):
            raise UserError(
                f"--download: what came from {url} has sha256 {digest}, not {named[1]}...; try again"
            )
        if check:
            check(part)
        os.replace(part, output)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = (
            getattr(error, "reason", None)
            or getattr(error, "strerror", None)
            or str(error)
            or type(error).__name__
        )
        raise UserError(f"--download: {url} to {output}: {reason}") from None
    finally:
        part.unlink(missing_ok=True)
    return output


def _fetch(url, part, expected_bytes):
    """Write what `url` holds to `part` and return its sha256."""
    if not url.startswith(("http://", "https://")):
        raise UserError(f"--download: {url} is not a web address")
    print(f"downloading {url}", file=sys.stderr)
    digest, count = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_SECONDS) as response, open(part, "wb") as file:
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced else None
        if expected_bytes and total not in (None, expected_bytes):
            raise UserError(
                f"--download: {url} has {total:,} bytes, not {expected_bytes:,}: another file (an error page?)"
            )
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
        raise UserError(
            f"--download: {count:,} of {total or MAX_BYTES:,} bytes came from {url}: cut short; try again"
        )
    return digest.hexdigest()
