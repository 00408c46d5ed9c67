"""The frozen Inception graph executed by TensorFlow, in a process of its own (`tf_worker.py`)."""

import select
import subprocess
import sys
import tempfile
import weakref

import numpy as np
import torch

from utils.cli import Ending, UserError
from utils.inception import tf_worker as worker
from utils.inception.network import check_images

GREETING_SECONDS = 60
CLOSING_SECONDS = 5


class TensorFlowDied(Ending):
    """The TensorFlow process ended without an error message: it was killed, or out of memory."""


class TensorFlowFeatureNet:
    """The interface of `FeatureNet`, computed by TensorFlow. The results are put on `device`.

    The process ends at `close()`, at the end of a `with` block, when this object is garbage-collected, or
    when the caller dies. Raises UserError (no TensorFlow, or a graph that it cannot run) or TensorFlowDied.
    """

    name, backend = "inception", "tf"
    feature_dim, num_classes = worker.FEATURES, worker.CLASSES

    def __init__(self, graph, *, weights_sha256, tf_python=None, device="cpu", inner_batch=64):
        """Start the process and load the graph.

        graph: content of classify_image_graph_def.pb. tf_python: a Python with TensorFlow, by default this
        one.
        """
        self.weights_sha256 = weights_sha256
        self.device = torch.device(device)
        self.tf_python = str(tf_python or sys.executable)
        self._inner_batch = inner_batch
        self._errors = tempfile.TemporaryFile()
        command = [self.tf_python, worker.__file__, str(torch.get_num_threads())]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        except OSError as error:
            self._errors.close()
            reason = f"{self.tf_python} cannot be run ({error.strerror})"
            raise UserError(f"--tf_python: {reason}; name a Python that has TensorFlow") from None
        self.close = weakref.finalize(self, _end, self._process, self._errors)
        try:
            self._greet()
            self._send(worker.LENGTH.pack(len(graph)), graph)
            self.tensorflow_version = self._receive(worker.READY).decode()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __call__(self, images):
        """uint8 images (N, 3, H, W) -> pool_3 (N, 2048), logits without biases (N, 1008); float32."""
        check_images(images)
        if not self.close.alive:
            raise ValueError("the TensorFlow process was closed")
        parts = [self._score(part) for part in images.split(self._inner_batch)]
        return tuple(torch.cat(column).to(self.device) for column in zip(*parts))

    def _score(self, images):
        number, _, height, width = images.shape
        pixels = images.permute(0, 2, 3, 1).cpu().numpy().tobytes()
        self._send(worker.IMAGES.pack(number, height, width), pixels)
        values = np.frombuffer(self._receive(worker.RESULT), "<f4").astype(np.float32)
        features, logits = np.split(values, [number * self.feature_dim])
        return torch.from_numpy(features.reshape(number, -1)), torch.from_numpy(logits.reshape(number, -1))

    def _greet(self):
        ready, _, _ = select.select([self._process.stdout], [], [], GREETING_SECONDS)
        if not ready or self._process.stdout.read(len(worker.GREETING)) != worker.GREETING:
            reason = f"{self.tf_python} does not run as a Python 3.8 or later"
            raise UserError(f"--tf_python: {reason}{self._last_line()}")

    def _send(self, *parts):
        try:
            for part in parts:
                self._process.stdin.write(part)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def _receive(self, expected):
        try:
            kind, length = worker.REPLY.unpack(worker.read_exactly(self._process.stdout, worker.REPLY.size))
            body = worker.read_exactly(self._process.stdout, length)
        except EOFError:
            raise self._death() from None
        if kind == expected:
            return body
        self.close()
        message = body.decode(errors="replace")
        if message.startswith("ModuleNotFoundError"):
            raise UserError(
                f"--inception_backend: {self.tf_python} cannot run TensorFlow ({message}); "
                "pip install tensorflow there, or name a Python that has it with --tf_python, "
                "or use --inception_backend torch"
            )
        raise UserError(f"--inception_backend: TensorFlow failed in {self.tf_python}: {message}")

    def _death(self):
        """The TensorFlowDied of a worker that ended without an error message."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        ending = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        cure = f"run again, or use --inception_backend torch{self._last_line()}"
        error = TensorFlowDied(f"--inception_backend: the TensorFlow process {ending}; {cure}")
        self.close()
        return error

    def _last_line(self):
        """The last line that the worker wrote to stderr, for an error message."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f" (its last line: {lines[-1][:300]})" if lines else ""


def _end(process, errors):
    """End the worker. It ends when its stdin closes; if it does not, it is killed."""
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass
    try:
        process.wait(timeout=CLOSING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    errors.close()
