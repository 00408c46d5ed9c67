"""Training steps recorded as CUDA graphs and replayed.

At 8x8 a step is several hundred kernels, and Python takes longer to start each one than it runs. A recorded
step starts with a single call.
"""

import contextlib
import time
import warnings
from functools import lru_cache

import torch

CAPACITY = 4096  # enough for the third level's 720 architectures: a beam of five, times 144 cells


class NoGraphs:
    """Takes the place of StepGraphs where nothing is recorded: every call is simply run."""

    def run(self, key, call, *inputs):
        return call(*inputs)

    def clear(self):
        """There is nothing to forget."""

    def stream(self):
        return contextlib.nullcontext()


class StepGraphs:
    """Runs calls, and records and replays those that come again.

    A call reads its inputs, updates tensors in place and returns one tensor. Equal keys mean equal work on
    the same tensors. If there are more than `capacity` recordings, or memory is short, all of them are
    dropped at once: in PyTorch 2.14, dropping one frees the workspace that the matrix products of the others
    write to.
    """

    def __init__(self, recorder, capacity=CAPACITY):
        self._recorder, self._capacity = recorder, capacity
        self._seen, self._recordings = set(), {}

    def run(self, key, call, *inputs):
        """call(*inputs), a tensor. Never recorded if `key` is None.

        The first run is not recorded either, because it allocates what lasts, such as gradients and Adam's
        averages.
        """
        if key is None:
            return call(*inputs)
        key = (key, *((tensor.shape, tensor.dtype) for tensor in inputs))
        if key in self._seen and key not in self._recordings:
            self._record(key, call, inputs)
        self._seen.add(key)
        return self._recordings.get(key, call)(*inputs)

    def clear(self):
        """Forget all recordings: their tensors have been replaced, or they are not needed any more."""
        self._seen.clear()
        self._recordings.clear()
        self._recorder.start_anew()

    def stream(self):
        """A context to call `run` in: the stream that is recorded."""
        return self._recorder.stream()

    def _record(self, key, call, inputs):
        if self._recorder.failed:
            return
        if len(self._recordings) >= self._capacity or self._recorder.is_short_of_memory():
            self.clear()  # this call is recorded when it comes again
            return
        recording = self._recorder.record(call, inputs)
        if recording:
            self._recordings[key] = recording
        else:
            self.clear()


@lru_cache
def recorded_stream(device):
    """The one stream of a device on which graphs are recorded.

    Memory that one stream frees is not reused by another.
    """
    return torch.cuda.Stream(device)


class CudaRecorder:
    """Records calls as CUDA graphs.

    All graphs share one memory pool, because none needs its memory once it has run. They also share the
    tensors that inputs are copied to.
    """

    failed = False  # after one step that cannot be recorded, this process does not try others
    LEAST_FREE_MEMORY = 0.1  # share of the device's memory
    PAUSE_SECONDS = 60  # after memory was short

    def __init__(self, device):
        self._device, self._stream = device, recorded_stream(device)
        self._inputs = {}  # shapes and types -> tensors
        self._paused_until, self._broken = 0.0, []
        self.start_anew()

    def start_anew(self):
        """Use a new memory pool: the old one cannot be recorded into once all its graphs are gone."""
        self._pool = torch.cuda.graph_pool_handle()

    def is_short_of_memory(self):
        """Whether there is too little memory to record.

        Asking the device takes long, so a 'yes' holds for a minute.
        """
        if time.monotonic() < self._paused_until:
            return True
        if self._free_share() < self.LEAST_FREE_MEMORY:
            torch.cuda.empty_cache()  # memory that PyTorch keeps for eager steps
            if self._free_share() < self.LEAST_FREE_MEMORY:
                self._paused_until = time.monotonic() + self.PAUSE_SECONDS
                return True
        return False

    def _free_share(self):
        free, total = torch.cuda.mem_get_info(self._device)
        return free / total

    def record(self, call, inputs):
        """A function that replays `call`, or None if it cannot be recorded.

        Recording computes nothing.
        """
        kinds = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if kinds not in self._inputs:
            self._inputs[kinds] = [torch.empty_like(tensor) for tensor in inputs]
        static = self._inputs[kinds]
        graph = torch.cuda.CUDAGraph()
        try:
            # Not torch.cuda.graph: it would empty the allocator's cache for each of hundreds of recordings.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                output = call(*static)
            finally:
                graph.capture_end()
        except RuntimeError as error:
            # Older versions of PyTorch may still point to the graph, and may believe that recording goes on.
            self._broken.append(graph)
            with contextlib.suppress(RuntimeError, AttributeError):
                torch._C._cuda_endAllocateToPool(self._device.index or 0, self._pool)
            if torch.OutOfMemoryError in (type(error), type(error.__context__)):
                self._paused_until = time.monotonic() + self.PAUSE_SECONDS
                return None
            CudaRecorder.failed = True
            reason = str(error.__context__ or error).splitlines()[0]
            message = f"training steps cannot be recorded as CUDA graphs here, so they are slower: {reason}"
            warnings.warn(message, stacklevel=2)
            return None

        def replay(*inputs):
            torch._foreach_copy_(static, list(inputs))
            graph.replay()
            return output.clone()

        return replay

    @contextlib.contextmanager
    def stream(self):
        """Run the block on the stream that is recorded, in order with the work before and after it."""
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)
