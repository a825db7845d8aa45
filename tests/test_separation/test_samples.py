import numpy as np
import pytest
import torch

from mmlayerwise.separation import (
    BoxSamples,
    GroundTruth,
    ImageSamples,
    PixelSamples,
    SeparationError,
)
from mmlayerwise.separation.samples import build_sampler, majority_label, select_balanced

BOXES = torch.tensor([[0.0, 0, 16, 16], [16, 8, 32, 24], [40, 40, 90, 90], [5, 5, 5, 9]])


def box_truth(image=0):
    labels = torch.tensor([1, 2, 1, 0])
    return GroundTruth(image, (64, 64), boxes=BOXES, box_labels=labels)


def test_balanced_choice_fills_the_classes_evenly():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)
    priorities = torch.rand(63, generator=torch.Generator().manual_seed(0)).double()
    chosen = select_balanced(labels, priorities, 20)
    assert labels[chosen].bincount().tolist() in ([9, 8, 3], [8, 9, 3])
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    # Within a class the lowest priorities are taken.
    rows = chosen[labels[chosen] == 0]
    assert priorities[rows].max() < np.delete(priorities[:50].numpy(), rows.numpy()).min()
    assert select_balanced(labels, priorities, 100).tolist() == list(range(63))


def test_image_samples_pool_as_asked():
    output = torch.randn(2, 4, 8, 8)
    batch = [ImageSamples().candidates(GroundTruth(7 + n, label=n), seed=0) for n in range(2)]

    def read(**options):
        return ImageSamples(**options).extract(output, batch, (32, 32)).features

    assert torch.equal(read(pool='flatten'), output.flatten(1))
    assert torch.equal(read(), output.flatten(1))
    assert torch.allclose(read(pool='average'), output.mean((2, 3)))
    blocks = output.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
    assert torch.allclose(read(pool=4), blocks.flatten(1), atol=1e-6)
    assert torch.allclose(read(max_dimension=64), blocks.flatten(1), atol=1e-6)
    found = ImageSamples().extract(output, batch, (32, 32))
    assert found.labels.tolist() == [0, 1]
    assert found.images.tolist() == [7, 8]
    with pytest.raises(SeparationError, match=r"pool must be .* got 'max'"):
        ImageSamples(pool='max')


def test_boxes_are_clipped_and_empty_ones_left_out():
    found = BoxSamples().candidates(box_truth(), seed=0)
    assert found.places.tolist() == [[0, 0, 16, 16], [16, 8, 32, 24], [40, 40, 64, 64]]
    assert found.labels.tolist() == [1, 2, 1]
    assert len(BoxSamples(max_per_image=2).candidates(box_truth(), seed=0).labels) == 2


def test_box_samples_pool_the_cells_under_the_box():
    sampler = BoxSamples(output_size=2)
    truths = [box_truth(0), GroundTruth(1, (64, 64), boxes=BOXES[:0], box_labels=torch.zeros(0))]
    batch = [sampler.candidates(truth, seed=0) for truth in truths]
    # A plane: every bin's mean is the value at the bin's centre.
    column = torch.arange(16).float() + 0.5
    output = (column[None, :] * 4).expand(16, 16)[None, None].repeat(2, 1, 1, 1)
    found = sampler.extract(output, batch, (64, 64))
    assert found.features.shape == (3, 4)
    assert torch.allclose(found.features[1], torch.tensor([20.0, 28, 20, 28]))
    assert found.images.tolist() == [0, 0, 0]


def test_majority_label_of_cells_with_ignore_and_ties():
    label_map = torch.tensor([[1, 1, 255, 255], [1, 2, 255, 3], [2, 1, 3, 3], [1, 2, 0, 4]])
    truth = GroundTruth(0, (4, 4), label_map=label_map)
    cells = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert majority_label(truth, cells, (2.0, 2.0)).tolist() == [1, 255, 1, 3]
    assert majority_label(truth, torch.tensor([[3, 3]]), (1.0, 1.0)).tolist() == [4]


def test_majority_label_leaves_out_what_lies_beyond_the_map():
    label_map = torch.full((5, 5), 2)
    label_map[4, 4] = 9
    truth = GroundTruth(0, (5, 5), label_map=label_map)
    assert majority_label(truth, torch.tensor([[1, 1]]), (4.0, 4.0)).tolist() == [9]


def test_pixel_samples_take_each_cell_once_with_its_majority():
    label_map = torch.zeros(32, 32, dtype=torch.int64)
    label_map[:, 16:] = 1
    label_map[:8, :8] = 255
    truth = GroundTruth(3, (32, 32), label_map=label_map)
    sampler = PixelSamples(max_per_image=400)
    candidates = sampler.candidates(truth, seed=0)
    assert candidates.labels.bincount().tolist() == [200, 200]
    assert (label_map[candidates.places[:, 0], candidates.places[:, 1]] != 255).all()
    output = torch.arange(16.0).view(1, 1, 4, 4)  # the cell's number
    found = sampler.extract(output, [candidates], (32, 32))
    cells = found.features[:, 0].long()
    assert set(cells.tolist()) == set(range(1, 16))  # cell 0 is ignored
    assert torch.equal(found.labels, (cells % 4 >= 2).long())
    assert torch.equal(found.cells - found.cells.min() + 1, cells)


def test_the_choice_depends_on_seed_and_image_only():
    def chosen(image, seed):
        truth = GroundTruth(image, (32, 32), label_map=torch.zeros(32, 32, dtype=torch.int64))
        return PixelSamples().candidates(truth, seed).places.tolist()

    state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert chosen(1, 0) == chosen(1, 0)
    assert chosen(1, 0) != chosen(2, 0)
    assert chosen(1, 0) != chosen(1, 5)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]


def test_auto_follows_the_ground_truth():
    label_map = torch.zeros(4, 4)
    for truth, sampler in (
        (GroundTruth(0, label=3), ImageSamples),
        (box_truth(), BoxSamples),
        (GroundTruth(0, label_map=label_map), PixelSamples),
    ):
        assert type(build_sampler('auto', [truth])) is sampler
    with pytest.raises(SeparationError, match=r'no ground truth.*LoadAnnotations'):
        build_sampler('auto', [GroundTruth(0)])


def test_a_sampler_is_built_from_its_config():
    sampler = build_sampler(dict(type='BoxSamples', output_size=5), [])
    assert (type(sampler), sampler.output_size) == (BoxSamples, 5)
    with pytest.raises(SeparationError, match=r"'Boxes'.*BoxSamples"):
        build_sampler(dict(type='Boxes'), [])
    with pytest.raises(SeparationError, match=r"BoxSamples.*'size'"):
        build_sampler(dict(type='BoxSamples', size=5), [])


@pytest.mark.parametrize('sampler', [ImageSamples(), BoxSamples(), PixelSamples()])
def test_missing_ground_truth_is_named(sampler):
    with pytest.raises(SeparationError, match='need'):
        sampler.candidates(GroundTruth(0), seed=0)


def test_only_maps_of_the_batch_are_accepted():
    for sampler in (BoxSamples(), PixelSamples()):
        assert sampler.accepts((2, 8, 4, 4), 2, (32, 32))
        assert sampler.accepts((2, 16, 8), 2, (32, 32))
        assert not sampler.accepts((512, 8, 4, 4), 2, (32, 32))  # regions, not images
        assert not sampler.accepts((2, 8, 1, 1), 2, (32, 32))
        assert not sampler.accepts((2, 8), 2, (32, 32))
    assert ImageSamples().accepts((2, 8), 2, (32, 32))
