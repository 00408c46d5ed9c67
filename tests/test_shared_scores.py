"""Scoring by several processes: scores equal those of one."""

import importlib
import os
import sys

import pytest
import torch
from running import TinyNet, write_pictures
from several import in_group, run_together
from test_metrics import ALL, LinearNet, figures, random_images, statistics_under

from utils.cli import run_script
from utils.data.load import load_images
from utils.images import to_uint8
from utils.metrics.evaluate import NonFiniteImages, evaluate
from utils.metrics.generator import noise_sampler
from utils.metrics.real_statistics import load_fid_stat, real_statistics
from utils.run.together import together

COUNT, BATCH = 83, 10


def generate(noise):
    return torch.tanh(noise.repeat(1, 12).view(-1, 3, 8, 8))


class RealImages:
    """Stored images, as swd compares with."""

    name, split, resolution, device = "real", "train", 8, torch.device("cpu")

    def __init__(self):
        self.tensor = to_uint8(random_images(120, seed=2))
        self.num_images = len(self.tensor)

    def batches(self, order, batch_size):
        return iter(self.tensor[order].split(batch_size))

    def sha256(self):
        return "none"


def score(count=COUNT):
    sample = noise_sampler(generate, 16, 3, device=torch.device("cpu"))
    real = statistics_under(LinearNet(), random_images(120, seed=2))
    options = dict(real=real, real_images=RealImages(), batch_size=BATCH, metrics=ALL, splits=7)
    return evaluate(sample, count, LinearNet(), **options)


def score_in_group(folder):
    from utils.distributed import rank

    scores, number = [score(), score(count=21)], rank()
    black = noise_sampler(lambda noise: generate(noise) / 0, 16, 3, device=torch.device("cpu"))
    with pytest.raises(NonFiniteImages):  # all have them, where only the second process makes them
        sample = black if number == 1 else noise_sampler(generate, 16, 3, device=torch.device("cpu"))
        evaluate(sample, COUNT, LinearNet(), metrics=("is",), batch_size=BATCH)
    torch.save([figures(each) for each in scores], folder / f"{number}.pt")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_scores_do_not_depend_on_the_number_of_processes(tmp_path, count):
    assert run_together(count, in_group, score_in_group, tmp_path) == [0] * count
    expected = [figures(score()), figures(score(count=21))]
    found = [torch.load(tmp_path / f"{number}.pt") for number in range(count)]
    for each in found:
        assert each == found[0]
        for scores, wanted in zip(each, expected):
            assert None not in wanted and scores == pytest.approx(wanted, rel=1e-10)


def write_statistics(folder):
    from utils.distributed import rank

    images, number = load_images("digits").resized(16), rank()
    statistics = real_statistics(
        images, TinyNet(), cache_dir=folder / "cache", batch_size=100, sample_size=50
    )
    torch.save(
        [torch.from_numpy(each) for each in (statistics.mu, statistics.sigma, statistics.sample)],
        folder / f"{number}.pt",
    )


def test_statistics_of_real_images_do_not_depend_on_the_number_of_processes(tmp_path):
    assert run_together(3, in_group, write_statistics, tmp_path) == [0] * 3
    images = load_images("digits").resized(16)
    one = real_statistics(images, TinyNet(), cache_dir=tmp_path / "other", batch_size=100, sample_size=50)
    for number in range(3):
        mu, sigma, sample = torch.load(tmp_path / f"{number}.pt")
        torch.testing.assert_close(mu, torch.from_numpy(one.mu), rtol=1e-12, atol=0)
        torch.testing.assert_close(sigma, torch.from_numpy(one.sigma), rtol=1e-9, atol=1e-15)
        assert torch.equal(sample, torch.from_numpy(one.sample))
    (cached,) = (tmp_path / "cache").glob("*.npz")
    assert (load_fid_stat(cached, 12).mu == torch.load(tmp_path / "0.pt")[0].numpy()).all()


def type_script(folder, module, words):
    """Type a command that scores folders, with a network that costs nothing."""
    module = importlib.import_module(module)
    module.load_networks = lambda options: [TinyNet()]
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    sys.argv = ["", *words.split(), *"--device cpu --num_workers 0 --batch_size 4".split()]
    run_script(together(module.main))


def test_folders_are_scored_by_several_processes_and_one_of_them_speaks(tmp_path):
    found = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        data, output = folder / "pictures", folder / "real.npz"
        data.mkdir(parents=True)
        write_pictures(data)
        statistics = f"--dataset folder --data_path {data} --img_size 16 --output {output}"
        scores = f"--real {output} --fake {data} --metrics is fid --splits 2"
        for module, words in (("utils.fid_stats", statistics), ("utils.metrics.__main__", scores)):
            assert run_together(count, type_script, folder, module, words) == [0] * count
        found.append((folder / "output.txt").read_text().replace(str(folder), ""))
    assert found[0] == found[1] and found[0].count("\n") == 2, found
