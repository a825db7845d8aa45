"""Where objects may be: boxes from a folder of files, or windows all over the image."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmlayerwise.registry import TRANSFORMS
from mmlayerwise.utils.errors import UserError


@TRANSFORMS.register_module()
class LoadObjectProposals(BaseTransform):
    """Load the boxes that a method such as EdgeBoxes or selective search has found in an image.

    The folder holds NAME.npy for an image NAME.jpg: (x1, y1, x2, y2) in pixels of the image as
    stored and, if there is a fifth column, a score by which they are sorted. If the image has been
    resized before, the boxes are, too.

    Required keys: ``img_path``, ``img``. Added keys: ``proposals``, float32 of shape (N, 4), the
    best first.

    Args:
        folder: Folder of the files.
        max_proposals: How many to keep; all by default.
    """

    def __init__(self, folder: str, max_proposals: int | None = None) -> None:
        self.folder = Path(folder)
        self.max_proposals = max_proposals

    def transform(self, results: dict) -> dict:
        """Load the boxes of a sample.

        Args:
            results: Sample with ``img_path``.

        Returns:
            The sample with ``proposals``.

        Raises:
            UserError: If there is no such file, or it holds no boxes.
        """
        path = self.folder / f'{Path(results["img_path"]).stem}.npy'
        if not path.is_file():
            raise UserError(f'LoadObjectProposals: no proposals of {results["img_path"]} in {path}')
        boxes = np.load(path, allow_pickle=False)
        if boxes.ndim != 2 or boxes.shape[1] not in (4, 5):
            raise UserError(
                f'{path} has shape {boxes.shape}; expected boxes (x1, y1, x2, y2), or with a score '
                'as fifth column'
            )
        if boxes.shape[1] == 5:
            boxes = boxes[np.argsort(-boxes[:, 4], kind='stable'), :4]
        scale = np.tile(results.get('scale_factor', (1.0, 1.0)), 2)
        results['proposals'] = (boxes[: self.max_proposals] * scale).astype(np.float32)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(folder={str(self.folder)!r}, '
            f'max_proposals={self.max_proposals})'
        )


@TRANSFORMS.register_module()
class WindowProposals(BaseTransform):
    """Propose windows of several sizes and shapes all over the image, the largest first.

    For data without proposals of their own. The whole image comes first.

    Required keys: ``img``. Added keys: ``proposals``, float32 of shape (N, 4).

    Args:
        scales: Square roots of the windows' areas over that of the image.
        aspect_ratios: Widths of the windows over their heights, relative to those of the image.
        overlap: Share of a window's width and height that its neighbours overlap at least.
    """

    def __init__(
        self,
        scales: Sequence[float] = (0.75, 0.5),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        overlap: float = 0.5,
    ) -> None:
        if not 0 <= overlap < 1:
            raise UserError(f'WindowProposals: overlap is at least 0 and below 1, not {overlap}')
        self.scales = tuple(sorted(scales, reverse=True))
        self.aspect_ratios = tuple(aspect_ratios)
        self.overlap = overlap

    def transform(self, results: dict) -> dict:
        """Propose windows.

        Args:
            results: Sample with ``img``.

        Returns:
            The sample with ``proposals``.
        """
        height, width = results['img'].shape[:2]
        boxes = [(0.0, 0.0, float(width), float(height))]
        for scale, ratio in product(self.scales, self.aspect_ratios):
            size = (
                min(width, width * scale * ratio**0.5),
                min(height, height * scale / ratio**0.5),
            )
            lefts, tops = (
                self._starts(length, part)
                for length, part in zip((width, height), size, strict=True)
            )
            boxes += [(x, y, x + size[0], y + size[1]) for y, x in product(tops, lefts)]
        results['proposals'] = np.array(boxes, np.float32)
        return results

    def _starts(self, length: int, part: float) -> np.ndarray:
        """From the first pixel to the last window that fits, in equal steps."""
        steps = np.ceil((length - part) / ((1 - self.overlap) * part) - 1e-6)
        return np.linspace(0, length - part, int(steps) + 1)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scales={self.scales}, aspect_ratios={self.aspect_ratios}, '
            f'overlap={self.overlap})'
        )
