"""Semi-supervised GANs: the discriminator's heads for classes and rotations, and images without a label."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from running import only_run, read_metrics, short_run, stop_at, use_tiny_net, write_pictures

from models.autogan.networks import Discriminator
from models.conditioning import Conditioning
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from utils.run.checkpoint import load_checkpoint
from utils.training.heads import Heads, class_loss, heads_of, rotate_quarter

BOTH = Conditioning(3, class_head=True, rotation_head=True)


def test_the_heads_read_the_feature_that_the_logit_is_made_of(in_float64):
    discriminator, features = Discriminator(2, 4, conditioning=BOTH), []
    discriminator.last.register_forward_hook(lambda module, inputs, output: features.append(output))
    images = torch.randn(3, 3, 16, 16)
    classes, turns = discriminator.classify(images), discriminator.find_rotation(images)
    for logits, head, feature in zip((classes, turns), ("class_head", "rotation_head"), features):
        torch.testing.assert_close(logits, getattr(discriminator, head)(feature.relu().sum((2, 3))))
    assert (classes.shape, turns.shape) == ((3, 3), (3, 4))


def test_the_fast_form_computes_the_same_heads(in_float64):
    def normed():
        torch.manual_seed(0)
        return prepare(Discriminator(2, 4, conditioning=BOTH), with_spectral_norm=True)

    plain, fast, images = normed(), fast_form(normed()), torch.randn(3, 3, 16, 16)
    for _ in range(2):
        torch.testing.assert_close(fast.classify(images), plain.classify(images))
        torch.testing.assert_close(fast.find_rotation(images), plain.find_rotation(images))


def test_a_quarter_of_the_images_is_turned_four_times():
    images = torch.arange(9 * 3 * 2 * 2.0).view(9, 3, 2, 2)
    rotated, turns = rotate_quarter(images)
    assert turns.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for image, turn, index in zip(rotated, turns.tolist(), [0, 1] * 4):
        wanted = np.rot90(images[index].numpy(), turn, (1, 2))
        assert np.array_equal(image.numpy(), wanted)
    assert len(rotate_quarter(images[:2])[0]) == 4


def test_the_class_loss_is_the_mean_over_the_images_that_have_a_label(in_float64):
    logits = torch.randn(4, 3, requires_grad=True)
    loss = class_loss(logits, torch.tensor([2, -1, 0, -1]))
    wanted = -(logits.log_softmax(1)[0, 2] + logits.log_softmax(1)[2, 0]) / 2
    torch.testing.assert_close(loss, wanted)
    none = class_loss(logits, torch.full((4,), -1))
    none.backward()
    assert none.item() == 0 and torch.equal(logits.grad, torch.zeros(4, 3))


def test_images_without_a_label_get_the_predicted_class_and_both_heads_their_losses(in_float64):
    real, labels = torch.randn(4, 3, 2, 2), torch.tensor([-1, 1, -1, 0])
    predicted = torch.tensor([[0.0, 0, 9], [0, 0, 9], [9, 0, 0], [0, 0, 9]])
    turned = torch.randn(4, 4)
    heads = Heads(lambda images: predicted, lambda images: turned)
    assert heads.complete(labels, real).tolist() == [2, 1, 0, 0]
    loss = heads.discriminator_term(real, labels)
    rotation = F.cross_entropy(turned, torch.arange(4))
    torch.testing.assert_close(loss, class_loss(predicted, labels) + rotation)
    torch.testing.assert_close(heads.generator_term(real), 0.2 * rotation)
    assert Heads().discriminator_term(real, None) == Heads().generator_term(real) == 0.0
    assert Heads().complete(labels, real) is labels


def test_a_discriminator_without_heads_has_none():
    assert heads_of(Discriminator(1, 4), Conditioning()) == Heads()
    names = set(Discriminator(1, 4, conditioning=BOTH).state_dict()) - set(
        Discriminator(1, 4, conditioning=Conditioning(3)).state_dict()
    )
    assert names == {
        f"{head}.{part}" for head in ("class_head", "rotation_head") for part in ("weight", "bias")
    }


# Runs


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """20 digits of 16 px, and a list that names 4 of each of two classes."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "digits").mkdir()
    write_pictures(folder / "digits")
    names = sorted(path.name for path in (folder / "digits").iterdir())[:8]
    (folder / "few.csv").write_text(
        "".join(f"{name},{'ab'[index % 2]}\n" for index, name in enumerate(names))
    )
    return folder


OPTIONS = {
    "semi": "--conditional --semi_supervised --labels {folder}/few.csv",
    "rotation": "--rotation_loss",
    "both": "--conditional --semi_supervised --rotation_loss --labels {folder}/few.csv",
}


@pytest.mark.parametrize(
    "name, kind, call",
    [("train_derived", "semi", 2), ("train_derived", "rotation", 2), ("random_sharing", "both", 3),
     ("search", "both", 7), ("asha", "rotation", 2)],
)  # fmt: skip
def test_a_run_with_heads_goes_on_to_the_same_end(
    type_command, tmp_path, monkeypatch, pictures, name, kind, call
):
    use_tiny_net(monkeypatch)
    command = f"{short_run(name, pictures / 'digits')} {OPTIONS[kind].format(folder=pictures)}"
    type_command(command)
    through = only_run(tmp_path, name).rename(tmp_path / "through")
    stops, heal = stop_at(call, monkeypatch)
    with pytest.raises(stops):
        type_command(command)
    heal()
    type_command(command)
    assert read_metrics(only_run(tmp_path, name)) == read_metrics(through)
    if kind != "rotation":
        log = (through / "Log" / "log.txt").read_text()
        assert " 2 classes: a 4, b 4; 12 images without a label\n" in log
    if name == "train_derived":
        weights = load_checkpoint(through / "Model" / "checkpoint.pth")["gan"]["discriminator"]
        head = {"semi": "class_head", "rotation": "rotation_head"}[kind]
        assert any(part.startswith(head) for part in weights)


@pytest.mark.parametrize(
    "command, words",
    [
        (
            "train_derived --semi_supervised --gen_model sngan",
            "--semi_supervised: without effect without --conditional",
        ),
        ("search --method dggan --rotation_loss", "--rotation_loss: without effect with dggan"),
        ("search --method proggan --semi_supervised", "--semi_supervised: without effect with proggan"),
    ],
)
def test_a_mistake_about_heads_gets_one_line(fail_command, command, words):
    assert words in fail_command(command)
    assert words in fail_command(f"{command} --dry_run")
