"""Recorded training steps are the steps themselves. The recorder of these tests replays in Python what a GPU
replays as a CUDA graph.
"""

from contextlib import contextmanager
from functools import partial

import pytest
import torch
from running import training_options
from test_fast import losses_of

from option_groups.recipe import RecipeOptions
from models.growing.networks import growing_networks
from models_search.search_space import random_architecture
from utils.training.adversarial import StepFunctions
from utils.training.cuda_graphs import CudaRecorder, NoGraphs, StepGraphs
from utils.training.gan import new_gan
from utils.training.inputs import Batch
from utils.training.loop import train_steps
from utils.training.losses import wasserstein_gradient_penalty
from utils.training.recipe import recipe_schedule

OPTIONS = training_options(g_lr=1e-3, d_lr=1e-3)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


class ReplayingRecorder:
    """Like a CUDA graph, a recording reads inputs where they lay when it was made, and updates the tensors
    that it found then.

    `gan`: if given, a replay that should update others fails.
    """

    failed, gan, memory_is_short = False, None, False

    def __init__(self):
        self.recorded = self.replayed = self.started_anew = 0

    def start_anew(self):
        self.started_anew += 1

    def is_short_of_memory(self):
        return self.memory_is_short

    def record(self, call, inputs):
        static, updated = [tensor.clone() for tensor in inputs], self.updated_by(call)
        self.recorded += 1

        def replay(*inputs):
            assert self.updated_by(call) == updated
            for mine, given in zip(static, inputs):
                mine.copy_(given)
            self.replayed += 1
            return call(*static)

        return replay

    def updated_by(self, call):
        """Addresses of what lasts from step to step: the averages that the optimiser of this update works on,
        and the generator's gradients. The discriminator's are every step's own, which a recording allocates
        anew.
        """
        if self.gan is None:
            return None
        is_generator = call.func.__name__ == "generator_step"
        optimizer = self.gan.generator_optimizer if is_generator else self.gan.discriminator_optimizer
        averages = [average.data_ptr() for state in optimizer.state.values() for average in state.values()]
        return averages, [parameter.grad.data_ptr() for parameter in optimizer.state if is_generator]

    @contextmanager
    def stream(self):
        yield


class FailingRecorder(ReplayingRecorder):
    def record(self, call, inputs):
        self.failed = True


def small_architectures(count, distinct):
    drawn = torch.Generator().manual_seed(0)
    known = [random_architecture(1, drawn) for _ in range(distinct)]
    return [known[int(torch.randint(distinct, (), generator=drawn))] for _ in range(count)]


def with_recorder(monkeypatch, recorder):
    def new_recorded_gan(*arguments, **options):
        gan = new_gan(*arguments, **options)
        gan.graphs, recorder.gan = StepGraphs(recorder), gan
        return gan

    monkeypatch.setattr("test_fast.new_gan", new_recorded_gan)


def test_recorded_steps_equal_the_steps_themselves(monkeypatch):
    architectures, recorder = small_architectures(60, distinct=6), ReplayingRecorder()
    plain, plain_gan = losses_of(fast=True, architectures=architectures, steps=60)
    with_recorder(monkeypatch, recorder)
    recorded, gan = losses_of(fast=True, architectures=architectures, steps=60)
    assert recorded == plain
    assert recorder.recorded >= 6 and recorder.replayed > 30
    for mine, theirs in zip(gan.generator.state_dict().values(), plain_gan.generator.state_dict().values()):
        assert torch.equal(mine, theirs)


def test_a_device_that_cannot_record_trains_all_the_same(monkeypatch):
    architectures = small_architectures(20, distinct=2)
    plain, _ = losses_of(fast=True, architectures=architectures, steps=20)
    with_recorder(monkeypatch, FailingRecorder())
    assert losses_of(fast=True, architectures=architectures, steps=20)[0] == plain


def test_a_call_is_recorded_at_its_second_run_and_replayed_from_there_on():
    recorder, total = ReplayingRecorder(), torch.zeros(())
    graphs = StepGraphs(recorder)
    for number in range(4):
        assert graphs.run("add", total.add_, torch.tensor(1.0)) == number + 1
    assert (recorder.recorded, recorder.replayed) == (1, 3)
    graphs.run("add", lambda x: x.sum(), torch.ones(2))  # another shape is another recording
    graphs.clear()
    graphs.run("add", total.add_, torch.tensor(1.0))
    assert (recorder.recorded, recorder.replayed) == (1, 3)


@pytest.mark.parametrize("capacity, memory_is_short", [(2, False), (9, True)])
def test_without_room_for_another_recording_all_are_dropped(capacity, memory_is_short):
    """Never one alone: in PyTorch 2.14 the others would write to memory that is no longer theirs."""
    recorder = ReplayingRecorder()
    graphs = StepGraphs(recorder, capacity)
    for key in "aabbc":
        graphs.run(key, torch.neg, torch.ones(()))
    recorder.memory_is_short = memory_is_short
    assert graphs.run("c", torch.neg, torch.ones(())) == -1
    recorder.memory_is_short = False
    assert (recorder.recorded, recorder.started_anew) == (2, 1)
    for key in "caca":
        graphs.run(key, torch.neg, torch.ones(()))
    assert recorder.recorded == 4


def test_after_memory_was_short_the_device_is_left_alone_for_a_while(monkeypatch):
    recorder, asked, free = object.__new__(CudaRecorder), [], 5
    recorder._device, recorder._paused_until = torch.device("cuda"), 0.0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 100))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append("emptied"))
    assert recorder.is_short_of_memory() and recorder.is_short_of_memory() and asked == ["emptied"]
    free = 50
    assert recorder.is_short_of_memory()
    recorder._paused_until = 0.0
    assert not recorder.is_short_of_memory() and asked == ["emptied"]


def test_a_call_that_cannot_be_recorded_takes_the_recordings_with_it():
    recorder = ReplayingRecorder()
    graphs = StepGraphs(recorder)
    for key in "aab":
        graphs.run(key, torch.neg, torch.ones(()))
    recorder.record = lambda call, inputs: None
    assert graphs.run("b", torch.neg, torch.ones(())) == -1 and recorder.started_anew == 1


def test_an_optimiser_that_has_come_to_train_more_parameters_is_recorded_anew(monkeypatch):
    """Adam also moves the averages of what an architecture does not use, so the same architecture is another
    step from there on.
    """
    first, second = small_architectures(2, distinct=40)
    assert first != second
    order = [first] * 11 + [second] * 5 + [first] * 15
    plain, _ = losses_of(fast=True, architectures=order, steps=31)
    recorder = ReplayingRecorder()
    with_recorder(monkeypatch, recorder)
    assert losses_of(fast=True, architectures=order, steps=31)[0] == plain


def test_a_loss_that_draws_random_numbers_is_recorded_with_new_ones_for_every_step():
    recorder, losses = ReplayingRecorder(), []
    for graphs in (NoGraphs(), StepGraphs(recorder)):
        gan = small_gan()
        gan.graphs = graphs

        def functions_at(step, gan=gan):
            loss = wasserstein_gradient_penalty(generator=torch.Generator().manual_seed(step))
            return StepFunctions(gan.generator, gan.discriminator, loss, key="same")

        losses.append(train_steps(gan, batches(6), functions_at, OPTIONS))
    assert losses[0] == losses[1] and recorder.recorded > 0


RECIPES = {
    "augmentation and penalties": {"augment": "color,translation,cutout", "r1_gamma": 0.1, "r1_interval": 3},
    "ada": {"ada_target": -0.9, "ada_kimg": 1, "ada_interval": 2},
    "consistency": {"bcr": 1.0, "zcr": 1.0},
    "top-k": {"generator_topk": 0.5, "generator_topk_decay": 0.5},
    "parts": {"accumulate": 2, "augment": "color"},
}


@pytest.mark.parametrize("options", RECIPES.values(), ids=RECIPES)
def test_steps_of_a_recipe_are_recorded_with_their_own_numbers_weights_and_decays(options):
    losses, averages, recorder = [], [], ReplayingRecorder()
    recipe = RecipeOptions(**options)
    for graphs in (NoGraphs(), StepGraphs(recorder)):
        torch.manual_seed(0)
        generator = torch.nn.Sequential(torch.nn.Linear(4, 3 * 16), torch.nn.Unflatten(1, (3, 4, 4)))
        discriminator = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(48, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
        )
        gan = new_gan(
            generator, discriminator, torch.device("cpu"), OPTIONS, recipe=recipe, with_average=True
        )
        gan.graphs = graphs
        recipe_at = recipe_schedule(recipe, training_options(gen_batch_size=2), 1, steps_per_epoch=5)

        def functions_at(step, gan=gan, recipe_at=recipe_at):
            return StepFunctions(gan.generator, gan.discriminator, key="same", recipe=recipe_at(step))

        decay = lambda step: 1 - 1 / (step + 2)  # noqa: E731
        losses.append(train_steps(gan, batches(12), functions_at, OPTIONS, ema_decay=decay))
        averages.append([parameter.clone() for parameter in gan.average.parameters()])
    assert losses[0] == losses[1] and recorder.replayed >= 12
    assert all(map(torch.equal, *averages))


def test_a_growth_that_fades_in_is_recorded_once_for_all_its_steps():
    """The recording reads how far it has faded in from the device."""
    losses = []
    for recorder in (None, ReplayingRecorder()):
        torch.manual_seed(0)
        networks = growing_networks("4: G 3x2 D 3x2 | 8: G 3x2 D 3x2", "4: G 3x2 D 3x2", latent_dim=4)
        gan = new_gan(*networks, torch.device("cpu"), OPTIONS)
        gan.graphs, fade = StepGraphs(recorder) if recorder else NoGraphs(), torch.zeros(())

        def functions_at(step, gan=gan, fade=fade):
            fade.fill_(step / 8)
            return StepFunctions(
                partial(gan.generator, fade=fade), partial(gan.discriminator, fade=fade), key="fading"
            )

        given = torch.Generator().manual_seed(0)
        steps = [
            Batch(s, torch.randn(2, 3, 8, 8, generator=given), *torch.randn(2, 2, 4, generator=given))
            for s in range(8)
        ]
        losses.append(train_steps(gan, steps, functions_at, OPTIONS))
    assert losses[0] == losses[1] and recorder.replayed >= 8


def test_a_snapshot_is_written_over_an_earlier_one():
    gan = small_gan()
    functions = StepFunctions(gan.generator, gan.discriminator)
    kept = gan.snapshot(gan.snapshot())
    train_steps(
        gan, batches(3), lambda step: functions, OPTIONS, lr_factor=lambda step: 0.5
    )  # now the optimisers have averages
    first = gan.snapshot(kept)
    train_steps(gan, batches(3), lambda step: functions, OPTIONS, lr_factor=lambda step: 0.25)
    second = gan.snapshot(first)
    losses = train_steps(gan, batches(3), lambda step: functions, OPTIONS)
    assert (
        second["generator"]["0.weight"] is first["generator"]["0.weight"] is not kept["generator"]["0.weight"]
    )
    gan.load_state_dict(second)
    assert gan.generator_optimizer.param_groups[0]["lr"] == 0.25e-3
    assert train_steps(gan, batches(3), lambda step: functions, OPTIONS) == losses


def test_loading_a_state_forgets_the_recordings():
    recorder, gan = ReplayingRecorder(), small_gan()
    gan.graphs = StepGraphs(recorder)
    functions = StepFunctions(gan.generator, gan.discriminator, key="same")
    train_steps(gan, batches(4), lambda step: functions, OPTIONS)
    recorded = recorder.recorded
    gan.load_state_dict(gan.snapshot())
    train_steps(gan, batches(1), lambda step: functions, OPTIONS)
    assert recorder.recorded == recorded > 0


def small_gan(fast=True, device="cpu"):
    torch.manual_seed(0)
    generator = torch.nn.Sequential(torch.nn.Linear(4, 3 * 16), torch.nn.Unflatten(1, (3, 4, 4)))
    discriminator = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16, 1))
    return new_gan(generator, discriminator, torch.device(device), OPTIONS, fast=fast)


def batches(count):
    given = torch.Generator().manual_seed(0)
    return [
        Batch(s, torch.randn(2, 3, 4, 4, generator=given), *torch.randn(2, 2, 4, generator=given))
        for s in range(count)
    ]


@pytest.mark.parametrize("saved_fast, loaded_fast", [(True, False), (False, True)])
def test_a_state_can_be_loaded_into_another_way_of_computing(in_float64, saved_fast, loaded_fast):
    saved, loaded = small_gan(saved_fast), small_gan(loaded_fast)
    train_steps(
        saved,
        batches(3),
        lambda step: StepFunctions(saved.generator, saved.discriminator),
        OPTIONS,
        lr_factor=lambda step: 0.5,
    )
    loaded.load_state_dict(saved.snapshot())
    assert loaded.generator_optimizer.param_groups[0]["fused"] is loaded_fast
    assert float(loaded.generator_optimizer.param_groups[0]["lr"]) == pytest.approx(5e-4)
    losses = [
        train_steps(
            gan, batches(3), lambda step, gan=gan: StepFunctions(gan.generator, gan.discriminator), OPTIONS
        )
        for gan in (saved, loaded)
    ]
    assert losses[0][0] == pytest.approx(losses[1][0], abs=1e-9)


def test_adams_averages_take_on_the_parameters_memory_format():
    """Fused Adam runs over both in the order of memory."""
    architectures = small_architectures(10, distinct=2)
    (_, _), plain = losses_of(fast=False, architectures=architectures, steps=10)
    (_, _), fast = losses_of(fast=True, architectures=architectures, steps=1)
    fast.load_state_dict(plain.snapshot())
    for parameter, averages in fast.generator_optimizer.state.items():
        assert averages["exp_avg_sq"].stride() == parameter.stride()
    for mine, theirs in zip(
        fast.state_dict()["generator_optimizer"]["state"].values(),
        plain.state_dict()["generator_optimizer"]["state"].values(),
    ):
        assert torch.equal(mine["exp_avg_sq"], theirs["exp_avg_sq"])


@needs_cuda
def test_cuda_graphs_replay_exactly_what_they_recorded(monkeypatch):
    """The same kernels in the same order: bitwise the same losses and weights as one kernel at a time, where
    the kernels are deterministic, which the gradient of bilinear upsampling never is and cuDNN is if told
    to.
    """
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    architectures = [each for each in small_architectures(150, distinct=12) if each.cells[0].up != "bilinear"]
    recorded, gan = losses_of(fast=True, architectures=architectures, steps=len(architectures), device="cuda")
    assert not gan.graphs._recorder.failed and any(gan.graphs._recordings.values())
    monkeypatch.setattr(CudaRecorder, "record", lambda self, call, inputs: None)
    plain, plain_gan = losses_of(
        fast=True, architectures=architectures, steps=len(architectures), device="cuda"
    )
    assert recorded == plain
    for mine, theirs in zip(gan.generator.state_dict().values(), plain_gan.generator.state_dict().values()):
        assert torch.equal(mine, theirs)


@needs_cuda
def test_recordings_survive_each_other_and_the_allocator():
    """What breaks if one recording alone is dropped: the workspace of the others' matrix products is given to
    someone else.
    """
    recorder = CudaRecorder(torch.device("cuda"))
    factors = torch.randn(2, 512, 512, device="cuda")
    graphs = StepGraphs(recorder, capacity=2)
    with graphs.stream():
        expected = [(factors[0] @ factors[1]).sum() * scale for scale in (1.0, 2.0, 3.0)]
        for key in (0, 0, 1, 1, 2, 2, 0, 0, 1, 1):
            product = graphs.run(
                key,
                lambda scale: (factors[0] @ factors[1]).sum() * scale,
                torch.tensor(key + 1.0, device="cuda"),
            )
            torch.cuda.empty_cache()
            filled = torch.full((2**24,), 7.0, device="cuda")
            torch.testing.assert_close(product, expected[key])
            assert (filled == 7).all()
    assert not recorder.failed


@needs_cuda
def test_recording_goes_on_after_a_state_was_loaded():
    gan = small_gan(device="cuda")
    for _ in range(2):
        steps = [Batch(s, *(tensor.cuda() for tensor in rest[:3])) for s, *rest in batches(6)]
        train_steps(
            gan, steps, lambda step: StepFunctions(gan.generator, gan.discriminator, key="same"), OPTIONS
        )
        assert not gan.graphs._recorder.failed and any(gan.graphs._recordings.values())
        gan.load_state_dict(gan.snapshot())


@needs_cuda
def test_a_recorded_learning_rate_can_fall():
    losses = []
    for is_recorded in (True, False):
        gan = small_gan(device="cuda")
        gan.graphs = gan.graphs if is_recorded else None
        steps = [(s, *(tensor.cuda() for tensor in rest)) for s, *rest in batches(20)]
        functions = StepFunctions(gan.generator, gan.discriminator, key="same")
        losses.append(
            train_steps(gan, steps, lambda step: functions, OPTIONS, lr_factor=lambda step: 1 - step / 20)
        )
    assert losses[0] == losses[1]
