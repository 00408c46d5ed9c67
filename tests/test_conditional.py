"""Conditional GANs: their networks, their training steps, and how their images are drawn and scored."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from running import TinyNet, training_options
from test_step_graphs import ReplayingRecorder

from option_groups.shared import CellOptions
from library.export import save_onnx, save_program, save_safetensors
from library.generators import image_batches, load_generator, sample, sample_labels, walks
from models.autogan.architecture import Architecture
from models.autogan.networks import CLASS_WIDTH, Discriminator, Generator
from models.conditioning import Conditioning
from models.families import FAMILIES
from models.layers.conditional_norm import ConditionalBatchNorm2d
from models.layers.fast_form import fast_form
from models.layers.init import initialise, prepare
from models.layers.spectral_norm import add_spectral_norm
from models_search.search_space import random_architecture
from models_search.shared_gan.network import shared_generator
from utils.cli import UserError
from utils.data.image_set import ImageSet
from utils.data.labels import Classes
from utils.metrics.distances import frechet_distance
from utils.metrics.evaluate import evaluate
from utils.metrics.generator import noise_sampler
from utils.metrics.intra_fid import check_classes, intra_fid, summary
from utils.training.adversarial import StepFunctions
from utils.training.cuda_graphs import NoGraphs, StepGraphs
from utils.training.gan import new_gan
from utils.training.inputs import StepInputs
from utils.training.loop import train_steps
from utils.training.losses import hinge, wasserstein_gradient_penalty
from utils.training.samples import sample_rows
from utils.training.sizes import count_macs, count_parameters

A = Architecture.parse("autogan_cifar10_a")
SMALL = {"latent_dim": 4, "gf_dim": 3, "bottom_width": 2, "num_classes": 3}
CLASSES = Classes(("cat", "dog", "bird"), (2, 4, 6))


def with_tables(network):
    """The network with class tables that are not 0, as after some training."""
    for layer in network.modules():
        if isinstance(layer, ConditionalBatchNorm2d):
            torch.nn.init.normal_(layer.gain.weight)
            torch.nn.init.normal_(layer.bias.weight)
    return network


def conditional_generator(text="1 1 1 1 | 0 1 0 1 1"):
    torch.manual_seed(0)
    return with_tables(Generator.of(Architecture.parse(text), **SMALL)).eval()


# Networks


def test_conditional_batch_norm_is_its_formula(in_float64):
    norm, x, labels = (
        with_tables(ConditionalBatchNorm2d(5, 3)),
        torch.randn(4, 5, 2, 2),
        torch.tensor([2, 0, 1, 2]),
    )
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    plain = (x - mean) / (variance + 1e-5).sqrt()
    wanted = torch.stack(
        [(1 + norm.gain.weight[y])[:, None, None] * row + norm.bias.weight[y][:, None, None]
         for row, y in zip(plain, labels)]
    )  # fmt: skip
    torch.testing.assert_close(norm(x, labels), wanted)


def test_an_untrained_class_table_leaves_batch_norm_as_it_is():
    x, labels = torch.randn(4, 5, 2, 2), torch.tensor([2, 0, 1, 2])
    assert torch.equal(ConditionalBatchNorm2d(5, 3)(x, labels), torch.nn.BatchNorm2d(5, affine=False)(x))


def test_the_discriminator_adds_the_projection_of_the_images_feature_on_its_class(in_float64):
    discriminator = Discriminator(2, 4, conditioning=Conditioning(3))
    images, labels, features = torch.randn(3, 3, 16, 16), torch.tensor([2, 2, 0]), []
    discriminator.last.register_forward_hook(lambda module, inputs, output: features.append(output))
    logits = discriminator(images, labels=labels)
    h = features[0].relu().sum((2, 3))
    wanted = h @ discriminator.linear.weight.T + (h * discriminator.projection.weight[labels]).sum(
        1, keepdim=True
    )
    torch.testing.assert_close(logits, wanted)


def test_the_projection_has_a_spectral_norm_where_the_discriminator_has():
    discriminator = prepare(Discriminator(2, 4, conditioning=Conditioning(3)), with_spectral_norm=True)
    for _ in range(50):
        discriminator(torch.randn(3, 3, 16, 16), labels=torch.tensor([0, 1, 2]))
    assert torch.linalg.matrix_norm(discriminator.eval().projection.weight, 2).item() == pytest.approx(
        1, rel=1e-3
    )


def test_a_class_reaches_the_images_of_an_architecture_without_norm_by_its_noise_alone():
    generator = Generator.of(A, **SMALL).eval()  # the class tables before to-RGB are 0
    z = torch.randn(1, 4)
    first, second = (generator(z, labels=torch.tensor([label])) for label in (0, 1))
    assert not torch.equal(first, second)
    generator.embedding.weight.data[1] = generator.embedding.weight.data[0]
    assert torch.equal(first, generator(z, labels=torch.tensor([1])))


@pytest.mark.parametrize("name", ["autogan_cifar10_a", "sngan"])
def test_parameters_and_macs_of_a_conditional_generator_are_those_of_its_added_parts(name):
    architecture, widths = Architecture.parse(name), {"latent_dim": 6, "gf_dim": 5}
    plain, ours = (Generator.of(architecture, **widths, num_classes=classes) for classes in (0, 3))
    batch_norms = sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in plain.modules())
    linear = CLASS_WIDTH * 5 * 4**2
    added = 3 * CLASS_WIDTH + linear + batch_norms * (2 * 3 * 5 - 2 * 5)
    assert batch_norms == {"autogan_cifar10_a": 1, "sngan": 7}[name]
    assert count_parameters(ours) - count_parameters(plain) == added
    z = torch.zeros(1, 6)
    assert count_macs(ours.eval(), z) - count_macs(plain.eval(), z) == linear


def test_without_classes_both_networks_have_the_parameters_they_always_had():
    for conditioning in ((), (Conditioning(),)):
        torch.manual_seed(0)
        widths = CellOptions(gf_dim=4, df_dim=4)
        networks = FAMILIES["autogan"].networks(A, 8, widths, 1, *conditioning)
        names = " ".join(name for network in networks for name in network.state_dict())
        assert not any(word in names for word in ("embedding", "projection", "gain", "batch.running"))


def test_the_conditional_shared_generator_equals_the_derived_one_with_its_weights():
    shared = with_tables(initialise(shared_generator(3, **SMALL))).eval()
    z, labels, drawn = torch.randn(4, 4), torch.tensor([0, 1, 2, 0]), torch.Generator().manual_seed(0)
    for index in range(30):
        architecture = random_architecture(1 + index % 3, drawn)
        derived = Generator.from_state(architecture, shared.state_dict()).eval()
        assert (derived.num_classes, derived.widths()["latent_dim"]) == (3, 4)
        images = derived(z, labels=labels)
        assert torch.equal(shared(z, architecture, labels), images), architecture
        assert not torch.equal(images, derived(z, labels=labels.flip(0))), architecture


@pytest.mark.parametrize("text", ["1 1 1 1 | 0 1 0 1 1", "0 2 2 1 | 1 1 1 0 1"])
def test_the_fast_form_computes_the_same_conditional_networks(in_float64, text):
    def networks():
        torch.manual_seed(0)
        architecture = Architecture.parse(text)
        pair = Generator.of(architecture, **SMALL), Discriminator(2, 4, conditioning=Conditioning(3))
        return [add_spectral_norm(with_tables(network)) for network in pair]

    (generator, discriminator), fast = networks(), [fast_form(network) for network in networks()]
    z, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    for _ in range(2):
        images = generator(z, labels=labels)
        torch.testing.assert_close(fast[0](z, labels=labels), images)
        judged = discriminator(images, labels=labels)
        torch.testing.assert_close(fast[1](images, labels=labels), judged)


# Training steps


def numbered_images(labels, device="cpu"):
    """Pictures whose grey is their number."""
    image_set = ImageSet(
        "numbers", "train", len(labels), 8, lambda index: Image.fromarray(np.full((8, 8), index, np.uint8)),
        labels=np.array(labels), class_names=CLASSES.names,
    )  # fmt: skip
    return image_set.resized(8, device)


def inputs_of(images, seed=0, classes=CLASSES):
    options = training_options(dis_batch_size=4, gen_batch_size=6, n_critic=3)
    return StepInputs(images, seed, options, 4, classes)


LABELS = [0, 1, 1, 2, 0, 1, 2, 2, 1, 2, 2, 2, 0]


def test_a_step_has_the_labels_of_its_images_and_drawn_ones_for_the_generator():
    drawn = []
    for batch in inputs_of(numbered_images(LABELS)).batches(0, 90):
        numbers = batch.real[:, 0, 0, 0].add(1).mul(127.5).round().int().tolist()
        assert batch.labels.tolist() == [LABELS[number] for number in numbers]
        assert (batch.generator_labels is None) is (batch.step % 3 > 0)
        drawn += [] if batch.generator_labels is None else batch.generator_labels.tolist()
    assert len(drawn) == 30 * 6
    assert np.bincount(drawn).tolist() == pytest.approx([30, 60, 90], abs=25)


@pytest.mark.parametrize("first, last", [(1, 2), (5, 9), (190, 200)])
def test_labels_of_steps_gone_on_with_are_those_of_going_through(first, last):
    images = numbered_images(LABELS)
    through = list(inputs_of(images).batches(0, 200))[first:last]
    for mine, theirs in zip(inputs_of(images).batches(first, last), through, strict=True):
        assert torch.equal(mine.labels, theirs.labels)
        if theirs.generator_labels is not None:
            assert torch.equal(mine.generator_labels, theirs.generator_labels)


def test_noise_is_the_same_with_and_without_classes():
    images = numbered_images(LABELS)
    with_classes, without = (
        next(inputs_of(images, classes=classes).batches(0, 1)) for classes in (CLASSES, None)
    )
    assert (
        torch.equal(with_classes.noise, without.noise) and without.labels is without.generator_labels is None
    )


def small_gan():
    torch.manual_seed(0)
    generator = Generator.of(Architecture.parse("1 1 1 1"), **{**SMALL, "bottom_width": 4})
    discriminator = prepare(Discriminator(1, 4, conditioning=Conditioning(3)), with_spectral_norm=True)
    return new_gan(generator, discriminator, torch.device("cpu"), training_options(g_lr=1e-2, d_lr=1e-2))


@pytest.mark.parametrize(
    "loss", [hinge, wasserstein_gradient_penalty(generator=None)], ids=["hinge", "wgan-gp"]
)
def test_a_recorded_step_does_not_replay_the_labels_of_another(loss):
    losses = []
    for recorder in (None, ReplayingRecorder()):
        gan = small_gan()
        gan.graphs = StepGraphs(recorder) if recorder else NoGraphs()
        functions = StepFunctions(gan.generator, gan.discriminator, loss, key="same")
        batches = list(inputs_of(numbered_images(LABELS[:12])).batches(0, 12))
        torch.manual_seed(1)
        losses.append(train_steps(gan, batches, lambda step: functions, training_options()))
    assert losses[0] == losses[1] and recorder.replayed > 6


def test_generated_images_of_a_discriminators_step_are_of_the_real_ones_classes_and_judged_by_them():
    gan, seen = small_gan(), []

    def noting(network, images, labels):
        seen.append((network, labels.tolist()))
        return (gan.generator if network == "G" else gan.discriminator)(images, labels=labels)

    functions = StepFunctions(partial(noting, "G"), partial(noting, "D"))
    batch = next(inputs_of(numbered_images(LABELS)).batches(0, 1))
    train_steps(gan, [batch], lambda step: functions, training_options())
    real, drawn = batch.labels.tolist(), batch.generator_labels.tolist()
    assert seen == [("G", real), ("D", real), ("D", real), ("G", drawn), ("D", drawn)]


# Images, scores


def test_a_grid_shows_a_class_a_row_on_the_same_noise():
    generator, fixed = conditional_generator(), torch.Generator().manual_seed(0)
    z = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    images, rows = sample_rows(generator, 4, fixed, "cpu", CLASSES)
    assert list(rows) == list(CLASSES.names) and len(images) == 30
    for number in range(3):
        wanted = generator(z, labels=torch.full((10,), number))
        torch.testing.assert_close(images[10 * number :][:10], wanted)
    alone, rows = sample_rows(generator, 4, fixed, "cpu", CLASSES.only("dog"))
    assert len(alone) == 100 and not rows and len(alone.flatten(1).unique(dim=0)) == 100


def test_samples_and_their_labels_go_together_in_any_number():
    generator = conditional_generator()
    labels = sample_labels(CLASSES, 25, seed=3, batch_size=10)
    noise = noise_sampler(
        lambda z, labels: (z, labels), 4, 3, "score", device=torch.device("cpu"), classes=CLASSES
    )
    drawn = [noise(10) for _ in range(3)]
    assert torch.equal(labels, torch.cat([label for _, label in drawn])[:25])
    images = sample(generator, 25, 3, 10, CLASSES)
    wanted = [generator(z, labels=label) for z, label in drawn]
    assert (
        torch.cat(wanted)[:25].mul(127.5).add(127.5).clamp(0, 255).byte().int() - images.int()
    ).abs().max() <= 1
    (only,) = image_batches(generator, 10, 3, 10, CLASSES.only("bird"))
    bird = generator(drawn[0][0], labels=torch.full((10,), 2))
    assert (bird.mul(127.5).add(127.5).clamp(0, 255).byte().int() - only.int()).abs().max() <= 1


def test_a_walk_stays_in_its_class_and_the_rows_take_turns():
    seen = []

    class Noting(torch.nn.Module):
        latent_dim = 4
        parameters = conditional_generator().parameters

        def forward(self, z, labels):
            seen.append(labels)
            return z

    walks(Noting(), seed=1, rows=5, columns=3, classes=CLASSES)
    assert seen[0].view(5, 3).tolist() == [[row % 3] * 3 for row in range(5)]


def test_intra_class_fid_is_that_of_each_class_computed_by_hand():
    generator, net, labels = conditional_generator(), TinyNet(), [0, 1, 2] * 7
    random = np.random.RandomState(0).randint(0, 256, (21, 8, 8, 3), dtype=np.uint8)
    image_set = ImageSet(
        "noise", "train", 21, 8, lambda index: Image.fromarray(random[index]),
        labels=np.array(labels), class_names=("dog", "bird", "cat"),  # in another order than the generator's
    )  # fmt: skip
    check_classes(image_set, CLASSES)
    images = image_set.resized(8)
    found = intra_fid(
        generator, net, images, image_set.class_names, CLASSES, num_images=50, seed=7, batch_size=20
    )
    for number, name in enumerate(CLASSES.names):
        of_class = images.tensor[[label == image_set.class_names.index(name) for label in labels]]
        real = net(of_class)[0].double().numpy()
        draw = noise_sampler(
            generator, 4, 7, "intra_fid", number, device=torch.device("cpu"), classes=CLASSES.only(name)
        )
        pixels = torch.cat([draw(count) for count in (20, 20, 10)]).detach()
        fake = net(pixels.mul(127.5).add(127.5).clamp(0, 255).byte())[0].double().numpy()
        wanted = frechet_distance(fake.mean(0), np.cov(fake.T), real.mean(0), np.cov(real.T))
        assert found[name] == pytest.approx(wanted, rel=1e-6)
    assert len(set(found.values())) == 3
    plain, line = summary(found, 50, net.name)
    assert plain == {"mean": sum(found.values()) / 3, "images_per_class": 50, "classes": found}
    assert line.startswith(
        f"tiny intra-FID {plain['mean']:.2f}, the mean of 3 classes of 50 generated images: cat "
    )


def test_intra_class_fid_needs_two_real_images_of_each_class_of_the_generator():
    def images_of(labels, names):
        return ImageSet("few", "test", len(labels), 8, None, labels=np.array(labels), class_names=names)

    with pytest.raises(UserError, match="^--metrics: intra_fid: few has 1 test images of the class bird"):
        check_classes(images_of([0, 0, 1, 1, 2], CLASSES.names), CLASSES)
    with pytest.raises(
        UserError, match="^--metrics: intra_fid: the generator has a class bird, the test images"
    ):
        check_classes(images_of([0, 0, 1, 1], CLASSES.names[:2]), CLASSES)


def test_a_reward_or_score_draws_labels_as_frequent_as_in_the_data():
    seen = []

    def generate(z, labels):
        seen.append(labels)
        return torch.randn(len(z), 3, 8, 8).clamp(-1, 1)

    draw = noise_sampler(generate, 4, 0, "score", device=torch.device("cpu"), classes=CLASSES)
    evaluate(draw, 6000, TinyNet(), splits=1, metrics=("is",))
    assert torch.cat(seen).bincount().tolist() == pytest.approx([1000, 2000, 3000], abs=150)


def test_exports_of_a_conditional_generator_make_the_same_images_of_the_same_classes(tmp_path):
    generator = conditional_generator()
    z, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 2, 0])
    expected = generator(z, labels=labels).detach()
    save_safetensors(generator, tmp_path / "g.safetensors", CLASSES)
    loaded = load_generator(tmp_path / "g.safetensors")
    assert loaded.classes == CLASSES and torch.equal(loaded.generator(z, labels=labels), expected)
    with pytest.raises(ValueError, match="with its classes"):
        save_safetensors(generator, tmp_path / "h.safetensors")
    save_program(generator, tmp_path / "g.pt2")
    program = torch.export.load(tmp_path / "g.pt2").module()
    torch.testing.assert_close(program(z, labels=labels), expected)
    torch.testing.assert_close(program(z[:1], labels=labels[:1]), expected[:1])


@pytest.mark.parametrize("text", ["1 1 1 1 | 0 1 0 1 1", "0 0 0 0 | 0 2 2 0 0"], ids=["tables", "no tables"])
def test_an_onnx_file_of_a_conditional_generator_takes_noise_and_labels(tmp_path, text):
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason="no onnx and onnxscript (requirements-export.txt)")
    from onnx.reference import ReferenceEvaluator

    generator = conditional_generator(text)
    save_onnx(generator, tmp_path / "g.onnx")
    program = ReferenceEvaluator(str(tmp_path / "g.onnx"))
    assert program.input_names == ["noise", "labels"] and program.output_names == ["images"]
    for labels in (torch.tensor([2]), torch.tensor([0, 1, 2, 2, 0])):
        z = torch.randn(len(labels), 4)
        (images,) = program.run(["images"], {"noise": z.numpy(), "labels": labels.numpy()})
        wanted = generator(z, labels=labels).detach()
        np.testing.assert_allclose(images, wanted, rtol=1e-3, atol=1e-4)
    assert not np.allclose(images[0], images[1], atol=1e-2)
