"""Training by several processes: 20 steps equal those of one process."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from running import assert_equal_states, default_dtype
from several import in_group, run_together

import cfg
import utils.training.inputs
from models_search.autogan.plan import make_plan
from models_search.autogan.search import train_shared
from models_search.autogan.state import SearchState
from models_search.retraining.plan import training_plan
from models_search.retraining.training import new_state
from utils import distributed
from utils.data.labels import count_classes
from utils.images import from_uint8
from utils.run.checkpoint import load_checkpoint, save_checkpoint
from utils.training.adversarial import StepFunctions
from utils.training.inputs import StepInputs
from utils.training.loop import train
from utils.training.losses import loss_schedule
from utils.training.recipe import recipe_schedule

STEPS = 20
COMMON = "--img_size 8 --latent_dim 8 --device cpu --n_critic 2 -gen_bs 6 -dis_bs 6 --print_freq 5"
CELLS = f"{COMMON} --gf_dim 4 --df_dim 4 --bottom_width 2 --ema_decay 0.9 --lr_decay --max_iter 10"
SEARCH = f"{COMMON} --gf_dim 4 --df_dim 4 --bottom_width 2 --grow_steps 1 --shared_epoch 4 --max_search_iter 2 --hid_size 8"
GROWING = f"{COMMON} --loss wgan-gp --max_iter 10 --arch"
CASES = {  # 27 images in batches of 6: an epoch's last one has 3, of which two processes take 1 and 2
    "search": f"search {SEARCH}",
    "search, plain code, WGAN-GP": f"search {SEARCH} --fast off --loss wgan-gp",
    "batch norm": f"train {CELLS} --arch 1 1 1 1 0 1 2 1 1",
    "batch norm in bfloat16": f"train {CELLS} --arch 1 1 1 1 0 1 2 1 1 --precision bfloat16",
    "R1": f"train {CELLS} --arch 1 1 1 1 0 1 2 1 1 --loss non-saturating --r1_gamma 1",
    "instance norm": f"train {CELLS} --arch 0 2 0 1 1 2 1 1 0 --max_grad_norm 0.01",
    "no norm, spectral norm in both": f"train {CELLS} --arch 1 0 1 1 0 0 2 1 1 --g_spectral_norm true",
    "conditional": f"train {CELLS} --arch 1 1 1 1 0 1 2 1 1 CLASSES",
    "augmentation and consistency": f"train {CELLS} --arch 1 0 1 1 0 0 2 1 1 --augment color,translation,cutout --bcr 10 --zcr 20",
    "ADA": f"train {CELLS} --arch 1 0 1 1 0 0 2 1 1 --ada_target 0 --ada_kimg 1 --ada_interval 3",
    "extended": f"train {CELLS} --arch extended 2 3 1 1 1 1 4 0 1 1 1",
    "growing": f"train {GROWING} 4:_G_3x4_D_3x6_|_8:_G_3x6_3x4_D_3x4",
}


class SomeImages:
    """27 images that are noise."""

    num_images, resolution, device = 27, 8, torch.device("cpu")
    class_names, labels = ("a", "b"), torch.arange(27) % 3 // 2  # twice as many of the first

    def __init__(self, resolution):
        random = torch.Generator().manual_seed(0)
        self.resolution = resolution
        self.tensor = torch.randint(256, (27, 3, resolution, resolution), generator=random, dtype=torch.uint8)

    def batches(self, order, batch_size):
        return (self.tensor[rows] for rows in order.split(batch_size))


def train_case(command):
    """{"losses", "gan"} after 20 steps in float64."""
    script, *arguments = command.replace("CLASSES", "").split()
    losses = []
    with default_dtype(torch.float32 if "bfloat16" in command else torch.float64):
        if script == "search":
            plan = make_plan(cfg.parse("search", arguments))
            state = SearchState.start(plan, torch.device("cpu"))
            run = SimpleNamespace(
                record=lambda *line: losses.append(line[1]),
                log=print,
                seconds=lambda: 0.0,
                is_past=lambda at: False,
            )
            save_point = SimpleNamespace(reached=lambda: None)
            train_shared(state, plan, SomeImages(4), run, save_point)
            assert state.shared.steps == STEPS
            return {"losses": losses, "gan": state.shared.gan.state_dict()}
        options = cfg.parse(
            "train_derived", [word.replace("_", " ") if ":" in word else word for word in arguments]
        )
        plan = training_plan(options, cfg.generator_architecture(options))
        if "CLASSES" in command:
            classes = count_classes(SomeImages.labels.numpy(), SomeImages.class_names)
            plan = dataclasses.replace(plan, classes=classes)
        state = new_state(plan, torch.device("cpu"))
        inputs = StepInputs(SomeImages(8), 1, plan.training, plan.network.latent_dim, plan.classes)
        loss_at, gan = loss_schedule(plan.training.loss, 1, device="cpu"), state.gan
        recipe_at = recipe_schedule(plan.recipe, plan.training, 1, steps_per_epoch=inputs.steps_per_epoch)

        def functions_at(step):
            return StepFunctions(gan.generator, gan.discriminator, loss_at(step), recipe=recipe_at(step))

        schedules = {"ema_decay": 0.9, "lr_factor": lambda step: 1 - step / STEPS}
        looks = train(gan, inputs, functions_at, [5, STEPS], plan.training, **schedules)
        losses = [[look.d_losses, look.g_losses] for look in looks]
        return {"losses": losses, "gan": gan.state_dict()}


def train_all():
    utils.training.inputs.from_uint8 = lambda images: from_uint8(images).to(torch.get_default_dtype())
    return {name: train_case(command) for name, command in CASES.items()}


def train_in_group(folder):
    save_checkpoint(folder / f"{distributed.rank()}.pth", train_all())


@pytest.fixture(scope="module")
def by_one():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(utils.training.inputs, "from_uint8", from_uint8)  # restored after train_all
        return train_all()


@pytest.fixture(scope="module", params=[2, 3])
def by_several(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    assert run_together(request.param, in_group, train_in_group, folder) == [0] * request.param
    return [load_checkpoint(folder / f"{number}.pth") for number in range(request.param)]


def tensors(state, name=""):
    """{path: tensor or number} of nested state."""
    if isinstance(state, (dict, list, tuple)):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {path: leaf for key, part in items for path, leaf in tensors(part, f"{name}/{key}").items()}
    return {name: state}


@pytest.mark.parametrize("case", CASES)
def test_steps_of_several_processes_equal_those_of_one(by_one, by_several, case):
    wanted, first = tensors(by_one[case]), tensors(by_several[0][case])
    # A bias before a norm has gradients of 1e-17 instead of 0: nothing is left of them relative to themselves.
    tolerance, smallest, parts = 1e-9, 1e-12, ("/losses", "/gan")
    if "bfloat16" in case:
        tolerance, smallest, parts = 5e-2, 1e-2, ("/losses", "/gan/generator/to_rgb.0.running")
    for other in by_several[1:]:
        assert_equal_states(other[case], by_several[0][case])
    assert first.keys() == wanted.keys()
    for path, value in wanted.items():
        if not path.startswith(parts):
            continue
        if torch.is_tensor(value) and value.is_floating_point():
            scale = value.abs().max().item()
            torch.testing.assert_close(
                first[path], value, rtol=0, atol=tolerance * scale + smallest, msg=path
            )
        elif isinstance(value, float):
            assert first[path] == pytest.approx(value, rel=tolerance, abs=smallest), path
        else:
            assert str(first[path]) == str(value), path
