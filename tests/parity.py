"""Prove that this project computes what other code computed: `python tests/parity.py FILE.npz`.

The keys of FILE tell what it holds:

- `CASE::NAME` with CASE gen_*, dis_* or ctrl_*: inputs, weights and outputs of the AutoGAN authors'
  generators, discriminators and controllers.
- `CASE::start/G/NAME`, `CASE::end/G/NAME` and so on: the weights before and after a short training by the
  authors' own loops, of a search if there is `CASE::archs`, else of architecture a. It is repeated here, the
  plain way and the fast way.
- `G/NAME`, `D/NAME`: ProgGAN's networks by facebookresearch/pytorch_GAN_zoo, and what they compute while a
  growth fades in.

Everything is computed in float64, so that the verdict depends on neither the processor nor the number of
threads: the input of one ReLU is 5e-7, and in float32 its sign is rounding's. One line a case with its
largest error, relative to the largest magnitude of the output; exit code 1 if an error exceeds its bound.
"""

import re
import sys
import zipfile
from functools import partial
from math import isqrt, prod, sqrt
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from option_groups.training import TrainingOptions  # noqa: E402
from models.autogan.architecture import Architecture  # noqa: E402
from models.autogan.authors import our_name  # noqa: E402
from models.autogan.networks import Discriminator, Generator  # noqa: E402
from models.growing.architecture import FIRST_RESOLUTION, Conv, GrowingArchitecture  # noqa: E402
from models.growing.networks import GrowingDiscriminator, GrowingGenerator  # noqa: E402
from models.layers.fast_form import fast_form  # noqa: E402
from models_search.autogan.controller import Controller  # noqa: E402
from models_search.shared_gan.network import shared_generator  # noqa: E402
from utils.training.adversarial import StepFunctions  # noqa: E402
from utils.training.gan import new_gan  # noqa: E402
from utils.training.inputs import Batch  # noqa: E402
from utils.training.loop import train_steps  # noqa: E402

NETWORK_BOUND = 1e-5  # the reference is rounded to float32
TRAINING_BOUND = 1e-8
# The same function of the latents; the minibatch deviation adds its epsilon of 1e-8 to another variance.
PROGGAN_BOUNDS = {"generator": 1e-12, "discriminator": 1e-7}


class Case(NamedTuple):
    """Something computed here and elsewhere. `compute()` -> {output: (found here, expected)}."""

    name: str
    bound: float
    compute: Callable

    def errors(self):
        """{output: largest error, relative to the largest expected value}."""
        return {output: relative_error(*pair) for output, pair in self.compute().items()}


def relative_error(found, expected):
    """Largest difference of two tensors, relative to the second's largest magnitude if that is not 0."""
    if found.shape != expected.shape:
        shapes = f"{tuple(expected.shape)} in the reference and {tuple(found.shape)} here"
        raise SystemExit(f"error: FILE: an output has the shape {shapes}")
    difference, scale = float((found.detach() - expected).abs().max()), float(expected.abs().max())
    return difference / scale if scale else difference


def load_cases(path):
    """The Cases of a reference file."""
    with np.load(path) as arrays:
        values = {key: torch.from_numpy(np.array(arrays[key])) for key in arrays.files}
    values = {key: value.double() if value.is_floating_point() else value for key, value in values.items()}
    if "G/latent" in values:
        checks = {part: partial(check_proggan, values, part) for part in PROGGAN_BOUNDS}
        return [Case(f"proggan {part}", PROGGAN_BOUNDS[part], check) for part, check in checks.items()]
    given = {}
    for key, value in values.items():
        case, _, name = key.partition("::")
        given.setdefault(case, {})[name] = value
    return [case for name, arrays in given.items() for case in _cases(name, arrays)]


def _cases(name, arrays):
    kind = name.split("_")[0]
    if kind in NETWORKS:
        return [Case(name, NETWORK_BOUND, partial(NETWORKS[kind], arrays))]
    if any(key.startswith("start/") for key in arrays):
        checks = {way: partial(check_training, arrays, fast=way == "fast") for way in ("plain", "fast")}
        return [Case(f"{name} {way}", TRAINING_BOUND, check) for way, check in checks.items()]
    raise SystemExit(f"error: FILE: {name} is none of gen_*, dis_*, ctrl_* and no training")


def under(arrays, prefix, rename=str):
    """The arrays whose names begin with `prefix`, by this project's names."""
    found = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    return {rename(name): value for name, value in found.items()}


def load_exactly(network, state):
    """The network in float64 with a state dict that names all it has, but maybe batch norm's step counter."""
    missing, unexpected = network.double().load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"error: FILE: weights do not fit: missing {missing}, unexpected {unexpected}")
    return network


# The authors' networks


def generator_weight_name(architecture):
    """Renames a reference weight such as cell2.norm1.weight to this project's name."""

    def rename(name):
        name = re.sub(r"^l1\.", "linear.", name)
        name = name.replace("to_rgb.bn", "to_rgb.0").replace("to_rgb.conv", "to_rgb.2")
        match = re.fullmatch(r"cell(\d+)\.(.*)", name)
        if not match:
            return name
        level, rest = int(match[1]) - 1, match[2]
        spec = architecture.cells[level]
        rest = re.sub(r"^conv1\.", f"first.{spec.conv}.conv.", rest)
        rest = re.sub(r"^conv2\.", f"second.{spec.conv}.conv.", rest)
        rest = re.sub(r"^norm1\.", f"first.{spec.conv}.norm.{spec.norm}.", rest)
        rest = re.sub(r"^norm2\.", f"second.{spec.conv}.norm.{spec.norm}.", rest)
        rest = re.sub(r"^up1\.", f"first.{spec.conv}.deconv.", rest)
        rest = re.sub(r"^skip(_up)?(\d+)\.", lambda m: f"skip{m[1] or ''}.{int(m[2]) - 1}.", rest)
        return f"cells.{level}.{rest}"

    return rename


def discriminator_weight_name(name):
    """Renames a reference weight such as block1.c_sc.bias to this project's name."""
    name = name.replace("block4.", "last.").replace("l5.", "linear.")
    name = re.sub(r"^block(\d)\.", lambda match: f"growing.{int(match[1]) - 1}.", name)
    return name.replace(".c1.", ".conv1.").replace(".c2.", ".conv2.").replace(".c_sc.", ".shortcut.")


def check_generator(case):
    """The images, and the gradient with respect to z of their sum weighted by -1 to 1."""
    cells = Architecture.from_tokens(case["arch"].tolist()).cells
    architecture = Architecture(cells[: int(case["stage"]) + 1])
    bottom_width, latent_dim = int(case["bottom_width"]), case["z"].shape[1]
    gf_dim = case["w/to_rgb.conv.weight"].shape[1]
    network = Generator.of(architecture, latent_dim=latent_dim, gf_dim=gf_dim, bottom_width=bottom_width)
    load_exactly(network, under(case, "w/", generator_weight_name(architecture))).train(bool(case["train"]))
    z = case["z"].clone().requires_grad_()
    images = network(z)
    (images * torch.linspace(-1, 1, images.numel(), dtype=images.dtype).view_as(images)).sum().backward()
    return {"images": (images, case["images"]), "grad_z": (z.grad, case["grad_z"])}


def check_discriminator(case):
    """The logits, and the gradient of their sum with respect to the images."""
    network = Discriminator(levels=3, df_dim=case["w/l5.weight"].shape[1])
    load_exactly(network, under(case, "w/", discriminator_weight_name))
    images = case["images"].clone().requires_grad_()
    logits = network(images, int(case["stage"]))
    logits.sum().backward()
    return {"logits": (logits, case["logits"]), "grad_images": (images.grad, case["grad_images"])}


def check_controller(case):
    """Log-probabilities, entropies and the final state, with the reference's actions forced."""
    network = Controller(int(case["stage"]), hidden_size=case["h0"].shape[1])
    if list(network.heads) != case["tokens"].tolist():
        raise SystemExit(f"error: FILE: the heads are {case['tokens'].tolist()}, here {network.heads}")
    load_exactly(network, under(case, "w/"))
    rollout = network((case["h0"], case["c0"]), actions=case["actions"])
    h, c = rollout.state
    found = {"log_probs": rollout.log_probs, "entropies": rollout.entropies, "h": h, "c": c}
    return {output: (value, case[output]) for output, value in found.items()}


NETWORKS = {"gen": check_generator, "dis": check_discriminator, "ctrl": check_controller}


# The authors' training

OPTIONS = TrainingOptions()  # learning rates 2e-4, betas (0, 0.9), hinge
N_CRITIC, BATCH, GENERATOR_BATCH, EMA_DECAY = 5, 2, 4, 0.999
# What the authors' shared generator holds and no architecture uses, as utils.run.checkpoint names it: the
# upsampling of a cell's second unit, and that of skips from before the first cell.
NEVER_USED = re.compile(r"\.second\.(pre|post)\.deconv\.|\.skip_up\.-")


def check_training(case, fast):
    """The losses and the weights after the training; of architecture a also the average of its parameters.

    They average parameters alone; this project averages batch norm's statistics too.
    """
    is_search, steps = "archs" in case, len(case["d_loss"])
    published_a = [Architecture.parse("autogan_cifar10_a").tokens] * steps
    architectures = list(map(Architecture.from_tokens, case["archs"].tolist() if is_search else published_a))
    levels = architectures[0].levels

    generator = _generator(under(case, "start/G/", our_name), None if is_search else architectures[0])
    discriminator = _discriminator(under(case, "start/D/", discriminator_weight_name))
    if fast:
        generator, discriminator = fast_form(generator), fast_form(discriminator)
    gan = new_gan(
        generator, discriminator, torch.device("cpu"), OPTIONS, with_average=not is_search, fast=fast
    )

    def functions_at(step):
        generate = partial(gan.generator, architecture=architectures[step])
        return StepFunctions(generate, partial(gan.discriminator, level=levels - 1))

    batches = training_batches(steps, gan.generator.latent_dim, gan.generator.bottom_width << levels)
    d_losses, g_losses = train_steps(gan, batches, functions_at, OPTIONS, ema_decay=EMA_DECAY)
    g_losses = [loss for loss in g_losses if loss is not None]
    compared = {
        "d_loss": (torch.tensor(d_losses, dtype=torch.float64), case["d_loss"]),
        "g_loss": (torch.tensor(g_losses, dtype=torch.float64), case["g_loss"]),
        "G": _side_by_side(gan.generator, _used(under(case, "end/G/", our_name))),
        "D": _side_by_side(gan.discriminator, under(case, "end/D/", discriminator_weight_name)),
    }
    if gan.average is not None:
        compared["average"] = _side_by_side(gan.average, under(case, "average/", our_name))
    return compared


def _generator(state, architecture):
    """The derived generator of the architecture, or the shared one if None, with these weights."""
    rows, latent_dim = state["linear.weight"].shape
    gf_dim = len(state["to_rgb.0.weight"])
    widths = dict(latent_dim=latent_dim, gf_dim=gf_dim, bottom_width=isqrt(rows // gf_dim))
    if architecture:
        return load_exactly(Generator.of(architecture, **widths), state)
    return load_exactly(shared_generator(_length(state, "cells"), **widths), _used(state))


def _discriminator(state):
    network = Discriminator(_length(state, "growing"), df_dim=state["linear.weight"].shape[1])
    return load_exactly(network, state)


def _length(state, modules):
    """How many modules a list of them has."""
    return len({name.split(".")[1] for name in state if name.startswith(f"{modules}.")})


def _used(state):
    return {name: value for name, value in state.items() if not NEVER_USED.search(name)}


def training_batches(steps, latent_dim, resolution):
    """The Batch of every step, by the reference's formulas."""

    def wave(shape, frequency, phase):
        return torch.cos(frequency * torch.arange(prod(shape), dtype=torch.float64) + phase).view(shape)

    for step in range(steps):
        real = wave((BATCH, 3, resolution, resolution), 1.7, step)
        noise = 2 * wave((BATCH, latent_dim), 2.3, step)
        generator_noise = 2 * wave((GENERATOR_BATCH, latent_dim), 2.3, 100 + step)
        yield Batch(step, real, noise, None if step % N_CRITIC else generator_noise)


def _side_by_side(network, expected):
    """(the network's, the expected) values of what `expected` names, each as one vector."""
    state = network.state_dict()
    return tuple(torch.cat([values[name].flatten() for name in expected]) for values in (state, expected))


# ProgGAN's networks by another public implementation


def check_proggan(values, network):
    """The outputs of "generator" or "discriminator" at every fade."""
    resolution = max(int(name.removeprefix("G/rgb_")) for name in values if name.startswith("G/rgb_"))
    architecture = _growing_architecture(values, resolution)
    is_grown = f"G/rgb_{resolution // 2}" in values
    grown_from = _growing_architecture(values, resolution // 2) if is_grown else None
    if network == "generator":
        grown, inputs = GrowingGenerator(architecture, values["G/latent"].shape[1], grown_from), values["z"]
    else:
        grown, inputs = GrowingDiscriminator(architecture, grown_from), values["images"]
    letter = network[0].upper()
    load_exactly(grown, _growing_state(under(values, f"{letter}/"), network, resolution))
    expected = under(values, f"{letter}/out_fade_")
    return {f"fade {fade}": (grown(inputs, float(fade)), output) for fade, output in expected.items()}


def _growing_architecture(values, resolution):
    """The architecture of the stored layers up to a resolution."""
    blocks = {"G": [], "D": []}
    size = FIRST_RESOLUTION
    while size <= resolution:
        for letter, block in blocks.items():
            layers = [values[name] for name in sorted(values) if name.startswith(f"{letter}/{size}x{size}_")]
            # A generator's convolution is named by the maps it makes, a discriminator's by those it reads.
            filters = [len(layer) if letter == "G" else layer.shape[1] for layer in layers]
            if letter == "D" and size == FIRST_RESOLUTION:
                filters[0] -= 1  # the minibatch deviation is no filter's
            block.append(tuple(map(Conv, (layer.shape[2] for layer in layers), filters)))
        size *= 2
    return GrowingArchitecture(tuple(blocks["G"]), tuple(blocks["D"]))


def _growing_state(stored, network, resolution):
    """This project's state dict from the other code's weights.

    That code scales every layer by sqrt(2 / fan in), where ProgGAN's own and this project have another factor
    in three places, and takes the minibatch deviation from the unbiased variance.
    """
    layers, state = {f"rgb_{resolution}": "layers.rgb", f"rgb_{resolution // 2}": "bypass"}, {}
    for name, weight in stored.items():
        if name.startswith("out_fade_"):
            continue
        if name == "latent":  # a dense layer's rows are filters x 4 x 4; its gain here is sqrt(2) / 4
            weight = 4 * weight.unflatten(0, (-1, 4, 4)).permute(0, 3, 1, 2)
        elif name == "hidden":
            weight = weight.unflatten(1, (-1, 4, 4))
        elif name == "score":
            weight = sqrt(2) * weight[:, :, None, None]
        elif name.startswith("rgb_") and network == "generator":
            weight = sqrt(2) * weight
        elif name == "4x4_0" and network == "discriminator":
            deviation = sqrt(4 / 3) * weight[:, -1:]  # the last input, over a group of four images
            weight = torch.cat([weight[:, :-1], deviation], 1)
        layer = layers.get(name, f"layers.{name}")
        state |= {f"{layer}.weight": weight, f"{layer}.bias": weight.new_zeros(len(weight))}
    return state


def main():
    if len(sys.argv) != 2 or not zipfile.is_zipfile(sys.argv[1]):
        sys.exit("error: FILE: give a reference file; usage: python tests/parity.py FILE.npz")
    cases = load_cases(sys.argv[1])
    if not cases:
        sys.exit("error: FILE: it holds no case")
    passed = True
    for case in cases:
        try:
            errors = case.errors()
        except KeyError as error:
            sys.exit(f"error: FILE: {case.name} lacks {error}")
        good = all(error <= case.bound for error in errors.values())  # false for NaN too
        passed &= good
        detail = ", ".join(f"{output} {error:.1e}" for output, error in errors.items())
        verdict = "ok  " if good else "FAIL"
        print(f"{verdict} {case.name:21s}  {max(errors.values()):.1e}  (bound {case.bound:.0e}: {detail})")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
