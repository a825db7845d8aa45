import base64

import cv2
import numpy as np
import pytest

from mmlayerwise.visualization.report.thumbnails import SIDE, thumbnail


def decoded(address):
    kind, _, content = address.partition(';base64,')
    image = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    return kind, image[..., ::-1]


def test_small_pictures_are_kept_to_the_last_bit():
    picture = np.random.default_rng(0).integers(0, 256, (32, 20, 3)).astype(np.uint8)
    kind, shown = decoded(thumbnail(picture))
    assert kind == 'data:image/png'
    assert (shown == picture).all()


def test_large_pictures_shrink_and_keep_their_proportions_and_colours():
    picture = np.zeros((400, 200, 3), np.uint8)
    picture[:, :, 0] = 250
    kind, shown = decoded(thumbnail(picture))
    assert kind == 'data:image/jpeg'
    assert shown.shape == (SIDE, SIDE // 2, 3)
    assert shown.reshape(-1, 3).mean(0) == pytest.approx([250, 0, 0], abs=4)


def test_a_box_is_cut_out_with_some_context():
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[40:60, 20:40] = 255
    _, shown = decoded(thumbnail(picture, (20, 40, 40, 60)))
    assert shown.shape == (26, 26, 3)
    assert (shown[3:23, 3:23] == 255).all()
    assert (shown[0] == 0).all()


@pytest.mark.parametrize('box', [(-5, -5, 4, 4), (98, 98, 140, 140), (50, 50, 50.1, 50.1)])
def test_boxes_at_the_border_or_below_a_pixel_give_a_picture(box):
    _, shown = decoded(thumbnail(np.full((100, 100, 3), 9, np.uint8), box))
    assert shown.size > 0
    assert (shown == 9).all()


def test_a_pixel_is_marked_in_its_surroundings():
    picture = np.zeros((200, 300, 3), np.uint8)
    original = picture.copy()
    _, shown = decoded(thumbnail(picture, (100, 150)))
    assert shown.shape[:2] == (64, 64)
    assert shown[28:37, 28:37].max() > 150
    assert shown[:20].max() < 30
    assert (picture == original).all()
