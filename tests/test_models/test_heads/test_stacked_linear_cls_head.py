import torch
from torch import nn

from mmlayerwise.models.heads import StackedLinearClsHead


def test_logits_are_those_of_the_written_out_layers():
    torch.manual_seed(0)
    head = StackedLinearClsHead(3, 8, (6, 5), dropout_rate=0.5).eval()
    features = torch.randn(4, 2, 2, 2)
    first, second, last = (m for m in head.modules() if isinstance(m, nn.Linear))
    hidden = second(first(features.flatten(1)).relu()).relu()
    torch.testing.assert_close(head((features,)), last(hidden))


def test_dropout_goes_before_or_behind_the_hidden_layers():
    kinds = {
        after: [type(m) for m in StackedLinearClsHead(3, 8, (6,), 0.5, after).layers[0]]
        for after in (False, True)
    }
    assert kinds[True] == [nn.Linear, nn.ReLU, nn.Dropout]
    assert kinds[False] == [nn.Dropout, nn.Linear, nn.ReLU]


def test_initialises_as_the_papers():
    torch.manual_seed(0)
    head = StackedLinearClsHead(10, 512, (512,))
    head.init_weights()
    for layer in (head.layers[0][0], head.fc):
        assert abs(layer.weight.std().item() - 0.01) < 1e-3
        assert layer.bias.abs().sum() == 0
