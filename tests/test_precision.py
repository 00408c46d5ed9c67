"""Precision and compilation: exact and eager by default, named and checked otherwise."""

import shutil
from functools import partial

import pytest
import torch
from running import training_options
from torch import nn

from option_groups import kinds
from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator, Generator
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from utils.training.adversarial import StepFunctions
from utils.cli import UserError
from utils.training.compiled import check_compiler, compile_discriminator, compile_generator
from utils.training.gan import new_gan
from utils.training.inputs import Batch
from utils.training.loop import train_steps
from utils.inception.feature_net import FeatureNet, load_feature_net
from utils.precision import PRECISIONS, check_precision, in_precision, multiplying
from utils.metrics.generator import noise_sampler

CPU = torch.device("cpu")
BACKENDS = torch.backends
SWITCHES = (
    BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.mkldnn.matmul,
    BACKENDS.mkldnn.conv,
)  # fmt: skip
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"
)


@pytest.mark.parametrize("precision, flag", [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")])
def test_the_precision_holds_inside_and_is_restored_outside(precision, flag):
    before = [switch.fp32_precision for switch in SWITCHES]
    with pytest.raises(ZeroDivisionError), multiplying(precision, CPU):
        assert [switch.fp32_precision for switch in SWITCHES] == [flag] * 5
        assert torch.is_autocast_enabled("cpu") == (precision == "bfloat16")
        raise ZeroDivisionError
    assert [switch.fp32_precision for switch in SWITCHES] == before and not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_older_flags_agree_so_that_the_compiler_can_read_them(precision):
    """PyTorch 2.10 compiles nothing for a GPU if they contradict the newer ones (read in its sources)."""

    def older():
        return (
            torch.get_float32_matmul_precision(),
            BACKENDS.cuda.matmul.allow_tf32,
            BACKENDS.cudnn.allow_tf32,
        )

    before, is_tf32 = older(), precision == "tf32"
    with multiplying(precision, CPU), multiplying(precision, CPU):
        assert older() == ("high" if is_tf32 else "highest", is_tf32, is_tf32)
    assert older() == before


def test_flags_that_somebody_else_has_mixed_do_no_harm():
    with multiplying("float32", CPU):  # restores what is done here
        BACKENDS.cuda.matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError, match="mix"):
            torch.get_float32_matmul_precision()
        with multiplying("float32", CPU):
            assert BACKENDS.cuda.matmul.fp32_precision == "ieee"
        assert BACKENDS.cuda.matmul.fp32_precision == "tf32"


def test_a_call_in_bfloat16_answers_in_float32():
    layer, x = nn.Linear(64, 8), torch.randn(4, 64)
    rough = in_precision(layer, "bfloat16", CPU)(x)
    assert rough.dtype == torch.float32 and not torch.equal(rough, layer(x))
    assert torch.allclose(rough, layer(x), atol=0.05)
    assert in_precision(layer, "float32", CPU) is layer


def test_bfloat16_reads_the_weights_as_they_are_now():
    """Autocast's cache would keep a weight's first cast until the outermost context ends, steps later."""
    layer, x = nn.Linear(4, 4), torch.ones(1, 4)
    with multiplying("bfloat16", CPU, autocast=False):
        call = in_precision(layer, "bfloat16", CPU)
        assert call(x).any()
        with torch.no_grad():
            layer.weight.zero_(), layer.bias.zero_()
        assert not call(x).any()


def test_images_that_are_scored_are_generated_in_exact_float32():
    """PyTorch's default for convolutions on a GPU is TF32."""
    seen = []

    def generate(z):
        seen.append({switch.fp32_precision for switch in SWITCHES})
        return z

    noise_sampler(generate, 4, 0, device=CPU)(2)
    assert seen == [{"ieee"}]


def test_the_options_know_the_same_precisions():
    assert kinds.PRECISIONS == PRECISIONS


def test_tf32_on_a_cpu_is_refused(fail_command):
    with pytest.raises(UserError, match="--precision: tf32 is arithmetic of NVIDIA GPUs"):
        check_precision("--precision", "tf32", CPU)
    for option in ("precision", "feature_precision"):
        common = f"--dataset digits --feature_net efficientnet-lite0 --device cpu --{option} tf32"
        assert f"--{option}: tf32" in fail_command(f"search {common}")
        assert f"--{option}: tf32" in fail_command(f"train_derived {common} --gen_model autogan_cifar10_a")


class Brightness(nn.Module):
    """A feature network small enough to compile in a test."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        maps = self.conv(images.float() / 255).relu()
        return maps.mean((2, 3)), maps.amax((2, 3))


def feature_net(**options):
    sizes = dict(feature_dim=4, num_classes=4)
    return FeatureNet("tiny", Brightness(), weights_sha256="", device="cpu", **sizes, **options)


def test_scores_of_another_precision_carry_its_name():
    images = torch.randint(256, (70, 3, 8, 8), dtype=torch.uint8)
    exact, rough = feature_net(), feature_net(precision="bfloat16")
    assert (exact.name, rough.name) == ("tiny", "tiny in bfloat16")
    for mine, theirs in zip(rough(images), exact(images)):
        assert mine.dtype == torch.float32 and not torch.equal(mine, theirs)
        assert torch.allclose(mine, theirs, atol=0.02)


def test_tensorflow_has_no_other_precision():
    with pytest.raises(UserError, match="--feature_precision"):
        load_feature_net("inception", backend="tf", precision="bfloat16")


@needs_compiler
def test_a_compiled_feature_network_gives_the_same_features():
    images = torch.randint(256, (70, 3, 8, 8), dtype=torch.uint8)
    for mine, theirs in zip(feature_net(compiled=True)(images), feature_net()(images)):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@needs_compiler
def test_compiled_networks_train_like_the_networks():
    """Three steps of both in float64: losses, weights, batch norm's statistics, spectral norm's vectors."""
    losses, states, options = [], [], training_options(g_lr=1e-3, d_lr=1e-3)
    for compiled in (False, True):
        torch.manual_seed(0)
        generator = fast_form(
            prepare(Generator.of(Architecture.parse("1 0 1 1"), latent_dim=4, gf_dim=4))
        ).double()
        discriminator = fast_form(prepare(Discriminator(2, 4), with_spectral_norm=True)).double()
        gan = new_gan(generator, discriminator, CPU, options)
        if compiled:
            compile_generator(gan.generator)
            compile_discriminator(gan.discriminator)
        given = torch.Generator().manual_seed(0)
        batches = [
            Batch(s, *(torch.randn(2, *shape, generator=given).double() for shape in ((3, 8, 8), (4,), (4,))))
            for s in range(3)
        ]
        functions = StepFunctions(gan.generator, partial(gan.discriminator, level=0))
        losses.append(train_steps(gan, batches, lambda step, functions=functions: functions, options))
        states.append({**gan.generator.state_dict(), **gan.discriminator.state_dict()})
    for mine, theirs in zip(*losses):
        assert mine == pytest.approx(theirs, rel=1e-9)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-6, atol=1e-9, msg=name)


def test_a_machine_that_cannot_compile_says_so_in_one_line(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no compiler found\nwith many lines")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(
        UserError, match=r"--compile: torch.compile does not work here \(no compiler found\); install"
    ):
        check_compiler(CPU)
