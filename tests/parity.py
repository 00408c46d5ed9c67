"""Prove that the networks compute what the authors' code computed: `python tests/parity.py FILE.npz`.

The file holds, under `CASE::NAME`, inputs, weights and outputs of the authors' generators (gen_*), discriminators (dis_*) and controllers
(ctrl_*). One line a case with its largest absolute error; exit code 1 if any exceeds 1e-5.
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models.autogan.architecture import Architecture  # noqa: E402
from models.autogan.networks import Discriminator, Generator  # noqa: E402
from models_search.autogan.controller import Controller  # noqa: E402

BOUND = 1e-5


def load_cases(path):
    """{case: {name: tensor}} of a reference file."""
    cases = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            case, name = key.split("::")
            cases.setdefault(case, {})[name] = torch.from_numpy(np.array(arrays[key]))
    return cases


def weights(case, rename):
    """The case's weights under this project's names."""
    return {rename(name.removeprefix("w/")): value for name, value in case.items() if name.startswith("w/")}


def load_exactly(network, state):
    """Load a state dict that names every parameter (batch norm's step counter may be missing)."""
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"error: weights do not fit: missing {missing}, unexpected {unexpected}")


def generator_weight_name(architecture):
    """Renames a reference weight such as cell2.norm1.weight to this project's name."""

    def rename(name):
        name = (
            re.sub(r"^l1\.", "linear.", name)
            .replace("to_rgb.bn", "to_rgb.0")
            .replace("to_rgb.conv", "to_rgb.2")
        )
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
    """Largest absolute error of the images and of the gradient with respect to z."""
    architecture = Architecture(
        Architecture.from_tokens(case["arch"].tolist()).cells[: int(case["stage"]) + 1]
    )
    bottom_width, latent_dim = int(case["bottom_width"]), case["z"].shape[1]
    gf_dim = case["w/to_rgb.conv.weight"].shape[1]
    network = Generator.of(architecture, latent_dim=latent_dim, gf_dim=gf_dim, bottom_width=bottom_width)
    load_exactly(network, weights(case, generator_weight_name(architecture)))
    network.train(bool(case["train"]))
    z = case["z"].clone().requires_grad_()
    images = network(z)
    (images * torch.linspace(-1, 1, images.numel()).view_as(images)).sum().backward()
    return {"images": images - case["images"], "grad_z": z.grad - case["grad_z"]}


def check_discriminator(case):
    """Largest absolute error of the logits and of their gradient with respect to the images."""
    network = Discriminator(levels=3, df_dim=case["w/l5.weight"].shape[1])
    load_exactly(network, weights(case, discriminator_weight_name))
    images = case["images"].clone().requires_grad_()
    logits = network(images, int(case["stage"]))
    logits.sum().backward()
    return {"logits": logits - case["logits"], "grad_images": images.grad - case["grad_images"]}


def check_controller(case):
    """Largest absolute error of log-probabilities, entropies and the final state, with the reference's actions forced."""
    network = Controller(int(case["stage"]), hidden_size=case["h0"].shape[1])
    if list(network.heads) != case["tokens"].tolist():
        raise SystemExit(f"error: the heads are {network.heads}, the reference's {case['tokens'].tolist()}")
    load_exactly(network, weights(case, str))
    rollout = network((case["h0"], case["c0"]), actions=case["actions"])
    return {
        "log_probs": rollout.log_probs - case["log_probs"],
        "entropies": rollout.entropies - case["entropies"],
        "h": rollout.state[0] - case["h"],
        "c": rollout.state[1] - case["c"],
    }


CHECKS = {"gen": check_generator, "dis": check_discriminator, "ctrl": check_controller}


def largest_errors(path):
    """{case: {output: (largest absolute error, largest absolute value of the reference)}} for every case of the file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # as the reference was computed: the order of float32 sums depends on it
    try:
        return {
            name: {
                output: (float(error.detach().abs().max()), float(case[output].abs().max()))
                for output, error in CHECKS[name.split("_")[0]](case).items()
            }
            for name, case in load_cases(path).items()
        }
    finally:
        torch.set_num_threads(threads)


def main():
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("error: FILE: give a reference file; usage: python tests/parity.py FILE.npz")
    passed = True
    for case, errors in largest_errors(sys.argv[1]).items():
        largest = max(error for error, _ in errors.values())
        good = largest <= BOUND  # false for NaN too
        passed &= good
        detail = ", ".join(f"{output} {error:.1e}" for output, (error, _) in errors.items())
        print(f"{'ok  ' if good else 'FAIL'} {case:18s} {largest:.2e}  ({detail})")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
