"""Runs leave what they always left: files, keys, steps, choices, lines of the log. Only floats may differ.

After a wanted change: python tests/recorded_runs.py
"""

import json

import pytest
from recorded_runs import FILE, PLANS, recorded_plan, recorded_run
from running import SHORT_RUNS, use_tiny_net

RECORDS = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", SHORT_RUNS)
def test_a_short_run_leaves_what_it_always_left(tmp_path, monkeypatch, name):
    use_tiny_net(monkeypatch)
    monkeypatch.chdir(tmp_path)
    record = recorded_run(name, tmp_path)
    assert record.keys() == RECORDS[name].keys()
    for part, content in record.items():
        assert content == RECORDS[name][part], part


@pytest.mark.parametrize("name", PLANS)
def test_a_dry_run_resolves_what_it_always_resolved(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert recorded_plan(name) == RECORDS[name]
