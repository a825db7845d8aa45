import numpy as np
import pytest

pytest.importorskip('mmcv')

from mmlayerwise.datasets.transforms import LoadVOCBoxes, ObjectCenteredCrop, ProposalCrop
from mmlayerwise.datasets.transforms.object_centered_crop import component_boxes
from mmlayerwise.datasets.transforms.window_crop import crop_beyond, extend_boxes
from mmlayerwise.utils.errors import UserError


@pytest.fixture
def labels() -> np.ndarray:
    """Two objects of class 1, one of class 2 that touches the first, an ignored border."""
    labels = np.zeros((40, 60), np.uint8)
    labels[10:20, 5:25] = 1
    labels[10:20, 25:30] = 2
    labels[30:38, 45:60] = 1
    labels[9, 5:25] = 255
    return labels


def sample(labels: np.ndarray, **kwargs) -> dict:
    image = np.dstack([np.full_like(labels, 7), np.full_like(labels, 8), labels])
    return dict(img=image, gt_seg_map=labels, seg_fields=['gt_seg_map'], **kwargs)


def test_parts_of_each_class_are_boxed(labels):
    boxes, classes = component_boxes(labels, (0, 255), smallest=60)
    assert boxes.tolist() == [[5, 10, 25, 20], [45, 30, 60, 38]]
    assert classes.tolist() == [1, 1]
    assert len(component_boxes(labels, (0, 255))[0]) == 3
    assert component_boxes(labels, (0, 1, 2, 255))[0].shape == (0, 4)


def test_boxes_grow_about_their_centres():
    boxes = np.array([[10, 20, 20, 40], [0, 0, 3, 3]], np.float32)
    assert extend_boxes(boxes, 1.2).tolist() == [[9, 18, 21, 42], [-1, -1, 4, 4]]
    assert extend_boxes(boxes, 1.0).tolist() == boxes.astype(int).tolist()


def test_window_beyond_the_image_is_filled():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    window = crop_beyond(image, np.array([-1, 1, 3, 5]), 99)
    assert window.tolist() == [[99, 4, 5, 6], [99, 8, 9, 10], [99] * 4, [99] * 4]
    assert (crop_beyond(image, np.array([10, 10, 12, 11]), 99) == 99).all()


def test_only_the_object_in_the_centre_keeps_its_label(labels):
    crop = ObjectCenteredCrop(smallest=60)
    seen = set()
    for seed in range(8):
        np.random.seed(seed)
        result = crop.transform(sample(labels.copy()))
        seen.add(result['gt_seg_map'].shape)
        assert result['img_shape'] == result['img'].shape[:2] == result['gt_seg_map'].shape
        if result['gt_seg_map'].shape == (12, 24):
            # The first object with its surroundings, where class 2 has become background.
            expected = np.zeros((40, 60), np.uint8)
            expected[10:20, 5:25] = 1
            expected[9, 5:25] = 255
            assert np.array_equal(result['gt_seg_map'], expected[9:21, 3:27])
            assert np.array_equal(result['img'][..., 2], labels[9:21, 3:27])
    # The second object's window of 19x10 pixels leaves the image.
    assert seen == {(12, 24), (10, 19)}


def test_outside_of_the_image_is_ignored(labels):
    labels[:, :40] = 0
    result = ObjectCenteredCrop(image_fill=3).transform(sample(labels))
    assert (result['gt_seg_map'][:, -2:] == 255).all()
    assert (result['img'][:, -2:] == 3).all()
    result = ObjectCenteredCrop(image_fill=(1, 2, 3)).transform(sample(labels))
    assert (result['img'][:, -2:] == (1, 2, 3)).all()


def test_without_background_the_rest_is_ignored(labels):
    labels[labels == 0] = 3
    np.random.seed(0)
    for _ in range(5):
        result = ObjectCenteredCrop(background=None, smallest=60).transform(sample(labels.copy()))
        (label,) = np.setdiff1d(result['gt_seg_map'], 255)
        assert label in (1, 3)


def test_classes_are_chosen_alike():
    labels = np.zeros((10, 200), np.uint8)
    for start in range(0, 180, 20):
        labels[2:8, start : start + 10] = 1
    labels[2:8, 185:195] = 2
    np.random.seed(0)
    crop = ObjectCenteredCrop(smallest=1)
    chosen = [crop.transform(sample(labels))['gt_seg_map'].max() for _ in range(200)]
    assert 0.4 < np.mean(np.array(chosen) == 2) < 0.6


def test_boxes_of_the_data_set_come_first(labels):
    boxes = np.array([[5, 10, 15, 20]], np.float32)
    given = sample(labels, gt_bboxes=boxes, gt_bboxes_labels=np.array([1]))
    result = ObjectCenteredCrop(context=1.4).transform(given)
    expected = np.zeros((40, 60), np.uint8)
    expected[10:20, 5:15] = 1
    expected[9, 5:25] = 255
    assert np.array_equal(result['gt_seg_map'], expected[8:22, 3:17])


def test_nothing_to_cut_out_leaves_the_sample():
    labels = np.zeros((8, 8), np.uint8)
    assert ObjectCenteredCrop().transform(sample(labels))['gt_seg_map'] is labels


def test_proposals_near_an_object_keep_all_labels(labels):
    # Intersection over union with the first object: 1 / 2, nearly, and 0.
    proposals = np.array([[5, 10, 25, 40], [5, 10, 45, 20], [30, 0, 60, 20]], np.float32)
    crop = ProposalCrop(context=1.0, smallest=60)
    for seed in range(6):
        np.random.seed(seed)
        result = crop.transform(sample(labels.copy(), proposals=proposals))
        assert np.array_equal(result['gt_seg_map'], labels[10:20, 5:45])


def test_without_near_proposals_an_object_is_shown(labels):
    proposals = np.array([[0, 0, 3, 3]], np.float32)
    np.random.seed(0)
    result = ProposalCrop(context=1.0, smallest=60).transform(sample(labels, proposals=proposals))
    assert result['gt_seg_map'].shape in {(10, 20), (8, 15)}


@pytest.mark.parametrize(
    ('transform', 'results', 'message'),
    [
        (ObjectCenteredCrop(), {}, 'ObjectCenteredCrop needs gt_seg_map; put LoadAnnotations'),
        (ProposalCrop(), dict(gt_seg_map=0), 'LoadObjectProposals or WindowProposals before it'),
    ],
)
def test_missing_keys_are_named(transform, results, message):
    with pytest.raises(UserError, match=message):
        transform.transform(results)


XML = """<annotation>
<object><name>dog</name><bndbox><xmin>3</xmin><ymin>1</ymin><xmax>10</xmax><ymax>20</ymax></bndbox>
<part><name>head</name><bndbox><xmin>4</xmin><ymin>1</ymin><xmax>6</xmax><ymax>3</ymax></bndbox>
</part></object>
<object><name>unicorn</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>
</bndbox></object>
<object><name>aeroplane</name><bndbox><ymin>5</ymin><xmin>1.5</xmin><xmax>9</xmax><ymax>8</ymax>
</bndbox></object></annotation>"""


def test_boxes_of_voc(tmp_path):
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations' / '2007_1.xml').write_text(XML)
    result = LoadVOCBoxes().transform(dict(img_path=str(tmp_path / 'JPEGImages' / '2007_1.jpg')))
    assert result['gt_bboxes'].tolist() == [[2, 0, 10, 20], [0.5, 4, 9, 8]]
    assert result['gt_bboxes_labels'].tolist() == [12, 1]
    with pytest.raises(UserError, match=r'2007_2\.xml.*does not exist'):
        LoadVOCBoxes().transform(dict(img_path=str(tmp_path / 'JPEGImages' / '2007_2.jpg')))
