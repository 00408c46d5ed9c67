"""A GraphDef of the size, node names and operations of the 2015 Inception graph, with random weights.

It is written out from the published description of the graph, independently of the network that it is to be
read into. `python tests/synthetic_graph.py --seed N --output FILE.pb` writes one.
"""

import sys
from pathlib import Path

import numpy as np
from tensorboardX.proto.graph_pb2 import GraphDef

FLOAT, INT32, UINT8, STRING = 1, 3, 4, 7


class GraphWriter:
    """Adds operations to a GraphDef. Each method returns the name of its output.

    channels: {name of an output: number of its channels}.
    """

    def __init__(self, seed):
        self.graph = GraphDef()
        self.graph.versions.producer = 8  # BatchNormWithGlobalNormalization left with version 9
        self.random = np.random.default_rng(seed)
        self.channels = {}

    def node(self, name, operation, inputs=(), **attributes):
        node = self.graph.node.add(name=name, op=operation, input=inputs)
        for key, value in attributes.items():
            if isinstance(value, bool):
                node.attr[key].b = value
            elif isinstance(value, float):
                node.attr[key].f = value
            elif isinstance(value, bytes):
                node.attr[key].s = value
            elif isinstance(value, list):
                node.attr[key].list.i.extend(value)
            elif key == "N":
                node.attr[key].i = value
            else:
                node.attr[key].type = value
        return name

    def constant(self, name, array):
        array = np.asarray(array)
        node = self.graph.node.add(name=name, op="Const")
        tensor = node.attr["value"].tensor
        if array.dtype.kind == "S":
            kind = STRING
            tensor.string_val.append(array.item())
        else:
            kind = FLOAT if array.dtype == np.float32 else INT32
            for size in array.shape:
                tensor.tensor_shape.dim.add(size=size)
            tensor.tensor_content = array.astype("<f4" if kind == FLOAT else "<i4").tobytes()
        node.attr["dtype"].type = tensor.dtype = kind
        return name

    def normal(self, name, shape, scale, mean=0.0):
        return self.constant(name, mean + scale * self.random.standard_normal(shape, dtype=np.float32))

    def uniform(self, name, shape, low, high):
        return self.constant(
            name, (low + (high - low) * self.random.random(shape, dtype=np.float32)).astype(np.float32)
        )

    def unit(self, name, source, kernel_height, kernel_width, filters, stride=1, padding=b"SAME"):
        """Convolution, batch norm, ReLU. The weights' scale keeps activations from growing or vanishing."""
        channels = self.channels[source]
        fan_in = kernel_height * kernel_width * channels
        shape = (kernel_height, kernel_width, channels, filters)
        self.normal(f"{name}/conv2d_params", shape, np.float32(np.sqrt(2 / fan_in)))
        self.node(f"{name}/Conv2D", "Conv2D", [source, f"{name}/conv2d_params"], T=FLOAT,
                  strides=[1, stride, stride, 1], padding=padding, use_cudnn_on_gpu=True)  # fmt: skip
        self.normal(f"{name}/batchnorm/beta", filters, np.float32(0.1))
        self.uniform(f"{name}/batchnorm/gamma", filters, 0.7, 1.3)
        self.normal(f"{name}/batchnorm/moving_mean", filters, np.float32(0.1))
        self.uniform(f"{name}/batchnorm/moving_variance", filters, 0.5, 1.5)
        parts = ("moving_mean", "moving_variance", "beta", "gamma")
        norm = [f"{name}/Conv2D", *(f"{name}/batchnorm/{part}" for part in parts)]
        self.node(f"{name}/batchnorm", "BatchNormWithGlobalNormalization", norm, T=FLOAT,
                  variance_epsilon=0.001, scale_after_normalization=True)  # fmt: skip
        self.node(
            f"{name}/CheckNumerics", "CheckNumerics", [f"{name}/batchnorm"], T=FLOAT, message=b"not finite"
        )
        self.node(
            f"{name}/control_dependency", "Identity", [f"{name}/batchnorm", f"^{name}/CheckNumerics"], T=FLOAT
        )
        self.channels[name] = filters
        return self.node(name, "Relu", [f"{name}/control_dependency"], T=FLOAT)

    def tower(self, name, source, *units):
        """A chain of units (kernel height, kernel width, filters[, 2 for stride 2 without padding])."""
        for index, (height, width, filters, *stride) in enumerate(units):
            unit = f"{name}/conv" if index == 0 else f"{name}/conv_{index}"
            source = self.unit(unit, source, height, width, filters, *([2, b"VALID"] if stride else []))
        return source

    def pool(self, name, source, operation, size, stride, padding):
        self.channels[name] = self.channels[source]
        # The published graph's MaxPools carry no type.
        kind = {"T": FLOAT} if operation == "AvgPool" else {}
        sizes = {"ksize": [1, size, size, 1], "strides": [1, stride, stride, 1]}
        return self.node(name, operation, [source], padding=padding, **sizes, **kind)

    def join(self, name, *sources):
        self.constant(f"{name}/concat_dim", np.int32(3))
        self.channels[name] = sum(self.channels[source] for source in sources)
        return self.node(name, "Concat", [f"{name}/concat_dim", *sources], N=len(sources), T=FLOAT)

    def fan(self, name, source):
        """A 1x3 and a 3x1 unit side by side, joined."""
        wide, high = (
            self.unit(f"{name}/conv", source, 1, 3, 384),
            self.unit(f"{name}/conv_1", source, 3, 1, 384),
        )
        return self.join(name, wide, high)


def _input(writer):
    writer.constant("DecodeJpeg/contents", np.bytes_(b"no picture"))
    writer.node("DecodeJpeg", "DecodeJpeg", ["DecodeJpeg/contents"])
    writer.node("Cast", "Cast", ["DecodeJpeg"], SrcT=UINT8, DstT=FLOAT)
    writer.constant("ExpandDims/dim", np.int32(0))
    writer.node("ExpandDims", "ExpandDims", ["Cast", "ExpandDims/dim"], T=FLOAT)
    writer.constant("ResizeBilinear/size", np.array([299, 299], np.int32))
    writer.node("ResizeBilinear", "ResizeBilinear", ["ExpandDims", "ResizeBilinear/size"], T=FLOAT)
    writer.constant("Sub/y", np.float32(128))
    writer.node("Sub", "Sub", ["ResizeBilinear", "Sub/y"], T=FLOAT)
    writer.constant("Mul/y", np.float32(0.0078125))
    writer.channels["Mul"] = 3
    return writer.node("Mul", "Mul", ["Sub", "Mul/y"], T=FLOAT)


def _stem(writer, net):
    net = writer.unit("conv", net, 3, 3, 32, 2, b"VALID")
    net = writer.unit("conv_1", net, 3, 3, 32, 1, b"VALID")
    net = writer.unit("conv_2", net, 3, 3, 64)
    net = writer.pool("pool", net, "MaxPool", 3, 2, b"VALID")
    net = writer.unit("conv_3", net, 1, 1, 80, 1, b"VALID")
    net = writer.unit("conv_4", net, 3, 3, 192, 1, b"VALID")
    return writer.pool("pool_1", net, "MaxPool", 3, 2, b"VALID")


def _pool_tower(writer, block, net, filters, operation="AvgPool"):
    return writer.tower(
        f"{block}/tower_2",
        writer.pool(f"{block}/tower_2/pool", net, operation, 3, 1, b"SAME"),
        (1, 1, filters),
    )


def _mixed_35(writer, block, net, pool_filters):
    one = writer.unit(f"{block}/conv", net, 1, 1, 64)
    five = writer.tower(f"{block}/tower", net, (1, 1, 48), (5, 5, 64))
    three = writer.tower(f"{block}/tower_1", net, (1, 1, 64), (3, 3, 96), (3, 3, 96))
    return writer.join(f"{block}/join", one, five, three, _pool_tower(writer, block, net, pool_filters))


def _mixed_17(writer, block, net, width):
    one = writer.unit(f"{block}/conv", net, 1, 1, 192)
    seven = writer.tower(f"{block}/tower", net, (1, 1, width), (1, 7, width), (7, 1, 192))
    double = writer.tower(
        f"{block}/tower_1", net, (1, 1, width), (7, 1, width), (1, 7, width), (7, 1, width), (1, 7, 192)
    )
    return writer.join(f"{block}/join", one, seven, double, _pool_tower(writer, block, net, 192))


def _mixed_8(writer, block, net, pool_operation):
    one = writer.unit(f"{block}/conv", net, 1, 1, 320)
    three = writer.fan(f"{block}/tower/mixed", writer.tower(f"{block}/tower", net, (1, 1, 384)))
    double = writer.fan(
        f"{block}/tower_1/mixed", writer.tower(f"{block}/tower_1", net, (1, 1, 448), (3, 3, 384))
    )
    return writer.join(
        f"{block}/join", one, three, double, _pool_tower(writer, block, net, 192, pool_operation)
    )


def synthetic_graph(seed=0):
    """The GraphDef: 94 convolution units, 23,885,392 values."""
    writer = GraphWriter(seed)
    net = _stem(writer, _input(writer))
    for block, pool_filters in (("mixed", 32), ("mixed_1", 64), ("mixed_2", 64)):
        net = _mixed_35(writer, block, net, pool_filters)
    net = writer.join(
        "mixed_3/join",
        writer.unit("mixed_3/conv", net, 3, 3, 384, 2, b"VALID"),
        writer.tower("mixed_3/tower", net, (1, 1, 64), (3, 3, 96), (3, 3, 96, 2)),
        writer.pool("mixed_3/pool", net, "MaxPool", 3, 2, b"VALID"),
    )
    for block, width in (("mixed_4", 128), ("mixed_5", 160), ("mixed_6", 160), ("mixed_7", 192)):
        net = _mixed_17(writer, block, net, width)
    net = writer.join(
        "mixed_8/join",
        writer.tower("mixed_8/tower", net, (1, 1, 192), (3, 3, 320, 2)),
        writer.tower("mixed_8/tower_1", net, (1, 1, 192), (1, 7, 192), (7, 1, 192), (3, 3, 192, 2)),
        writer.pool("mixed_8/pool", net, "MaxPool", 3, 2, b"VALID"),
    )
    net = _mixed_8(writer, "mixed_9", net, "AvgPool")
    net = _mixed_8(writer, "mixed_10", net, "MaxPool")
    writer.pool("pool_3", net, "AvgPool", 8, 1, b"VALID")
    writer.constant("pool_3/_reshape/shape", np.array([1, 2048], np.int32))
    writer.node("pool_3/_reshape", "Reshape", ["pool_3", "pool_3/_reshape/shape"], T=FLOAT)
    # Columns have mean 0. Otherwise all images would have the same likely classes, and the Inception score
    # would be near 1.
    weights = writer.random.standard_normal((2048, 1008), dtype=np.float32)
    writer.constant("softmax/weights", np.float32(0.05) * (weights - weights.mean(0)))
    writer.normal("softmax/biases", 1008, np.float32(0.5))
    writer.node("softmax/logits/MatMul", "MatMul", ["pool_3/_reshape", "softmax/weights"], T=FLOAT)
    writer.node("softmax/logits", "BiasAdd", ["softmax/logits/MatMul", "softmax/biases"], T=FLOAT)
    writer.node("softmax", "Softmax", ["softmax/logits"], T=FLOAT)
    return writer.graph


def write_synthetic_graph(path, seed=0):
    """Write the graph of `seed` as a .pb file (96 MB) and return its path."""
    Path(path).write_bytes(synthetic_graph(seed).SerializeToString())
    return Path(path)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from utils.cli import Parser

    parser = Parser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights")
    parser.add_argument("--output", required=True, help="the .pb file to write")
    options = parser.parse_args()
    print(write_synthetic_graph(options.output, options.seed))
