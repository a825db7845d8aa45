import pytest
import torch

from mmlayerwise.separation import GroundTruth, SeparationError
from mmlayerwise.separation.collection import Collection
from mmlayerwise.separation.samples import Candidates, Extracted
from mmlayerwise.separation.sketch import FeatureBudget

NO_LIMIT = FeatureBudget(10, 2**30, 0.5)


def image(number, labels, priorities):
    labels, priorities = torch.tensor(labels), torch.tensor(priorities, dtype=torch.float64)
    return Candidates(GroundTruth(number), labels, priorities, torch.zeros(len(labels), 0))


def extracted(images, dimension=3, cells=None):
    ids = torch.cat([one.ids for one in images])
    labels = torch.cat([one.labels for one in images])
    vectors = ids[:, None].float() * torch.ones(dimension)
    return Extracted(vectors, labels, ids, cells)


def held(collection):
    return sum(len(part.ids) for parts in collection._parts.values() for part in parts)


def test_memory_does_not_grow_with_the_data():
    collection, most = Collection(8, NO_LIMIT), 0
    generator = torch.Generator().manual_seed(0)
    priorities = torch.rand(400, generator=generator).tolist()
    skipped = 0
    for number in range(400):
        images = [image(number, [number % 2], priorities[number : number + 1])]
        if collection.offer(images):
            collection.add('layer', extracted(images))
        else:
            skipped += 1
        most = max(most, held(collection), len(collection.candidates))
    assert most <= 16
    assert skipped > 300  # their batches need no forward pass
    expected = sorted(
        number << 24
        for parity in (0, 1)
        for number in sorted(range(parity, 400, 2), key=priorities.__getitem__)[:4]
    )
    samples = collection.take('layer', collection.reservoir.ids)
    assert samples.ids.tolist() == expected
    assert samples.features[:, 1].tolist() == expected
    assert samples.labels.tolist() == [(number >> 24) % 2 for number in expected]
    assert {one.truth.image << 24 for one in collection.candidates} >= set(expected)


def test_a_place_of_a_layer_counts_once():
    collection = Collection(10, NO_LIMIT)
    images = [image(0, [1, 1, 2, 2], [0.1, 0.2, 0.3, 0.4])]
    assert collection.offer(images)
    collection.add('layer', extracted(images, cells=torch.tensor([7, 5, 7, 6])))
    assert collection.take('layer', torch.tensor([0, 1, 2, 3])).ids.tolist() == [0, 1, 3]
    assert collection.take('layer', torch.tensor([0])) is None  # handed over
    assert collection.take('other', torch.tensor([0])) is None


def test_only_kept_samples_are_handed_over():
    collection = Collection(10, NO_LIMIT)
    images = [image(1, [0], [0.5]), image(0, [0], [0.5])]
    assert collection.offer(images)
    collection.add('layer', extracted(images))
    assert collection.take('layer', torch.tensor([0, 5])).ids.tolist() == [0]


def test_images_without_samples_are_not_read():
    collection = Collection(10, NO_LIMIT)
    assert not collection.offer([image(0, [], [])])
    assert collection.candidates == []


def test_vectors_of_several_lengths_are_refused_even_if_their_sketches_agree():
    budget = FeatureBudget(10, 100, 0.9)
    assert budget.shortens(500)
    assert budget.shortens(600)
    collection = Collection(10, budget)
    for number, dimension in enumerate((500, 600)):
        images = [image(number, [0], [0.5])]
        collection.offer(images)
        if number == 0:
            collection.add('layer', extracted(images, dimension))
            assert collection.dimensions == {'layer': 500}
            continue
        with pytest.raises(SeparationError, match="'layer' gives vectors of 500 and of 600"):
            collection.add('layer', extracted(images, dimension))
