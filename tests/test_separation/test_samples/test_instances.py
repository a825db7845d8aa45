import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation import GroundTruth, InstanceSamples
from mmlayerwise.separation.geometry import mask_boxes, mask_pool


def instance_truth(masks, labels=None, image=0):
    labels = torch.arange(len(masks)) if labels is None else torch.tensor(labels)
    size = tuple(masks.shape[1:])
    return GroundTruth(image, size, boxes=mask_boxes(masks), box_labels=labels, masks=masks)


def read(masks, output, labels=None):
    sampler = InstanceSamples()
    candidates = sampler.candidates(instance_truth(masks, labels), seed=0)
    return sampler.extract(output, [candidates], tuple(masks.shape[1:])), candidates


def test_a_box_encloses_its_mask():
    masks = torch.zeros(2, 8, 9, dtype=torch.bool)
    masks[0, 2:4, 3] = True
    masks[0, 6, 5] = True
    assert mask_boxes(masks).tolist() == [[3, 2, 6, 7], [0, 0, 0, 0]]


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99)
)
def test_the_features_are_the_mean_over_the_pixels_under_the_mask(rows, columns, up, across, seed):
    """Each pixel has the features of the cell that it lies in."""
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(1, 3, rows, columns, generator=generator)
    masks = torch.rand(2, rows * up, columns * across, generator=generator) < 0.3
    masks[:, 0, 0] = True
    found, _ = read(masks, output)
    pixels = output[0].double().repeat_interleave(up, 1).repeat_interleave(across, 2)
    expected = torch.stack([pixels[:, mask].mean(1) for mask in masks])
    assert torch.allclose(found.features.double(), expected, atol=1e-5)


def test_a_stride_that_is_no_whole_number_divides_the_pixels():
    """Half pixels lie in one cell of 2.5 pixels each."""
    output = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(10, 10, generator=torch.Generator().manual_seed(1)) < 0.4
    found = mask_pool(output, mask, mask_boxes(mask[None])[0], (2.5, 2.5))
    halves = mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
    cells = output.double().repeat_interleave(5, 1).repeat_interleave(5, 2)
    assert torch.allclose(found.double(), cells[:, halves].mean(1), atol=1e-6)


def test_a_mask_smaller_than_a_cell_gives_the_features_of_the_cell():
    output = torch.arange(16.0).view(1, 1, 4, 4)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 20, 35] = True  # in row 1, column 2
    masks[1, 63, 31:33] = True  # on the border of columns 1 and 2
    found, _ = read(masks, output)
    assert found.features.flatten().tolist() == [6.0, 13.5]


def test_empty_masks_are_left_out_and_areas_count_pixels():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :2, :3] = True
    masks[2, 7, 7] = True
    found, candidates = read(masks, torch.randn(1, 5, 4, 4), labels=[4, 5, 6])
    assert candidates.labels.tolist() == [4, 6]
    assert candidates.areas.tolist() == [6, 1]
    assert candidates.places.tolist() == [[0, 0, 3, 2], [7, 7, 8, 8]]
    assert found.features.shape == (2, 5)


def test_an_image_without_instances_gives_none():
    output = torch.randn(2, 5, 4, 4)
    sampler = InstanceSamples()
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    full = torch.ones(1, 8, 8, dtype=torch.bool)
    batch = [
        sampler.candidates(instance_truth(one, image=n), seed=0)
        for n, one in enumerate((masks, full))
    ]
    found = sampler.extract(output, batch, (8, 8))
    assert found.images.tolist() == [1]
    assert torch.allclose(found.features, output[1].mean((1, 2))[None], atol=1e-6)


def test_pixels_beyond_a_map_that_was_cut_count_to_its_last_cell():
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[8, 8] = True
    output = torch.arange(16.0).view(1, 4, 4)
    assert mask_pool(output, mask, mask_boxes(mask[None])[0], (2.0, 2.0)).tolist() == [15.0]


@pytest.mark.gpu
def test_masks_are_pooled_where_the_features_are():
    output = torch.randn(3, 4, 4, device='cuda')
    mask = torch.ones(8, 8, dtype=torch.bool)
    found = mask_pool(output, mask, mask_boxes(mask[None])[0], (2.0, 2.0))
    assert found.is_cuda
    assert torch.allclose(found, output.mean((1, 2)), atol=1e-6)
