"""Writes generators for other programs: safetensors, torch.export, ONNX.

All three hold the whole network's weights in the generator's precision. The last two also hold what it
computes: noise (N, latent_dim), standard normal -> images (N, 3, R, R) in [-1, 1], for any N. A conditional
generator also takes labels (N,), int64.
"""

import importlib.util
import json

import torch
from safetensors.torch import save

from library.generators import sample
from library.headers import to_metadata
from utils.images import save_picture
from utils.run.files import write_atomically

from utils.training.sizes import example_labels


def save_safetensors(generator, path, classes=None, *, header=None, half=False):
    """Write the weights and, as metadata, the architecture. library.generators.load_generator reads them.

    classes: the Classes of a conditional generator, which also become metadata. header: what else is known of
    the generator, see library.headers. half: in float16, which takes half the space and moves pixels by about
    one of 256 levels, see `fits_half`.
    """
    if bool(classes) != bool(_labels(generator)):
        raise ValueError("a conditional generator is written with its classes: classes=loaded.classes")
    weights = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    if half:
        weights = {
            name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()
        }
    metadata = {"architecture": str(generator.architecture)}
    if classes:
        metadata["classes"] = json.dumps(classes.to_saved())
    content = save(weights, metadata=metadata | (to_metadata(header) if header else {}))
    write_atomically(path, lambda file: file.write(content))


def fits_half(generator):
    """Whether no weight is too large for float16."""
    return all(tensor.half().isfinite().all() for tensor in generator.state_dict().values())


def save_strip(generator, path, classes=None):
    """Write the first 8 images of seed 1 side by side as a PNG, and return its path.

    By them one sees on another machine whether a file makes what it made here. classes: as for `sample`.
    """
    images = sample(generator, 8, 1, 8, classes)
    return save_picture(images.permute(2, 0, 3, 1).flatten(1, 2).numpy(), path)


def save_program(generator, path):
    """Write a .pt2 file: torch.export.load(path).module()(noise) makes images, without this project.

    That of a conditional generator is called with (noise, labels=labels).
    """
    shapes = _any_number(generator)
    exported = torch.export.export(generator, (_noise(generator),), _labels(generator), dynamic_shapes=shapes)
    torch.export.save(exported, path)


def save_onnx(generator, path):
    """Write an ONNX file with the input `noise`, if conditional also `labels`, and the output `images`.

    Raises ImportError if the packages of requirements-export.txt are missing.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"no {' and '.join(missing)}; install them: pip install -r requirements-export.txt")
    labels = _labels(generator)
    torch.onnx.export(
        generator, (_noise(generator),), path, kwargs=labels, input_names=["noise", *labels],
        output_names=["images"], dynamo=True, dynamic_shapes=_any_number(generator), external_data=False,
        verbose=False,
    )  # fmt: skip


def _noise(generator):
    """An example of the input: two vectors, because a size of one would be taken as fixed."""
    return torch.zeros(2, generator.latent_dim, device=next(generator.parameters()).device)


def _labels(generator):
    """The same for the labels of a conditional generator, by name; {} without classes."""
    return example_labels(generator, 2, next(generator.parameters()).device)


def _any_number(generator):
    count, labels = {0: torch.export.Dim("images")}, _labels(generator)
    return {"z": count, **dict.fromkeys(labels, count)} if labels else (count,)
