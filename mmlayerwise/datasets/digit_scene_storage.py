"""Serves digit scenes as files, so that every stock transform and metric reads them.

A scene is composed when a file of it is asked for; nothing is ever written to a disk.
"""

import re

import cv2
import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend

from mmlayerwise.datasets.digit_scene_generator import (
    DigitScene,
    DigitSceneSettings,
    compose_digit_scene,
)

PREFIX = 'digitscenes'
# Uncompressed: encoding and decoding a scene as PNG takes longer than composing it.
SUFFIX = '.bmp'
_PATTERN = re.compile(
    rf'{PREFIX}://(?P<split>\w+)/(?P<height>\d+)x(?P<width>\d+)'
    r'/digits(?P<least_digits>\d+)-(?P<most_digits>\d+)of(?P<least_size>\d+)-(?P<most_size>\d+)'
    rf'/seed(?P<seed>\d+)/(?P<kind>\w+)/(?P<index>\d+){re.escape(SUFFIX)}'
)


def _encode_panoptic_ids(ids: np.ndarray) -> np.ndarray:
    """Spread ids over the channels as COCO does: R + 256 G + 256^2 B; returns BGR."""
    return np.stack([ids >> 16, ids >> 8 & 255, ids & 255], axis=-1).astype(np.uint8)


_FILES = {
    'images': lambda scene: scene.image,
    'semantic_maps': lambda scene: scene.semantic_map,
    'panoptic_maps': lambda scene: _encode_panoptic_ids(scene.panoptic_map),
}


def scene_folder(settings: DigitSceneSettings, kind: str) -> str:
    """Name the folder in which a data set's images or maps lie.

    Args:
        settings: What the scenes look like.
        kind: ``'images'``, ``'semantic_maps'`` or ``'panoptic_maps'``.

    Returns:
        An address with the prefix ``digitscenes://`` and without a slash at the end.
    """
    height, width = settings.image_size
    least_digits, most_digits = settings.num_digits
    least_size, most_size = settings.digit_size
    return (
        f'{PREFIX}://{settings.split}/{height}x{width}'
        f'/digits{least_digits}-{most_digits}of{least_size}-{most_size}'
        f'/seed{settings.seed}/{kind}'
    )


def scene_file(index: int) -> str:
    """Name the file of a scene within a folder."""
    return f'{index:06d}{SUFFIX}'


def _parse(path: str) -> tuple[DigitScene, str]:
    found = _PATTERN.fullmatch(str(path))
    if found is None or found['kind'] not in _FILES:
        example = f'{scene_folder(DigitSceneSettings(), "images")}/{scene_file(0)}'
        raise FileNotFoundError(f'{path} is not a file of a digit scene, such as {example}')
    settings = DigitSceneSettings(
        split=found['split'],
        image_size=(found['height'], found['width']),
        num_digits=(found['least_digits'], found['most_digits']),
        digit_size=(found['least_size'], found['most_size']),
        seed=int(found['seed']),
    )
    return compose_digit_scene(settings, int(found['index'])), found['kind']


# force: a module that is imported anew must not fail.
@register_backend(PREFIX, prefixes=PREFIX, force=True)
class DigitSceneBackend(BaseStorageBackend):
    """Storage backend of mmengine for the addresses that :func:`scene_folder` makes."""

    def get(self, filepath: str) -> bytes:
        """Compose the scene and encode the image or map asked for.

        Args:
            filepath: A folder of :func:`scene_folder`, a slash, and :func:`scene_file`.

        Returns:
            The contents of a BMP file: BGR for images and panoptic maps, grey for semantic ones.
        """
        scene, kind = _parse(filepath)
        _, encoded = cv2.imencode(SUFFIX, _FILES[kind](scene))
        return encoded.tobytes()

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Refuse: no file of a scene is text."""
        raise ValueError(f'{filepath} is an image, not text')
