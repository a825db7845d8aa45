from collections import Counter

import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner

from mmlayerwise.datasets.samplers import ClassBalancedBatchSampler, class_balanced_batch_sampler
from mmlayerwise.registry import DATA_SAMPLERS
from mmlayerwise.utils.errors import UserError


class Images:
    """A data set that tells labels only."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        label = self.labels[index]
        if isinstance(label, list):
            return dict(instances=[dict(bbox_label=one) for one in label])
        return dict(gt_label=label)


def sampler_of(labels, batch_size, seed=3):
    return ClassBalancedBatchSampler(DefaultSampler(Images(labels), seed=seed), batch_size)


def classes_of(batch, labels):
    return sorted(Counter(labels[image] for image in batch).values())


def test_every_batch_holds_every_class_equally_often():
    labels = [0] * 50 + [1] * 30 + [2] * 10
    sampler = sampler_of(labels, 9)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 10
    for batch in batches:
        assert classes_of(batch, labels) == [3, 3, 3]
        assert len(set(batch)) == 9


def test_a_class_comes_round_only_when_all_of_it_was_drawn():
    labels = [0] * 12 + [1] * 6
    drawn = [image for batch in sampler_of(labels, 6) for image in batch]
    counts = Counter(drawn)
    assert max(counts[image] for image in range(12)) == 1
    assert all(counts[image] in (1, 2) for image in range(12, 18))


def test_more_classes_than_fit_take_turns_in_pairs():
    labels = [label for label in range(30) for _ in range(4)]
    batches = list(sampler_of(labels, 10))
    assert all(classes_of(batch, labels) == [2] * 5 for batch in batches)
    seen = {labels[image] for batch in batches for image in batch}
    assert seen == set(range(30))


def test_a_small_class_makes_the_batch_smaller():
    labels = [0] * 20 + [1] * 2
    assert classes_of(next(iter(sampler_of(labels, 8))), labels) == [2, 4]


def test_classes_of_one_image_are_left_out():
    labels = [0] * 6 + [1] * 6 + [2]
    assert all(12 not in batch for batch in sampler_of(labels, 6))


def test_the_order_depends_on_seed_and_epoch_alone():
    labels = [0, 1] * 20
    first, second, other = sampler_of(labels, 8), sampler_of(labels, 8), sampler_of(labels, 8, 4)
    assert list(first) == list(second) == list(first)
    assert list(first) != list(other)
    second.sampler.set_epoch(1)
    assert list(first) != list(second)


def test_processes_share_one_sequence(monkeypatch):
    labels = [0, 1] * 16
    shares = []
    for rank in range(2):
        monkeypatch.setattr(class_balanced_batch_sampler, 'get_dist_info', lambda: (rank, 2))  # noqa: B023
        shares.append(list(sampler_of(labels, 8)))
    assert len(shares[0]) == len(shares[1]) == 2
    drawn = [image for share in shares for batch in share for image in batch]
    assert sorted(drawn) == list(range(32))


def test_images_of_several_classes_are_drawn_for_each():
    labels = [[0, 1], [0], [1], [0, 1], [2, 0], [2, 1], [2]]
    batches = list(sampler_of(labels, 6))
    assert all(len(batch) == len(set(batch)) for batch in batches)
    assert {image for batch in batches for image in batch} <= set(range(7))


def test_any_data_loader_takes_it():
    class Numbers(Images):
        def __getitem__(self, index):
            return index

    loader = Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=0,
            dataset=Numbers([0, 1] * 10),
            sampler=dict(type='DefaultSampler', shuffle=True),
            batch_sampler=dict(type='mmlayerwise.ClassBalancedBatchSampler'),
        ),
        seed=0,
    )
    assert all(sum(image % 2 for image in batch) == 2 for batch in loader)
    assert DATA_SAMPLERS.get('ClassBalancedBatchSampler') is ClassBalancedBatchSampler


@pytest.mark.parametrize(
    ('labels', 'batch_size', 'message'),
    [
        ([0] * 8, 4, 'needs two classes .* give 1 of such'),
        ([0, 1, 2, 3], 4, r'give 0 of such \(4 classes in all\)'),
        ([0, 1] * 4, 3, 'batch_size of at least 4, got 3'),
    ],
)
def test_what_cannot_be_balanced_is_refused(labels, batch_size, message):
    with pytest.raises(UserError, match=message):
        sampler_of(labels, batch_size)


def test_a_data_set_that_does_not_tell_labels_is_refused():
    with pytest.raises(UserError, match=r'list does not tell .* batch_size=None'):
        ClassBalancedBatchSampler(DefaultSampler([1, 2, 3], seed=0), 4)
