"""torch.compile for networks that run many times in the same form.

Results are equal up to rounding. Compiling takes about a minute.

Not for PyTorch's own spectral norm: with two passes through a discriminator, each updating the norm's
vectors, PyTorch 2.15 compiles gradients that are wrong from the fourth decimal on (docs/BENCHMARKS.md).
Discriminators with joint norms are compiled correctly.
"""

import logging

import torch

from utils.cli import UserError
from utils.training.recipe import differentiates_gradients


def check_compiler(device):
    """Raise UserError if torch.compile does not work here.

    It needs a C++ compiler, and Triton on a GPU.
    """
    # Without a GPU, torch.compile would warn that there is no CUDA.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        torch.compile(lambda x: (x + 1).relu(), dynamic=False)(torch.zeros(2, device=device))
    except Exception as error:  # compilers can raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        cure = "install a C++ compiler or leave the option out"
        raise UserError(f"--compile: torch.compile does not work here ({reason}); {cure}") from None


def compile_generator(generator):
    """Compile a generator of one architecture, without spectral norm, in place."""
    generator.compile(dynamic=False)


def compile_discriminator(discriminator):
    """Compile, in place, all that a discriminator computes after its weights are normalised.

    Its gradients cannot be differentiated again after this.
    """
    # A form for each level, batch size, and whether the images or the weights need gradients.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
    discriminator.logits = torch.compile(discriminator.logits, dynamic=False)


def compiles_discriminator(run, training, recipe):
    """Whether --compile also compiles the discriminator.

    Its spectral norms must be joint (--fast on), and gradient penalties are out because they differentiate
    gradients. run, training, recipe: the option groups of these names.
    """
    return run.compile and run.is_fast and not differentiates_gradients(training, recipe)
