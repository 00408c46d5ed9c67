"""Training steps recorded as CUDA graphs and replayed.

At 8x8 a step is several hundred kernels that each run for less time than Python takes to start them. A recorded step starts with one call.
"""

import contextlib
import time
import warnings
from functools import lru_cache

import torch

CAPACITY = 4096  # more than the steps that the 720 architectures of a beam of five have at the third level


class StepGraphs:
    """Runs calls that read their inputs, update tensors in place and return one tensor: the first time as they are, later as a recording.

    A key names what a call does, and must change whenever the call would touch other tensors than before. Beyond `capacity`
    recordings, or where memory is short, all are dropped, never one alone: in some versions of PyTorch (2.14) the end of one takes
    away the workspace that the matrix products of the others write to.
    """

    def __init__(self, recorder, capacity=CAPACITY):
        self._recorder, self._capacity = recorder, capacity
        self._seen, self._recordings = set(), {}

    def run(self, key, call, *inputs):
        """call(*inputs), a tensor. The first run is not recorded: it allocates what lasts, such as gradients and Adam's averages."""
        key = (key, *((tensor.shape, tensor.dtype) for tensor in inputs))
        if key in self._seen and key not in self._recordings:
            self._record(key, call, inputs)
        self._seen.add(key)
        return self._recordings.get(key, call)(*inputs)

    def clear(self):
        """Forget everything: the tensors that the recordings work on have been replaced, or other steps are to come."""
        self._seen.clear()
        self._recordings.clear()
        self._recorder.start_anew()

    def stream(self):
        """A context for the runs: the stream that the recorder records."""
        return self._recorder.stream()

    def _record(self, key, call, inputs):
        if self._recorder.failed:
            return
        if len(self._recordings) >= self._capacity or self._recorder.is_short_of_memory():
            self.clear()  # this call's turn comes again
            return
        recording = self._recorder.record(call, inputs)
        if recording:
            self._recordings[key] = recording
        else:
            self.clear()


@lru_cache
def recorded_stream(device):
    """The one stream of a device that steps are recorded from: memory freed on one stream is not used by another."""
    return torch.cuda.Stream(device)


class CudaRecorder:
    """Records calls as CUDA graphs. They share their memory, which none needs once it has run, and the tensors they read inputs from."""

    failed = False  # whether a step could not be recorded: then no other is tried in this process
    LEAST_FREE_MEMORY = 0.1  # of the device's
    PAUSE_SECONDS = 60  # after memory was short

    def __init__(self, device):
        self._device, self._stream = device, recorded_stream(device)
        self._inputs = {}  # shapes and types -> tensors
        self._paused_until, self._broken = 0.0, []
        self.start_anew()

    def start_anew(self):
        """Give further graphs memory of their own: that of earlier ones cannot be recorded into once they are all gone."""
        self._pool = torch.cuda.graph_pool_handle()

    def is_short_of_memory(self):
        """Whether there is no room to record in; once so, it is for a while without looking, as looking waits for the device."""
        if time.monotonic() < self._paused_until:
            return True
        if self._free_share() < self.LEAST_FREE_MEMORY:
            torch.cuda.empty_cache()  # what PyTorch keeps for eager use is no use to a recording
            if self._free_share() < self.LEAST_FREE_MEMORY:
                self._paused_until = time.monotonic() + self.PAUSE_SECONDS
                return True
        return False

    def _free_share(self):
        free, total = torch.cuda.mem_get_info(self._device)
        return free / total

    def record(self, call, inputs):
        """A function like `call` that replays it, or None if it cannot be recorded; nothing is computed while recording."""
        kinds = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if kinds not in self._inputs:
            self._inputs[kinds] = [torch.empty_like(tensor) for tensor in inputs]
        static = self._inputs[kinds]
        graph = torch.cuda.CUDAGraph()
        try:
            # Not torch.cuda.graph: it empties the allocator's cache for every recording, and there are hundreds.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                output = call(*static)
            finally:
                graph.capture_end()
        except RuntimeError as error:
            self._broken.append(graph)  # kept, as older versions of PyTorch may still point to it
            with contextlib.suppress(
                RuntimeError, AttributeError
            ):  # and may think that the recording still goes on
                torch._C._cuda_endAllocateToPool(self._device.index or 0, self._pool)
            if torch.OutOfMemoryError in (type(error), type(error.__context__)):
                self._paused_until = time.monotonic() + self.PAUSE_SECONDS
                return None
            CudaRecorder.failed = True
            reason = str(error.__context__ or error).splitlines()[0]
            warnings.warn(
                f"training steps cannot be recorded as CUDA graphs here, so they are slower: {reason}",
                stacklevel=2,
            )
            return None

        def replay(*inputs):
            torch._foreach_copy_(static, list(inputs))
            graph.replay()
            return output.clone()

        return replay

    @contextlib.contextmanager
    def stream(self):
        """Everything inside runs on the stream that is recorded, after what was started before and before what comes after."""
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)
