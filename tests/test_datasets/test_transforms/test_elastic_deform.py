import numpy as np
import pytest

pytest.importorskip('mmcv')
from mmlayerwise.datasets.transforms import ElasticDeform


def make_sample() -> dict:
    rows, columns = np.indices((60, 80))
    labels = (rows // 10 + columns // 20).astype(np.uint8)
    return dict(img=30 * labels, gt_seg_map=labels, seg_fields=['gt_seg_map'])


def test_displacements_pass_through_the_grid():
    displacements = np.random.default_rng(0).normal(0, 10, (2, 3, 3))
    sources = ElasticDeform().source_positions(displacements, (61, 81))
    moved = sources - np.indices((61, 81))
    np.testing.assert_allclose(moved[:, ::30, ::40], displacements, atol=1e-4)


def test_constant_displacement_shifts():
    displacements = np.stack([np.full((3, 3), 4.0), np.full((3, 3), -7.0)])
    transform = ElasticDeform()
    sources = transform.source_positions(displacements, (60, 80))
    image = np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)
    shifted = transform._remap(image, sources, 0)
    assert np.array_equal(shifted[:-4, 7:], image[4:, :-7])


def test_labels_stay_labels_and_follow_the_image():
    np.random.seed(1)
    sample = ElasticDeform().transform(make_sample())
    labels = sample['gt_seg_map']
    assert not np.array_equal(labels, make_sample()['gt_seg_map'])
    assert set(np.unique(labels)) <= set(range(9))
    # Away from the edges between labels image and labels still agree.
    assert (sample['img'] == 30 * labels).mean() > 0.7


def test_probability_zero_changes_nothing():
    sample = ElasticDeform(prob=0).transform(make_sample())
    assert np.array_equal(sample['img'], make_sample()['img'])


def test_a_grid_of_one_point_is_refused():
    with pytest.raises(ValueError, match='grid_size must be at least 2, but is 1'):
        ElasticDeform(grid_size=1)
