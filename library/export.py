"""Writes generators for other programs: safetensors, torch.export, ONNX.

All three hold the whole network's weights in the generator's precision. The last two also hold what it
computes: noise (N, latent_dim), standard normal -> images (N, 3, R, R) in [-1, 1], for any N.
"""

import importlib.util

import torch
from safetensors.torch import save_file


def save_safetensors(generator, path):
    """Write the weights and, as metadata, the architecture. library.generators.load_generator reads them."""
    weights = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    save_file(weights, path, metadata={"architecture": str(generator.architecture)})


def save_program(generator, path):
    """Write a .pt2 file: torch.export.load(path).module()(noise) makes images, without this project."""
    torch.export.save(
        torch.export.export(generator, (_noise(generator),), dynamic_shapes=_any_number()), path
    )


def save_onnx(generator, path):
    """Write an ONNX file with the input `noise` and the output `images`.

    Raises ImportError if the packages of requirements-export.txt are missing.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"no {' and '.join(missing)}; install them: pip install -r requirements-export.txt")
    torch.onnx.export(
        generator, (_noise(generator),), path, input_names=["noise"], output_names=["images"], dynamo=True,
        dynamic_shapes=_any_number(), external_data=False, verbose=False,
    )  # fmt: skip


def _noise(generator):
    """An example of the input: two vectors, because a size of one would be taken as fixed."""
    return torch.zeros(2, generator.latent_dim, device=next(generator.parameters()).device)


def _any_number():
    return ({0: torch.export.Dim("images")},)
