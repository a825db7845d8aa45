import numpy as np
import pytest

from mmlayerwise.utils.anchors import cluster_anchors, collect_box_sizes, shape_overlaps
from mmlayerwise.utils.errors import UserError


class Images:
    def __init__(self, *infos):
        self.infos = infos

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, index):
        return self.infos[index]


class Wrapper:
    def __init__(self, dataset):
        self.dataset = dataset


def image(*boxes, width=200, height=100, **extra):
    return dict(width=width, height=height, instances=[dict(bbox=box, **extra) for box in boxes])


def test_overlap_of_shapes():
    overlaps = shape_overlaps(
        np.array([[2.0, 4.0]]), np.array([[2.0, 4.0], [4.0, 2.0], [1.0, 8.0]])
    )
    np.testing.assert_allclose(overlaps, [[1, 4 / 12, 4 / 12]])


def test_separate_clusters_are_found():
    generator = np.random.default_rng(0)
    centres = np.array([[10.0, 12.0], [60.0, 30.0], [100.0, 220.0]])
    sizes = np.concatenate([c * generator.uniform(0.95, 1.05, (50, 2)) for c in centres])
    anchors, overlap = cluster_anchors(sizes, 3)
    expected = [cluster.mean(0) for cluster in np.split(sizes, 3)]
    np.testing.assert_allclose(anchors, expected)
    distances = [max(_iou(size, anchor) for anchor in expected) for size in sizes]
    assert overlap == pytest.approx(np.mean(distances))


def _iou(a, b):
    common = min(a[0], b[0]) * min(a[1], b[1])
    return common / (a[0] * a[1] + b[0] * b[1] - common)


def test_as_many_anchors_as_sizes_fit_exactly():
    sizes = np.array([[1.0, 2.0], [5.0, 5.0], [3.0, 9.0]])
    anchors, overlap = cluster_anchors(sizes, 3)
    assert overlap == 1
    assert anchors.tolist() == [[1, 2], [5, 5], [3, 9]]


@pytest.mark.parametrize('count', [0, 3])
def test_impossible_number_is_refused(count):
    with pytest.raises(UserError, match='ask for 1 to 2'):
        cluster_anchors(np.array([[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]), count)


def test_sizes_are_those_in_the_input_of_the_network():
    dataset = Wrapper(
        Images(image([10, 10, 30, 50], [0, 0, 0, 5]), image([0, 0, 8, 8], ignore_flag=1))
    )
    assert collect_box_sizes(dataset, (100, 100)).tolist() == [[10, 20]]


def test_data_without_boxes_is_refused():
    with pytest.raises(UserError, match='no boxes'):
        collect_box_sizes(Images(image()), (100, 100))


def test_data_without_sizes_is_refused():
    with pytest.raises(UserError, match='does not tell width and height'):
        collect_box_sizes(Images(dict(instances=[])), (100, 100))
