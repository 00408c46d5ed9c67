"""The TensorFlow process of `--inception_backend tf`: runs the frozen Inception graph, without torch.

TensorFlow and torch crash in one process. So `utils.inception.tf_backend` starts this file by its path, in
any environment that has tensorflow and numpy. The two talk over stdin and stdout, all integers little-endian:

    worker -> GREETING
    caller -> uint64 length, the bytes of classify_image_graph_def.pb
    worker -> reply READY (TensorFlow's version)
    caller -> uint32 N, H, W, then N * H * W * 3 uint8 values
    worker -> reply RESULT; the last two lines repeat until stdin ends

    reply  =  uint8 kind, uint64 length, body
              RESULT: float32 pool_3 (N, 2048), then float32 logits without biases (N, 1008)
              FAILED: one line of UTF-8, after which the worker ends
"""

import os
import signal
import struct
import sys
from pathlib import Path

GREETING = b"inception-2015 1\n"
LENGTH, IMAGES, REPLY = struct.Struct("<Q"), struct.Struct("<III"), struct.Struct("<BQ")
READY, RESULT, FAILED = 0, 1, 2
FEATURES, CLASSES = 2048, 1008


def read_exactly(stream, length):
    """`length` bytes of `stream`. EOFError if it ends earlier."""
    data = stream.read(length)
    if len(data) != length:
        raise EOFError
    return data


def open_session(graph_bytes, threads):
    """TensorFlow's version, and a function that runs the graph.

    The function: uint8 images (N, H, W, 3) -> [pool_3 (N, 1, 1, 2048), logits without biases (N, 1008)].
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    graph_def = v1.GraphDef()
    graph_def.ParseFromString(graph_bytes)
    graph = tf.Graph()
    with graph.as_default():
        images = v1.placeholder(tf.uint8, [None, None, None, 3])
        v1.import_graph_def(graph_def, name="", input_map={"ExpandDims:0": tf.cast(images, tf.float32)})
        # The graph's own logits come after a reshape to a batch of one, so compute them from pool_3 here.
        pool_3, weights = graph.get_tensor_by_name("pool_3:0"), graph.get_tensor_by_name("softmax/weights:0")
        logits = tf.matmul(tf.reshape(pool_3, [-1, FEATURES]), weights)
    config = v1.ConfigProto(allow_soft_placement=True, intra_op_parallelism_threads=threads)
    config.gpu_options.allow_growth = True
    session = v1.Session(graph=graph, config=config)
    return tf.__version__, lambda batch: session.run([pool_3, logits], {images: batch})


def serve(requests, replies, threads):
    """Answer requests until the stream `requests` ends."""

    def reply(kind, *bodies):
        replies.write(REPLY.pack(kind, sum(map(len, bodies))))
        for body in bodies:
            replies.write(body)
        replies.flush()

    replies.write(GREETING)
    replies.flush()
    try:
        (length,) = LENGTH.unpack(read_exactly(requests, LENGTH.size))
        graph_bytes = read_exactly(requests, length)
        import numpy as np

        version, network = open_session(graph_bytes, threads)
        reply(READY, version.encode())
        while header := requests.read(IMAGES.size):
            number, height, width = IMAGES.unpack(header)
            batch = np.frombuffer(read_exactly(requests, number * height * width * 3), np.uint8)
            pool_3, logits = network(batch.reshape(number, height, width, 3))
            reply(RESULT, pool_3.astype("<f4").tobytes(), logits.astype("<f4").tobytes())
    except (EOFError, BrokenPipeError):
        return  # the caller has ended
    except Exception as error:  # the caller reports to the user whatever TensorFlow raises
        reply(FAILED, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".encode())


def main():
    # Python searches the folder of a started file first. Files such as graph.py would hide other packages.
    here = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != here]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller; when it ends, stdin ends
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what TensorFlow prints goes to stderr, not into the replies
    serve(sys.stdin.buffer, replies, threads=int(sys.argv[1]) if len(sys.argv) > 1 else 0)


if __name__ == "__main__":
    main()
