import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation.reservoir import BalancedReservoir
from mmlayerwise.separation.samples import select_balanced


def stream(count, num_classes, seed):
    """Samples of skewed classes, in a random order of their ids."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randperm(3 * count, generator=generator)[:count]
    labels = (torch.rand(count, generator=generator) ** 3 * num_classes).long()
    return ids, labels, torch.rand(count, generator=generator, dtype=torch.float64)


def chosen_of_all(ids, labels, priorities, size):
    order = ids.argsort()
    return ids[order][select_balanced(labels[order], priorities[order], size)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 20), st.integers(1, 9), st.data())
def test_one_pass_in_any_pieces_chooses_what_all_together_would(count, classes, size, step, data):
    ids, labels, priorities = stream(count, classes, data.draw(st.integers(0, 999)))
    expected = chosen_of_all(ids, labels, priorities, size)
    reservoir, longest = BalancedReservoir(size), 0
    parts = zip(*(column.split(step) for column in (ids, labels, priorities)), strict=True)
    for part in parts:
        admitted = reservoir.offer(*part)
        assert set(admitted.tolist()) == set(part[0].tolist()) & set(reservoir.ids.tolist())
        longest = max(longest, len(reservoir.ids))
    assert torch.equal(reservoir.ids, expected)
    assert longest <= size
    where = (ids[:, None] == reservoir.ids).float().argmax(0)
    assert torch.equal(reservoir.labels, labels[where])
    assert torch.equal(reservoir.priorities, priorities[where])


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 60), st.integers(1, 6), st.integers(1, 20), st.data())
def test_reservoirs_of_parts_hold_what_that_of_the_whole_holds(count, classes, size, data):
    ids, labels, priorities = stream(count, classes, data.draw(st.integers(0, 999)))
    parts = torch.randint(0, 3, (count,), generator=torch.Generator().manual_seed(count))
    reservoirs = [BalancedReservoir(size) for _ in range(3)]
    for number, reservoir in enumerate(reservoirs):
        mine = parts == number
        reservoir.offer(ids[mine], labels[mine], priorities[mine])
    together = BalancedReservoir(size)
    for reservoir in reservoirs:
        together.offer(reservoir.ids, reservoir.labels, reservoir.priorities)
    assert torch.equal(together.ids, chosen_of_all(ids, labels, priorities, size))


def test_classes_are_filled_evenly():
    reservoir = BalancedReservoir(10)
    labels = torch.tensor([0] * 96 + [1, 1, 2, 2])
    priorities = torch.rand(100, generator=torch.Generator().manual_seed(0))
    for rows in torch.arange(100).split(7):
        reservoir.offer(rows, labels[rows], priorities[rows])
    assert labels[reservoir.ids].bincount().tolist() == [6, 2, 2]
    assert reservoir.merged().ids.tolist() == reservoir.ids.tolist()


@pytest.mark.parametrize('size', [2, 5])
def test_a_sample_offered_twice_counts_once(size):
    reservoir = BalancedReservoir(size)
    column = torch.arange(3), torch.tensor([0, 0, 1]), torch.tensor([0.1, 0.2, 0.3])
    assert set(reservoir.offer(*column).tolist()) == set(reservoir.ids.tolist())
    before = reservoir.ids.tolist()
    assert reservoir.offer(*column).tolist() == []
    assert reservoir.ids.tolist() == before == ([0, 2] if size == 2 else [0, 1, 2])
