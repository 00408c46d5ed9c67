"""Searches with shared weights that have ended: the generators they hold.

search = open_search("logs/search_TIME")
generator = search.generator("1 0 1 1 | 1 0 0 1 1 | 1 0 1 0 3")
"""

from dataclasses import dataclass
from pathlib import Path

from models.autogan.architecture import Architecture
from models.autogan.networks import Generator
from utils.cli import UserError
from utils.data.labels import Classes, read_saved_classes
from utils.run.derived import read_derived
from utils.run.folder import find_run, load_run


@dataclass(frozen=True)
class OpenedSearch:
    """A search and the weights of its shared generator."""

    folder: Path
    options: dict  # {option: value} of the run
    ranked: list  # the entries of derived.json, best first; [] if the search has not ended
    weights: dict  # the shared generator's state dict
    classes: Classes | None = None  # of a conditional search

    def generator(self, architecture):
        """The generator of an architecture, or of its text, with the shared weights, in eval mode.

        It makes the images that the shared generator makes for this architecture. Raises ArchitectureError.
        """
        return Generator.from_state(Architecture.parse(str(architecture)), self.weights).eval()


def open_search(path):
    """The OpenedSearch of a run's folder. Raises UserError if it shared no weights."""
    folder = find_run(path)
    saved = load_run(folder)
    if "architecture" in saved or "gan" not in saved:
        cure = "open it with library.generators.load_generator"
        raise UserError(f"--load_path: {folder} is not a search in a shared GAN; {cure}")
    ranked = read_derived(folder) if (folder / "derived.json").is_file() else []
    classes = read_saved_classes(saved, f"--load_path: {folder}")
    return OpenedSearch(folder, saved["options"], ranked, saved["gan"]["generator"], classes)
