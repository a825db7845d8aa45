from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.forward.layer_graph import LayerGraph
from mmlayerwise.forward.layer_order import find_layers
from mmlayerwise.plugins import Plugins, hookimpl
from mmlayerwise.registry import MODELS
from mmlayerwise.separation import SeparationError, Trace, undisturbed

CONFIGS = Path(__file__).parents[2] / 'configs'


def layers_of(model, shape=(2, 3, 16, 16), layers='auto', **options):
    images = torch.randn(shape)
    return find_layers(model, lambda: model(images, **options), layers)


def names_of(*args, **kwargs):
    return [layer.name for layer in layers_of(*args, **kwargs)]


def conv(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU()
    )


class Residual(nn.Module):
    def __init__(self, width, shortcut=True):
        super().__init__()
        self.conv1, self.conv2, self.relu = conv(width, width), conv(width, width), nn.ReLU()
        self.shortcut = shortcut

    def forward(self, x):
        out = self.conv2(self.conv1(x))
        return self.relu(out + x if self.shortcut else out)


class InPlaceResidual(Residual):
    def forward(self, x):
        out = self.conv2(self.conv1(x))
        out += x
        return nn.functional.relu(out, inplace=True)


class Branches(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.left = nn.Conv2d(width, width, 1)
        self.right = nn.ModuleList([conv(width, width), conv(width, width)])

    def forward(self, x):
        out = x
        for one in self.right:
            out = one(out)
        return torch.cat([self.left(x), out], 1)


class Classifier(nn.Module):
    def __init__(self, *features, channels=4, hidden=None):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.hidden = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU()) if hidden else None
        self.fc = nn.Linear(hidden or channels, 5)

    def forward(self, x):
        x = self.features(x).mean((2, 3))
        return self.fc(x if self.hidden is None else self.hidden(x))


def test_a_chain_is_divided_behind_activation_and_pooling():
    model = Classifier(conv(3, 4), nn.MaxPool2d(2), conv(4, 4), hidden=6)
    layers = layers_of(model)
    assert [layer.name for layer in layers] == ['features.0.0', 'features.2.0', 'hidden.0']
    taps = [layer.output.tap.module for layer in layers]
    assert taps == ['features.1', 'features.2.2', 'hidden.1']
    assert layers[0].output.shape == (2, 4, 8, 8)
    assert layers[1].own_parameters == {
        'features.2.0.weight', 'features.2.0.bias', 'features.2.1.weight', 'features.2.1.bias',
    }  # fmt: skip
    assert layers[1].parameters == layers[0].parameters | layers[1].own_parameters
    assert [layer.normalized for layer in layers] == [True, True, False]


def test_names_are_those_of_the_measure_for_a_chain():
    model = Classifier(conv(3, 4), nn.MaxPool2d(2), conv(4, 4))
    images = torch.randn(2, 3, 16, 16)
    with undisturbed(model):
        measured = [layer.name for layer in Trace(model, lambda: model(images)).select('auto')]
    assert names_of(model) == measured[:-1]  # the measure also takes the predictions


def test_pooling_that_is_not_all_that_reads_a_layer_stays_outside():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.pool, self.second = conv(3, 4), nn.MaxPool2d(2), conv(4, 4)

        def forward(self, x):
            x = self.first(x)
            return self.second(self.pool(x)), x

    assert [layer.output.tap.module for layer in layers_of(Skip())] == ['first.2', 'second.2']


@pytest.mark.parametrize('block', [Residual, InPlaceResidual])
def test_a_residual_block_is_one_layer(block):
    layers = layers_of(Classifier(conv(3, 4), nn.Sequential(block(4), block(4))))
    names = [layer.name for layer in layers]
    assert names == ['features.0.0', 'features.1.0', 'features.1.1']
    assert layers[1].output.tap.module == 'features.1.0'
    assert len(layers[1].own_parameters) == 8


def test_blocks_of_a_class_are_alike_with_and_without_a_shortcut():
    model = Classifier(conv(3, 4), Residual(4, shortcut=False), Residual(4))
    assert names_of(model) == ['features.0.0', 'features.1', 'features.2']
    plain = Classifier(conv(3, 4), Residual(4, shortcut=False))
    assert names_of(plain) == ['features.0.0', 'features.1.conv1.0', 'features.1.conv2.0']


def test_parallel_branches_are_one_layer():
    assert names_of(Classifier(conv(3, 4), Branches(4), channels=8)) == [
        'features.0.0',
        'features.1',
    ]


def test_a_layer_that_runs_several_times_counts_once():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head, self.out = conv(3, 4), conv(4, 4), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = self.backbone(x)
            return [self.out(self.head(level)) for level in (x, x[..., ::2, ::2])]

    layers = layers_of(Pyramid())
    assert [layer.name for layer in layers] == ['backbone.0', 'head.0#0']
    assert layers[1].output.shape == (2, 4, 16, 16)


def test_frozen_parameters_and_modes_are_as_before():
    model = Classifier(conv(3, 4), Residual(4))
    model.features[0].requires_grad_(False).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert names_of(model) == ['features.0.0', 'features.1']
    assert not any(one.requires_grad for one in model.features[0].parameters())
    assert all(one.requires_grad for one in model.features[1].parameters())
    assert not model.features[0][1].training
    assert model.features[1].training
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_layers_can_be_named():
    model = Classifier(conv(3, 4), Residual(4), Residual(4))
    named = layers_of(model, layers=[r'features\.\d'])
    assert [layer.name for layer in named] == ['features.0', 'features.1', 'features.2']
    assert names_of(model, layers='stages')[-1] == 'fc'
    with pytest.raises(SeparationError, match=r'matched by .features.9.'):
        layers_of(model, layers=['features.9'])


def test_a_plugin_gives_another_order(monkeypatch):
    class Reversed:
        @hookimpl
        def layer_order(self, model, graph):
            assert isinstance(graph, LayerGraph)
            return ['features.1', 'features.0.0'] if isinstance(model, Classifier) else None

    from mmlayerwise.forward import layer_order

    plugins = Plugins(['mmlayerwise.forward.layer_order'])
    plugins._manager.register(Reversed(), name='reversed')
    monkeypatch.setattr(layer_order, 'installed_plugins', lambda: plugins)
    layers = layers_of(Classifier(conv(3, 4), Residual(4)))
    # The first layer has nothing of its own once the second was learned with it.
    assert [layer.name for layer in layers] == ['features.1']
    assert len(names_of(conv(3, 4))) == 1


@pytest.mark.parametrize('model', [nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(768, 3))])
def test_a_model_without_layers_before_its_predictions_is_refused(model):
    with pytest.raises(ForwardLearningError, match=f'{type(model).__name__} has no layer to learn'):
        layers_of(model)


@pytest.mark.parametrize(
    ('config', 'size', 'expected'),
    [
        ('vgg/vgg16_1xb128-200e_cifar10.py', 32, 13 + 2),
        ('resnet/resnet50_1xb128-200e_cifar10.py', 32, 1 + 16),
        ('inception_v3/inception-v3_1xb128-200e_cifar10.py', 32, 5 + 11),
    ],
)
def test_convolutions_residual_and_inception_blocks_of_the_classifiers(config, size, expected):
    model = MODELS.build(Config.fromfile(CONFIGS / config).model)
    assert len(names_of(model, (1, 3, size, size), mode='tensor')) == expected


def test_retinanet_goes_from_blocks_over_levels_to_the_shared_towers():
    pytest.importorskip('mmdet')
    from mmengine.registry import init_default_scope

    from tests.test_engine.test_hooks.runs import RETINANET

    init_default_scope('mmdet')
    model = MODELS.build({k: v for k, v in RETINANET.items() if k != '_delete_'})
    names = names_of(model, (1, 3, 64, 64), mode='tensor')
    assert names[:3] == ['backbone.conv1', 'backbone.layer1.0', 'backbone.layer1.1']
    assert [name for name in names if name.startswith('neck')] == [
        f'neck.{kind}.{level}.conv' for kind in ('lateral_convs', 'fpn_convs') for level in range(3)
    ]
    assert names[-4:] == [
        f'bbox_head.{tower}.{number}.conv#0'
        for tower in ('cls_convs', 'reg_convs')
        for number in range(2)
    ]


def test_a_unet_goes_down_and_up_by_single_convolutions():
    pytest.importorskip('mmseg')
    from mmengine.registry import init_default_scope

    init_default_scope('mmseg')
    model = MODELS.build(
        dict(
            type='mmseg.UNet', base_channels=4, num_stages=3, strides=(1, 1, 1),
            enc_num_convs=(2, 2, 2), dec_num_convs=(2, 2), downsamples=(True, True),
            enc_dilations=(1, 1, 1), dec_dilations=(1, 1), norm_cfg=dict(type='BN'),
        )
    )  # fmt: skip
    layers = layers_of(model, (1, 3, 16, 16))
    assert [layer.name for layer in layers][:3] == [
        'encoder.0.0.convs.0.conv', 'encoder.0.0.convs.1.conv', 'encoder.1.1.convs.0.conv',
    ]  # fmt: skip
    assert len(layers) == 3 * 2 + 2 * 3
    # The skip connection reads the second convolution at full size.
    assert layers[1].output.shape == (1, 4, 16, 16)


def test_transformers_go_by_attention_and_feed_forward_blocks():
    pytest.importorskip('mmseg')
    from mmengine.registry import init_default_scope

    init_default_scope('mmseg')
    model = MODELS.build(
        dict(
            type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=(1, 1), num_heads=(1, 2),
            num_stages=2, patch_sizes=(7, 3), strides=(4, 2), sr_ratios=(2, 1), out_indices=(0, 1),
        )
    )  # fmt: skip
    names = names_of(model, (1, 3, 32, 32))
    assert names == [
        f'layers.{stage}.{part}'
        for stage in range(2)
        for part in ('0.projection', '1.0.attn', '1.0.ffn')
    ]
