"""derived.json: what a search writes is what a training reads, and any other file is refused in one line."""

import json
import os

import pytest

from utils.cli import UserError
from utils.run.derived import read_architecture, read_derived, write_derived

RANKED = [
    {"architecture": "1 0 1 1", "reward": 8.5, "weights": "Model/node_001.pth"},
    {"architecture": "1 1 1 1", "reward": 8.0, "weights": "Model/node_002.pth"},
]


def test_what_a_search_writes_is_read_by_rank(tmp_path):
    write_derived(tmp_path / "derived.json", "is", "inception", RANKED)
    written = json.loads((tmp_path / "derived.json").read_text())
    assert list(written) == ["reward", "feature_net", "architectures"]
    assert [entry["rank"] for entry in written["architectures"]] == [1, 2]
    assert written["architectures"][0] == {"rank": 1, **RANKED[0]}
    assert read_architecture(tmp_path / "derived.json", 1) == "1 0 1 1"
    assert read_architecture(tmp_path / "derived.json", 2) == "1 1 1 1"


@pytest.mark.parametrize("rank", [-1, 0, 3])
def test_a_rank_that_is_not_there_is_refused(tmp_path, rank):
    write_derived(tmp_path / "derived.json", "is", "inception", RANKED)
    with pytest.raises(UserError, match="--rank: .* holds 2 architectures; give 1 to 2"):
        read_architecture(tmp_path / "derived.json", rank)


@pytest.mark.parametrize("text", [
    "", "[1]", "{}", '{"architectures": 3}', '{"architectures": [{}]}', '{"architectures": [{"architecture": {}}]}'
])  # fmt: skip
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "derived.json").write_text(text)
    with pytest.raises(UserError, match="--arch_file: .* is not a derived.json"):
        read_architecture(tmp_path / "derived.json", 1)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="--arch_file: no file"):
        read_architecture(tmp_path / "derived.json", 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_that_an_editor_saved_anew_is_read_whatever_its_encoding(tmp_path, encoding):
    write_derived(tmp_path / "derived.json", "is", "inception", RANKED)
    text = (tmp_path / "derived.json").read_text()
    (tmp_path / "derived.json").write_text(text, encoding=encoding)
    assert read_architecture(tmp_path / "derived.json", 2) == "1 1 1 1"


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="^--arch_file: .*pipe is not a regular file"):
        read_architecture(tmp_path / "pipe", 1)


def test_an_entry_keeps_what_else_it_holds_and_its_architecture_is_text(tmp_path):
    entries = [{"architecture": 1011, "reward": 2.5}, {"architecture": "0 2 2 0", "weights": "w.pth"}]
    (tmp_path / "derived.json").write_text(json.dumps({"architectures": entries}))
    expected = [{"architecture": "1011", "reward": 2.5}, entries[1]]
    assert read_derived(tmp_path) == read_derived(tmp_path / "derived.json") == expected
