"""Architectures as data: parsing, printing, refusing."""

import itertools

import pytest

from models.autogan.architecture import PUBLISHED, Architecture, ArchitectureError, head_sizes
from models_search.search_space import every_cell


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_way_to_write_an_architecture_parses_to_the_same_object(name):
    architecture = Architecture.parse(name)
    flat = " ".join(map(str, architecture.tokens))
    assert (
        Architecture.parse(str(architecture))
        == Architecture.parse(flat)
        == Architecture.from_tokens(architecture.tokens)
    )
    assert hash(Architecture.parse(flat)) == hash(architecture)


def test_the_architecture_without_cells_survives_a_round_trip_through_its_text():
    assert Architecture.parse(str(Architecture(()))) == Architecture(())


def test_the_search_space_has_36_times_72_times_144_architectures():
    assert [len(every_cell(level)) for level in range(4)] == [36, 72, 144, 288]
    assert len(set(every_cell(2))) == 144


def test_every_cell_survives_a_round_trip_through_its_tokens():
    for level in range(3):
        for tokens in itertools.product(*map(range, head_sizes(level))):
            cell = next(cell for cell in every_cell(level) if cell.tokens == tokens)
            assert type(cell).from_tokens(tokens, level) == cell


def test_the_skip_code_is_read_most_significant_bit_first():
    third = [
        Architecture.from_tokens([0] * 4 + [0] * 5 + [0, 0, 0, 0, code]).cells[2].skips for code in range(4)
    ]
    assert third == [(False, False), (False, True), (True, False), (True, True)]


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("1 0 1", "takes 4 tokens"),
        ("1 0 1 1 1 0", "takes 5 tokens"),
        ("1 0 3 1", "up is 0 to 2"),
        ("1 0 1 1 1 0 0 1 2", "skip is 0 to 1"),
        ("1 0 1 -1", "shortcut is 0 to 1"),
        ("autogan_cifar10_d", "neither a vector"),
        ("1 0 1 1 | 1 0 0 1", "takes 5 tokens"),
        ("1 0 1 x", "neither a vector"),
    ],
)
def test_a_wrong_vector_is_refused_with_the_token_named(text, complaint):
    with pytest.raises(ArchitectureError, match=complaint):
        Architecture.parse(text)


A = "1 0 1 1 | 1 0 0 1 1 | 1 0 1 0 3"


@pytest.mark.parametrize(
    "text",
    [
        "[1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 3]",
        "[1 0 1 1 1 0 0 1 1 1 0 1 0 3]",
        "[[1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 3]]",
        "[[1, 0, 1, 1], [1, 0, 0, 1, 1], [1, 0, 1, 0, 3]]",
        "[[1,0,1,1],[1,0,0,1,1],[1,0,1,0,3]]",
        "([1, 0, 1, 1], [1, 0, 0, 1, 1], [1, 0, 1, 0, 3])",
        "(1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 3)",
    ],
)
def test_lists_as_python_prints_them_are_architectures(text):
    assert str(Architecture.parse(text)) == A


@pytest.mark.parametrize(
    "text", ["[1, 0, 1, 1", "1, 0, 1, 1]", "][1, 0, 1, 1", "x[1, 0, 1, 1]", "[1, 0, 1.5, 1]"]
)
def test_broken_lists_are_refused(text):
    with pytest.raises(ArchitectureError, match="is neither a vector"):
        Architecture.parse(text)
