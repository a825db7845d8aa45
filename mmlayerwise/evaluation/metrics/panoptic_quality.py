"""Panoptic quality, computed in memory."""

from collections.abc import Sequence
from typing import Any

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from rich.console import Console
from rich.table import Table

from mmlayerwise.datasets.transforms.load_panoptic_annotations import rgb_to_ids
from mmlayerwise.registry import METRICS
from mmlayerwise.utils.errors import UserError

VOID = 0


@METRICS.register_module()
class PanopticQuality(BaseMetric):
    """Panoptic quality (Kirillov et al., "Panoptic segmentation", CVPR 2019, equation 1).

    PQ = sum of the IoU of matches / (TP + FP / 2 + FN / 2), averaged over classes, where a
    predicted and a true segment of one class match if their IoU exceeds 1/2. As in panopticapi,
    void pixels count in no union, and a prediction that mostly lies on void or on a crowd of its
    class is no false positive. Unlike mmdet's ``CocoPanopticMetric`` it needs neither
    panopticapi nor files on a disk.

    The truth comes with the data samples: ``PackDetInputs`` must pack ``seg_map_path`` and
    ``segments_info`` as meta information.

    Args:
        classwise: Whether to log a table of all classes.
        backend_args: Arguments of mmengine's file client, to read the panoptic maps.
        collect_device: ``'cpu'`` or ``'gpu'``, for the exchange between ranks.
        prefix: Prefix of the metrics' names.
    """

    default_prefix = 'panoptic'

    def __init__(
        self,
        classwise: bool = False,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.classwise = classwise
        self.backend_args = backend_args

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the matches of a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples with ``pred_panoptic_seg`` and the truth's meta information.
        """
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            missing = [key for key in ('seg_map_path', 'segments_info') if key not in sample]
            if missing:
                raise UserError(
                    f'PanopticQuality found no {" and ".join(missing)} in the data samples; add '
                    'them to the meta_keys of PackDetInputs in the test pipeline'
                )
            true_ids = self._load_ids(sample['seg_map_path'])
            predicted = sample['pred_panoptic_seg']
            ids = predicted['sem_seg'].cpu().numpy()[0]
            if ids.shape != true_ids.shape:
                raise UserError(
                    f'the panoptic map {sample["seg_map_path"]} has {true_ids.shape} pixels, but '
                    f'the prediction {ids.shape}'
                )
            labels = ids % INSTANCE_OFFSET
            void = (labels == num_classes) | (labels == predicted.get('ignore_index', num_classes))
            # Ids of predictions start at 0, which stands for void in COCO's maps.
            ids = np.where(void, VOID, ids + 1)
            self.results.append(
                count_matches(true_ids, sample['segments_info'], ids, self._is_thing())
            )

    def _is_thing(self) -> np.ndarray:
        return np.isin(self.dataset_meta['classes'], self.dataset_meta['thing_classes'])

    def _load_ids(self, path: str) -> np.ndarray:
        content = fileio.get(path, backend_args=self.backend_args)
        return rgb_to_ids(mmcv.imfrombytes(content, flag='color', channel_order='rgb'))

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Average over classes.

        Args:
            results: For each image an array of shape (num_classes, 4).

        Returns:
            ``PQ``, ``SQ`` and ``RQ`` of all classes, and with the suffixes ``_th`` and ``_st`` of
            things and stuff, in percent.
        """
        is_thing = self._is_thing()
        sum_iou, hits, false_alarms, misses = np.sum(results, axis=0).T
        denominator = hits + false_alarms / 2 + misses / 2
        present = denominator > 0
        recognition = hits / np.where(present, denominator, 1)
        segmentation = sum_iou / np.where(hits > 0, hits, 1)
        qualities = dict(PQ=recognition * segmentation, SQ=segmentation, RQ=recognition)
        metrics = {}
        for suffix, group in (('', present), ('_th', is_thing), ('_st', ~is_thing)):
            chosen = group & present
            for name, values in qualities.items():
                metrics[name + suffix] = 100 * values[chosen].mean() if chosen.any() else np.nan
        if self.classwise:
            self._log_classes(qualities, present)
        return {name: round(float(value), 3) for name, value in metrics.items()}

    def _log_classes(self, qualities: dict[str, np.ndarray], present: np.ndarray) -> None:
        table = Table('class', *qualities)
        for k, name in enumerate(self.dataset_meta['classes']):
            if present[k]:
                table.add_row(name, *(f'{100 * values[k]:.1f}' for values in qualities.values()))
        console = Console(width=80)
        with console.capture() as capture:
            console.print(table)
        print_log('\n' + capture.get(), logger=MMLogger.get_current_instance())


def count_matches(
    true_ids: np.ndarray, true_segments: Sequence[dict], ids: np.ndarray, is_thing: np.ndarray
) -> np.ndarray:
    """Match the predicted segments of an image with the true ones.

    Args:
        true_ids: Ids of the true segments, shape (H, W); 0 is void.
        true_segments: ``id``, ``category`` and ``is_thing`` of each, as mmdet's data sets give
            them: a thing's class with ``is_thing`` false marks a crowd.
        ids: Predicted label + 1000 instance + 1, shape (H, W); 0 is void.
        is_thing: Whether each class is a thing, bool of shape (num_classes,).

    Returns:
        float64 of shape (num_classes, 4): sum of IoU, true positives, false positives, false
        negatives of each class.
    """
    true_unique, true_index, true_area = np.unique(
        true_ids, return_inverse=True, return_counts=True
    )
    unique, index, area = np.unique(ids, return_inverse=True, return_counts=True)
    pairs = true_index.ravel() * len(unique) + index.ravel()
    overlap = np.bincount(pairs, minlength=len(true_unique) * len(unique))
    overlap = overlap.reshape(len(true_unique), len(unique))

    labels = np.where(unique == VOID, -1, (unique - 1) % INSTANCE_OFFSET)
    category = {segment['id']: segment['category'] for segment in true_segments}
    true_labels = np.array([category.get(i, -1) for i in true_unique.tolist()])
    crowd_ids = [
        segment['id']
        for segment in true_segments
        if is_thing[segment['category']] and not segment['is_thing']
    ]
    crowd = np.isin(true_unique, crowd_ids)
    on_void = overlap[true_labels < 0].sum(axis=0)

    union = true_area[:, None] + area[None] - overlap - on_void[None]
    iou = overlap / np.maximum(union, 1)
    same_class = (true_labels[:, None] == labels[None]) & (labels[None] >= 0)
    # Above one half a segment has one partner at most, so that no assignment is needed.
    match = same_class & ~crowd[:, None] & (iou > 0.5)
    on_crowd = np.where(same_class & crowd[:, None], overlap, 0).sum(axis=0)
    excused = on_void + on_crowd > 0.5 * area

    num_classes = len(is_thing)
    rows, columns = np.nonzero(match)
    missed = (true_labels >= 0) & ~crowd & ~match.any(axis=1)
    false_alarm = (labels >= 0) & ~match.any(axis=0) & ~excused
    return np.stack(
        [
            np.bincount(labels[columns], weights=iou[rows, columns], minlength=num_classes),
            np.bincount(labels[columns], minlength=num_classes),
            np.bincount(labels[false_alarm], minlength=num_classes),
            np.bincount(true_labels[missed], minlength=num_classes),
        ],
        axis=1,
    ).astype(np.float64)
