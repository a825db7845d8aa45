import pytest
import torch

from mmlayerwise.models.data_preprocessors import TextDataPreprocessor
from mmlayerwise.structures import ClassificationDataSample
from mmlayerwise.utils.errors import UserError


def test_stacks_tokens_as_the_integers_they_are():
    samples = [ClassificationDataSample().set_gt_label(label) for label in (3, 1)]
    data = {'inputs': [torch.tensor([7, 0]), torch.tensor([2**40, 1])], 'data_samples': samples}
    batch = TextDataPreprocessor()(data, training=True)
    assert batch['inputs'].dtype == torch.int64
    assert batch['inputs'].tolist() == [[7, 0], [2**40, 1]]
    assert [sample.gt_label.item() for sample in batch['data_samples']] == [3, 1]
    assert isinstance(data['inputs'], list)


def test_takes_a_batch_and_no_samples():
    tokens = torch.ones(2, 3, dtype=torch.int64)
    batch = TextDataPreprocessor()({'inputs': tokens})
    assert torch.equal(batch['inputs'], tokens)
    assert batch['data_samples'] is None


def test_texts_of_several_lengths_are_refused():
    tokens = [torch.zeros(n, dtype=torch.int64) for n in (2, 3)]
    with pytest.raises(UserError, match=r'several shapes, \[\(2,\), \(3,\)\]; QuantizeCharacters'):
        TextDataPreprocessor()({'inputs': tokens})


@pytest.mark.gpu
def test_moves_the_batch_to_the_device():
    batch = TextDataPreprocessor().cuda()({'inputs': [torch.tensor([1])]})
    assert batch['inputs'].is_cuda
