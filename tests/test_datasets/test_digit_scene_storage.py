import mmcv
import numpy as np
import pytest
from mmengine import fileio

from mmlayerwise.datasets.digit_scene_generator import DigitSceneSettings, compose_digit_scene
from mmlayerwise.datasets.digit_scene_storage import scene_file, scene_folder

SETTINGS = DigitSceneSettings(
    split='test', image_size=(96, 128), num_digits=(1, 3), digit_size=(20, 40), seed=7
)


def _address(kind, index=2):
    return f'{scene_folder(SETTINGS, kind)}/{scene_file(index)}'


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_images_and_maps_are_read_through_the_file_client(backend):
    scene = compose_digit_scene(SETTINGS, 2)
    image = mmcv.imfrombytes(fileio.get(_address('images')), backend=backend)
    assert np.array_equal(image, scene.image)
    content = fileio.get(_address('semantic_maps'))
    semantic_map = mmcv.imfrombytes(content, flag='unchanged', backend=backend)
    assert np.array_equal(semantic_map.squeeze(), scene.semantic_map)


def test_panoptic_maps_follow_coco():
    content = fileio.get(_address('panoptic_maps'))
    rgb = mmcv.imfrombytes(content, channel_order='rgb').astype(int)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 256**2 * rgb[..., 2]
    assert np.array_equal(ids, compose_digit_scene(SETTINGS, 2).panoptic_map)


@pytest.mark.parametrize(
    'address',
    [
        'digitscenes://train/nothing.bmp',
        _address('images').replace('images', 'depth_maps'),
        _address('images').replace('.bmp', '.png'),
    ],
)
def test_an_address_of_no_scene_shows_a_right_one(address):
    with pytest.raises(FileNotFoundError, match='such as digitscenes://train/160x160'):
        fileio.get(address)
