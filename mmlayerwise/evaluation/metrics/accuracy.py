"""How often the true class is among the k most likely."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric

from mmlayerwise.registry import METRICS
from mmlayerwise.utils.errors import UserError


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Top-k accuracy of a classifier, in per cent.

    Reports ``accuracy/top1`` and so on.

    Args:
        topk: One k or several.
        collect_device: Where the ranks' results meet: 'cpu' or 'gpu'.
        prefix: Prefix of the reported names.
    """

    default_prefix = 'accuracy'

    def __init__(
        self,
        topk: int | Sequence[int] = 1,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise UserError(f'topk must be one or more positive integers, but is {topk!r}')

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Note the rank of the true class of every image.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``gt_label`` and ``pred_score``.

        Raises:
            UserError: If there are fewer classes than the largest k.
        """
        scores = torch.stack([sample['pred_score'].detach() for sample in data_samples])
        labels = torch.cat([sample['gt_label'] for sample in data_samples]).to(scores.device)
        num_classes = scores.shape[1]
        if max(self.topk) > num_classes:
            raise UserError(
                f'topk={self.topk} needs at least {max(self.topk)} classes, but the model '
                f'predicts {num_classes}'
            )
        # Ties count against the model: equal scores for all classes recognise nothing.
        ranks = (scores >= scores.gather(1, labels[:, None])).sum(dim=1)
        ranks[scores.isnan().any(dim=1)] = num_classes + 1
        self.results.extend(ranks.tolist())

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Count the ranks.

        Args:
            results: For each image the 1-based rank of its true class.

        Returns:
            Accuracy in per cent under ``top<k>``.
        """
        ranks = torch.tensor(results)
        return {f'top{k}': 100 * (ranks <= k).double().mean().item() for k in self.topk}
