from itertools import pairwise

import pytest
import torch
from torch import nn

from mmlayerwise.models.backbones.vdcnn import VDCNN, ConvolutionalBlock
from mmlayerwise.utils.errors import UserError
from tests.test_models.test_backbones.counting import (
    build_on_meta,
    count_parameters,
    stacked_head,
)

# Table 2 of the paper: convolutions with 64, 128, 256 and 512 channels.
TABLE = {9: (2, 2, 2, 2), 17: (4, 4, 4, 4), 29: (10, 10, 4, 4), 49: (16, 16, 10, 6)}
WIDTHS = (64, 128, 256, 512)
CONVOLUTIONS = {9: 1_581_760, 17: 3_676_480, 29: 4_048_576}
EMBEDDING = 69 * 16


def parameters_of_the_table(depth: int) -> int:
    """Convolutions of size 3 with biases; batch normalisation behind all but the first."""
    channels = [16, 64]
    for width, count in zip(WIDTHS, TABLE[depth], strict=True):
        channels += [width] * count
    convolutions = sum(3 * before * after + after for before, after in pairwise(channels))
    return convolutions + sum(2 * width for width in channels[2:])


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(69, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('pooling', ['max', 'kmax', 'conv'])
@pytest.mark.parametrize('depth', TABLE)
def test_parameters_are_those_of_the_papers_layers(depth, pooling):
    expected = parameters_of_the_table(depth)
    assert CONVOLUTIONS.get(depth, expected) == expected
    backbone = {'type': 'VDCNN', 'depth': depth, 'pooling': pooling}
    assert count_parameters(backbone) == expected + EMBEDDING


@pytest.mark.parametrize('depth', CONVOLUTIONS)
def test_parameters_with_the_papers_classifier_of_four_classes(depth):
    linear = 4096 * 2048 + 2048 + 2048 * 2048 + 2048 + 2048 * 4 + 4
    head = stacked_head(4096, 2048, 2048, num_classes=4)
    total = count_parameters({'type': 'VDCNN', 'depth': depth}, head)
    assert total == CONVOLUTIONS[depth] + EMBEDDING + linear


@pytest.mark.parametrize('depth', TABLE)
def test_the_depth_is_the_number_of_convolutions(depth):
    (backbone,) = build_on_meta({'type': 'VDCNN', 'depth': depth})
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv1d)]
    assert len(convolutions) == depth
    assert {m.kernel_size for m in convolutions} == {(3,)}


@pytest.mark.parametrize('shortcut', [False, True])
@pytest.mark.parametrize('pooling', ['max', 'kmax', 'conv'])
def test_every_stage_halves_the_length_and_doubles_the_channels(pooling, shortcut):
    config = {
        'type': 'VDCNN', 'pooling': pooling, 'shortcut': shortcut, 'out_indices': range(4)
    }  # fmt: skip
    (backbone,) = build_on_meta(config)
    outputs = backbone(torch.zeros(2, 1014, dtype=torch.int64, device='meta'))
    assert [tuple(output.shape) for output in outputs] == [
        (2, 64, 1014), (2, 128, 507), (2, 256, 254), (2, 512, 127),
    ]  # fmt: skip


def reference_block(block: ConvolutionalBlock, inputs: torch.Tensor, shortcut: str) -> torch.Tensor:
    """The block as the paper's figure 2 shows it, written out."""

    def convolve(values: torch.Tensor, layer: nn.Conv1d) -> torch.Tensor:
        padded = nn.functional.pad(values, (layer.padding[0],) * 2)
        size, step = layer.kernel_size[0], layer.stride[0]
        windows = padded.unfold(2, size, step)
        return torch.einsum('nclk,dck->ndl', windows, layer.weight) + layer.bias[:, None]

    def normalise(values: torch.Tensor, layer: nn.BatchNorm1d) -> torch.Tensor:
        mean = values.mean((0, 2), keepdim=True)
        variance = ((values - mean) ** 2).mean((0, 2), keepdim=True)
        scaled = (values - mean) / (variance + layer.eps).sqrt()
        return scaled * layer.weight[:, None] + layer.bias[:, None]

    hidden = normalise(convolve(inputs, block.conv1), block.norm1).clamp(min=0)
    hidden = normalise(convolve(hidden, block.conv2), block.norm2)
    if shortcut == 'identity':
        hidden = hidden + inputs
    elif shortcut == 'projection':
        hidden = hidden + normalise(convolve(inputs, block.shortcut[0]), block.shortcut[1])
    return hidden.clamp(min=0)


@pytest.mark.parametrize(
    ('channels', 'pooling', 'shortcut', 'kind'),
    [
        ((3, 3), None, False, 'none'),
        ((3, 3), None, True, 'identity'),
        ((3, 6), None, True, 'projection'),
        ((3, 6), 'conv', False, 'none'),
        ((3, 6), 'conv', True, 'projection'),
    ],
)
def test_a_block_computes_what_the_paper_draws(channels, pooling, shortcut, kind):
    torch.manual_seed(0)
    block = ConvolutionalBlock(*channels, pooling, shortcut).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    inputs = torch.randn(2, 3, 9, dtype=torch.float64)
    torch.testing.assert_close(block(inputs), reference_block(block, inputs, kind))


def test_max_pooling_looks_at_three_values_and_moves_by_two():
    block = ConvolutionalBlock(1, 1, 'max')
    pooled = block.pool(torch.tensor([[[1.0, 2.0, 9.0, 4.0, 5.0, 0.0]]]))
    assert pooled.tolist() == [[[2.0, 9.0, 5.0]]]


@pytest.mark.parametrize('shortcut', [False, True])
@pytest.mark.parametrize('pooling', ['max', 'kmax', 'conv'])
def test_every_parameter_gets_a_gradient(pooling, shortcut):
    torch.manual_seed(0)
    backbone = VDCNN(17, base_channels=8, pooling=pooling, shortcut=shortcut)
    backbone.init_weights()
    # Batches that hold every token.
    (output,) = backbone(torch.cat([torch.arange(69).expand(4, -1), tokens(4, 59)], 1))
    (output * torch.randn_like(output)).sum().backward()
    silent = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_the_first_convolution_reads_the_characters_vectors():
    backbone = VDCNN(base_channels=4).eval()
    inputs = tokens(1, 64)
    seen = []
    backbone.conv.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    backbone(inputs)
    assert torch.equal(seen[0][0, :, 5], backbone.embedding.weight[inputs[0, 5]])


def test_a_relu_behind_the_first_convolution_is_an_option():
    plain, rectified = VDCNN(base_channels=4), VDCNN(base_channels=4, stem_relu=True)
    stage_inputs = []
    for backbone in (plain, rectified):
        backbone.stages[0].register_forward_pre_hook(lambda _, args: stage_inputs.append(args[0]))
        backbone.eval()(tokens(1, 64))
    assert stage_inputs[0].min() < 0
    assert stage_inputs[1].min() == 0


@pytest.mark.parametrize(('frozen', 'stages'), [(-1, 0), (0, 0), (2, 2)])
def test_frozen_stages_are_not_trained(frozen, stages):
    backbone = VDCNN(base_channels=4, frozen_stages=frozen).train()
    modules = {'embedding': frozen >= 0, 'conv': frozen >= 0}
    modules |= {f'stages.{index}': index < stages for index in range(4)}
    for name, is_frozen in modules.items():
        module = backbone.get_submodule(name)
        assert all(p.requires_grad != is_frozen for p in module.parameters()), name
        assert module.training != is_frozen, name


def test_convolutions_start_as_kaiming_has_it():
    torch.manual_seed(0)
    backbone = VDCNN()
    backbone.init_weights()
    conv = backbone.stages[3][0].conv2
    # Mode fan_out: 512 filters of size 3.
    assert conv.weight.std().item() == pytest.approx((2 / (512 * 3)) ** 0.5, rel=0.02)
    assert not conv.bias.any()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(depth=18), r'depth of VDCNN must be one of \[9, 17, 29, 49\], but is 18'),
        (dict(pooling='avg'), "pooling of VDCNN must be one of .* but is 'avg'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        VDCNN(**arguments)


@pytest.mark.parametrize(
    ('inputs', 'message'),
    [
        (torch.zeros(1, 64), r'integers of shape \(N, L\), but got torch.float32 of shape \(1, 64'),
        (torch.zeros(64, dtype=torch.int64), r'but got torch.int64 of shape \(64,\)'),
        (torch.full((1, 64), 69), 'range from 69 to 69, but VDCNN has num_tokens=69'),
        (torch.full((1, 64), -1), 'range from -1 to -1'),
    ],
)
def test_inputs_that_are_no_tokens_are_refused(inputs, message):
    with pytest.raises(UserError, match=message):
        VDCNN(base_channels=4)(inputs)


@pytest.mark.gpu
def test_the_gpu_computes_the_same():
    torch.manual_seed(0)
    backbone = VDCNN(base_channels=8, pooling='kmax', shortcut=True).double().eval()
    inputs = tokens(2, 128)
    (expected,) = backbone(inputs)
    (actual,) = backbone.cuda()(inputs.cuda())
    torch.testing.assert_close(actual.cpu(), expected)
