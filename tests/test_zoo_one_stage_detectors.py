"""What the layer-wise tools do to every system of the one-stage family of detection.

Each row is a small form of one system; a step of YOLOX's road map that has the network of the step
before has none. What can't be done stands in ``refused`` and, with its reason, in the system's
entry of the zoo.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import TRANSFORMS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

pytest.importorskip('mmdet')

from mmlayerwise.compression import CompressionError, CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.exactness import largest_difference
from mmlayerwise.compression.outputs import every_output
from mmlayerwise.engine.compression import Compressed
from mmlayerwise.engine.launch import build_runner
from mmlayerwise.utils.meta_device import meta_device
from tests.test_compression.architectures import shaken
from tests.test_compression.test_apply import halving_plan
from tests.test_tools import painted_scenes
from tests.zoo.small import Small as SmallModel
from tests.zoo.small import compress_run, load_compressed

OUTPUTS = 'they are outputs of the model'
EVERY_MAP = 'has layers for each map of the backbone'
BUDGET = 0.7


@dataclass(frozen=True)
class Row:
    """One system.

    Attributes:
        config: Name of its config in the zoo.
        layers: How many layers the hook measures.
        cut: A layer of the backbone to cut behind.
        fresh: Layers that read another map behind the cut and are new.
        refused: A layer where it can't be cut, and part of the message.
        whole: Layers whose channels go in blocks only, of which a scattered half breaks every one.
        transforms: What its images need beside being loaded.
    """

    config: str
    layers: int
    cut: str | None = None
    fresh: tuple[str, ...] = ()
    refused: tuple[str, str] | None = None
    whole: tuple[str, ...] = ()
    transforms: tuple[dict[str, Any], ...] = ()


@TRANSFORMS.register_module()
class NoteBorder(BaseTransform):
    """Note an empty border, as the stock CenterNet asks for."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        height, width = results['img_shape']
        results['border'] = (0, height, 0, width)
        return results


IN_THE_LAST_STAGE = dict(
    cut='backbone.conv_res_block5.res0', refused=('backbone.conv_res_block4.res7', EVERY_MAP)
)
ROWS = {
    'YOLOv1': Row(
        'yolov1_8xb8-135e_voc0712',
        6,
        'backbone.stage5.1',
        refused=('backbone.stage4.4', 'weights for a grid of 2x2'),
    ),
    'YOLOv1, locally connected': Row(
        'yolov1-local_8xb8-135e_voc0712',
        6,
        'backbone.stage5.1',
        refused=('backbone.stage4.4', 'weights for a grid of 2x2'),
    ),
    'YOLOv2': Row(
        'yolov2_d19_8xb8-ms-160e_coco',
        4,
        'backbone.conv_res_block5.3',
        refused=('backbone.conv_res_block4.5', EVERY_MAP),
        whole=('neck.passthrough_conv.conv',),
    ),
    'YOLO9000': Row(
        'yolo9000_d19_8xb8-ms-160e_coco-tree',
        6,
        'backbone.conv_res_block5.3',
        refused=('backbone.conv_res_block4.5', 'anchors of YOLO9000Head are made for the strides'),
    ),
    'YOLOv4': Row(
        'yolov4_csp53_8xb8-mosaic-273e_coco', 9, refused=('backbone.conv_res_block4', EVERY_MAP)
    ),
    'EfficientDet-D0': Row(
        'efficientdet-d0_effb0_bifpn_8xb16-crop512-300e_coco',
        15,
        'backbone.layers.5.2',
        fresh=('neck.downward_laterals.2.0', 'neck.upward_laterals.1.0', 'neck.extra_lateral.0'),
        refused=('backbone.layers.4.5', EVERY_MAP),
    ),
    'CenterNet, Hourglass-104': Row(
        'centernet_hg104_8xb3-crop512-50e_coco',
        8,
        refused=('backbone.conv1x1s.0', 'no rule for cutting HourglassNet'),
    ),
    'CenterNet, DLA-34': Row(
        'centernet_dla34-dcnv2_8xb16-crop512-140e_coco',
        8,
        refused=('backbone.levels.4', 'no rule for cutting DLANet'),
    ),
    'CenterNet, ResNet-18': Row(
        'centernet_r18-dcnv2_8xb16-crop512-140e_coco',
        8,
        'backbone.layer3.1',
        fresh=('neck.deconv_layers.2.conv', 'neck.deconv_layers.2.conv.conv_offset'),
        transforms=(dict(type='NoteBorder'),),
    ),
    'YOLOv3-SPP': Row('yolov3-spp_d53_8xb8-300e_coco', 9, **IN_THE_LAST_STAGE),
    'YOLOv3-SPP, decoupled head': Row(
        'yolov3-spp-decoupled_d53_8xb8-300e_coco', 12, **IN_THE_LAST_STAGE
    ),
    'YOLOX': Row('yolox_d53_8xb8-300e_coco', 12, **IN_THE_LAST_STAGE),
    'YOLOX, without NMS': Row('yolox-nms-free_d53_8xb8-300e_coco', 15, **IN_THE_LAST_STAGE),
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
    found = Small.of(request.param.config, 'det', row=request.param)
    with DefaultScope.overwrite_default_scope(found.scope):
        yield found


@pytest.fixture(scope='module')
def original(small: Small) -> nn.Module:
    """With weights under which every layer matters, in double precision."""
    return shaken(small.build()).double()


def test_half_of_the_channels_go_and_the_rest_computes_what_it_did(
    small: Small, original: nn.Module
) -> None:
    images, plan = small.images(), halving_plan(original, small.size)
    smaller = copy.deepcopy(original)
    report = apply_plan(smaller, plan, small.size)
    assert report.untraced == []
    kept = {name: reason for name, reason in report.skipped.items() if reason != OUTPUTS}
    assert tuple(kept) == small.row.whole
    assert all('others that stay belong to them' in reason for reason in kept.values())
    assert largest_difference(original, smaller, report, images) < 1e-9
    with torch.no_grad():
        pairs = zip(every_output(original, images), every_output(smaller, images), strict=True)
        assert all((one - other).abs().max() > 1e-3 for one, other in pairs)
    assert report.after.parameters < 0.35 * report.before.parameters
    assert report.after.flops < 0.4 * report.before.flops

    with meta_device():
        rebuilt = small.build()
    apply_plan(rebuilt, CompressionPlan.from_dict(plan.instructions()), small.size)
    shapes = {key: value.shape for key, value in rebuilt.state_dict().items()}
    assert shapes == {key: value.shape for key, value in smaller.state_dict().items()}


def test_it_is_cut_in_depth_or_the_reason_is_told(small: Small, original: nn.Module) -> None:
    row, identity = small.row, fingerprint(original)
    if row.refused:
        layer, reason = row.refused
        with pytest.raises(CompressionError, match=reason):
            apply_plan(copy.deepcopy(original), CompressionPlan(identity, cut=layer), small.size)
    if not row.cut:
        return
    smaller = copy.deepcopy(original)
    report = apply_plan(smaller, CompressionPlan(identity, cut=row.cut), small.size)
    assert report.dropped
    assert tuple(report.fresh) == row.fresh
    assert report.after.parameters < report.before.parameters
    with torch.no_grad():
        found, expected = (every_output(one, small.images()) for one in (smaller, original))
    assert [one.shape[:2] for one in found] == [one.shape[:2] for one in expected]
    # What stays keeps its weights.
    state = original.state_dict()
    assert all(
        torch.equal(value, state[key])
        for key, value in smaller.state_dict().items()
        if not key.startswith(row.fresh or ' ')
    )


@dataclass
class Trained:
    """A run of a row.

    Attributes:
        cfg: Its config.
        runner: After the run.
        before: Parameters at its beginning.
    """

    cfg: Config
    runner: Runner
    before: dict[str, Tensor] = field(default_factory=dict)


class Remember(Hook):
    """Notes the parameters before any other hook sees them."""

    priority = 'HIGHEST'

    def __init__(self, before: dict[str, Tensor]) -> None:
        self.before = before

    def before_train(self, runner: Runner) -> None:
        for name, parameter in runner.model.named_parameters():
            self.before[name] = parameter.detach().clone()


@pytest.fixture(scope='module')
def trained(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One step that learns nothing, with quasi least squares before and the measure behind it."""
    cfg = small.run_config(
        'digit_scenes_detection.py',
        tmp_path_factory.mktemp('run'),
        num_scenes=12,
        num_digits=(1, 2),
        digit_size=(24, 48),
    )
    cfg.custom_imports = dict(imports=['mmlayerwise', painted_scenes.__name__])
    cfg.optim_wrapper.optimizer = dict(type='SGD', lr=0.0)
    cfg.randomness = dict(seed=0)
    for split in ('train', 'val', 'test'):
        pipeline = cfg[f'{split}_dataloader'].dataset.pipeline
        # Colours, which random features tell apart.
        pipeline[-1:-1] = [dict(type='PaintTruth'), *small.row.transforms]
        if small.row.transforms and split != 'train':
            pipeline[-1].meta_keys += ('border',)
    run = Trained(cfg, build_runner(copy.deepcopy(cfg)))
    run.runner.register_hook(Remember(run.before))
    run.runner.train()
    return run


def test_quasi_least_squares_learn_the_first_convolution_and_nothing_else(trained: Trained) -> None:
    record = json.loads(Path(trained.cfg.work_dir, 'qls.json').read_text())
    model = trained.runner.model
    first = next(name for name, one in model.named_modules() if isinstance(one, nn.Conv2d))
    assert record['layer'] == first
    assert record['samples'] == 'box'
    assert all(0 <= epoch['separation_index'] <= 1 for epoch in record['history'])
    changed = {
        name
        for name, parameter in model.named_parameters()
        if not torch.equal(parameter, trained.before[name])
    }
    own = {f'{first}.{name}' for name, _ in model.get_submodule(first).named_parameters()}
    assert changed == own
    assert Path(trained.cfg.work_dir, 'qls_filters.png').is_file()


def test_every_listed_layer_has_a_separation_index(small: Small, trained: Trained) -> None:
    record = json.loads(Path(trained.cfg.work_dir, 'separation.json').read_text())
    (measured,) = record['measurements']
    assert len(measured['layers']) == small.row.layers
    for layer in measured['layers']:
        assert layer['error'] is None
        assert 0 <= layer['index'] <= 1
        assert layer['num_samples'] == measured['layers'][0]['num_samples'] > 12


@pytest.fixture(scope='module')
def compressed(trained: Trained) -> Compressed:
    """What the tool leaves of the run in the folder ``compressed`` beside it."""
    return compress_run(trained.cfg, trained.runner.model, BUDGET)


def test_a_budget_is_met_and_the_small_model_is_loaded_again(
    small: Small, trained: Trained, compressed: Compressed
) -> None:
    savings, smaller = compressed.result.planned.plan.savings, compressed.result.model
    assert savings.after.flops <= BUDGET * savings.before.flops
    assert savings.after.parameters < savings.before.parameters
    assert savings.after.parameters == sum(one.numel() for one in smaller.parameters())

    loaded = load_compressed(trained.cfg, small.scope)
    batch = next(iter(trained.runner.val_dataloader))
    found, expected = (
        [sample.pred_instances for sample in model.eval().test_step(copy.deepcopy(batch))]
        for model in (loaded, smaller)
    )
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.bboxes, other.bboxes)


def test_the_small_model_trains_on(trained: Trained, compressed: Compressed) -> None:
    smaller = copy.deepcopy(compressed.result.model).train()
    before = {name: one.detach().clone() for name, one in smaller.named_parameters()}
    optimizer = OptimWrapper(torch.optim.SGD(smaller.parameters(), lr=1e-3))
    losses = smaller.train_step(next(iter(trained.runner.train_dataloader)), optimizer)
    assert torch.isfinite(losses['loss'])
    changed = [
        name for name, one in smaller.named_parameters() if not torch.equal(one, before[name])
    ]
    assert len(changed) > 0.5 * len(before)
