"""Digit scenes for the segmentors of mmseg."""

from typing import Any

from mmseg.datasets import BaseSegDataset

from mmlayerwise.datasets.digit_scene_generator import (
    DIGIT_CLASSES,
    TEXTURE_CLASSES,
    DigitSceneSettings,
)
from mmlayerwise.datasets.digit_scene_storage import scene_file, scene_folder
from mmlayerwise.registry import DATASETS


@DATASETS.register_module()
class DigitScenesSegmentation(BaseSegDataset):
    """The scenes of ``DigitScenes`` with a class for every pixel: ten digits, three textures.

    Args:
        num_scenes: Length of the data set.
        split: Which handwritten digits are drawn, ``'train'`` or ``'test'``; they are disjoint.
        image_size: Height and width of a scene in pixels.
        num_digits: The least and the most digits in a scene.
        digit_size: The least and the greatest height of a digit in pixels.
        seed: Seed of the whole data set.
        **kwargs: Arguments of ``mmseg.BaseSegDataset``, such as ``pipeline``.
    """

    METAINFO = dict(
        classes=DIGIT_CLASSES + TEXTURE_CLASSES,
        palette=[
            [230, 25, 75], [60, 180, 75], [255, 225, 25], [0, 130, 200], [245, 130, 48],
            [145, 30, 180], [70, 240, 240], [240, 50, 230], [210, 245, 60], [250, 190, 212],
            [128, 128, 128], [170, 110, 40], [0, 0, 128],
        ],
    )  # fmt: skip

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
        """List the addresses of images and maps in mmseg's form."""
        images = scene_folder(self.settings, 'images')
        seg_maps = scene_folder(self.settings, 'semantic_maps')
        return [
            dict(
                img_path=f'{images}/{scene_file(index)}',
                seg_map_path=f'{seg_maps}/{scene_file(index)}',
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for index in range(self.num_scenes)
        ]
