import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from torch.utils.data import DataLoader

from mmlayerwise.datasets.samplers import ClassBalancedBatchSampler
from mmlayerwise.engine.runner.layerwise_data import SharedTrainingSamples, balanced_dataloader
from mmlayerwise.separation import ImageSamples, undisturbed
from mmlayerwise.utils.errors import UserError
from tests.test_robustness.layerwise_toy import BlockClassifier, NoisyImages


def loader_of(workers=0):
    dataset = NoisyImages(12)
    return DataLoader(
        dataset,
        4,
        sampler=DefaultSampler(dataset, seed=0),
        num_workers=workers,
        collate_fn=pseudo_collate,
    )


def images_of(workers, monkeypatch=None, place=(0, 1), seed=0):
    model = BlockClassifier()
    data = SharedTrainingSamples.from_dataloader(loader_of(workers), seed)
    data.choose(ImageSamples(), 12)
    if monkeypatch is not None:
        monkeypatch.setattr('mmlayerwise.engine.separation.world', lambda: place)
    with undisturbed(model):
        batches = list(data.batches(model))
    numbers = [truth.image for batch in batches for truth in batch.truths]
    images = torch.cat([batch.inputs['inputs'] for batch in batches])
    return dict(zip(map(int, numbers), images, strict=True))


def test_augmentation_depends_on_seed_and_image_alone(monkeypatch):
    expected = images_of(workers=0)
    assert sorted(expected) == list(range(12))
    for workers in (0, 2):
        found = images_of(workers)
        assert all(torch.equal(found[image], expected[image]) for image in expected)
    shares = [images_of(0, monkeypatch, (rank, 2)) for rank in range(2)]
    assert not shares[0].keys() & shares[1].keys()
    for image, value in (shares[0] | shares[1]).items():
        assert torch.equal(value, expected[image])
    other = images_of(workers=0, monkeypatch=monkeypatch, seed=1)
    assert not any(torch.equal(other[image], expected[image]) for image in expected)


def test_the_balanced_loader_draws_from_the_same_images():
    loader = loader_of()
    balanced = balanced_dataloader(loader, 6)
    assert isinstance(balanced.batch_sampler, ClassBalancedBatchSampler)
    assert balanced.batch_sampler.sampler is loader.sampler
    assert balanced.dataset is loader.dataset
    for batch in balanced:
        assert torch.stack(batch['labels']).bincount().tolist() == [2, 2, 2]
    again = balanced_dataloader(balanced, 4)
    assert again.batch_sampler.sampler is loader.sampler


def test_labels_must_be_known_to_balance():
    with pytest.raises(UserError, match='does not tell the labels'):
        data = [0, 1, 2, 3]
        balanced_dataloader(DataLoader(data, sampler=DefaultSampler(data, seed=0)), 4)
