"""Pictures of what a data set feeds to a model, with its annotations."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from mmlayerwise.structures import ClassificationDataSample
from mmlayerwise.utils.errors import UserError

# Smaller images are enlarged so that boxes and names can be told apart.
MIN_SIDE = 320
_CAPTION_HEIGHT = 28
_WHITE = 255


def to_picture(inputs: torch.Tensor) -> np.ndarray:
    """Turn what a pipeline packs into a picture.

    Args:
        inputs: Tensor of shape (C, H, W) with 1 or 3 channels in BGR order and values from 0
            to 255, before the data preprocessor normalises them.

    Returns:
        uint8 of shape (H, W, 3), RGB.

    Raises:
        UserError: If the tensor is no image.
    """
    if inputs.ndim != 3 or inputs.shape[0] not in (1, 3):
        raise UserError(
            f'the pipeline gives inputs of shape {tuple(inputs.shape)}; pictures can be made of '
            'images with 1 or 3 channels, shape (C, H, W)'
        )
    image = inputs.permute(1, 2, 0).expand(-1, -1, 3).numpy()
    return np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])


def draw_sample(picture: np.ndarray, sample: BaseDataElement, meta: dict) -> np.ndarray:
    """Draw the annotations of a sample: boxes, masks, label maps or the class name.

    Args:
        picture: uint8 of shape (H, W, 3), RGB.
        sample: A data sample of mmdet, mmseg or mmlayerwise.
        meta: Meta information of the data set: ``classes`` and maybe ``palette``.

    Returns:
        uint8 of shape (H', W', 3), RGB; small pictures are enlarged by a whole number.

    Raises:
        UserError: If samples of this type can't be drawn.
    """
    factor = math.ceil(MIN_SIDE / max(picture.shape[:2]))
    picture = _enlarge(picture, factor)
    kind = type(sample).__name__
    if isinstance(sample, ClassificationDataSample):
        return _add_caption(picture, _class_names(sample, meta))
    if kind == 'DetDataSample':
        return _draw_detection(picture, sample, meta, factor)
    if kind == 'SegDataSample':
        return _draw_segmentation(picture, sample, meta, factor)
    raise UserError(
        f'samples of type {kind} cannot be drawn; expected DetDataSample (mmdet), SegDataSample '
        '(mmseg) or ClassificationDataSample (mmlayerwise)'
    )


def tile(
    pictures: Sequence[np.ndarray], cell: int = MIN_SIDE + _CAPTION_HEIGHT, gap: int = 6
) -> np.ndarray:
    """Arrange pictures on a contact sheet.

    Args:
        pictures: uint8 arrays of shape (H, W, 3), each of its own size.
        cell: Longest side of a picture on the sheet; larger ones shrink.
        gap: White pixels between them.

    Returns:
        uint8 of shape (H', W', 3).
    """
    fitted = [mmcv.imrescale(p, (cell, cell)) if max(p.shape) > cell else p for p in pictures]
    height, width = np.max([picture.shape[:2] for picture in fitted], axis=0) + gap
    columns = math.ceil(math.sqrt(len(fitted)))
    rows = math.ceil(len(fitted) / columns)
    sheet = np.full((rows * height + gap, columns * width + gap, 3), _WHITE, dtype=np.uint8)
    for k, picture in enumerate(fitted):
        y, x = gap + k // columns * height, gap + k % columns * width
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return sheet


def _enlarge(array: np.ndarray, factor: int) -> np.ndarray:
    """Repeat pixels along the first two axes."""
    return np.ascontiguousarray(array.repeat(factor, axis=0).repeat(factor, axis=1))


def _class_names(sample: ClassificationDataSample, meta: dict) -> str:
    if 'gt_label' not in sample:
        return '(no label)'
    classes = meta.get('classes')
    return ', '.join(classes[k] if classes else str(k) for k in sample.gt_label.tolist())


def _add_caption(picture: np.ndarray, text: str) -> np.ndarray:
    band = np.full((_CAPTION_HEIGHT, picture.shape[1], 3), _WHITE, dtype=np.uint8)
    place = (6, _CAPTION_HEIGHT - 9)
    cv2.putText(band, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([picture, band])


@cache
def _visualizer(toolbox: str) -> Any:
    """Return mmdet's or mmseg's visualizer; one each, because it keeps matplotlib figures open."""
    if toolbox == 'mmdet':
        from mmdet.visualization import DetLocalVisualizer

        return DetLocalVisualizer()
    from mmseg.visualization import SegLocalVisualizer

    return SegLocalVisualizer(alpha=0.5)


def _draw_detection(picture: np.ndarray, sample: Any, meta: dict, factor: int) -> np.ndarray:
    from mmdet.visualization import get_palette

    enlarged = type(sample)()
    if 'gt_instances' in sample:
        enlarged.gt_instances = _enlarge_instances(sample.gt_instances, factor)
    if 'gt_sem_seg' in sample:
        sem_seg = sample.gt_sem_seg.sem_seg[0].numpy()
        ignored = sample.gt_sem_seg.metainfo.get('ignore_index', 255)
        # The stuff map of an auxiliary head may have classes the data set has no names for.
        if (sem_seg[sem_seg != ignored] < len(meta['classes'])).all():
            sem_seg = torch.from_numpy(_enlarge(sem_seg, factor))[None]
            enlarged.gt_sem_seg = PixelData(sem_seg=sem_seg, metainfo=dict(ignore_index=ignored))
    palette = get_palette(meta.get('palette') or 'random', len(meta['classes']))
    visualizer = _visualizer('mmdet')
    visualizer.dataset_meta = dict(meta, palette=palette)
    visualizer.add_datasample('sample', picture, enlarged, draw_pred=False)
    return visualizer.get_image()


def _enlarge_instances(instances: InstanceData, factor: int) -> InstanceData:
    """Enlarge boxes and masks; all other fields are left out."""
    from mmdet.structures.bbox import get_box_tensor
    from mmdet.structures.mask import BaseInstanceMasks

    enlarged = InstanceData(labels=instances.labels)
    if 'bboxes' in instances:
        enlarged.bboxes = get_box_tensor(instances.bboxes) * factor
    if 'masks' in instances:
        masks = instances.masks
        masks = masks.to_ndarray() if isinstance(masks, BaseInstanceMasks) else np.asarray(masks)
        enlarged.masks = masks.astype(bool).repeat(factor, axis=1).repeat(factor, axis=2)
    return enlarged


def _draw_segmentation(picture: np.ndarray, sample: Any, meta: dict, factor: int) -> np.ndarray:
    enlarged = type(sample)()
    if 'gt_sem_seg' in sample:
        sem_seg = _enlarge(sample.gt_sem_seg.data[0].numpy(), factor)
        enlarged.gt_sem_seg = PixelData(data=torch.from_numpy(sem_seg)[None])
    visualizer = _visualizer('mmseg')
    visualizer.dataset_meta = meta
    visualizer.add_datasample('sample', picture, enlarged, draw_pred=False)
    return visualizer.get_image()
