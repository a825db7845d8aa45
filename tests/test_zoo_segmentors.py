"""What the layer-wise tools do to every system of the decoder family of segmentation.

Each row is a small form of one system. What can't be done stands in ``refused`` and, with its
reason, in the system's entry of the zoo.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn

pytest.importorskip('mmseg')

from mmseg.structures import SegDataSample

from mmlayerwise.compression import CompressionError, CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.exactness import largest_difference
from mmlayerwise.compression.outputs import every_output
from mmlayerwise.engine.launch import build_runner
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device
from tests.test_compression.architectures import shaken
from tests.test_compression.test_apply import halving_plan
from tests.zoo.small import Small as SmallModel
from tests.zoo.small import compress_run, load_compressed


@dataclass(frozen=True)
class Row:
    """One system.

    Attributes:
        config: Name of its config in the zoo.
        cut: A layer of the backbone to cut behind.
        refused: Part of the message where it can't be cut there; None where it can.
        fresh: Layers that read another map behind the cut and are new.
        smallest: Side in pixels of the smallest image of the small form, where there is one.
    """

    config: str
    cut: str
    refused: str | None = None
    fresh: tuple[str, ...] = ()
    smallest: int | None = None


BUDGET = 0.7
EVERY_MAP = 'has layers for each of them'
ROWS = {
    'FCN': Row(
        'fcn-8s_vgg16_1xb4-40k_camvid-352x352',
        'backbone.features.28',
        fresh=('decode_head.conv_seg',),
    ),
    'FCN, padding of 100': Row(
        'fcn-8s_vgg16_1xb20-80k_voc12aug-512x512',
        'backbone.features.28',
        'fc6 takes rows and columns from its map',
    ),
    'ParseNet': Row(
        'parsenet-early_vgg16_1xb4-40k_camvid-352x352',
        'backbone.features.14',
        r'decode_head \(ParseNetHead\) does not run any more',
    ),
    'DeconvNet': Row(
        'deconvnet_vgg16-bn_1xb16-40k_camvid-224x224',
        'backbone.features.40',
        'a decoder mirrors all of it',
        smallest=33,
    ),
    'SegNet': Row(
        'segnet_vgg16-bn_1xb12-40k_camvid-480x360',
        'backbone.features.30',
        'a decoder mirrors all of it',
    ),
    'U-Net, classic': Row('unet-classic_1xb2-40k_camvid-540x540', 'backbone.encoder.1.2'),
    'U-Net, 16-256': Row('unet-16-256_1xb8-40k_camvid-352x352', 'backbone.encoder.2.1'),
    'U-Net, 16-64': Row('unet-16-64_1xb8-40k_camvid-352x352', 'backbone.encoder.1.1'),
    'GCN': Row('gcn_r50_1xb4-40k_camvid-352x352', 'backbone.layer3.5', EVERY_MAP),
    'RefineNet': Row('refinenet_r50_1xb4-40k_camvid-352x352', 'backbone.layer3.5', EVERY_MAP),
    'DFN': Row('dfn_r50_1xb4-40k_camvid-352x352', 'backbone.layer3.5', EVERY_MAP),
    'ExFuse': Row('exfuse_r50_1xb4-40k_camvid-352x352', 'backbone.layer3.5', EVERY_MAP),
    'SDN': Row(
        'sdn-m3_d161_1xb4-40k_camvid-352x352',
        'backbone.features.transition2.conv',
        'no rule for cutting DenseNet',
        smallest=13,
    ),
    'Ladder DenseNet': Row(
        'ladder_d121_1xb4-40k_camvid-352x352',
        'backbone.features.transition3.conv',
        'no rule for cutting DenseNet',
        smallest=29,
    ),
    'SPGNet': Row('spgnet_2xr50_1xb4-40k_camvid-352x352', 'backbone.layer3.1', EVERY_MAP),
}


@dataclass
class Small(SmallModel):
    """The small form of a row."""

    row: Row


@pytest.fixture(
    scope='module',
    params=[
        pytest.param(row, id=name, marks=pytest.mark.xdist_group(name))
        for name, row in ROWS.items()
    ],
)
def small(request: pytest.FixtureRequest) -> Iterator[Small]:
    MMLogger.get_current_instance().setLevel('ERROR')
    found = Small.of(request.param.config, 'sem', row=request.param)
    with DefaultScope.overwrite_default_scope(found.scope):
        yield found


def test_half_of_the_channels_go_and_the_rest_computes_what_it_did(small: Small) -> None:
    original, images = shaken(small.build()).double(), small.images()
    plan = halving_plan(original, small.size)
    smaller = copy.deepcopy(original)
    report = apply_plan(smaller, plan, small.size)
    assert report.untraced == []  # branches that exist for training only are followed, too
    assert set(report.skipped.values()) == {'they are outputs of the model'}
    # The scale of ParseNet's normalisation has a smallest value in single precision.
    assert largest_difference(original, smaller, report, images) < 1e-6
    with torch.no_grad():
        pairs = zip(every_output(original, images), every_output(smaller, images), strict=True)
        assert any((one - other).abs().max() > 1e-3 for one, other in pairs)
    assert report.after.parameters < 0.35 * report.before.parameters
    assert report.after.flops < 0.4 * report.before.flops

    with meta_device():
        rebuilt = small.build()
    apply_plan(rebuilt, CompressionPlan.from_dict(plan.instructions()), small.size)
    shapes = {key: value.shape for key, value in rebuilt.state_dict().items()}
    assert shapes == {key: value.shape for key, value in smaller.state_dict().items()}


def test_it_is_cut_in_depth_or_the_reason_is_told(small: Small) -> None:
    original, images, row = shaken(small.build()).double(), small.images(), small.row
    plan = CompressionPlan(fingerprint(original), cut=row.cut)
    smaller = copy.deepcopy(original)
    if row.refused:
        with pytest.raises(CompressionError, match=row.refused):
            apply_plan(smaller, plan, small.size)
        return
    report = apply_plan(smaller, plan, small.size)
    assert report.dropped
    assert tuple(report.fresh) == row.fresh
    assert report.after.parameters < report.before.parameters
    with torch.no_grad():
        scores, expected = every_output(smaller, images), every_output(original, images)
    assert scores[0].shape == expected[0].shape
    # What stays keeps its weights; the classic U-Net counts its decoder from the deepest level.
    state, old = smaller.state_dict(), list(original.state_dict().values())
    kept = [value for key, value in state.items() if not key.startswith(tuple(row.fresh) or ' ')]
    assert all(any(torch.equal(value, one) for one in old) for value in kept)
    rebuilt = small.build().double().eval()
    apply_plan(rebuilt, plan, small.size)
    rebuilt.load_state_dict(state)
    with torch.no_grad():
        again = every_output(rebuilt, images)
    assert all(torch.equal(one, other) for one, other in zip(again, scores, strict=True))


@pytest.fixture(scope='module')
def trained(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Runner]:
    """One step behind quasi least squares, and the measure."""
    folder = tmp_path_factory.mktemp('run')
    cfg = small.run_config('digit_scenes_segmentation.py', folder, digit_size=(12, 40))
    runner = build_runner(copy.deepcopy(cfg), splits=('train', 'val'))
    runner.train()
    return cfg, runner


def test_hooks_learn_its_first_layer_and_measure_it(trained: tuple[Config, Runner]) -> None:
    cfg, runner = trained
    record = json.loads(Path(cfg.work_dir, 'qls.json').read_text())
    convolutions = (n for n, m in runner.model.named_modules() if isinstance(m, nn.Conv2d))
    assert record['layer'] == next(convolutions)
    assert record['samples'] == 'pixel'
    assert all(0 <= epoch['separation_index'] <= 1 for epoch in record['history'])
    (measured,) = json.loads(Path(cfg.work_dir, 'separation.json').read_text())['measurements']
    indices = [layer['index'] for layer in measured['layers']]
    assert len([index for index in indices if index is not None]) >= 3


def test_a_budget_is_met_and_the_small_model_is_loaded_again_and_trains_on(
    small: Small, trained: tuple[Config, Runner]
) -> None:
    cfg, runner = trained
    result = compress_run(cfg, runner.model, BUDGET).result
    savings, smaller = result.planned.plan.savings, result.model
    assert savings.after.flops <= BUDGET * savings.before.flops
    assert savings.after.parameters < savings.before.parameters
    assert savings.after.parameters == sum(one.numel() for one in smaller.parameters())

    batch = next(iter(runner.val_dataloader))
    predicted, again = (
        [sample.seg_logits.data for sample in model.test_step(copy.deepcopy(batch))]
        for model in (smaller.eval(), load_compressed(cfg, small.scope))
    )
    assert all(torch.equal(one, other) for one, other in zip(predicted, again, strict=True))
    # It is trained further, in all its branches.
    optimizer = OptimWrapper(torch.optim.SGD(smaller.parameters(), lr=1e-3))
    losses = smaller.train().train_step(next(iter(runner.train_dataloader)), optimizer)
    assert torch.isfinite(losses['loss'])


def predict(small: Small, size: tuple[int, int]) -> SegDataSample:
    """Predict a random image of some height and width as ``tools/test.py`` does."""
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    torch.manual_seed(0)
    batch = dict(inputs=[torch.randint(256, (3, *size), dtype=torch.uint8)], data_samples=[sample])
    with torch.no_grad():
        (prediction,) = small.build().eval().test_step(batch)
    return prediction


# Odd in both directions, more columns than rows or fewer, hardly more than nothing.
@pytest.mark.parametrize('size', [(101, 77), (5, 7)])
def test_an_image_of_any_size_is_predicted_in_full_or_the_sizes_that_work_are_named(
    small: Small, size: tuple[int, int]
) -> None:
    if size == (5, 7) and small.row.smallest:
        sides = f'at least {small.row.smallest}x{small.row.smallest}'
        with pytest.raises(UserError, match=f'7x5 pixels.*{sides}'):
            predict(small, size)
        return
    prediction = predict(small, size)
    assert prediction.seg_logits.data.shape[1:] == size
    assert prediction.pred_sem_seg.data.shape == (1, *size)
    assert prediction.seg_logits.data.isfinite().all()
