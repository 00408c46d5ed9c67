"""torch.compile for networks that run many times in one form: equal up to rounding, after about a minute of
compiling.

Not for PyTorch's own spectral norm: with two passes through a discriminator, each updating the norm's
vectors, PyTorch 2.15 compiles gradients that are wrong from the fourth decimal on (docs/BENCHMARKS.md).
Discriminators with joint norms compile right.
"""

import logging

import torch

from utils.cli import UserError


def check_compiler(device):
    """Raise UserError if torch.compile cannot work here: it needs a C++ compiler, on a GPU Triton."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(
        logging.ERROR
    )  # it warns of CUDA where there is no GPU
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
    """Compile, in place, what a discriminator does once its weights are normed. Its gradients cannot be
    differentiated then.
    """
    # A form for each level, batch size, and whether the images or the weights need gradients.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
    discriminator.logits = torch.compile(discriminator.logits, dynamic=False)


def compiles_discriminator(run, training):
    """Whether --compile reaches the discriminator: its norms must be joint, and WGAN-GP differentiates its
    gradients.

    run, training: the option groups of these names.
    """
    return run.compile and run.is_fast and training.loss == "hinge"
