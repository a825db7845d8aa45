import pytest
import torch

pytest.importorskip('mmdet')

from mmlayerwise.models.centernet_weights import CenterNetNames
from mmlayerwise.models.ported_weights import export_weights, import_weights
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device
from mmlayerwise.zoo import load_zoo
from tests.zoo.configs import build, load_config, without_pretraining

CHANNELS = (256, 256, 384, 384, 384, 512)
BLOCKS = (2, 2, 2, 2, 2, 4)


def norm(name, channels):
    shapes = {f'{name}.{leaf}': (channels,) for leaf in ('weight', 'bias')}
    shapes |= {f'{name}.running_{leaf}': (channels,) for leaf in ('mean', 'var')}
    return shapes | {f'{name}.num_batches_tracked': ()}


def residual(name, inputs, outputs, stride=1):
    shapes = {f'{name}.conv1.weight': (outputs, inputs, 3, 3)} | norm(f'{name}.bn1', outputs)
    shapes |= {f'{name}.conv2.weight': (outputs, outputs, 3, 3)} | norm(f'{name}.bn2', outputs)
    if stride > 1 or inputs != outputs:
        shapes |= {f'{name}.skip.0.weight': (outputs, inputs, 1, 1)}
        shapes |= norm(f'{name}.skip.1', outputs)
    return shapes


def convolution(name, inputs, outputs, kernel):
    shape = (outputs, inputs, kernel, kernel)
    return {f'{name}.conv.weight': shape} | norm(f'{name}.bn', outputs)


def sequence(name, channels):
    return {f'{name}.0.weight': (channels, channels, 1, 1)} | norm(f'{name}.1', channels)


def hourglass(name, depth, channels, blocks):
    here, below, count = channels[0], channels[1], blocks[0]
    shapes = {}
    for block in range(count):
        shapes |= residual(f'{name}.up1.{block}', here, here)
        first, last = block == 0, block == count - 1
        shapes |= residual(
            f'{name}.low1.{block}', here if first else below, below, 2 if first else 1
        )
        shapes |= residual(f'{name}.low3.{block}', below, here if last else below)
    if depth > 1:
        return shapes | hourglass(f'{name}.low2', depth - 1, channels[1:], blocks[1:])
    for block in range(blocks[1]):
        shapes |= residual(f'{name}.low2.{block}', below, below)
    return shapes


def shapes_of_their_network(channels=CHANNELS, blocks=BLOCKS, depth=5, num_classes=80):
    """Names and shapes of ctdet_coco_hg.pth."""
    width = channels[0]
    shapes = convolution('pre.0', 3, width // 2, 7) | residual('pre.1', width // 2, width, 2)
    shapes |= residual('inters.0', width, width)
    shapes |= sequence('inters_.0', width) | sequence('cnvs_.0', width)
    for stack in range(2):
        shapes |= hourglass(f'kps.{stack}', depth, channels, blocks)
        shapes |= convolution(f'cnvs.{stack}', width, width, 3)
        for branch, outputs in (('hm', num_classes), ('wh', 2), ('reg', 2)):
            name = f'{branch}.{stack}'
            shapes |= {
                f'{name}.0.conv.weight': (width, width, 3, 3),
                f'{name}.0.conv.bias': (width,),
            }
            shapes |= {f'{name}.1.weight': (outputs, width, 1, 1), f'{name}.1.bias': (outputs,)}
    return shapes


def full_config():
    (system,) = [system for system in load_zoo() if system.id == 'D18']
    (row,) = [model for model in system.models if 'hg104' in model.name]
    return load_config(row)


def small_model():
    config = full_config()
    config.model.backbone.update(
        downsample_times=2, stage_channels=[8, 8, 12], stage_blocks=[2, 1, 2], feat_channel=8
    )
    config.model.bbox_head.update(in_channels=8, feat_channels=8, num_classes=3)
    return build(without_pretraining(config), 'mmdet')


def random_file():
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(shape, generator=generator) if shape else torch.tensor(7)
        for name, shape in shapes_of_their_network((8, 8, 12), (2, 1, 2), 2, 3).items()
    }


def test_names_and_shapes_are_those_of_the_authors():
    with meta_device():
        model = build(without_pretraining(full_config()), 'mmdet')
    exported = export_weights(model, CenterNetNames())
    assert {name: tuple(x.shape) for name, x in exported.items()} == shapes_of_their_network()


def test_there_and_back():
    model, theirs = small_model(), random_file()
    import_weights(model, dict(epoch=50, state_dict=theirs), CenterNetNames())
    exported = export_weights(model, CenterNetNames())
    assert exported.keys() == theirs.keys()
    assert all(torch.equal(exported[name], theirs[name]) for name in theirs)
    heat_map = model.bbox_head.stacks[1].heatmap_head
    assert torch.equal(heat_map[2].bias, theirs['hm.1.1.bias'])
    assert torch.equal(model.backbone.remap_convs[0].bn.weight, theirs['cnvs_.0.1.weight'])


def test_files_of_old_versions_have_no_counters():
    theirs = {k: v for k, v in random_file().items() if not k.endswith('num_batches_tracked')}
    import_weights(small_model(), theirs, CenterNetNames())


def test_other_heads_are_refused():
    theirs = random_file() | {'hps.0.1.bias': torch.ones(34)}
    with pytest.raises(UserError, match=r'1 tensors of the file fit nowhere .*hps\.0\.1\.bias'):
        import_weights(small_model(), theirs, CenterNetNames())


def test_other_backbones_are_refused():
    model = small_model()
    model.neck = torch.nn.Conv2d(1, 1, 1)
    with pytest.raises(UserError, match=r'no counterpart of neck\.weight'):
        import_weights(model, random_file(), CenterNetNames())
