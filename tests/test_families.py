"""Families of architectures: each is parsed, built, initialised and loaded without asking which one it is."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from running import ROOT

from models import architectures
from models.errors import ArchitectureError
from models.families import FAMILIES, family

TEXTS = {
    "autogan": "1 0 1 1 | 1 0 0 1 1",
    "growing": "4: G 3x4 D 3x4 | 8: G 3x4 D 3x4 | 16: G 3x4 7x2 D 3x4",
}
OPTIONS = SimpleNamespace(
    gf_dim=6,
    df_dim=5,
    df_depth=0,
    df_halvings=2,
    bottom_width=4,
    init_type="orth",
    g_spectral_norm=False,
    d_spectral_norm=True,
)
TORCH_FREE = [ROOT / "models/architectures.py", *sorted(ROOT.glob("models/*/architecture.py"))]


@pytest.mark.parametrize("file", TORCH_FREE, ids=lambda file: str(file.relative_to(ROOT)))
def test_architectures_are_imported_without_torch(file):
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_every_architecture_has_a_family():
    assert len(TORCH_FREE) == 1 + len(FAMILIES)
    assert TEXTS.keys() == FAMILIES.keys() == architectures.CLASSES.keys()


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_read_by_its_own_family(name):
    architecture = architectures.parse(TEXTS[name])
    assert str(architecture) == TEXTS[name]
    assert architecture.family == architectures.family_name(TEXTS[name]) == name
    assert family(architecture) is FAMILIES[name]


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "takes 4 tokens"),
        (" ", "takes 4 tokens"),
        ("1 0 1", "takes 4 tokens"),
        ("4:", "is no resolution"),
        ("8: G 3x4 D 3x4", "4 is due"),
        ("autogan_cifar10_d", "neither a vector"),
    ],
)
def test_a_text_of_no_network_is_refused(text, complaint):
    with pytest.raises(ArchitectureError, match=complaint):
        architectures.parse(text)


@pytest.mark.parametrize("name", TEXTS)
def test_the_two_networks_of_an_architecture_fit_each_other_and_the_options(name):
    architecture = architectures.parse(TEXTS[name])
    generator, discriminator = family(architecture).networks(architecture, 3, OPTIONS)
    images = generator(torch.randn(2, 3))
    assert images.shape == (2, 3, 16, 16) and generator.resolution == 16
    assert discriminator(images).shape == (2, 1)
    widths = {"latent_dim": 3} | ({"gf_dim": 6, "bottom_width": 4} if name == "autogan" else {})
    assert generator.widths() == widths


@pytest.mark.parametrize("name", TEXTS)
def test_a_generator_is_loaded_from_its_architecture_and_state_dict(name):
    architecture = architectures.parse(TEXTS[name])
    generator, _ = family(architecture).networks(architecture, 3, OPTIONS)
    loaded = family(architecture).load_generator(architecture, generator.state_dict())
    assert loaded.widths() == generator.widths()
    latents = torch.randn(2, 3)
    assert torch.equal(loaded(latents), generator(latents))


@pytest.mark.parametrize("name", TEXTS)
def test_weights_of_another_architecture_are_refused(name):
    architecture, other = (
        architectures.parse(TEXTS[text]) for text in (name, next(iter(TEXTS.keys() - {name})))
    )
    for state in (family(other).networks(other, 3, OPTIONS)[0].state_dict(), {}):
        with pytest.raises(ArchitectureError, match="the weights are not of architecture"):
            family(architecture).load_generator(architecture, state)


def test_autogans_networks_are_initialised_each_by_its_own_options():
    architecture = architectures.parse(TEXTS["autogan"])
    generator, discriminator = FAMILIES["autogan"].initialise(
        *FAMILIES["autogan"].networks(architecture, 3, OPTIONS), OPTIONS
    )
    weight = generator.cells[0].shortcut.weight.flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(6))
    assert not any("parametrizations" in key for key in generator.state_dict())
    original = discriminator.last.conv1.parametrizations.weight.original.flatten(1)
    torch.testing.assert_close(original @ original.T, torch.eye(5))


def test_growing_networks_keep_the_initialisation_they_were_built_with():
    architecture = architectures.parse(TEXTS["growing"])
    built = FAMILIES["growing"].networks(architecture, 3, OPTIONS)
    before = [{key: value.clone() for key, value in network.state_dict().items()} for network in built]
    for network, values in zip(FAMILIES["growing"].initialise(*built, OPTIONS), before):
        assert network.state_dict().keys() == values.keys()
        assert all(torch.equal(network.state_dict()[key], value) for key, value in values.items())


@pytest.mark.parametrize("name", TEXTS)
def test_a_discriminator_that_may_be_compiled_has_logits(name):
    architecture = architectures.parse(TEXTS[name])
    _, discriminator = family(architecture).networks(architecture, 3, OPTIONS)
    assert family(architecture).compiles_discriminator == hasattr(discriminator, "logits")
