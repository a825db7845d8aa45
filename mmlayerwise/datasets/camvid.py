"""CamVid, in the 11-class form of the SegNet experiments."""

from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset

from mmlayerwise.registry import DATASETS
from mmlayerwise.utils.errors import UserError

VOID = 11


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid road scenes: 367 training, 101 validation and 233 test frames of 480x360 pixels.

    Label maps hold the classes 0 to 10 and 11 for void, which is ignored.

    Source: Brostow, Fauqueur and Cipolla, "Semantic object classes in video", 2009; split and
    classes of Badrinarayanan, Kendall and Cipolla, "SegNet", arXiv 1511.00561.

    Args:
        img_suffix: Suffix of the frames; by default that of the first file in their folder, as
            copies of the data set differ in it.
        seg_map_suffix: Suffix of the label maps.
        **kwargs: Arguments of :class:`mmseg.datasets.BaseSegDataset`.
    """

    METAINFO = dict(
        classes=(
            'sky',
            'building',
            'pole',
            'road',
            'pavement',
            'tree',
            'sign symbol',
            'fence',
            'car',
            'pedestrian',
            'bicyclist',
        ),
        palette=[
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    )

    def __init__(
        self, img_suffix: str | None = None, seg_map_suffix: str = '.png', **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List frames and label maps.

        Returns:
            One dict a frame with mmseg's keys.

        Raises:
            UserError: If the folder of the frames is missing or empty.
        """
        if self.img_suffix is None:
            self.img_suffix = self._find_suffix()
        return super().load_data_list()

    def _find_suffix(self) -> str:
        folder = Path(self.data_prefix['img_path'])
        first = min((path for path in folder.glob('*.*')), default=None)
        if first is None:
            raise UserError(
                f'CamVidDataset: no frames in {folder}. Get the data by '
                '`python tools/download_dataset.py camvid`, or point data_root (or the environment '
                'variable MMLAYERWISE_DATA_ROOT, which the configs read) to it'
            )
        return first.suffix

    @classmethod
    def get_label_map(cls, new_classes: Any = None) -> dict[int, int]:
        """Map void to mmseg's ignore index, and the classes left out by the user too.

        Args:
            new_classes: Names of the classes to keep; all by default.

        Returns:
            The new label of every label that changes.
        """
        label_map = super().get_label_map(new_classes) or {}
        return {**label_map, VOID: 255}
