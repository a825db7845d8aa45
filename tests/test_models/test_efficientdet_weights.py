import pytest
import torch

pytest.importorskip('mmdet')

from mmlayerwise.models.efficientdet_weights import USED_CLASSES, EfficientDetNames
from mmlayerwise.models.ported_weights import export_weights, import_weights
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device
from mmlayerwise.zoo import load_zoo
from tests.zoo.configs import build, load_config, without_pretraining

# Stages of EfficientNet-B0: kernel size, expansion, channels, blocks.
STAGES = ((3, 1, 16, 1), (3, 6, 24, 2), (5, 6, 40, 2), (3, 6, 80, 3))
STAGES += ((5, 6, 112, 3), (5, 6, 192, 4), (3, 6, 320, 1))


def norm(name, channels):
    shapes = {f'{name}.{leaf}': (channels,) for leaf in ('weight', 'bias')}
    shapes |= {f'{name}.running_{leaf}': (channels,) for leaf in ('mean', 'var')}
    return shapes | {f'{name}.num_batches_tracked': ()}


def conv(name, inputs, outputs, kernel=1, bias=True):
    shapes = {f'{name}.conv.weight': (outputs, inputs, kernel, kernel)}
    return shapes | ({f'{name}.conv.bias': (outputs,)} if bias else {})


def separable(name, inputs, outputs):
    depthwise = conv(f'{name}.depthwise_conv', 1, inputs, 3, bias=False)
    return depthwise | conv(f'{name}.pointwise_conv', inputs, outputs)


def shapes_of_their_d0(num_classes=90):
    """Names and shapes of efficientdet-d0.pth."""
    root = 'backbone_net.model'
    shapes = conv(f'{root}._conv_stem', 3, 32, 3, bias=False) | norm(f'{root}._bn0', 32)
    channels, number = 32, 0
    for kernel, expansion, outputs, blocks in STAGES:
        for _ in range(blocks):
            block, middle = f'{root}._blocks.{number}', channels * expansion
            if expansion > 1:
                shapes |= conv(f'{block}._expand_conv', channels, middle, bias=False)
                shapes |= norm(f'{block}._bn0', middle)
            shapes |= conv(f'{block}._depthwise_conv', 1, middle, kernel, bias=False)
            shapes |= norm(f'{block}._bn1', middle)
            shapes |= conv(f'{block}._se_reduce', middle, channels // 4)
            shapes |= conv(f'{block}._se_expand', channels // 4, middle)
            shapes |= conv(f'{block}._project_conv', middle, outputs, bias=False)
            shapes |= norm(f'{block}._bn2', outputs)
            channels, number = outputs, number + 1
    for name, inputs in (
        ('p3_down_channel', 40),
        ('p4_down_channel', 112),
        ('p5_down_channel', 320),
        ('p4_down_channel_2', 112),
        ('p5_down_channel_2', 320),
        ('p5_to_p6', 320),
    ):
        shapes |= conv(f'bifpn.0.{name}.0', inputs, 64) | norm(f'bifpn.0.{name}.1', 64)
    for cell in range(3):
        for name in ('3_up', '4_up', '5_up', '6_up', '4_down', '5_down', '6_down', '7_down'):
            shapes |= separable(f'bifpn.{cell}.conv{name}', 64, 64)
            shapes |= norm(f'bifpn.{cell}.conv{name}.bn', 64)
        for level, place, inputs in (
            *((level, 1, 2) for level in (3, 4, 5, 6)),
            *((level, 2, 3) for level in (4, 5, 6)),
            (7, 2, 2),
        ):
            shapes[f'bifpn.{cell}.p{level}_w{place}'] = (inputs,)
    for name, outputs in (('regressor', 36), ('classifier', 9 * num_classes)):
        for layer in range(3):
            shapes |= separable(f'{name}.conv_list.{layer}', 64, 64)
            for level in range(5):
                shapes |= norm(f'{name}.bn_list.{level}.{layer}', 64)
        shapes |= separable(f'{name}.header', 64, outputs)
    return shapes


def detector(number=0, num_classes=80, device='meta'):
    (system,) = [system for system in load_zoo() if system.id == 'D19']
    config = load_config(system.models[number])
    config.model.bbox_head.num_classes = num_classes
    if device == 'meta':
        with meta_device():
            return build(without_pretraining(config), 'mmdet')
    return build(without_pretraining(config), 'mmdet')


def random_file(num_classes=90):
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(shape, generator=generator)
        if shape
        else torch.tensor(7)  # num_batches_tracked
        for name, shape in shapes_of_their_d0(num_classes).items()
    }


@pytest.fixture(scope='module')
def small():
    """D0 of 90 classes in memory."""
    return detector(0, 90, 'cpu')


def test_names_and_shapes_are_those_of_the_port():
    model = detector(num_classes=90)
    exported = export_weights(model, EfficientDetNames(model))
    assert {name: tuple(x.shape) for name, x in exported.items()} == shapes_of_their_d0()


def test_there_and_back(small):
    theirs = random_file()
    names = EfficientDetNames(small)
    import_weights(small, {f'module.{name}': x for name, x in theirs.items()}, names)
    exported = export_weights(small, names)
    assert exported.keys() == theirs.keys()
    assert all(torch.equal(exported[name], theirs[name]) for name in theirs)
    state = small.state_dict()
    root = 'backbone_net.model._blocks'
    for ours, their in {
        'backbone.layers.4.3.linear_conv.bn.running_var': f'{root}.8._bn2.running_var',
        'neck.cells.1.top_down.3.fusion.weights': 'bifpn.1.p6_w1',
        'neck.cells.2.bottom_up.0.fusion.weights': 'bifpn.2.p4_w2',
        'neck.cells.0.bottom_up.3.norm.bias': 'bifpn.0.conv7_down.bn.bias',
        'neck.upward_laterals.1.0.bias': 'bifpn.0.p5_down_channel_2.0.conv.bias',
        'bbox_head.cls_branch.norms.4.2.weight': 'classifier.bn_list.4.2.weight',
    }.items():
        assert torch.equal(state[ours], theirs[their]), ours
    # y, x, height, width of an anchor become x, y, width, height.
    key = 'regressor.header.pointwise_conv.conv.bias'
    ours = state['bbox_head.reg_branch.predict.pointwise.bias'].view(9, 4)
    assert torch.equal(ours, theirs[key].view(9, 4)[:, [1, 0, 3, 2]])


def test_classes_of_coco_are_taken_from_a_file_of_90():
    names = EfficientDetNames(detector())
    key = 'bbox_head.cls_branch.predict.pointwise.bias'
    by_class = torch.arange(9.0)[:, None] * 1000 + torch.arange(1, 91)
    taken = names.to_ours(key, by_class.flatten(), torch.Size([720])).view(9, 80)
    assert taken[0, [0, 11, 79]].tolist() == [1, 13, 90]  # person, stop sign, toothbrush
    assert torch.equal(taken, by_class[:, USED_CLASSES])


def test_d6_leaves_the_unused_weights_of_the_fusion():
    model = detector(6, 90)
    names = EfficientDetNames(model)
    theirs = export_weights(model, names)
    assert not any('_w1' in name for name in theirs)
    theirs['bifpn.0.p6_w1'] = torch.ones(2)
    import_weights(model, theirs, names)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda x: x.pop('bifpn.0.p6_w1'), r'lacks 1 tensors .* bifpn\.0\.p6_w1; take the config'),
        (lambda x: x.update(fc=torch.ones(1)), '1 tensors of the file fit nowhere .*: fc;'),
        (
            lambda x: x.update({'regressor.header.pointwise_conv.conv.bias': torch.ones(16)}),
            r'conv\.bias has the shape \(16,\), which does not fit \(36,\)',
        ),
    ],
)
def test_file_of_another_model_is_refused(small, change, message):
    theirs = random_file()
    change(theirs)
    before = small.backbone.layers[0].conv.weight.clone()
    with pytest.raises(UserError, match=message):
        import_weights(small, theirs, EfficientDetNames(small))
    assert torch.equal(small.backbone.layers[0].conv.weight, before)


def test_file_without_tensors_is_refused(small):
    with pytest.raises(UserError, match='has no tensors'):
        import_weights(small, dict(epoch=3), EfficientDetNames(small))
