"""The rules are compared with what the detectors themselves do with the boxes."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmlayerwise.separation import BoxSamples, GroundTruth, Layer, Tap
from mmlayerwise.separation.levels import PyramidLevels, pyramid_levels

SIZE = (256, 320)


def boxes(count=60, seed=0):
    """Boxes of all scales within the image."""
    generator = torch.Generator().manual_seed(seed)
    sides = 2 ** (torch.rand(count, 2, generator=generator) * 5 + 3)
    limit = torch.tensor([SIZE[1], SIZE[0]]).float()
    sides = sides.minimum(limit)
    corner = torch.rand(count, 2, generator=generator) * (limit - sides)
    return torch.cat([corner, corner + sides], 1)


@pytest.fixture(scope='module')
def models():
    pytest.importorskip('mmdet')
    import mmdet.models  # noqa: F401
    from mmengine.registry import MODELS, DefaultScope

    DefaultScope.get_instance('levels', scope_name='mmdet')

    def build(cfg):
        return MODELS.build(dict(cfg, type=f'mmdet.{cfg["type"]}')).eval()

    return build


class Detector(nn.Module):
    """A detector's heads, without backbone and neck."""

    def __init__(self, **heads):
        super().__init__()
        for name, head in heads.items():
            setattr(self, name, head)


def anchors(*strides):
    return dict(
        type='mmdet.AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1, 2],
        strides=list(strides),
    )  # fmt: skip


def retina_head(models):
    return models(
        dict(
            type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
            anchor_generator=anchors(8, 16, 32),
        )
    )  # fmt: skip


def region_head():
    """As mmdet's, whose region extractor needs operators."""
    extractor = nn.Module()
    extractor.featmap_strides = [4, 8, 16, 32]

    def map_roi_levels(regions, num_levels):
        scale = ((regions[:, 3] - regions[:, 1]) * (regions[:, 4] - regions[:, 2])).sqrt()
        return (scale / 56).log2().floor().clamp(0, num_levels - 1).long()

    extractor.map_roi_levels = map_roi_levels
    head = nn.Module()
    head.bbox_roi_extractor = nn.ModuleList([extractor, nn.Module()])  # a cascade
    return head


def test_anchors_assign_a_box_to_the_level_where_its_assigner_finds_the_best(models):
    from mmdet.models.task_modules.assigners import MaxIoUAssigner
    from mmengine.structures import InstanceData

    head = retina_head(models)
    found = pyramid_levels(Detector(bbox_head=head))
    assert found.strides == ((8, 8), (16, 16), (32, 32))
    maps = [(256 // s, 320 // s) for s in (8, 16, 32)]
    priors = head.prior_generator.grid_priors(maps, device='cpu')
    level_of_prior = torch.cat([torch.full((len(p),), n) for n, p in enumerate(priors)])
    assigner = MaxIoUAssigner(pos_iou_thr=0.99, neg_iou_thr=0.4, min_pos_iou=0)
    wanted = boxes()
    levels = found.assign(wanted, SIZE)
    assert len(levels.unique()) == 3
    for box, level in zip(wanted, levels.tolist(), strict=True):
        # Alone in the image and with a threshold of 0.99 it is given its best anchors only.
        given = assigner.assign(
            InstanceData(priors=torch.cat(priors)),
            InstanceData(bboxes=box[None], labels=torch.zeros(1, dtype=torch.int64)),
        )
        assert level == level_of_prior[given.gt_inds > 0].min()


def test_ranges_assign_a_box_to_a_level_that_learns_it(models):
    from mmengine.structures import InstanceData

    head = models(
        dict(
            type='FCOSHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
            norm_cfg=None, strides=[8, 16, 32], regress_ranges=((-1, 32), (32, 64), (64, 1e8)),
        )
    )  # fmt: skip
    found = pyramid_levels(Detector(bbox_head=head))
    assert found.strides == ((8, 8), (16, 16), (32, 32))
    # Centred on a cell of each level, so that there is a point at the centre.
    half = boxes(40)[:, 2:] - boxes(40)[:, :2]
    half = half / 2
    centre = torch.tensor([144.0, 144.0])
    wanted = torch.cat([centre - half, centre + half], 1)
    maps = [(288 // s, 288 // s) for s in (8, 16, 32)]
    for box, level in zip(wanted, found.assign(wanted, (288, 288)).tolist(), strict=True):
        points = head.prior_generator.grid_priors(maps, dtype=torch.float32, device='cpu')
        points[level] = torch.cat([points[level], centre[None]])
        truth = InstanceData(bboxes=box[None], labels=torch.zeros(1, dtype=torch.int64))
        labels, _ = head.get_targets(points, [truth])
        assert labels[level][-1] == 0  # the point at the centre learns the box


def test_the_region_extractor_decides_before_the_anchors_of_the_proposals(models):
    head = region_head()
    model = Detector(rpn_head=retina_head(models), roi_head=head)
    found = pyramid_levels(model)
    assert found.strides == ((4, 4), (8, 8), (16, 16), (32, 32))
    squares = torch.tensor([[0, 0, side, side] for side in (10, 111, 113, 230, 460, 900)]).float()
    assert found.assign(squares, None).tolist() == [0, 0, 1, 2, 3, 3]


def test_mmdets_region_extractor_is_asked_itself():
    extractors = pytest.importorskip('mmdet.models.roi_heads.roi_extractors')
    head = region_head()
    real = SimpleNamespace(finest_scale=100)
    rule = extractors.SingleRoIExtractor.map_roi_levels
    extractor = head.bbox_roi_extractor[0]
    extractor.map_roi_levels = lambda regions, count: rule(real, regions, count)
    squares = torch.tensor([[0, 0, side, side] for side in (199, 201, 401, 9000)]).float()
    levels = pyramid_levels(Detector(roi_head=head)).assign(squares, None)
    assert levels.tolist() == [0, 1, 2, 3]


def test_points_follow_the_rule_of_fpn(models):
    head = models(
        dict(
            type='YOLOXHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
            strides=(8, 16, 32),
        )
    )  # fmt: skip
    found = pyramid_levels(Detector(bbox_head=head))
    squares = torch.tensor([[0, 0, side, side] for side in (20, 200, 230, 440, 460, 2000)]).float()
    # FPN: 224 pixels are stride 16; 112 to 223 stride 8; 448 and more stride 32.
    assert found.assign(squares, None).tolist() == [0, 0, 1, 1, 2, 2]


def test_models_without_levels_have_none(models):
    assert pyramid_levels(nn.Conv2d(1, 1, 1)) is None
    one = retina_head(models)
    one.prior_generator.strides = [(16, 16)]
    one.prior_generator.base_anchors = one.prior_generator.base_anchors[:1]
    assert pyramid_levels(Detector(bbox_head=one)) is None


def test_a_map_belongs_to_the_level_of_its_stride():
    levels = PyramidLevels(((8, 8), (16, 16), (32, 32)), None)
    assert [levels.level_of((s, s)) for s in (8.0, 15.2, 17.0, 32.0)] == [0, 1, 1, 2]
    assert [levels.level_of((s, s)) for s in (4.0, 64.0)] == [None, None]
    assert levels.level_of((8.0, 16.0)) is None


def test_no_boxes_have_no_levels():
    levels = PyramidLevels(((8, 8), (16, 16)), None)
    assert levels.assign(torch.zeros(0, 4), SIZE).tolist() == []


def test_a_plugin_may_know_the_model(monkeypatch):
    class Plugins:
        def ask(self, hook, model):
            assert hook == 'pyramid_levels'
            return PyramidLevels(((8, 8),), lambda boxes, size: torch.full((len(boxes),), 7))

    monkeypatch.setattr('mmlayerwise.separation.levels.installed_plugins', Plugins)
    assert pyramid_levels(nn.Conv2d(1, 1, 1)).assign(boxes(2), SIZE).tolist() == [7, 7]


def test_boxes_are_read_on_their_levels_only():
    model = Detector(backbone=nn.Module(), roi_head=region_head())
    sampler = BoxSamples(levels='assigned', output_size=1).for_model(model)
    sides = torch.tensor([20.0, 120.0, 130.0, 250.0])
    truth = GroundTruth(
        2,
        (256, 256),
        boxes=torch.stack([sides * 0, sides * 0, sides, sides], 1),
        box_labels=torch.arange(4),
    )
    image = sampler.candidates(truth, seed=0)
    assert image.levels.tolist() == [0, 1, 1, 2]

    def read(name, stride):
        layer = Layer(Tap(name, name), (1, 3, 256 // stride, 256 // stride))
        part = sampler.for_layer(layer, model, (256, 256))
        found = part.extract(torch.ones(layer.shape), [image], (256, 256))
        return part.level, found.labels.tolist(), (found.ids - image.ids[0]).tolist()

    assert read('neck[0]', 4) == (0, [0], [0])
    assert read('neck[1]', 8) == (1, [1, 2], [1, 2])
    assert read('roi_head.conv#2', 16) == (2, [3], [3])
    assert read('neck[3]', 32) == (3, [], [])
    assert read('neck[4]', 64) == (None, [0, 1, 2, 3], [0, 1, 2, 3])  # no level of the rule
    assert read('backbone[1]', 8) == (None, [0, 1, 2, 3], [0, 1, 2, 3])
