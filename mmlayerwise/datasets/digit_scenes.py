"""Digit scenes for the detectors of mmdet."""

from typing import Any

import numpy as np
from mmdet.datasets import BaseDetDataset
from pycocotools import mask as coco_mask

from mmlayerwise.datasets.digit_scene_generator import (
    DIGIT_CLASSES,
    TEXTURE_CLASSES,
    DigitScene,
    DigitSceneSettings,
    compose_digit_scene,
)
from mmlayerwise.datasets.digit_scene_storage import scene_file, scene_folder
from mmlayerwise.registry import DATASETS


@DATASETS.register_module()
class DigitScenes(BaseDetDataset):
    """Handwritten digits over textured backgrounds, with boxes, instance masks, semantic maps.

    Scenes are composed on the fly from the digits that scikit-learn ships, and depend on the
    settings and the index alone. Boxes are tight around the visible part of a digit. Stock
    pipelines work: images and maps have addresses that mmengine's file client reads.

    Args:
        num_scenes: Length of the data set.
        split: Which handwritten digits are drawn, ``'train'`` or ``'test'``; they are disjoint.
        image_size: Height and width of a scene in pixels.
        num_digits: The least and the most digits in a scene.
        digit_size: The least and the greatest height of a digit in pixels.
        seed: Seed of the whole data set.
        **kwargs: Arguments of ``mmdet.BaseDetDataset``, such as ``pipeline``.
    """

    METAINFO = dict(
        classes=DIGIT_CLASSES,
        palette=[
            (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
            (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212),
        ],
    )  # fmt: skip
    seg_map_kind = 'semantic_maps'

    def __init__(
        self,
        num_scenes: int,
        split: str = 'train',
        image_size: tuple[int, int] = (160, 160),
        num_digits: tuple[int, int] = (2, 6),
        digit_size: tuple[int, int] = (24, 72),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.num_scenes = num_scenes
        self.settings = DigitSceneSettings(split, image_size, num_digits, digit_size, seed)
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List the scenes; their annotations are made in :meth:`get_data_info`."""
        height, width = self.settings.image_size
        images = scene_folder(self.settings, 'images')
        seg_maps = scene_folder(self.settings, self.seg_map_kind)
        return [
            dict(
                img_id=index,
                img_path=f'{images}/{scene_file(index)}',
                seg_map_path=f'{seg_maps}/{scene_file(index)}',
                height=height,
                width=width,
            )
            for index in range(self.num_scenes)
        ]

    def get_data_info(self, idx: int) -> dict:
        """Describe a scene and its instances in mmdet's form."""
        data_info = super().get_data_info(idx)
        scene = compose_digit_scene(self.settings, data_info['img_id'])
        data_info['instances'] = describe_instances(scene)
        return data_info


@DATASETS.register_module()
class DigitScenesPanoptic(DigitScenes):
    """Digit scenes with panoptic maps: digits are things, the textures behind them stuff."""

    METAINFO = dict(
        classes=DIGIT_CLASSES + TEXTURE_CLASSES,
        thing_classes=DIGIT_CLASSES,
        stuff_classes=TEXTURE_CLASSES,
        palette=[*DigitScenes.METAINFO['palette'], (128, 128, 128), (170, 110, 40), (0, 0, 128)],
    )
    seg_map_kind = 'panoptic_maps'

    def get_data_info(self, idx: int) -> dict:
        """Describe a scene, its instances and its panoptic segments in mmdet's form."""
        data_info = super().get_data_info(idx)
        scene = compose_digit_scene(self.settings, data_info['img_id'])
        data_info['segments_info'] = scene.segments
        return data_info


def describe_instances(scene: DigitScene) -> list[dict]:
    """Write a scene's digits as mmdet's list of instances.

    Args:
        scene: The composed scene.

    Returns:
        For each digit ``bbox`` (x1, y1, x2, y2), ``bbox_label``, ``mask`` in COCO's compressed
        run-length encoding, and ``ignore_flag``.
    """
    encoded = coco_mask.encode(np.asfortranarray(scene.masks.transpose(1, 2, 0), dtype=np.uint8))
    return [
        dict(
            bbox=box,
            bbox_label=label,
            mask=dict(size=run_lengths['size'], counts=run_lengths['counts'].decode()),
            ignore_flag=0,
        )
        for box, label, run_lengths in zip(
            scene.boxes.tolist(), scene.labels.tolist(), encoded, strict=True
        )
    ]
