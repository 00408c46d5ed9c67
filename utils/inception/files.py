"""Read and write the Inception weights in any of their file formats.

The files come from elsewhere and are not trusted. Their format is recognised by the first bytes, their size
is limited, pickles are read without running code, and archives are not unpacked to disk. An unusable file
raises UserError.
"""

import errno
import gzip
import hashlib
import os
import re
import tarfile
from pathlib import Path, PurePosixPath

import safetensors
import safetensors.torch
import torch

from utils.cli import UserError, warn
from utils.inception.graph import GraphError, tensors_from_graph
from utils.inception.network import inception_shapes
from utils.run.files import write_atomically
from utils.run.plain import load_plain

GRAPH_NAME = "classify_image_graph_def.pb"
FILES_WANTED = (
    f"give {GRAPH_NAME}, its .tgz (python -m utils.inception --download fetches it) or torch-fidelity's .pth"
)
MAX_BYTES = 128 * 2**20  # of a weights file, and of everything in the archive; the graph itself has 96 MB
MAX_MEMBERS = 100


def cache_folder():
    """The user's cache folder for this project: $XDG_CACHE_HOME/autogan, or ~/.cache/autogan.

    Raises OSError where there is no home.
    """
    return in_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "autogan"


def in_home(path):
    """A path that may begin with ~. Raises OSError where it does and there is no home."""
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise FileNotFoundError(errno.ENOENT, "there is no home folder (set XDG_CACHE_HOME or HOME)", path)
    return Path(expanded)


def read_weights(path):
    """(tensors, sha256 of the file) from a .pb, .tgz, .pth or .safetensors.

    The tensors are the 472 of torch-fidelity's network. Those that come from a graph are cached. Raises
    UserError for any other file.
    """
    path, kind, sha256 = inspect_file(path)
    named = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if named and not sha256.startswith(named[1]):
        reason = f"{path} is damaged: its sha256 is {sha256}, its name says {named[1]}"
        raise UserError(f"--inception_path: {reason}; fetch it again")
    if kind == "pth":
        return check_tensors(read_pickle(path), path), sha256
    if kind == "safetensors":
        return read_safetensors(path), sha256

    try:
        cached = cache_folder() / f"inception-{sha256}.safetensors"
        return read_safetensors(cached), sha256
    except (OSError, UserError):
        pass  # missing, or damaged: read the graph and write the cache anew
    tensors = graph_tensors(graph_bytes(path, kind), path)
    try:
        cached = cache_folder() / f"inception-{sha256}.safetensors"
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(tensors, cached)
    except OSError as error:  # the cache only saves time
        warn(f"the Inception weights could not be cached: {error}")
    return tensors, sha256


def read_graph(path):
    """(bytes of the frozen graph, sha256 of the file) from a .pb or .tgz.

    The graph's structure is checked. Raises UserError for any other file.
    """
    path, kind, sha256 = inspect_file(path)
    if kind not in ("graph", "archive"):
        raise UserError(
            f"--inception_path: TensorFlow runs {GRAPH_NAME} or its .tgz, and {path} is neither; "
            "give one, or use --inception_backend torch"
        )
    graph = graph_bytes(path, kind)
    graph_tensors(graph, path)
    return graph, sha256


def convert(source, output):
    """Write the Inception weights in `source` to `output`, a .pth or .safetensors.

    A .pth is in torch-fidelity's format.
    """
    output = Path(output)
    if output.suffix not in (".pth", ".safetensors"):
        raise UserError(f"--output: {output} must end in .pth or .safetensors")
    tensors, _ = read_weights(source)
    try:
        if output.suffix == ".safetensors":
            write_safetensors(tensors, output)
        else:
            write_atomically(output, lambda file: torch.save(tensors, file))
    except (OSError, RuntimeError) as error:
        raise UserError(f"--output: {output} cannot be written ({str(error).splitlines()[0]})") from None


def inspect_file(path):
    """(path, kind by the first bytes, sha256) of a weights file."""
    path = Path(path)
    try:
        if not path.is_file():
            raise _unusable(f"{path} is {'not a file' if path.exists() else 'missing'}")
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise _unusable(f"{path} has {size:,} bytes")
        with open(path, "rb") as file:
            head = file.read(64)
            file.seek(0)
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise _unusable(f"{path} cannot be read ({error.strerror})") from None
    if head.lstrip().startswith(b"<"):
        raise _unusable(f"{path} is a web page, not weights")
    if head.startswith(b"\x1f\x8b"):
        return path, "archive", digest.hexdigest()
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):
        return path, "pth", digest.hexdigest()
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return path, "safetensors", digest.hexdigest()
    return path, "graph", digest.hexdigest()


def _unusable(reason):
    return UserError(f"--inception_path: {reason}; {FILES_WANTED}")


def graph_bytes(path, kind):
    return graph_from_archive(path) if kind == "archive" else path.read_bytes()


def graph_tensors(graph, path):
    """The tensors in the bytes of a graph that came from `path`."""
    try:
        return check_tensors(tensors_from_graph(graph), path)
    except GraphError as error:
        raise _unusable(f"{path} {error}") from None


class _Bounded:
    """A stream that gives at most MAX_BYTES, so that no archive can fill the memory."""

    def __init__(self, stream):
        self.stream, self.left = stream, MAX_BYTES

    def read(self, size):
        data = self.stream.read(min(size, 2**20))
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError("it unpacks to more than the Inception archive")
        return data


def graph_from_archive(path):
    """The bytes of classify_image_graph_def.pb in the .tgz. Refuses links, devices and odd paths."""
    graph = None
    try:
        with gzip.open(path) as stream:
            bounded = _Bounded(stream)
            with tarfile.open(fileobj=bounded, mode="r|") as archive:
                for count, member in enumerate(archive):
                    _check_member(member, count)
                    if str(PurePosixPath(member.name)) == GRAPH_NAME and member.isfile():
                        if graph is not None:
                            raise tarfile.ReadError(f"it holds {GRAPH_NAME} twice")
                        graph = archive.extractfile(member).read()
            while bounded.read(2**20):  # to the end, where gzip's checksum is
                pass
    except Exception as error:  # a hostile archive can raise anything
        reason = f"{path} is not the Inception archive, or is damaged ({_first_line(error)})"
        raise UserError(f"--inception_path: {reason}; fetch it again") from None
    if graph is None:
        raise _unusable(f"{path} holds no {GRAPH_NAME}")
    return graph


def _check_member(member, count):
    """Raise ReadError unless a member of an archive is a plain file or folder inside it.

    count: number of the members before it.
    """
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise tarfile.ReadError(f"it holds {member.name[:80]!r}, which is not a plain file inside it")
    if count == MAX_MEMBERS or member.size > MAX_BYTES:
        raise tarfile.ReadError("it unpacks to more than the Inception archive")


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:150]


def read_pickle(path):
    """The dictionary in a .pth file. Unpickles only tensors and plain containers."""
    try:
        with open(path, "rb") as file:
            return load_plain(file)
    except Exception as error:  # a foreign file can raise anything
        raise _unusable(f"{path} is not a file of weights, or is damaged ({_first_line(error)})") from None


def tensors_digest(tensors):
    """sha256 of the names and values of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy())
    return digest.hexdigest()


def write_safetensors(tensors, path):
    """Write a state dict, with a digest of its values, by which damage is found.

    The file is written whole or not at all.
    """
    content = safetensors.torch.save(tensors, metadata={"tensors_sha256": tensors_digest(tensors)})
    write_atomically(path, lambda file: file.write(content))


def read_safetensors(path):
    """The tensors in a .safetensors file, checked by `check_tensors`.

    A file that `write_safetensors` wrote is also checked against its digest.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copy them: the tensors of safe_open are the mapped file itself and would change with it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except Exception as error:  # a foreign file can raise anything
        raise _unusable(f"{path} is not a file of weights, or is damaged ({_first_line(error)})") from None
    tensors = check_tensors(tensors, path)
    if "tensors_sha256" in metadata and tensors_digest(tensors) != metadata["tensors_sha256"]:
        reason = f"{path} is damaged: its values do not match their sha256"
        raise UserError(f"--inception_path: {reason}; convert it again")
    return tensors


def check_tensors(tensors, path):
    """The tensors, if they are the 472 of the 2015 Inception network.

    Names, shapes, types and finite values are checked. Raises UserError otherwise.
    """
    are_tensors = isinstance(tensors, dict) and all(isinstance(t, torch.Tensor) for t in tensors.values())
    if not are_tensors:
        raise _unusable(f"{path} does not hold the tensors of a network")
    shapes = inception_shapes()
    tensors = {
        name: value.detach()
        for name, value in tensors.items()
        if not str(name).endswith("num_batches_tracked")
    }
    odd = sorted(map(str, tensors.keys() ^ shapes.keys()))
    odd = odd or [name for name in shapes if not _fits(tensors[name], shapes[name])]
    if odd:
        difference = f"(first difference: {odd[0][:80]})"
        raise _unusable(f"{path} holds another network than the Inception of 2015 {difference}")
    damaged = [name for name in shapes if not torch.isfinite(tensors[name]).all()]
    if damaged:
        raise UserError(f"--inception_path: {path} is damaged: {damaged[0]} is not finite; fetch it again")
    return {name: tensors[name].contiguous() for name in shapes}


def _fits(tensor, shape):
    plain = tensor.dtype == torch.float32 and tensor.layout == torch.strided and tensor.device.type == "cpu"
    return plain and tuple(tensor.shape) == shape
