import numpy as np
import pytest

pytest.importorskip('mmcv')

from mmlayerwise.datasets.transforms import LoadObjectProposals, WindowProposals
from mmlayerwise.utils.errors import UserError


def test_proposals_of_the_image_are_loaded_best_first(tmp_path):
    np.save(tmp_path / 'frame.npy', [[0, 0, 2, 2, 0.1], [4, 6, 8, 10, 0.9], [1, 1, 3, 3, 0.5]])
    results = dict(img_path='some/frame.jpg')
    boxes = LoadObjectProposals(str(tmp_path), max_proposals=2).transform(results)['proposals']
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[4, 6, 8, 10], [1, 1, 3, 3]]


def test_proposals_without_scores_keep_their_order_and_follow_the_image(tmp_path):
    np.save(tmp_path / 'frame.npy', np.array([[4, 6, 8, 10], [0, 0, 2, 2]]))
    results = dict(img_path='frame.png', scale_factor=(0.5, 2.0))
    boxes = LoadObjectProposals(str(tmp_path)).transform(results)['proposals']
    assert boxes.tolist() == [[2, 12, 4, 20], [0, 0, 1, 4]]


def test_missing_and_wrong_files_are_named(tmp_path):
    load = LoadObjectProposals(str(tmp_path))
    with pytest.raises(UserError, match=r'no proposals of a/b\.jpg in .*b\.npy'):
        load.transform(dict(img_path='a/b.jpg'))
    np.save(tmp_path / 'b.npy', np.zeros(4))
    with pytest.raises(UserError, match=r'shape \(4,\); expected boxes'):
        load.transform(dict(img_path='a/b.jpg'))


@pytest.mark.parametrize('size', [(360, 480), (50, 37)])
def test_windows_of_every_size_cover_the_image(size):
    transform = WindowProposals(scales=(0.5, 0.75), aspect_ratios=(0.5, 1.0, 2.0), overlap=0.5)
    boxes = transform.transform(dict(img=np.zeros((*size, 3), np.uint8)))['proposals']
    height, width = size
    assert boxes[0].tolist() == [0, 0, width, height]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= np.array([width, height]) + 1e-3).all()
    shapes = boxes[:, 2:] - boxes[:, :2]
    for shape in np.unique(shapes.round(), axis=0):
        windows = boxes[(abs(shapes - shape) < 1).all(1)]
        for side, length in enumerate((width, height)):
            starts = np.unique(windows[:, side])
            assert starts[0] == 0
            assert starts[-1] + shape[side] == pytest.approx(length, abs=1)
            assert (np.diff(starts) <= 0.5 * shape[side] + 1).all()


def test_areas_and_shapes_of_windows():
    transform = WindowProposals(scales=(0.5,), aspect_ratios=(1.0, 2.25), overlap=0.0)
    boxes = transform.transform(dict(img=np.zeros((40, 60, 3), np.uint8)))['proposals']
    assert boxes[1:5].tolist() == [
        [0, 0, 30, 20], [30, 0, 60, 20], [0, 20, 30, 40], [30, 20, 60, 40],
    ]  # fmt: skip
    width, height = boxes[-1, 2:] - boxes[-1, :2]
    assert (width, height) == (pytest.approx(45), pytest.approx(40 / 3, rel=1e-4))


def test_full_overlap_is_refused():
    with pytest.raises(UserError, match='below 1, not 1'):
        WindowProposals(overlap=1)
