"""The library of docs/LIBRARY.md, as written there and in detail."""

import importlib.util
import json
import re
import shutil

import numpy as np
import pytest
import torch
from running import ROOT, TinyNet, use_tiny_net

from library.export import save_onnx, save_program, save_safetensors
from library.generators import load_generator, sample, spherical, walks
from library.searches import open_search
from models import architectures
from models.autogan.networks import Generator
from models.errors import ArchitectureError
from models.growing.architecture import proggan_architecture
from models.growing.networks import GrowingGenerator
from models_search.shared_gan.network import shared_generator
from models.layers.spectral_norm import add_spectral_norm
from utils.cli import UserError
from utils.images import to_uint8
from utils.metrics.generator import score_generator
from utils.run.checkpoint import load_checkpoint

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "LIBRARY.md").read_text(), re.DOTALL)
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript"))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="no onnx and onnxscript (requirements-export.txt)")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:30])
def test_every_block_of_the_page_runs_as_it_stands(short_runs, tmp_path, monkeypatch, block):
    if "save_onnx" in block and not HAS_ONNX:
        pytest.skip("no onnx and onnxscript (requirements-export.txt)")
    (tmp_path / "logs").symlink_to(short_runs / "logs")
    monkeypatch.chdir(tmp_path)
    use_tiny_net(monkeypatch)
    monkeypatch.setattr("utils.inception.feature_net.load_feature_net", lambda *name, **options: TinyNet())
    exec(compile(block, "docs/LIBRARY.md", "exec"), {})
    lines = [line for line in block.splitlines() if line and not re.match("from|import", line)]
    assert len(lines) <= 5, "five lines each"


def test_the_page_has_a_block_for_every_promise():
    promises = (
        "load_generator sample score_generator open_search every_cell save_safetensors save_program save_onnx"
    )
    for name in promises.split():
        assert f"{name}(" in "".join(BLOCKS)


def test_the_best_and_the_last_checkpoint_are_told_apart(short_runs):
    results = json.loads((short_runs / "logs" / "derive" / "results.json").read_text())
    best, last = (load_generator(short_runs / "logs" / "derive", kind) for kind in ("best", "last"))
    assert (best.kind, best.file.name) == ("best", "checkpoint_best.pth")
    assert (last.kind, last.file.name) == ("last", "checkpoint.pth")
    assert best.iteration == results["best"]["iteration"]
    assert last.iteration == results["final"]["iteration"] == 8
    for loaded in (best, last):
        weights = load_checkpoint(loaded.file)["gan"]["average"]
        assert all(torch.equal(weights[name], value) for name, value in loaded.generator.state_dict().items())
        assert not loaded.generator.training and loaded.options["gf_dim"] == 4


def test_without_a_best_checkpoint_the_last_one_is_loaded_and_says_so(short_runs, tmp_path):
    shutil.copytree(short_runs / "logs" / "derive", tmp_path / "run")
    (tmp_path / "run" / "Model" / "checkpoint_best.pth").unlink()
    assert load_generator(tmp_path / "run").kind == "last"


def test_a_search_by_growth_gives_its_best_network_and_no_last_one(short_runs):
    run = short_runs / "logs" / "dggan"
    loaded, (best, *_) = load_generator(run), json.loads((run / "derived.json").read_text())["architectures"]
    assert str(loaded.architecture) == best["architecture"] and loaded.file == run / best["weights"]
    assert loaded.options["method"] == "dggan"
    with pytest.raises(UserError, match="--checkpoint: .* keeps its best"):
        load_generator(run, "last")


def test_a_search_in_a_shared_gan_has_no_generator_of_its_own(short_runs):
    with pytest.raises(UserError, match="of a search, not of one generator"):
        load_generator(short_runs / "logs" / "search")


def test_an_opened_search_makes_the_images_of_its_shared_generator(short_runs):
    search = open_search(short_runs / "logs" / "search")
    shared = shared_generator(2, latent_dim=8, gf_dim=4).eval()
    shared.load_state_dict(search.weights)
    noise = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    for text in (search.ranked[0]["architecture"], "0 0 0 0", "1 2 1 1 | 1 0 2 1 1"):
        architecture = architectures.parse(text)
        images = search.generator(text)(noise)
        assert torch.equal(images, shared(noise, architecture))
        assert torch.equal(images, search.generator(architecture)(noise))
    with pytest.raises(ArchitectureError):
        search.generator("9 0 1 1")


def test_a_shared_generator_with_spectral_norm_hands_on_its_weights_too():
    shared = add_spectral_norm(shared_generator(2, latent_dim=8, gf_dim=4)).eval()
    architecture = architectures.parse("1 0 2 1 | 0 1 0 1 1")
    derived = Generator.from_state(architecture, shared.state_dict()).eval()
    noise = torch.randn(4, 8)
    torch.testing.assert_close(derived(noise), shared(noise, architecture))


@pytest.mark.parametrize("name", ["derive", "dggan"])
def test_a_run_that_shares_no_weights_is_no_search_to_open(short_runs, name):
    with pytest.raises(UserError, match="not a search in a shared GAN"):
        open_search(short_runs / "logs" / name)


def small_generators():
    cells = Generator.of(architectures.parse("1 0 2 1 | 0 1 1 1 1"), latent_dim=8, gf_dim=4)
    normed = add_spectral_norm(Generator.of(architectures.parse("0 0 0 1"), latent_dim=8, gf_dim=4))
    return [cells.eval(), normed.eval(), GrowingGenerator(proggan_architecture(8, 4), 8).eval()]


@pytest.mark.parametrize("generator", small_generators(), ids=["cells", "normed", "growing"])
def test_exports_make_the_same_images_for_any_number_of_noise_vectors(tmp_path, generator):
    noise = torch.randn(5, 8)
    expected = generator(noise).detach()
    save_safetensors(generator, tmp_path / "g.safetensors")
    loaded = load_generator(tmp_path / "g.safetensors")
    assert loaded.architecture == generator.architecture and torch.equal(loaded.generator(noise), expected)
    save_program(generator, tmp_path / "g.pt2")
    program = torch.export.load(tmp_path / "g.pt2").module()
    torch.testing.assert_close(program(noise), expected)
    torch.testing.assert_close(program(noise[:1]), expected[:1])


@needs_onnx
@pytest.mark.parametrize("generator", small_generators(), ids=["cells", "normed", "growing"])
def test_onnx_makes_the_same_images_for_any_number_of_noise_vectors(tmp_path, generator):
    from onnx.reference import ReferenceEvaluator

    save_onnx(generator, tmp_path / "g.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["g.onnx"]
    for count in (1, 5):
        noise = torch.randn(count, 8)
        (images,) = ReferenceEvaluator(str(tmp_path / "g.onnx")).run(["images"], {"noise": noise.numpy()})
        np.testing.assert_allclose(images, generator(noise).detach().numpy(), rtol=1e-3, atol=1e-4)


def test_without_the_packages_onnx_names_them(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="no onnx and onnxscript; .*requirements-export.txt"):
        save_onnx(small_generators()[0], tmp_path / "g.onnx")


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_a_file_of_weights_that_is_no_generator_is_refused_in_one_line(tmp_path, content):
    from safetensors.torch import save_file

    if content is None:
        save_file({"weight": torch.zeros(3)}, tmp_path / "g.safetensors")
    else:
        (tmp_path / "g.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="--load_path: .*g.safetensors"):
        load_generator(tmp_path / "g.safetensors")


def test_samples_are_what_scoring_sees_first_however_many_are_asked_for(short_runs, tmp_path):
    generator, seen = load_generator(short_runs / "logs" / "derive").generator, []

    class Keeping(TinyNet):
        def __call__(self, images):
            seen.append(images)
            return super().__call__(images)

    score_generator(
        generator, [Keeping()], [None], num_images=20, batch_size=10, seed=3, splits=1, metrics=("is",)
    )
    assert torch.equal(sample(generator, 17, seed=3, batch_size=10), torch.cat(seen)[:17])


def test_walks_start_and_end_at_noise_and_keep_its_length():
    first, second = torch.randn(4, 64), torch.randn(4, 64)
    torch.testing.assert_close(spherical(first, second, 0.0), first)
    torch.testing.assert_close(spherical(first, second, 1.0), second)
    unit = [torch.nn.functional.normalize(vectors, dim=1) for vectors in (first, second)]
    torch.testing.assert_close(spherical(*unit, 0.5).norm(dim=1), torch.ones(4))
    assert torch.isfinite(spherical(first, -first, 0.3)).all()
    torch.testing.assert_close(spherical(first, first, 0.3), first)


def test_every_row_of_walks_is_a_walk_of_its_own():
    generator = small_generators()[0]
    images = walks(generator, seed=1, rows=3, columns=5).unflatten(0, (3, 5))
    assert images.shape == (3, 5, 3, 16, 16)
    steps = (images[:, 1:] - images[:, :-1]).flatten(2).norm(dim=2)
    across = (images[1:] - images[:-1]).flatten(2).norm(dim=2)
    assert steps.max() < across.max() and (images[:, 0] != images[:, -1]).any()
    assert len(torch.unique(to_uint8(images[:, 0]).flatten(1), dim=0)) == 3
    assert torch.equal(images.flatten(0, 1), walks(generator, seed=1, rows=3, columns=5))
