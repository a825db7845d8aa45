import numpy as np
import pytest

from mmlayerwise.datasets.transforms import PaddedRandomCrop
from mmlayerwise.utils.errors import UserError


def numbered_image(*shape: int) -> np.ndarray:
    return np.arange(1, np.prod(shape) + 1).reshape(shape).astype(np.uint8)


@pytest.mark.parametrize('shape', [(5, 4, 3), (5, 4, 1), (5, 4)])
@pytest.mark.parametrize(('mode', 'numpy_mode'), [('constant', 'constant'), ('reflect', 'reflect')])
def test_crops_a_window_of_the_padded_image(monkeypatch, shape, mode, numpy_mode):
    image = numbered_image(*shape)
    options = {'constant_values': 9} if mode == 'constant' else {}
    padding = [(2, 2), (2, 2), (0, 0)][: len(shape)]
    padded = np.pad(image, padding, mode=numpy_mode, **options)
    crop = PaddedRandomCrop((5, 4), padding=2, padding_mode=mode, pad_value=9)
    monkeypatch.setattr(crop, 'random_offset', lambda rows, columns: (1, 3))
    results = crop({'img': image, 'img_shape': shape[:2]})
    np.testing.assert_array_equal(results['img'], padded[1:6, 3:7])
    assert results['img_shape'] == (5, 4)


def test_every_offset_occurs_and_none_beyond():
    np.random.seed(0)
    crop = PaddedRandomCrop(2)
    image = numbered_image(3, 4)
    corners = {int(crop({'img': image})['img'][0, 0]) for _ in range(100)}
    assert corners == {1, 2, 3, 5, 6, 7}


def test_crop_larger_than_the_image_is_explained():
    with pytest.raises(UserError, match=r'crop of 8x8 does not fit into an image of 6x6'):
        PaddedRandomCrop(8, padding=1)({'img': numbered_image(4, 4)})


def test_unknown_padding_mode_lists_the_known_ones():
    with pytest.raises(UserError, match=r"\['constant', 'reflect'\], but is 'edge'"):
        PaddedRandomCrop(8, padding_mode='edge')
