"""Checkpoints: plain data and tensors, written atomically and read without running any code.

A crash at any moment leaves the last good checkpoint. The authors' released files are read too;
models.autogan.authors renames their weights.
"""

import hashlib
import pickle
import re
from pathlib import Path

import torch

from utils.cli import UserError
from utils.run.files import open_regular, write_atomically
from utils.run.plain import NotPlain, load_plain
from utils.run.schema import Least, refuse_other_parts

FORMAT = 2
NETWORKS = ("generator", "discriminator", "average")


class DamagedCheckpoint(UserError):
    """The file is no checkpoint, or not the one that was written."""


def save_checkpoint(path, state):
    """Write `state` to `path`; a file that was there is kept as `*_previous.pth`.

    state: tensors and built-in types, in dicts, lists and tuples; TypeError for others. The file is written
    beside `path`, flushed to the disk and renamed, so a kill at any moment leaves a whole file.
    """
    path, content = Path(path), {"format": FORMAT, "sha256": _digest(state), "state": state}

    def write(file):
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's writer hides what the operating system said
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None

    write_atomically(path, write, previous_of(path))


def load_checkpoint(path, option="--load_path"):
    """The state that `save_checkpoint` wrote, on the CPU.

    Raises DamagedCheckpoint, which names `option`, for any other file.
    """
    content = _read(path, option)
    if not isinstance(content, dict) or content.keys() != {"format", "sha256", "state"}:
        cure = "give a run's folder or its Model/checkpoint.pth"
        raise DamagedCheckpoint(f"{option}: {path} is not a checkpoint of this project; {cure}")
    if type(content["format"]) is not int or content["format"] != FORMAT:
        formats = f"has format {content['format']}, this version reads {FORMAT}"
        raise DamagedCheckpoint(f"{option}: {path} {formats}; use the version that wrote it")
    try:
        is_whole = _digest(content["state"]) == content["sha256"]
    except TypeError:  # it holds what was never saved
        is_whole = False
    if not is_whole:
        raise DamagedCheckpoint(
            f"{option}: {path} is damaged (its sha256 differs); use another checkpoint of the run"
        )
    return content["state"]


def load_networks(path, option="--load_path"):
    """(text of the architecture, {network: weights}, whole state) of a checkpoint of a generator's training.

    Raises UserError, naming the option, for other files (DamagedCheckpoint if none of this project) and where
    the training failed.
    """
    saved = load_checkpoint(path, option)
    if not isinstance(saved, dict) or "architecture" not in saved:
        cure = "train one of its derived.json first"
        raise UserError(f"{option}: {path} is of a search, not of one generator; {cure}")
    networks = {name: {str: torch.Tensor} for name in NETWORKS}
    refuse_other_parts(saved, Least(architecture=str, gan=(None, Least(networks))), f"{option}: {path}")
    if saved["gan"] is None:
        result = saved.get("result")
        failure = (
            result.get("failure", "no reason stated") if isinstance(result, dict) else "no reason stated"
        )
        raise UserError(f"{option}: the training of {path} failed ({failure}); give another checkpoint")
    return saved["architecture"], {name: saved["gan"][name] for name in NETWORKS}, saved


def load_latest(folder, option="--load_path"):
    """(state, path) of the newest good checkpoint in a run's Model folder.

    That is checkpoint.pth, or the one before it if checkpoint.pth is damaged. Raises UserError if there is
    none.
    """
    newest = Path(folder) / "checkpoint.pth"
    first_error = None
    for path in (newest, previous_of(newest)):
        if path.is_file():
            try:
                return load_checkpoint(path, option), path
            except DamagedCheckpoint as error:
                first_error = first_error or error
    raise first_error or UserError(
        f"{option}: no checkpoint in {folder}; give the folder of a run that wrote one"
    )


def previous_of(path):
    """Where the checkpoint before `path` is kept."""
    return path.with_name(path.stem + "_previous" + path.suffix)


def read_authors_weights(path, option="--load_path"):
    """The state dict of a generator that the authors' code saved, under their names.

    The file holds it alone or as avg_gen_state_dict. Raises DamagedCheckpoint, which names `option`, for any
    other file.
    """
    content = _read(path, option)
    if isinstance(content, dict) and "avg_gen_state_dict" in content:
        content = content["avg_gen_state_dict"]
    if isinstance(content, dict):
        content = {_without_wrapper(name): value for name, value in content.items()}
    if not is_state_dict(content) or "l1.weight" not in content:
        cure = "give a checkpoint of this project or of the authors' code"
        raise DamagedCheckpoint(f"{option}: {path} holds no AutoGAN generator; {cure}")
    return content


def is_state_dict(content):
    """Whether it is a network's weights: a dict of tensors by name."""
    is_dict = isinstance(content, dict) and all(isinstance(name, str) for name in content)
    return is_dict and all(isinstance(value, torch.Tensor) for value in content.values())


def _without_wrapper(name):
    """The name of a weight without what DataParallel and torch.compile put before it."""
    return re.sub(r"^((module|_orig_mod)\.)+", "", name) if isinstance(name, str) else name


def _read(path, option):
    file = open_regular(path, option, "give a .pth file")
    try:
        with file, torch.serialization.safe_globals(_numpy_scalar_types()):
            return load_plain(file)
    except NotPlain as odd:
        raise DamagedCheckpoint(f"{option}: {path} holds {odd}; use another checkpoint") from None
    except pickle.UnpicklingError:
        raise DamagedCheckpoint(
            f"{option}: {path} holds more than tensors and plain data, and is not opened for safety"
        ) from None
    except Exception as error:  # torch's reader raises nearly anything on damaged bytes
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DamagedCheckpoint(
            f"{option}: {path} cannot be read ({reason}); use another checkpoint"
        ) from None


def _numpy_scalar_types():
    """What the authors' checkpoints hold besides tensors: a NumPy scalar (best_fid)."""
    import numpy
    from numpy._core.multiarray import scalar

    # Files of 2019 name NumPy's function by its old module.
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        scalar,
        numpy.dtype,
        *(type(numpy.dtype(kind)) for kind in "fdlqi"),
    ]


def _digest(state):
    """sha256 over structure, values and tensor bytes."""
    digest = hashlib.sha256()

    def take(value):
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous()
            digest.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy() if value.numel() else b"")
        elif isinstance(value, dict):
            digest.update(f"dict {len(value)}".encode())
            for key, item in value.items():
                digest.update(repr(key).encode())
                take(item)
        elif isinstance(value, (list, tuple)):
            digest.update(f"{type(value).__name__} {len(value)}".encode())
            for item in value:
                take(item)
        elif value is None or isinstance(value, (str, int, float, bool)):
            digest.update(repr(value).encode())
        else:
            raise TypeError(f"a checkpoint holds tensors and built-in types, not {type(value).__name__}")

    take(state)
    return digest.hexdigest()
