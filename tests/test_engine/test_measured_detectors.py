"""Real detectors of mmdet, measured as their structure asks for."""

import json
from pathlib import Path

import pytest
import torch

from mmlayerwise.engine.separation import InferenceForward, MeasuringData, ground_truth
from mmlayerwise.separation import InstanceSamples, SeparationMeter, Taps, Trace
from mmlayerwise.separation.record import SeparationRecord
from tests.test_engine.test_hooks.runs import log_of, runner_of, tiny_config

pytest.importorskip('mmdet')


@pytest.fixture(scope='module')
def runner(tmp_path_factory):
    """RetinaNet, three levels of stride 8, 16 and 32, measured by the boxes of each level."""
    samples = dict(type='BoxSamples', levels='assigned', max_per_image=200)
    hook = dict(samples=samples, pooling={r'neck.*': 'average'}, class_scalars=True)
    cfg = tiny_config('detection', tmp_path_factory.mktemp('retinanet'), hook)
    cfg.default_hooks.checkpoint = None
    cfg.visualizer = dict(
        type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'
    )
    found = runner_of(cfg)
    found.val()
    return found


@pytest.fixture(scope='module')
def layers(runner):
    record = SeparationRecord.load(f'{runner.work_dir}/separation.json')
    return {layer.name: layer for layer in record.measurements[0].profile.layers}


def assigned_levels(runner):
    """The level of every validation box, by the anchors that RetinaNet's own assigner gives it."""
    from mmdet.models.task_modules.assigners import MaxIoUAssigner
    from mmengine.structures import InstanceData

    assigner = MaxIoUAssigner(pos_iou_thr=0.99, neg_iou_thr=0.4, min_pos_iou=0)
    head = runner.model.bbox_head
    found = []
    for data in runner.val_dataloader:
        data = runner.model.data_preprocessor(data, False)
        for sample in data['data_samples']:
            truth = ground_truth(sample, 0, tuple(data['inputs'].shape[-2:]))
            maps = [tuple(-(-side // s) for side in truth.size) for s in (8, 16, 32)]
            priors = head.prior_generator.grid_priors(maps, device='cpu')
            level = torch.cat([torch.full((len(p),), n) for n, p in enumerate(priors)])
            for box in truth.boxes:
                given = assigner.assign(
                    InstanceData(priors=torch.cat(priors)),
                    InstanceData(bboxes=box[None], labels=torch.zeros(1, dtype=torch.int64)),
                )
                found.append(int(level[given.gt_inds > 0].min()))
    return torch.tensor(found).bincount(minlength=3).tolist()


def test_every_box_counts_on_the_level_that_the_detector_assigns_it_to(runner, layers):
    expected = assigned_levels(runner)
    assert sum(count > 0 for count in expected) > 1
    assert [layers[f'neck[{n}]'].num_samples for n in range(3)] == expected
    for side in ('cls', 'reg'):
        towers = [layers[f'bbox_head.{side}_convs.1.conv#{n}'] for n in range(3)]
        assert [tower.num_samples for tower in towers] == expected
        assert [tower.level for tower in towers] == [0, 1, 2]
    for n in range(3):
        backbone = layers[f'backbone[{n}]']
        assert (backbone.num_samples, backbone.level) == (sum(expected), None)
        assert backbone.error is None


def test_a_level_with_too_few_boxes_is_noted(layers):
    lacking = [layer for layer in layers.values() if layer.index is None]
    for layer in lacking:
        assert layer.error == (
            f'The detector assigns {layer.num_samples} of the objects to this level; an index '
            'needs two classes and two images.'
        )
    assert any(layer.index is not None for name, layer in layers.items() if 'neck' in name)


def test_the_pooling_of_some_layers_is_theirs_alone(layers):
    measured = {name: layer.dimension for name, layer in layers.items() if layer.dimension}
    assert measured['backbone[0]'] == 16 * 9
    assert {size for name, size in measured.items() if 'neck' in name} == {16}
    assert {size for name, size in measured.items() if 'bbox_head' in name} == {16 * 9}


def test_sizes_and_classes_are_in_table_and_scalars(runner, layers):
    log = log_of(runner.work_dir)
    assert 'lowest class' in log
    assert ' level ' in log
    sizes = layers['backbone[0]'].per_size
    assert sum(count for _, count in sizes.values()) == layers['backbone[0]'].num_samples
    lines = [
        json.loads(line)
        for path in Path(runner.work_dir).glob('*/vis_data/*.json')
        for line in path.read_text().splitlines()
        if 'separation/backbone[0]' in line
    ]
    for size, (index, _) in sizes.items():
        assert lines[0][f'separation/backbone[0]/size/{size}'] == pytest.approx(index)
    for name, (index, _) in layers['backbone[0]'].per_class.items():
        assert lines[0][f'separation/backbone[0]/class/{name}'] == pytest.approx(index)


def test_the_activation_that_a_proposal_head_calls_is_part_of_its_layer():
    """mmdet's RPNHead calls F.relu on what its convolution returns."""
    from mmdet.models.dense_heads import RPNHead

    head = RPNHead(in_channels=4, feat_channels=4).eval()
    features = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)]
    found = Trace(head, lambda: head(features)).select('auto')
    assert [layer.name for layer in found] == [
        f'rpn_{part}#{n}' for n in (0, 1) for part in ('conv', 'cls', 'reg')
    ]
    assert [layer.tap.activation for layer in found] == [True, False, False] * 2
    read = {}
    taps = [layer.tap for layer in found]
    with (
        torch.no_grad(),
        Taps(head, taps, lambda tap, output: read.update({tap.name: output.clone()})) as taps,
    ):
        taps.run(lambda: head(features))
        expected = head.rpn_conv(features[1]).relu()
    assert torch.equal(read['rpn_conv#1'], expected)


def test_a_recursive_pyramid_gives_one_entry_a_call():
    """DetectoRS runs the pyramid twice and a copy of the backbone in between."""
    from mmdet.models.necks import RFP

    torch.manual_seed(0)
    neck = RFP(
        rfp_steps=2,
        rfp_backbone=dict(
            type='mmdet.DetectoRS_ResNet',
            depth=50,
            base_channels=4,
            stem_channels=4,
            rfp_inplanes=8,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            norm_cfg=dict(type='BN'),
            conv_cfg=None,
            style='pytorch',
        ),
        aspp_out_channels=2,
        aspp_dilations=(1, 3, 6, 1),
        in_channels=[16, 32, 64, 128],
        out_channels=8,
        num_outs=4,
    ).eval()
    image = torch.randn(1, 3, 32, 32)
    sides = (8, 4, 2, 1)
    maps = [torch.randn(1, c, s, s) for c, s in zip((16, 32, 64, 128), sides, strict=True)]
    found = Trace(neck, lambda: neck((image, *maps))).select('auto')
    names = [layer.name for layer in found]
    lateral = [name for name in names if name.startswith('lateral_convs.0')]
    assert lateral == ['lateral_convs.0.conv#0', 'lateral_convs.0.conv#1']
    inner = [n for n, name in enumerate(names) if name.startswith('rfp_modules.0.layer1')]
    first, second = (names.index(name) for name in lateral)
    assert first < min(inner) < max(inner) < second


def test_instances_of_coco_have_the_areas_that_are_annotated(data_root):
    """Masks of a pipeline that halves the images, measured in a small network."""
    from mmdet.datasets import CocoDataset
    from mmdet.models import DetDataPreprocessor
    from mmengine.dataset import pseudo_collate

    dataset = CocoDataset(
        data_root=str(data_root / 'coco_mini'),
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        indices=6,
        pipeline=[
            dict(type='mmdet.LoadImageFromFile'),
            dict(type='mmdet.Resize', scale_factor=0.5, keep_ratio=True),
            dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
            dict(type='mmdet.PackDetInputs'),
        ],
    )

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.data_preprocessor = DetDataPreprocessor(pad_size_divisor=32)
            self.conv = torch.nn.Conv2d(3, 4, 3, stride=8, padding=1)

        def forward(self, inputs, data_samples=None, mode='tensor'):
            return torch.relu(self.conv(inputs))

    model = Network()
    data = MeasuringData(dataset, 2, pseudo_collate)
    data.images = list(range(len(dataset)))
    sampler = InstanceSamples(max_per_image=100)
    pairs = []
    for batch in data.batches(model):
        for truth in batch.truths:
            known = dataset.get_data_info(truth.image)['instances']
            annotated = [one for one in known if not one['ignore_flag']]
            found = sampler.candidates(truth, 0)
            assert len(truth.masks) == len(annotated)
            areas = truth.masks.flatten(1).sum(1) * 4.0
            pairs += zip(areas.tolist(), [one['mask'] for one in annotated], strict=True)
            visible = truth.masks.flatten(1).any(1)
            # The sides of a halved image are rounded.
            halved = areas[visible].sort().values.double()
            assert torch.allclose(found.areas.sort().values, halved, rtol=0.01)
    assert len(pairs) > 20
    large = [(area, polygon_area(mask)) for area, mask in pairs if polygon_area(mask) > 32**2]
    for area, expected in large:
        assert area == pytest.approx(expected, rel=0.12)
    meter = SeparationMeter(samples=sampler, classes=dataset.metainfo['classes'])
    layer = meter.measure(model, data.batches(model), InferenceForward())['conv']
    assert layer.dimension == 4
    assert sum(count for _, count in layer.per_size.values()) == layer.num_samples


def polygon_area(polygons):
    """Area of an annotated mask, by the shoelace formula."""
    total = 0.0
    for polygon in polygons:
        x, y = torch.tensor(polygon, dtype=torch.float64).view(-1, 2).T
        total += float(abs((x * y.roll(-1) - y * x.roll(-1)).sum()) / 2)
    return total
