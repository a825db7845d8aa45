import pytest
import torch

from mmlayerwise.compression import CompressionError
from mmlayerwise.compression.head_search import (
    HeadCandidate,
    HeadSearch,
    held_out_center_index,
)


def _candidate(hidden: int, center: float, accuracy: float) -> HeadCandidate:
    return HeadCandidate(hidden, accuracy, center, 0, {})


def test_chooses_the_smallest_within_the_tolerance():
    found = [_candidate(0, 0.90, 0.91), _candidate(64, 0.956, 0.93), _candidate(512, 0.96, 0.95)]
    assert HeadSearch().choose(found).hidden == 64
    assert HeadSearch(tolerance=0.1).choose(found).hidden == 0
    assert HeadSearch(measure='accuracy').choose(found).hidden == 512


def test_held_out_index_uses_means_of_the_others_only():
    vectors = torch.tensor([[0.0], [1.0], [10.0], [11.0], [0.4], [4.0], [9.0]])
    labels = torch.tensor([0, 0, 1, 1, 0, 1, 1])
    used, held = torch.arange(4), torch.arange(4, 7)
    # Means 0.5 and 10.5: 0.4 and 9 are right, 4 is nearer to the other class.
    assert held_out_center_index(vectors, labels, used, held) == pytest.approx(2 / 3)


def test_learns_what_a_linear_part_cannot():
    torch.manual_seed(0)
    vectors = torch.randn(600, 2)
    labels = (vectors[:, 0] * vectors[:, 1] > 0).long()
    search = HeadSearch(widths=(0, 64), epochs=40, learning_rate=1e-2, measure='accuracy')
    linear, hidden = search.run(vectors, labels, 2)
    assert linear.accuracy < 0.75 < 0.9 < hidden.accuracy
    assert linear.parameters == 2 * 2 + 2
    assert hidden.parameters == 2 * 64 + 64 + 64 * 2 + 2
    assert search.choose([linear, hidden]) is hidden
    assert set(hidden.state) == {'hidden.weight', 'hidden.bias', 'fc.weight', 'fc.bias'}


def test_is_the_same_again_and_leaves_the_random_state_alone():
    vectors, labels = torch.randn(40, 3), torch.arange(40) % 2
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    search = HeadSearch(widths=(8,), epochs=2)
    first, second = search.run(vectors, labels, 2)[0], search.run(vectors, labels, 2)[0]
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.state['fc.weight'], second.state['fc.weight'])


def test_too_few_samples_are_refused():
    with pytest.raises(CompressionError, match='at least 10 samples'):
        HeadSearch().run(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long), 2)


def test_parts_above_the_limit_are_not_tried_but_the_first_always_is():
    vectors, labels = torch.randn(40, 30), torch.arange(40) % 2
    search = HeadSearch(epochs=1)
    # 64 hidden values: 30 * 64 + 64 + 64 * 2 + 2 = 2,114 parameters; 128: 4,226.
    found = [search.run(vectors, labels, 2, limit) for limit in (None, 4226, 4225, 2114, 3)]
    assert [[one.hidden for one in some] for some in found] == [
        [0, 64, 128, 256, 512],
        [0, 64, 128],
        [0, 64],
        [0, 64],
        [0],
    ]
