"""The feature network's options, shared by `python -m utils.metrics` and `python -m utils.fid_stats`."""

from utils.inception.feature_net import FEATURE_NETS
from utils.metrics.generator import load_feature_nets
from utils.option_types import number
from utils.precision import PRECISIONS
from utils.run.machine import pick_device


def add_network_options(parser):
    """Add the options of the feature network, its batches and its device; see `load_networks`."""
    add = parser.add_argument
    add(
        "--feature_net", choices=FEATURE_NETS, default="inception", help="network whose features are compared"
    )
    add(
        "--inception_path", help="classify_image_graph_def.pb, the .tgz it comes in, or torch-fidelity's .pth"
    )
    add(
        "--inception_backend",
        choices=("torch", "tf", "both"),
        default="torch",
        help="what executes the graph",
    )
    add("--tf_python", help="a Python that has TensorFlow, for --inception_backend tf and both")
    add(
        "--feature_precision", choices=PRECISIONS, default="float32",
        help="of the network; the others are faster and move scores",
    )  # fmt: skip
    add(
        "--compile", action="store_true",
        help="compile the network: faster after a minute, the same to rounding",
    )  # fmt: skip
    add("--batch_size", type=number(int, 1), default=100, help="images in the network at once")
    add(
        "--num_workers",
        type=number(int, 0, at_most=1024),
        default=8,
        help="processes that read images, at most one a core",
    )
    add("--device", type=pick_device, default="auto", help="auto, cpu, cuda or cuda:N")


def load_networks(options):
    """The feature networks that the options name: one, or two for --inception_backend both."""
    return load_feature_nets(
        options.feature_net, inception_path=options.inception_path, backend=options.inception_backend,
        tf_python=options.tf_python, precision=options.feature_precision, compiled=options.compile,
        device=options.device,
    )  # fmt: skip
