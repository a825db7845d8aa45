import pickle
import random

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from mmlayerwise.engine.hooks.random_state_hook import (
    BatchNumbers,
    DrawnIndex,
    SeededSamples,
    preserve_random_state,
    seed_generators,
)


class Noise(Dataset):
    """Samples that are nothing but numbers of the three generators."""

    scale = 1.0

    def __len__(self):
        return 6

    def __getitem__(self, index):
        drawn = [random.random(), np.random.rand(), torch.rand(1).item()]
        return torch.tensor([index, *(self.scale * number for number in drawn)])

    def __getitems__(self, indices):
        raise AssertionError('fetched past the seeding')


def draw() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(1).item()


def load(workers: int, first: int = 0) -> list[list[float]]:
    dataset = SeededSamples(Noise(), seed=(3, 0))
    batches = BatchNumbers(BatchSampler(SequentialSampler(dataset), 2, drop_last=False))
    batches.next_number = first
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=workers)
    return torch.cat(list(loader)).tolist()


def test_equal_numbers_give_equal_states_and_others_do_not():
    seed_generators(1, 2, 3)
    first = draw()
    seed_generators(1, 2, 3)
    assert draw() == first
    for numbers in ((1, 2, 4), (1, 3, 2), (1, 2, 3, 1)):
        seed_generators(*numbers)
        assert not set(draw()) & set(first)


def test_the_state_is_given_back_also_after_an_error():
    seed_generators(7)
    expected = draw()
    seed_generators(7)
    with pytest.raises(ValueError, match='stop'), preserve_random_state():
        draw()
        raise ValueError('stop')
    assert draw() == expected


def test_samples_do_not_depend_on_the_number_of_workers():
    assert load(workers=0) == load(workers=2)


def test_samples_depend_on_the_number_of_their_batch():
    first, later = load(workers=0), load(workers=0, first=3)
    assert [row[0] for row in first] == [row[0] for row in later] == [0, 1, 2, 3, 4, 5]
    assert not {row[1] for row in first} & {row[1] for row in later}
    assert len({row[1] for row in first}) == 6


def test_loading_in_the_main_process_leaves_its_random_state():
    dataset = SeededSamples(Noise(), seed=(3, 0))
    seed_generators(5)
    expected = draw()
    seed_generators(5)
    dataset[DrawnIndex(1, batch=0, position=0)]
    assert draw() == expected


def test_an_index_is_an_integer_that_survives_pickling():
    index = pickle.loads(pickle.dumps(DrawnIndex(4, batch=7, position=1)))
    assert index == 4
    assert [0, 1, 2, 3, 'five'][index] == 'five'
    assert (index.batch, index.position) == (7, 1)


def test_the_wrapped_data_set_is_read_and_changed_through_the_wrapper():
    samples = SeededSamples(Noise(), seed=(0,))
    assert len(samples) == 6
    assert samples.scale == 1.0
    samples.scale = 2.0  # as a hook that switches the pipeline does
    assert pickle.loads(pickle.dumps(samples)).scale == 2.0
    assert not hasattr(samples, '__getitems__')


def test_a_batch_sampler_keeps_its_attributes():
    sampler = SequentialSampler(range(5))
    batches = BatchNumbers(BatchSampler(sampler, 2, drop_last=False))
    assert batches.sampler is sampler
    assert batches.batch_size == 2
    assert len(batches) == 3
    assert [[(i, i.batch, i.position) for i in batch] for batch in batches] == [
        [(0, 0, 0), (1, 0, 1)],
        [(2, 1, 0), (3, 1, 1)],
        [(4, 2, 0)],
    ]
