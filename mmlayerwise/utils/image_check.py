"""Finding the file that made a sample fail."""

import os
from collections.abc import Mapping
from pathlib import Path

# Keys of a sample's information that hold the path of an image in mmdet, mmseg and here.
PATH_KEYS = ('img_path', 'seg_map_path', 'sem_seg_map_path', 'depth_map_path')


def explain_undecodable(data_info: Mapping) -> str | None:
    """Return which file of a sample is missing or is no image.

    Args:
        data_info: What a data set knows of a sample before its pipeline runs.

    Returns:
        One message, or None if all images of the sample can be read.
    """
    for key in PATH_KEYS:
        name = data_info.get(key)
        if not name or not isinstance(name, str | os.PathLike) or '://' in str(name):
            continue
        path = Path(name)
        if not path.is_file():
            return f'image {str(path)!r} ({key}) does not exist; correct data_prefix or the list'
        if not _decodes(path):
            return (
                f'image {str(path)!r} ({key}) cannot be decoded: it has '
                f'{path.stat().st_size} bytes and is damaged or no image. Replace the file or '
                'take it out of the annotations'
            )
    return None


def _decodes(path: Path) -> bool:
    """Return whether one of the two decoders that the toolboxes use reads an image."""
    import cv2
    import numpy as np
    from PIL import Image

    content = np.fromfile(path, dtype=np.uint8)
    if content.size and cv2.imdecode(content, cv2.IMREAD_UNCHANGED) is None:
        return False
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, ValueError, SyntaxError):
        return False
    return content.size > 0
