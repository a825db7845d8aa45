"""Digit scenes with every annotation that some system asks for."""

from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData

from mmlayerwise.datasets.digit_scene_generator import (
    DigitScene,
    DigitSceneSettings,
    compose_digit_scene,
)
from mmlayerwise.datasets.handwritten_digits import load_handwritten_digits


def make_items(task: str, image_size: int, count: int) -> list[dict[str, Any]]:
    """Images or texts with annotations as a data set gives them, the same ones every time.

    Args:
        task: One of ``mmlayerwise.zoo.TASKS``.
        image_size: Height and width in pixels; of a text, its characters.
        count: How many.

    Returns:
        Of each image ``inputs``, uint8 of shape (3, H, W), and ``data_samples``; of each text its
        tokens, int64 of shape (length,), instead.
    """
    if task == 'cls':
        return _digits(image_size, count)
    if task == 'text':
        return _texts(image_size, count)
    settings = DigitSceneSettings(
        image_size=(image_size, image_size),
        num_digits=(2, 4),
        digit_size=(image_size // 5, image_size * 3 // 4),
    )
    make_sample = _segmentation_sample if task == 'sem' else _detection_sample
    scenes = [compose_digit_scene(settings, index) for index in range(count)]
    return [
        dict(inputs=_tensor(scene.image.transpose(2, 0, 1)), data_samples=make_sample(scene))
        for scene in scenes
    ]


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy())


def _metainfo(scene: DigitScene) -> dict[str, Any]:
    shape = scene.image.shape[:2]
    return dict(
        img_shape=shape,
        ori_shape=shape,
        pad_shape=shape,
        scale_factor=(1.0, 1.0),
        flip=False,
        border=(0, shape[0], 0, shape[1]),  # CenterNet pads to its centre
    )


def _semantic_map(scene: DigitScene) -> PixelData:
    return PixelData(data=_tensor(scene.semantic_map[None].astype(np.int64)))


def _segmentation_sample(scene: DigitScene) -> Any:
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=_metainfo(scene))
    sample.gt_sem_seg = _semantic_map(scene)
    return sample


def _detection_sample(scene: DigitScene) -> Any:
    """Boxes, masks, the semantic map and, for Fast R-CNN, proposals."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    sample = DetDataSample(metainfo=_metainfo(scene))
    boxes = _tensor(scene.boxes)
    sample.gt_instances = InstanceData(
        bboxes=boxes,
        labels=_tensor(scene.labels),
        masks=BitmapMasks(scene.masks.astype(np.uint8), *scene.image.shape[:2]),
    )
    sample.ignored_instances = InstanceData(
        bboxes=boxes.new_zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    sample.gt_sem_seg = PixelData(sem_seg=_semantic_map(scene).data)
    proposals = _propose(boxes, scene.image.shape[0])
    sample.proposals = InstanceData(bboxes=proposals, scores=torch.ones(len(proposals)))
    return sample


def _propose(boxes: torch.Tensor, image_size: int) -> torch.Tensor:
    """The true boxes, moved by a tenth of their size, and windows of many sizes."""
    sizes = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    proposals = [boxes + 0.1 * sizes, boxes - 0.1 * sizes]
    for side in (image_size // 8, image_size // 4, image_size // 2, image_size):
        corners = torch.arange(0.0, image_size, side)[:, None].expand(-1, 2)
        proposals.append(torch.cat([corners, corners + side], 1))
    return torch.cat(proposals).clamp(0, image_size)


def _digits(image_size: int, count: int) -> list[dict[str, Any]]:
    from mmlayerwise.structures import ClassificationDataSample

    images, labels = load_handwritten_digits('train')
    # Of few classes, so that every image has friends.
    chosen = np.flatnonzero(labels < 3)[:count]
    images = _tensor(images[chosen])[:, None].expand(-1, 3, -1, -1)
    images = torch.nn.functional.interpolate(images, (image_size, image_size))
    return [
        dict(inputs=image, data_samples=ClassificationDataSample().set_gt_label(label))
        for image, label in zip(images, labels[chosen], strict=True)
    ]


def _texts(length: int, count: int) -> list[dict[str, Any]]:
    """Words in random order, those of a class from its own list."""
    from mmlayerwise.datasets.transforms import PackTextInputs, QuantizeCharacters

    words = (('goal', 'team', 'match'), ('stock', 'bank', 'price'), ('chip', 'phone', 'code'))
    random = np.random.default_rng(0)
    quantize, pack = QuantizeCharacters(length), PackTextInputs()
    samples = [
        dict(text=' '.join(random.choice(words[n % 3], length)), gt_label=n % 3)
        for n in range(count)
    ]
    return [pack(quantize(sample)) for sample in samples]
