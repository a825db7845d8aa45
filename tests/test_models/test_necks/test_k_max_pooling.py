import pytest
import torch

from mmlayerwise.models.necks import KMaxPooling


def test_the_values_of_a_channel_stand_together():
    feature = torch.tensor([[[1.0, 4.0, 2.0, 3.0], [8.0, 5.0, 6.0, 7.0]]])
    (pooled,) = KMaxPooling(k=2)((feature,))
    assert pooled.tolist() == [[4.0, 3.0, 8.0, 7.0]]


def test_takes_one_tensor_or_several():
    maps = (torch.randn(2, 3, 9), torch.randn(2, 5, 20))
    assert [tuple(out.shape) for out in KMaxPooling()(maps)] == [(2, 24), (2, 40)]
    assert torch.equal(KMaxPooling()(maps[0])[0], KMaxPooling()(maps)[0])


@pytest.mark.gpu
def test_the_gpu_keeps_the_same_of_many_equal_values():
    feature = torch.randn(4, 32, 127).relu()
    on_gpu = KMaxPooling()(feature.cuda())[0].cpu()
    assert torch.equal(on_gpu, KMaxPooling()(feature)[0])
