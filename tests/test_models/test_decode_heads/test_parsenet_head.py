import pytest
import torch

pytest.importorskip('mmseg')

from mmlayerwise.models.decode_heads.parsenet_head import ParseNetHead
from mmlayerwise.models.layers import L2Normalization
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device
from tests.test_models.test_backbones.test_segmentation_vgg import LARGE_FOV


@pytest.mark.parametrize(
    ('fusion', 'parameters'),
    # LargeFOV's trunk has 20,505,429 - 21 * 1025; both scales 2 * 1024.
    [('early', 20_528_981), ('late', 20_529_002)],
)
def test_parameters(fusion, parameters):
    with meta_device():
        trunk = MODELS.build(dict(type='SegmentationVGG', **LARGE_FOV))
        head = ParseNetHead(1024, fusion, num_classes=21)
    count = sum(p.numel() for module in (trunk, head) for p in module.parameters())
    assert count == parameters
    classifiers = 21 * (2 * 1024 + 1) if fusion == 'early' else 2 * 21 * 1025
    assert parameters == 20_505_429 - 21 * 1025 + 2 * 1024 + classifiers


def reference(head: ParseNetHead, features: torch.Tensor) -> torch.Tensor:
    """Equations 1 to 3 and the fusion, location by location."""
    batch, channels, height, width = features.shape
    scores = features.new_zeros(batch, head.num_classes, height, width)
    weight = head.conv_seg.weight[..., 0, 0].double()
    for n in range(batch):
        context = features[n].reshape(channels, -1).sum(1) / (height * width)
        context = head.context_norm.weight.double() * context / context.square().sum().sqrt()
        for i in range(height):
            for j in range(width):
                local = features[n, :, i, j]
                local = head.local_norm.weight.double() * local / local.square().sum().sqrt()
                score = weight[:, :channels] @ local + head.conv_seg.bias.double()
                if head.fusion == 'early':
                    score += weight[:, channels:] @ context
                else:
                    score += head.conv_context.weight[..., 0, 0].double() @ context
                    score += head.conv_context.bias.double()
                scores[n, :, i, j] = score
    return scores


def build(fusion: str, **kwargs) -> ParseNetHead:
    torch.manual_seed(0)
    head = ParseNetHead(6, fusion, num_classes=3, **kwargs)
    for parameter in head.parameters():
        torch.nn.init.uniform_(parameter, -2, 2)
    return head


@pytest.mark.parametrize('fusion', ['early', 'late'])
def test_equals_the_equations(fusion):
    head = build(fusion)
    features = torch.randn(2, 6, 3, 4)
    actual = head((features,))
    expected = reference(head, features.double())
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('fusion', ['early', 'late'])
def test_scale_of_the_features_does_not_matter(fusion):
    head, features = build(fusion), torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(head((1000 * features,)), head((features,)))


def test_without_normalization_scores_follow_the_features():
    head = build('early', normalized=False)
    assert not any(isinstance(module, L2Normalization) for module in head.modules())
    torch.nn.init.zeros_(head.conv_seg.bias)
    features = torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(head((3 * features,)), 3 * head((features,)))


def test_fusions_agree_where_the_classifiers_do():
    early, late = build('early'), build('late')
    state = early.state_dict()
    weight = state['conv_seg.weight']
    late.load_state_dict({
        **state,
        'conv_seg.weight': weight[:, :6],
        'conv_context.weight': weight[:, 6:],
        'conv_context.bias': torch.zeros(3),
    })  # fmt: skip
    features = torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(late((features,)), early((features,)))


@pytest.mark.parametrize('fusion', ['early', 'late'])
def test_what_stands_elsewhere_changes_all_scores_alike(fusion):
    head, features = build(fusion), torch.randn(1, 6, 3, 4)
    other = features.clone()
    other[..., 0, 0] += 5
    change = (head((other,)) - head((features,)))[0].flatten(1)[:, 1:]
    assert change.abs().min() > 1e-3
    torch.testing.assert_close(change, change[:, :1].expand_as(change), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('fusion', ['early', 'late'])
def test_initial_scale_and_gradients(fusion):
    head = ParseNetHead(6, fusion, num_classes=3)
    head.init_weights()
    assert head.local_norm.weight.tolist() == head.context_norm.weight.tolist() == [10.0] * 6
    head((torch.randn(2, 6, 3, 4),)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_unknown_fusion_is_refused():
    with pytest.raises(UserError, match="'early' or 'late', not 'middle'"):
        ParseNetHead(6, 'middle', num_classes=3)
