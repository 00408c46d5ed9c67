"""Training steps recorded as CUDA graphs and replayed.

At 8x8 a step is several hundred kernels that each run for less time than Python takes to start them. A recorded step starts with one call.
"""

import warnings
from collections import OrderedDict
from contextlib import contextmanager

import torch

CAPACITY = 2048  # more than the steps that the 720 architectures of a beam of five have at the third level


class StepGraphs:
    """Runs calls that read their inputs, update tensors in place and return one tensor: the first time as they are, later as a recording.

    A key names what a call does, and must change whenever the call would touch other tensors than before. The least recently used
    recordings are dropped beyond `capacity`.
    """

    def __init__(self, recorder, capacity=CAPACITY):
        self._recorder, self._capacity = recorder, capacity
        self._recordings = OrderedDict()  # None where a call has run once and is not recorded yet

    def run(self, key, call, *inputs):
        """call(*inputs), a 0-d tensor. The first run is not recorded: it allocates what lasts, such as gradients and Adam's averages."""
        key = (key, *(tensor.shape for tensor in inputs))
        first_time = key not in self._recordings
        recording = None if first_time else self._recordings[key] or self._record(call, inputs)
        self._recordings[key] = recording
        self._recordings.move_to_end(key)
        if len(self._recordings) > self._capacity:
            self._recordings.popitem(last=False)
        return recording(*inputs) if recording else call(*inputs)

    def clear(self):
        """Forget everything: the tensors that the recordings work on have been replaced."""
        self._recordings.clear()

    def stream(self):
        """A context for the runs: the stream that the recorder records."""
        return self._recorder.stream()

    def _record(self, call, inputs):
        if self._recorder.failed:
            return None
        return self._recorder.record(call, inputs)


class CudaRecorder:
    """Records calls as CUDA graphs. They share their memory, which none needs once it has run, and the tensors they read inputs from."""

    failed = False

    def __init__(self, device):
        self._device = device
        self._stream, self._pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()
        self._inputs = {}  # shapes -> tensors

    def record(self, call, inputs):
        """A function like `call` that replays it, or None if it cannot be recorded; nothing is computed while recording."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._inputs:
            self._inputs[shapes] = [torch.empty_like(tensor) for tensor in inputs]
        static = self._inputs[shapes]
        graph = torch.cuda.CUDAGraph()
        try:
            # Not torch.cuda.graph: it empties the allocator's cache for every recording, and there are hundreds.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                output = call(*static)
            finally:
                graph.capture_end()
        except RuntimeError as error:
            self.failed = True
            warnings.warn(f"a training step cannot be recorded as a CUDA graph, so steps run one kernel at a time: {error}", stacklevel=2)
            return None

        def replay(*inputs):
            torch._foreach_copy_(static, list(inputs))
            graph.replay()
            return output.clone()

        return replay

    @contextmanager
    def stream(self):
        """Everything inside runs on the stream that is recorded, after what was started before and before what comes after."""
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)
