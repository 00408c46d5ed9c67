"""The torch network against the frozen graph executed by TensorFlow, and the process that executes it."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from inception_parity import BOUNDS, compare_feature_nets, score_differences, varied_images
from synthetic_graph import write_synthetic_graph

from utils.cli import UserError
from utils.inception import tf_worker as worker
from utils.inception.feature_net import load_feature_net
from utils.inception.tf_backend import TensorFlowDied, TensorFlowFeatureNet

ROOT = Path(__file__).resolve().parents[1]
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return write_synthetic_graph(tmp_path_factory.mktemp("graph") / "classify_image_graph_def.pb", seed=7)


@pytest.fixture(scope="module")
def net(graph_file):
    return load_feature_net(inception_path=graph_file)


@pytest.fixture(scope="module")
def tensorflow(graph_file, tmp_path_factory):
    """The graph in TensorFlow, in a process where importing torch fails."""
    trap = tmp_path_factory.mktemp("trap")
    (trap / "torch.py").write_text("raise SystemExit('the worker imported torch')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(trap))
        network = load_feature_net(inception_path=graph_file, backend="tf")
    with network:
        yield network


@needs_tensorflow
@pytest.mark.parametrize("size", [(32, 32), (48, 48), (64, 64), (299, 299), (40, 56)], ids=str)
def test_torch_equals_the_graph_in_tensorflow_at_any_size(net, tensorflow, size):
    found = compare_feature_nets(
        net, tensorflow, varied_images(7 if size[0] < 299 else 1, *size, seed=size[1])
    )
    assert found["features"] <= BOUNDS["pool_3"] and found["logits"] <= BOUNDS["logits"]


@needs_tensorflow
@pytest.mark.parametrize("batch", [1, 32])
def test_torch_equals_the_graph_in_tensorflow_at_any_batch(net, tensorflow, batch):
    found = compare_feature_nets(net, tensorflow, varied_images(batch, 32, 32, seed=batch))
    assert found["images"] == batch
    assert found["features"] <= BOUNDS["pool_3"] and found["logits"] <= BOUNDS["logits"]


@needs_tensorflow
def test_fid_and_inception_score_by_torch_equal_those_by_tensorflow(net, tensorflow):
    found = score_differences(net, tensorflow, (40, 56), 8, seed=11)
    assert found["FID"] <= BOUNDS["FID"] and found["IS"] <= BOUNDS["IS"]


@needs_tensorflow
def test_comparison_sees_a_wrong_network(net, tensorflow):
    def noisy(images):
        features, logits = net(images)
        return features * 1.001, logits

    assert compare_feature_nets(noisy, tensorflow, varied_images(1, 32, 32, seed=0))["features"] > 5e-4


@needs_tensorflow
def test_tensorflow_net_describes_itself_as_the_torch_one_does(net, tensorflow):
    for name in ("name", "weights_sha256", "feature_dim", "num_classes", "device"):
        assert getattr(net, name) == getattr(tensorflow, name)
    assert (net.backend, tensorflow.backend) == ("torch", "tf")


@needs_tensorflow
def test_a_graph_that_tensorflow_cannot_run_is_one_line():
    with pytest.raises(UserError, match="^--inception_backend: TensorFlow failed"):
        TensorFlowFeatureNet(b"not a graph", weights_sha256="")


# The process, played by a small program where no TensorFlow is needed


def fake_worker(folder, after_ready):
    """A program that greets, takes the graph, says that it is ready, and then runs `after_ready`."""
    path = folder / "python"
    path.write_text(
        f"#!{sys.executable}\n"
        f"import os, signal, sys, time\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from utils.inception import tf_worker as worker\n"
        "def put(data): os.write(1, data)\n"
        "requests = sys.stdin.buffer\n"
        "put(worker.GREETING)\n"
        "requests.read(worker.LENGTH.unpack(requests.read(8))[0])\n"
        "put(worker.REPLY.pack(worker.READY, 3) + b'2.x')\n"
        f"{after_ready}\n"
    )
    path.chmod(0o755)
    return path


def test_a_killed_worker_is_one_line_and_the_parent_goes_on(tmp_path):
    net = TensorFlowFeatureNet(b"graph", weights_sha256="", tf_python=fake_worker(tmp_path, "time.sleep(60)"))
    os.kill(net._process.pid, signal.SIGKILL)
    with pytest.raises(TensorFlowDied, match="killed by signal 9"):
        net(varied_images(2, 299, 299, seed=0))
    with pytest.raises(ValueError, match="closed"):
        net(varied_images(1, 8, 8, seed=0))


def test_the_last_line_of_a_dying_worker_is_passed_on(tmp_path):
    net = TensorFlowFeatureNet(
        b"graph", weights_sha256="", tf_python=fake_worker(tmp_path, "sys.exit('out of memory')")
    )
    with pytest.raises(TensorFlowDied, match="exit code 1.*out of memory"):
        net(varied_images(1, 8, 8, seed=0))


def test_the_worker_ends_when_its_net_is_dropped(tmp_path):
    net = TensorFlowFeatureNet(
        b"graph", weights_sha256="", tf_python=fake_worker(tmp_path, "requests.read()")
    )
    process = net._process
    del net
    assert process.returncode == 0


def test_a_worker_that_does_not_listen_is_killed_on_close(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.inception.tf_backend.CLOSING_SECONDS", 0.2)
    net = TensorFlowFeatureNet(b"graph", weights_sha256="", tf_python=fake_worker(tmp_path, "time.sleep(60)"))
    net.close()
    assert net._process.returncode == -signal.SIGKILL


def test_worker_ends_when_its_parent_is_killed(tmp_path):
    fake_worker(tmp_path, "requests.read()")
    script = (
        "import sys, time; from utils.inception.tf_backend import TensorFlowFeatureNet\n"
        f"net = TensorFlowFeatureNet(b'graph', weights_sha256='', tf_python={str(tmp_path / 'python')!r})\n"
        "print(net._process.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


def test_missing_tensorflow_names_both_cures(tmp_path, monkeypatch):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match="^--inception_backend: .*pip install tensorflow.*--tf_python"):
        TensorFlowFeatureNet(b"graph", weights_sha256="")


@pytest.mark.parametrize("program", ["/bin/cat", "/bin/true", "/no/such/python"])
def test_a_tf_python_that_is_no_python_is_one_line(program):
    with pytest.raises(UserError, match="^--tf_python: "):
        TensorFlowFeatureNet(b"graph" * 10**6, weights_sha256="", tf_python=program)


def test_the_worker_file_imports_nothing_of_the_project_and_no_torch():
    script = (
        f"import runpy, sys; runpy.run_path({worker.__file__!r}); "
        "print('torch' in sys.modules, 'utils' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/")
    assert result.stdout.split() == ["False", "False"], result.stderr


def test_images_of_any_memory_layout_reach_the_worker_as_nhwc(tmp_path):
    answer = (
        "number, height, width = worker.IMAGES.unpack(requests.read(12))\n"
        "data = requests.read(number * height * width * 3)\n"
        "import numpy as np\n"
        "pixels = np.frombuffer(data, np.uint8).astype('<f4')\n"
        "body = np.zeros(number * (2048 + 1008), '<f4'); body[: len(pixels)] = pixels\n"
        "put(worker.REPLY.pack(worker.RESULT, body.nbytes) + body.tobytes())\n"
    )
    images = torch.arange(24, dtype=torch.uint8).view(1, 2, 4, 3).permute(0, 3, 1, 2)
    with TensorFlowFeatureNet(b"graph", weights_sha256="", tf_python=fake_worker(tmp_path, answer)) as net:
        features, logits = net(images)
    assert features.shape == (1, 2048) and logits.shape == (1, 1008)
    assert torch.equal(features[0, :24], torch.arange(24.0))
