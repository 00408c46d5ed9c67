"""torch.compile for what runs many times in one form: the same results to rounding after about a minute of compiling.

Not for spectral norm: PyTorch 2.15 compiles two passes through a discriminator, of which each updates the norm's vectors, to gradients
that are wrong from the fourth decimal on (docs/BENCHMARKS.md).
"""

import logging

import torch

from utils.cli import UserError


def check_compiler(device):
    """Raise UserError if torch.compile cannot work here: it needs a C++ compiler, on a GPU Triton."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(
        logging.ERROR
    )  # it warns of a CUDA toolkit without a GPU
    try:
        torch.compile(lambda x: (x + 1).relu(), dynamic=False)(torch.zeros(2, device=device))
    except Exception as error:  # whatever a compiler can raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"--compile: torch.compile does not work here ({reason}); install a C++ compiler or leave the option out"
        ) from None


def compile_generator(generator):
    """Compile a generator of one architecture, without spectral norm, in place."""
    generator.compile(dynamic=False)


def compile_discriminator(discriminator):
    """Compile what a discriminator does once its weights are normed, in place. Its gradients cannot be differentiated any more."""
    torch._dynamo.config.recompile_limit = max(
        torch._dynamo.config.recompile_limit, 32
    )  # levels x batch sizes x what needs gradients
    discriminator.logits = torch.compile(discriminator.logits, dynamic=False)
