"""Truth and prediction of a few images, side by side."""

from pathlib import Path
from typing import Any

import matplotlib.figure
import mmcv
import numpy as np
import torch
from mmengine.runner import Runner

from mmlayerwise.utils.files import write_atomically


def draw_predictions(
    runner: Runner, path: str | Path, max_images: int = 4, score_threshold: float = 0.3
) -> None:
    """Draw what a detector or segmentor predicts for its first validation images.

    Args:
        runner: A runner with a model, a validation loader and the toolbox's visualizer.
        path: PNG to write: a column an image, the truth above the prediction.
        max_images: How many images.
        score_threshold: Detections below are not drawn.
    """
    samples = _predict(runner, max_images)
    figure = matplotlib.figure.Figure(figsize=(4 * len(samples), 6.4), layout='constrained')
    axes = figure.subplots(2, len(samples), squeeze=False)
    for column, sample in enumerate(samples):
        for row, (word, part) in enumerate((('truth', 'gt'), ('prediction', 'pred'))):
            axes[row, column].imshow(_drawn(runner.visualizer, sample, part, score_threshold))
            axes[row, column].set_axis_off()
            axes[row, column].set_title(f'{word}: {Path(sample.img_path).name}', fontsize=9)
    with write_atomically(Path(path)) as temporary:
        figure.savefig(temporary, dpi=100, format='png')


@torch.no_grad()
def _predict(runner: Runner, max_images: int) -> list[Any]:
    runner.model.eval()
    samples = []
    for batch in runner.val_loop.dataloader:
        samples += runner.model.val_step(batch)
        if len(samples) >= max_images:
            break
    runner.visualizer.dataset_meta = runner.val_loop.dataloader.dataset.metainfo
    return samples[:max_images]


def _drawn(visualizer: Any, sample: Any, part: str, score_threshold: float) -> np.ndarray:
    """The image, uint8 of shape (H, W, 3) in RGB, with the truth or the prediction on it."""
    image = mmcv.imread(sample.img_path, channel_order='rgb')
    options = dict(draw_gt=part == 'gt', draw_pred=part == 'pred', show=False)
    sample = sample.cpu()
    if 'gt_instances' in sample:
        options['pred_score_thr'] = score_threshold
        # Boxes that leave the image would enlarge the picture.
        limits = sample.pred_instances.bboxes.new_tensor(image.shape[1::-1]).repeat(2)
        boxes = sample.pred_instances.bboxes.clamp(min=0)
        sample.pred_instances.bboxes = boxes.minimum(limits)
    else:
        options['with_labels'] = False
    visualizer.add_datasample('sheet', image, sample, **options)
    return visualizer.get_image()
