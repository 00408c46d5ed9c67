"""Feature networks for scoring: the 2015 Inception graph, and EfficientNet-Lite0.

    net = load_feature_net("inception", inception_path="classify_image_graph_def.pb", device="cuda")
    features, logits = net(images)          # uint8 (N, 3, H, W) of any size

`python -m utils.inception --download` fetches the Inception graph, and `--convert FILE --output FILE` writes
it as .pth or .safetensors. EfficientNet-Lite0 needs no download.
"""

import torch

from utils.cli import UserError
from utils.inception.download import cached_archive, find_inception_weights
from utils.inception.files import read_graph, read_weights
from utils.inception.network import check_images, efficientnet_lite0, inception
from utils.inception.tf_backend import TensorFlowFeatureNet
from utils.precision import check_precision, fast_memory_format, multiplying
from utils.training.compiled import check_compiler

FEATURE_NETS = ("inception", "efficientnet-lite0")
INCEPTION_BACKENDS = ("torch", "tf")


class FeatureNet:
    """A frozen network that turns uint8 images into features and class logits.

    It computes in exact float32 by default. Another precision changes scores, so it is part of the name.
    Scores of networks with different names are on different scales and cannot be compared. A call does not
    change the caller's random state, precision flags or autocast. `compiled` is faster after the first batch,
    with the same results up to rounding.

    Attributes: `name`, `backend` ("torch" or "tf"), `weights_sha256` (of the weights file), `feature_dim`,
    `num_classes`, `device`.
    """

    backend = "torch"

    def __init__(
        self, name, network, *, weights_sha256, feature_dim, num_classes, device, precision="float32",
        compiled=False,
    ):  # fmt: skip
        self.name = name if precision == "float32" else f"{name} in {precision}"
        self._precision = precision
        self.weights_sha256 = weights_sha256
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        self.device = torch.device(device)
        self._memory_format = fast_memory_format(precision, self.device)
        network = network.eval().requires_grad_(False)
        self._network = network.to(self.device).to(memory_format=self._memory_format)
        if compiled:
            self._network.compile(dynamic=False)
        self._inner_batch = 32 if self.device.type == "cpu" else 256

    @torch.inference_mode()
    def __call__(self, images):
        """uint8 images (N, 3, H, W) -> features (N, feature_dim), logits (N, num_classes).

        Both are float32 on `device`. Inception's logits are without the biases, as the Inception score uses
        them.
        """
        check_images(images)
        parts = images.tensor_split(-(-len(images) // self._inner_batch))  # equal sizes: compiled only once
        with multiplying(self._precision, self.device):
            outputs = [
                self._network(part.to(self.device).contiguous(memory_format=self._memory_format))
                for part in parts
            ]
        return tuple(torch.cat(column).float() for column in zip(*outputs))


def load_feature_net(
    name="inception", *, inception_path=None, backend="torch", tf_python=None, precision="float32",
    compiled=False, device="cpu",
):  # fmt: skip
    """The feature network `name` on `device`. Raises UserError if its weights cannot be had.

    inception_path: classify_image_graph_def.pb, the .tgz that holds it, torch-fidelity's .pth or a
    .safetensors of `--convert`. Default: the weights in torch-fidelity's or this project's cache, or else a
    download of torch-fidelity's.
    backend: "tf" runs the graph itself (.pb or .tgz) in TensorFlow, in a process of the Python `tf_python`.
    precision, compiled: see FeatureNet.
    """
    device = torch.device(device)
    if name not in FEATURE_NETS:
        choices = ", ".join(FEATURE_NETS)
        raise UserError(f"--feature_net: there is no network {name!r}; choose one of {choices}")
    if backend not in INCEPTION_BACKENDS:
        choices = ", ".join(INCEPTION_BACKENDS)
        raise UserError(f"--inception_backend: there is no backend {backend!r}; choose one of {choices}")
    check_precision("--feature_precision", precision, device)
    if compiled:
        check_compiler(device)
    options = dict(precision=precision, compiled=compiled, device=device)
    if name == "efficientnet-lite0":
        if backend != "torch" or inception_path:
            reason = "efficientnet-lite0 takes no --inception_path or --inception_backend"
            raise UserError(f"--feature_net: {reason}; leave them out")
        network, sha256 = efficientnet_lite0()
        return FeatureNet(name, network, weights_sha256=sha256, feature_dim=1280, num_classes=1000, **options)
    if backend == "tf":
        if precision != "float32":
            reason = f"TensorFlow executes the graph in float32, not {precision}"
            raise UserError(f"--feature_precision: {reason}; use --inception_backend torch")
        graph, sha256 = read_graph(inception_path or cached_archive())
        return TensorFlowFeatureNet(graph, weights_sha256=sha256, tf_python=tf_python, device=device)
    tensors, sha256 = read_weights(inception_path or find_inception_weights())
    network = inception(tensors)
    return FeatureNet(name, network, weights_sha256=sha256, feature_dim=2048, num_classes=1008, **options)


def relative_difference(first, second):
    """The largest difference in a row, divided by the largest magnitude in that row of `second`.

    Returns the maximum over the rows.
    """
    first, second = first.double().cpu(), second.double().cpu()
    scale = second.abs().amax(1).clamp_min(torch.finfo(torch.float64).tiny)
    return ((first - second).abs().amax(1) / scale).max().item()
