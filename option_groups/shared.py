"""What several scripts read: data, networks, scoring and the run; and test.py."""

from models.autogan.architecture import MOST_CELLS
from option_groups.kinds import (
    ALL, CELL_METHODS, DATASETS, GENERATORS, PRECISIONS, SCORING, TEST, TRAINING, images, processes, size,
    width,
)  # fmt: skip
from utils.option_types import folder_name, new_folder, output_file
from utils.options import count, group, option


@group(scripts=ALL)
class DataOptions:
    dataset: str = option("cifar10", "images to learn", DATASETS)
    data_path: str = option("./data", "where data sets are kept or downloaded to; folder: the folder or zip")
    img_size: int = size(32, "resolution of the images: bottom_width doubled once per cell", at_least=2)
    num_workers: int = processes(8, "processes that read images, at most one a core", at_least=0)


@group(scripts=())
class AuthorsOptions:
    channels: int = option(3, "channels of the images", (3,))
    dis_model: str = option("shared_gan", "discriminator", GENERATORS)


@group(scripts=SCORING)
class ModelOptions:
    gen_model: str = option("shared_gan", "a published generator, or shared_gan: that of --arch", GENERATORS)


@group(scripts=ALL)
class NetworkOptions:
    latent_dim: int = width(128, "dimension of the noise")


@group(scripts=ALL, methods=CELL_METHODS)
class CellOptions:
    gf_dim: int = width(256, "base width of the generator")
    df_dim: int = width(128, "base width of the discriminator")
    df_depth: int = option(
        0, "further residual blocks of the discriminator, at its lowest resolution", at_least=0, at_most=100,
        later=True,
    )  # fmt: skip
    bottom_width: int = size(4, "resolution before the first cell", at_least=1)
    df_halvings: int = option(
        2,
        "blocks of the discriminator that halve its images: the authors' 2 leave a quarter of --img_size, 4 "
        "a sixteenth; at most one a cell",
        later=True,
        at_least=1,
        at_most=MOST_CELLS,
    )


@group(scripts=ALL)
class ScoringOptions:
    feature_net: str = option("inception", "network behind IS and FID", ("inception", "efficientnet-lite0"))
    inception_path: str = option(
        None, "Inception's weights: classify_image_graph_def.pb, its .tgz, or torch-fidelity's .pth"
    )
    inception_backend: str = option("torch", "what runs Inception's graph", ("torch", "tf", "both"))
    tf_python: str = option(None, "a Python that has TensorFlow, for --inception_backend tf")
    feature_precision: str = option(
        "float32",
        "of the feature network; the others are faster and move scores (docs/METRICS.md)",
        PRECISIONS,
    )
    eval_batch_size: int = count(100, "images generated at once for scoring")
    is_splits: int = count(10, "parts of the Inception score", at_most=10**4)

    def network(self):
        """Keyword arguments of utils.inception.feature_net.load_feature_net."""
        weights = {"inception_path": self.inception_path, "tf_python": self.tf_python}
        computing = {"backend": self.inception_backend, "precision": self.feature_precision}
        return {"name": self.feature_net, **weights, **computing}


@group(scripts=SCORING)
class EvaluationOptions:
    fid_stat: str = option(None, "real images' statistics (.npz with mu and sigma) instead of computing them")
    num_eval_imgs: int = images(50000, "images to score")


@group(scripts=ALL)
class RunOptions:
    exp_name: str = option(
        "run", "the run's folder: logs/EXP_NAME_TIME, of test.py in logs_eval", kind=folder_name
    )
    config: str = option(None, "a config.json: its options count where none is typed")
    load_path: str = option(None, "a run's folder, to go on with it; test.py: or a .pth file, to score it")
    random_seed: int = option(12345, "seed of everything random", at_least=0, at_most=2**53)
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    fast: str = option("on", "off: plain code, for comparison; the same results to rounding", ("on", "off"))
    compile: bool = option(
        False, "compile the feature network, discriminator and trained generator; the same to rounding"
    )
    dry_run: bool = option(False, "print the resolved run as JSON and stop")
    folder_file: str = option(None, "write the run's folder into this file, for scripts", kind=output_file)

    @property
    def is_fast(self):
        return self.fast == "on"


@group(scripts=TRAINING)
class ResumeOptions:
    resume: str = option(
        "auto",
        "auto: go on with the run of the same command that was interrupted; never; or a run's folder",
        instead_of=("load_path",),
    )


@group(scripts=TRAINING)
class EstimateOptions:
    estimate: bool = option(
        False,
        "print what the run will take, reckoned from a few real steps: time by phase, memory, disk; and stop "
        "(with --dry_run: as JSON)",
    )


@group(scripts=(TEST,))
class TestOptions:
    arch: tuple[str, ...] = option(None, "architecture, if neither the checkpoint nor --gen_model names it")
    checkpoint: str = option("best", "of a training's folder: the best by FID, or the last", ("best", "last"))
    save_images: str = option(
        None, "write single images into this new folder, and score nothing", kind=new_folder
    )
    num_images: int = count(64, "how many images --save_images writes", at_most=10**8)
    export: str = option(
        None,
        "score, and write this .safetensors file: weights, what they are, their score; beside it a .png of 8 "
        "samples",
        kind=output_file,
    )
    half: bool = option(False, "write it in float16, half as large", needs="export")
    interpolate: bool = option(False, "draw walks between noise vectors as a grid, and score nothing")
    class_name: str = option(
        None, "of a conditional generator: draw this class alone, by name or number", flags=("--class",)
    )
    metrics: tuple[str, ...] = option(
        (), "scores besides is and fid", ("kid", "precision_recall", "swd", "intra_fid"), nargs="*"
    )
    intra_fid_imgs: int = images(5000, "generated images of each class for intra_fid", needs="metrics")
    labels: str = option(
        None,
        "file of labels (JSON or CSV) of --data_path, for intra_fid; by default as in training",
        needs="metrics",
    )
    protocol: str = option(
        "autogan",
        "autogan: 50,000 images against the train split; sngan: 5,000 against the test split",
        ("autogan", "sngan"),
    )
    split: str = option("train", "real images to compare with, if not the protocol's", ("train", "test"))
