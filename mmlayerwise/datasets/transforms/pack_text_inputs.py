"""The last transform of a text classification pipeline."""

from collections.abc import Sequence

import torch

from mmlayerwise.datasets.transforms.pack_classification_inputs import PackClassificationInputs
from mmlayerwise.registry import TRANSFORMS

META_KEYS = ('sample_idx', 'text')


@TRANSFORMS.register_module()
class PackTextInputs(PackClassificationInputs):
    """Pack the tokens of a text and its label into what :class:`ImageClassifier` takes.

    Required keys: tokens; gt_label (absent in unlabelled data). Gives ``inputs``, an int64 tensor
    of shape (length,), and ``data_samples``, a
    :class:`~mmlayerwise.structures.ClassificationDataSample`.

    Args:
        meta_keys: Which of the results go into the sample as meta information where present.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys)

    def inputs_of(self, results: dict) -> torch.Tensor:
        """Take the tokens of a sample.

        Args:
            results: Result of the pipeline; ``tokens``, int64 of shape (length,).

        Returns:
            int64 tensor of shape (length,).
        """
        return torch.from_numpy(results['tokens'])
