import numpy as np
import pytest

pytest.importorskip('mmdet')

from hypothesis import given
from hypothesis import strategies as st
from mmdet.structures.bbox import HorizontalBoxes

from mmlayerwise.datasets.transforms import CutMix
from mmlayerwise.datasets.transforms.cut_mix import remove_rectangle
from mmlayerwise.utils.errors import UserError


def sample(value, boxes, size=(40, 60)):
    count = len(boxes)
    return dict(
        img=np.full((*size, 3), value, dtype=np.uint8),
        img_shape=size,
        gt_bboxes=HorizontalBoxes(np.array(boxes, dtype=np.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(count) + value,
        gt_ignore_flags=np.zeros(count, dtype=bool),
    )


def mix(transform, first, second, rectangle, monkeypatch):
    monkeypatch.setattr(transform, 'draw_rectangle', lambda height, width: rectangle)
    return transform({**first, 'mix_results': [second]})


def test_the_rectangle_shows_the_other_image(monkeypatch):
    mixed = mix(CutMix(prob=1), sample(10, []), sample(200, []), (5, 10, 25, 40), monkeypatch)
    assert (mixed['img'][10:40, 5:25] == 200).all()
    assert (mixed['img'] == 200).sum() == 30 * 20 * 3
    assert mixed['img'].dtype == np.uint8


def test_objects_keep_the_box_of_what_is_left_of_them(monkeypatch):
    first = sample(
        10,
        [
            (0, 0, 10, 10),  # untouched
            (10, 12, 30, 18),  # its right half is covered from top to bottom
            (15, 10, 60, 40),  # a corner is covered: the box stays
            (22, 12, 28, 18),  # all of it is covered
        ],
    )
    second = sample(
        20,
        [
            (20, 10, 30, 20),  # inside
            (30, 10, 50, 20),  # its left half is inside
            (0, 0, 10, 10),  # outside
            (38, 10, 58, 20),  # a tenth is inside
        ],
    )
    mixed = mix(CutMix(prob=1), first, second, (20, 8, 40, 20), monkeypatch)
    assert mixed['gt_bboxes'].tensor.tolist() == [
        [0, 0, 10, 10],
        [10, 12, 20, 18],
        [15, 10, 60, 40],
        [20, 10, 30, 20],
        [30, 10, 40, 20],
    ]
    assert mixed['gt_bboxes_labels'].tolist() == [10, 11, 12, 20, 21]
    assert mixed['gt_ignore_flags'].shape == (5,)


def test_how_much_must_be_left_can_be_set(monkeypatch):
    box = [(0, 0, 20, 10)]
    for min_visible, count in ((0.24, 1), (0.26, 0)):
        transform = CutMix(prob=1, min_visible=min_visible)
        mixed = mix(transform, sample(1, box), sample(2, []), (5, 0, 60, 40), monkeypatch)
        assert len(mixed['gt_bboxes']) == count


def test_the_other_image_covers_the_first_with_its_own_ratio(monkeypatch):
    first, second = sample(1, []), sample(2, [(0, 0, 15, 20), (15, 0, 30, 20)], size=(20, 30))
    transform = CutMix(prob=1)
    mixed = mix(transform, first, second, (0, 0, 60, 40), monkeypatch)
    assert mixed['gt_bboxes'].tensor.tolist() == [[0, 0, 30, 40], [30, 0, 60, 40]]
    tall = sample(2, [(0, 0, 30, 60)], size=(60, 30))  # becomes 60 wide and 120 high
    monkeypatch.setattr(transform, 'draw_offset', lambda height, width: (height, width))
    mixed = mix(transform, first, tall, (0, 0, 60, 40), monkeypatch)
    assert mixed['img'].shape == (40, 60, 3)
    assert mixed['gt_bboxes'].tensor.tolist() == [[0, 0, 60, 40]]


def test_the_probability_decides_whether_to_mix():
    first, second = sample(1, [(0, 0, 9, 9)]), sample(2, [])
    result = CutMix(prob=0)({**first, 'mix_results': [second]})
    assert (result['img'] == 1).all()
    assert len(result['gt_bboxes']) == 1


def test_the_mean_share_of_the_rectangle_is_that_of_the_distribution():
    np.random.seed(0)
    transform = CutMix(alpha=1.0)
    rectangles = np.array([transform.draw_rectangle(400, 600) for _ in range(4000)])
    assert (rectangles >= 0).all()
    assert (rectangles <= [600, 400, 600, 400]).all()
    # Of the side s a uniform centre leaves s - s^2 / 4 inside on average: 25 / 72 of the area.
    shares = np.prod(rectangles[:, 2:] - rectangles[:, :2], axis=1) / (400 * 600)
    side = np.sqrt(np.random.uniform(0, 1, 10**6))
    assert shares.mean() == pytest.approx(((side - side**2 / 4) ** 2).mean(), abs=0.02)


@given(
    st.tuples(*[st.integers(0, 9)] * 4).filter(lambda box: box[0] < box[2] and box[1] < box[3]),
    st.tuples(*[st.integers(0, 9)] * 4).filter(lambda box: box[0] <= box[2] and box[1] <= box[3]),
)
def test_what_is_left_equals_a_count_of_pixels(box, rectangle):
    pixels = np.zeros((9, 9), dtype=bool)
    pixels[box[1] : box[3], box[0] : box[2]] = True
    pixels[rectangle[1] : rectangle[3], rectangle[0] : rectangle[2]] = False
    (found,) = remove_rectangle(np.array([box], dtype=np.float32), rectangle)
    assert found[4] == pixels.sum()
    if pixels.any():
        rows, columns = pixels.any(1).nonzero()[0], pixels.any(0).nonzero()[0]
        expected = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert found[:4].tolist() == expected


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(alpha=0), 'alpha must be positive, but is 0'),
        (dict(prob=1.5), r'prob must be in \[0, 1\], but is 1.5'),
        (dict(min_visible=-1), r'min_visible must be in \[0, 1\], but is -1'),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        CutMix(**arguments)
