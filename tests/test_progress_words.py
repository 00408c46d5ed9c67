"""What work calls itself while it goes on: names and units of bars and of lines in a log."""

import pytest
import torch
from running import TinyNet, write_pictures

import utils.data.image_set
import utils.metrics.evaluate
import utils.metrics.real_statistics
from utils.data.load import load_images
from utils.metrics.evaluate import evaluate
from utils.metrics.generator import score_generator
from utils.metrics.real_statistics import real_statistics
from utils.progress import Progress


@pytest.fixture
def begun(monkeypatch):
    """(total, name, unit, last position) of every Progress, in order."""
    watched = []

    class Watched(Progress):
        def __init__(self, total, name, unit="step", first=0, *arguments, **options):
            super().__init__(total, name, unit, first, *arguments, **options)
            self.words = total, name, unit

        def __exit__(self, *error):
            watched.append((*self.words, self.done))
            super().__exit__(*error)

    for module in (utils.metrics.evaluate, utils.metrics.real_statistics, utils.data.image_set):
        monkeypatch.setattr(module, "Progress", Watched)
    return watched


def test_reading_computing_statistics_and_scoring_count_images_to_the_last(begun, tmp_path):
    (tmp_path / "pictures").mkdir()
    images = load_images("folder", str(write_pictures(tmp_path / "pictures"))).resized(16)
    real = real_statistics(images, TinyNet(), cache_dir=tmp_path, batch_size=8)
    real_statistics(images, TinyNet(), cache_dir=tmp_path / "other", progress="real images")
    evaluate(lambda count: torch.zeros(count, 3, 8, 8), 7, TinyNet(), real=real, batch_size=3, splits=1)
    evaluate(lambda count: torch.zeros(count, 3, 8, 8), 6, TinyNet(), splits=1, progress="generated images")
    generator = torch.nn.Linear(2, 3)
    generator.latent_dim, generator.forward = 2, lambda noise: torch.zeros(len(noise), 3, 8, 8)
    score_generator(generator, [TinyNet()], [real], num_images=5, seed=0, splits=1)
    assert [words for words in begun if "reading" not in words[1]] == [
        (20, begun[1][1], "image", 20), (20, "real images", "image", 20),
        (7, "scoring", "image", 7), (6, "generated images", "image", 6), (5, "scoring", "image", 5),
    ]  # fmt: skip
    assert "reading" in begun[0][1] and begun[0][2:] == ("image", 20)
    assert "statistics" in begun[1][1]
