"""Read the frozen Inception graph of 2015 (`classify_image_graph_def.pb`) without TensorFlow.

The graph has 94 convolution units and one linear layer. A unit `P` consists of Const `P/conv2d_params`, a
Conv2D, four Consts `P/batchnorm/...`, BatchNormWithGlobalNormalization (epsilon 0.001) and ReLU. It becomes
one convolution and batch norm of torch-fidelity's network.
"""

import math

import numpy as np
import torch
from google.protobuf.message import DecodeError
from tensorboardX.proto.graph_pb2 import GraphDef

from utils.inception.network import empty_inception, inception_shapes

DT_FLOAT = 1
OPERATIONS = {"Conv2D": 94, "BatchNormWithGlobalNormalization": 94, "MaxPool": 5, "AvgPool": 9}
NORM_TENSORS = {  # in the order of the operation's inputs
    "moving_mean": "running_mean", "moving_variance": "running_var", "beta": "bias", "gamma": "weight",
}  # fmt: skip

STEM = {
    "conv": "Conv2d_1a_3x3", "conv_1": "Conv2d_2a_3x3", "conv_2": "Conv2d_2b_3x3", "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}  # fmt: skip
MIXED = {
    "mixed": "5b", "mixed_1": "5c", "mixed_2": "5d", "mixed_3": "6a", "mixed_4": "6b", "mixed_5": "6c",
    "mixed_6": "6d", "mixed_7": "6e", "mixed_8": "7a", "mixed_9": "7b", "mixed_10": "7c",
}  # fmt: skip
# {number of a block, or its first digit: {tower in the graph: torch-fidelity's names of its units, in order}}
BRANCHES = {
    "5": {"conv": ["1x1"], "tower": ["5x5_1", "5x5_2"], "tower_1": ["3x3dbl_1", "3x3dbl_2", "3x3dbl_3"],
          "tower_2": ["_pool"]},
    "6a": {"conv": ["3x3"], "tower": ["3x3dbl_1", "3x3dbl_2", "3x3dbl_3"]},
    "6": {"conv": ["1x1"], "tower": ["7x7_1", "7x7_2", "7x7_3"],
          "tower_1": ["7x7dbl_1", "7x7dbl_2", "7x7dbl_3", "7x7dbl_4", "7x7dbl_5"], "tower_2": ["_pool"]},
    "7a": {"tower": ["3x3_1", "3x3_2"], "tower_1": ["7x7x3_1", "7x7x3_2", "7x7x3_3", "7x7x3_4"]},
    "7": {"conv": ["1x1"], "tower": ["3x3_1"], "tower/mixed": ["3x3_2a", "3x3_2b"],
          "tower_1": ["3x3dbl_1", "3x3dbl_2"], "tower_1/mixed": ["3x3dbl_3a", "3x3dbl_3b"],
          "tower_2": ["_pool"]},
}  # fmt: skip


class GraphError(ValueError):
    """The bytes are not the 2015 Inception graph. The message says what is wrong, without a subject."""


def unit_names():
    """{name of a convolution unit in the graph: module in torch-fidelity's network}, 94 of them."""
    units = dict(STEM)
    for block, number in MIXED.items():
        for tower, branches in BRANCHES.get(number, BRANCHES[number[0]]).items():
            for index, branch in enumerate(branches):
                unit = "conv" if index == 0 else f"conv_{index}"
                path = f"{block}/conv" if tower == "conv" else f"{block}/{tower}/{unit}"
                units[path] = f"Mixed_{number}.branch{branch}"
    return units


def tensors_from_graph(data):
    """The bytes of the .pb file -> the 472 tensors of torch-fidelity's network, bit for bit.

    Raises GraphError.
    """
    graph = GraphDef()
    try:
        graph.ParseFromString(data)
    except DecodeError:
        raise GraphError("is not a TensorFlow graph, or is cut short") from None
    nodes = {node.name: node for node in graph.node}
    if not nodes:
        raise GraphError("holds no TensorFlow graph")
    units = unit_names()
    check_structure(graph, units)

    shapes, tensors = inception_shapes(), {}
    for unit, module in units.items():
        out_channels, in_channels, *kernel = shapes[f"{module}.conv.weight"]
        weight = constant(nodes, f"{unit}/conv2d_params", (*kernel, in_channels, out_channels))
        tensors[f"{module}.conv.weight"] = weight.permute(3, 2, 0, 1).contiguous()
        for graph_name, torch_name in NORM_TENSORS.items():
            values = constant(nodes, f"{unit}/batchnorm/{graph_name}", (out_channels,))
            tensors[f"{module}.bn.{torch_name}"] = values
    tensors["fc.weight"] = constant(nodes, "softmax/weights", (2048, 1008)).t().contiguous()
    tensors["fc.bias"] = constant(nodes, "softmax/biases", (1008,))
    return tensors


def constant(nodes, name, shape):
    """A copy of the float32 Const `name` as a tensor.

    Raises GraphError if it is missing or has another shape.
    """
    if name not in nodes or nodes[name].op != "Const":
        raise GraphError(f"has no constant {name}, so it is not the 2015 Inception graph")
    value = nodes[name].attr["value"].tensor
    found = tuple(dimension.size for dimension in value.tensor_shape.dim)
    if value.dtype != DT_FLOAT or found != shape:
        raise GraphError(f"has a constant {name} of shape {found}, not float32 {shape}")
    size = math.prod(shape)
    if value.tensor_content:
        if len(value.tensor_content) != 4 * size:
            raise GraphError(f"holds {len(value.tensor_content)} bytes of {name}, not {4 * size}")
        array = np.frombuffer(value.tensor_content, dtype="<f4").astype(np.float32)
    else:  # the last stored value stands for all that follow
        stored = np.array(value.float_val or [0.0], dtype=np.float32)
        if len(stored) > size:
            raise GraphError(f"holds {len(stored)} values of {name}, not {size}")
        array = np.concatenate([stored, np.full(size - len(stored), stored[-1])])
    return torch.from_numpy(array.reshape(shape))


def check_structure(graph, units):
    """Raise GraphError unless the operations, their numbers and settings are the network's."""
    nodes = {kind: [node for node in graph.node if node.op == kind] for kind in OPERATIONS}
    for kind, number in OPERATIONS.items():
        if len(nodes[kind]) != number:
            reason = f"has {len(nodes[kind])} {kind} operations, not {number}"
            raise GraphError(f"{reason}, so it is not the 2015 Inception graph")
    convolutions = {node.input[1]: node for node in nodes["Conv2D"] if len(node.input) == 2}
    norms = {tuple(node.input[1:]): node for node in nodes["BatchNormWithGlobalNormalization"]}
    network = empty_inception()
    for unit, module in units.items():
        convolution = convolutions.get(f"{unit}/conv2d_params")
        norm = norms.get(tuple(f"{unit}/batchnorm/{name}" for name in NORM_TENSORS))
        if convolution is None or norm is None:
            raise GraphError(f"has no convolution unit {unit}, so it is not the 2015 Inception graph")
        expected = network.get_submodule(module).conv
        if list(convolution.attr["strides"].list.i) != [1, *expected.stride, 1]:
            raise GraphError(f"has another stride in {unit}")
        padding = b"SAME" if any(expected.padding) else b"VALID"
        if convolution.attr["padding"].s != padding and expected.kernel_size != (1, 1):
            raise GraphError(f"has another padding in {unit}")
        epsilon = norm.attr["variance_epsilon"].f
        if abs(epsilon - 0.001) > 1e-8 or not norm.attr["scale_after_normalization"].b:
            raise GraphError(f"has another batch norm in {unit} (epsilon {epsilon:g}, not 0.001)")
    for node in graph.node:
        if node.op == "ResizeBilinear":
            if node.attr["align_corners"].b or node.attr["half_pixel_centers"].b:
                raise GraphError("resizes its input by another rule")
