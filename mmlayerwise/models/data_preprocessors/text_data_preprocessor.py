"""Batches of texts."""

import torch
from mmengine.model import BaseDataPreprocessor

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class TextDataPreprocessor(BaseDataPreprocessor):
    """Stacks token sequences of one length, which stay integers, and moves them to the device.

    Args:
        non_blocking: Whether the copy to the device may overlap with other work.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make a batch.

        Args:
            data: ``inputs``: a list of N int64 tensors of shape (L,) or one of shape (N, L);
                ``data_samples``: a list of samples or absent.
            training: Without effect.

        Returns:
            ``inputs``: int64 tensor of shape (N, L); ``data_samples``: list or None.

        Raises:
            UserError: If the sequences have several lengths.
        """
        inputs = data['inputs']
        if not isinstance(inputs, torch.Tensor):
            lengths = sorted({tuple(tokens.shape) for tokens in inputs})
            if len(lengths) > 1:
                raise UserError(
                    f'the texts of a batch have tokens of several shapes, {lengths}; '
                    'QuantizeCharacters in the pipeline gives all the same length'
                )
            inputs = torch.stack(list(inputs))
        return self.cast_data(dict(inputs=inputs, data_samples=data.get('data_samples')))
