import copy

import pytest
import yaml

from mmlayerwise.engine.side_by_side import Comparison, choose_metrics, prepare
from mmlayerwise.engine.side_by_side_table import read_results, table_of
from mmlayerwise.utils.errors import UserError
from tests.test_tools.tools import ROOT

VALUES = dict(
    dataset=str(ROOT / 'configs/_base_/datasets/digit_scenes_detection.py'),
    document='docs/page.md',
    metrics={'mAP': 'coco/bbox_mAP'},
    image_size=[160, 160],
    iterations=20,
    batch_size=4,
    learning_rate=0.01,
    systems=dict(
        Narrow=dict(
            config=str(ROOT / 'configs/yolov2/yolov2_d19_8xb8-ms-160e_coco.py'),
            full_size=[416, 416],
            model={'backbone.widen_factor': 0.25},
            note='a quarter of the widths.',
        ),
        Scaled=dict(
            config='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
            full_size=[800, 1333],
            scale=[96, 64],
            learning_rate=0.5,
        ),
    ),
)


def load(tmp_path, **changes):
    path = tmp_path / 'some.yml'
    path.write_text(yaml.safe_dump({**copy.deepcopy(VALUES), **changes}))
    return Comparison.load(path)


def result(system='Narrow', mean=0.25):
    return dict(
        system=system,
        config='configs/a/b.py',
        metrics={'mAP': mean},
        frames_per_second=12.34,
        trained=dict(input=[160, 160], parameters=3_200_000, multiply_adds=140_000_000),
        full_size=dict(input=[416, 416], parameters=50_960_000, multiply_adds=14_730_000_000),
    )


def test_a_comparison_is_named_after_its_file(tmp_path):
    comparison = load(tmp_path)
    assert comparison.name == 'some'
    assert [one.name for one in comparison.systems] == ['Narrow', 'Scaled']
    assert [one.name for one in comparison.choose(['Scaled'])] == ['Scaled']
    with pytest.raises(UserError, match='no system Wide; choose from Narrow, Scaled'):
        comparison.choose(['Wide'])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(epochs=3), 'unknown key epochs; choose from .*iterations'),
        (dict(systems={'A': {'config': 'a.py', 'size': 3}}), 'A: unknown key size'),
        (dict(systems={'A': {'config': 'a.py'}}), "A: missing .* 'full_size'"),
        (dict(systems=['A']), 'a mapping of names'),
    ],
)
def test_a_wrong_comparison_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, **changes)


def test_every_system_gets_the_data_and_the_budget_and_keeps_its_losses(tmp_path):
    pytest.importorskip('mmdet')
    comparison = load(tmp_path)
    narrow, scaled = [prepare(comparison, one, str(tmp_path)) for one in comparison.systems]
    for cfg in (narrow, scaled):
        assert cfg.train_dataloader.dataset.type == 'mmlayerwise.DigitScenes'
        assert cfg.train_dataloader.batch_size == 4
        assert cfg.train_cfg.max_iters == cfg.param_scheduler.total_steps == 20
        assert cfg.model.bbox_head.num_classes == 10
        assert not cfg.custom_hooks
    assert narrow.model.backbone.widen_factor == 0.25
    assert [cfg.optim_wrapper.optimizer.lr for cfg in (narrow, scaled)] == [0.01, 0.5]
    assert 'batch_augments' not in narrow.model.data_preprocessor
    assert scaled.model.bbox_head.loss_cls.type == 'FocalLoss'


def test_images_are_scaled_before_the_truth_is_loaded_in_testing_only(tmp_path):
    pytest.importorskip('mmdet')
    comparison = load(tmp_path)
    cfg = prepare(comparison, comparison.systems[1], str(tmp_path))
    train, test = (
        [one['type'].removeprefix('mmdet.') for one in loader.dataset.pipeline]
        for loader in (cfg.train_dataloader, cfg.test_dataloader)
    )
    assert train == ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'PackDetInputs']
    assert test == ['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackDetInputs']
    assert cfg.test_dataloader.dataset.pipeline[1]['scale'] == (96, 64)


def test_a_segmentor_gets_the_size_of_the_data(tmp_path):
    pytest.importorskip('mmseg')
    system = dict(
        config='mmseg::unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py', full_size=[512, 1024]
    )
    comparison = load(
        tmp_path,
        dataset=str(ROOT / 'configs/_base_/datasets/digit_scenes_segmentation.py'),
        systems={'U-Net': system},
    )
    cfg = prepare(comparison, comparison.systems[0], str(tmp_path))
    assert cfg.model.data_preprocessor.size == (160, 160)
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 13
    assert cfg.model.test_cfg.mode == 'whole'


def test_a_classifier_is_refused(tmp_path):
    system = dict(config=str(ROOT / 'configs/quickstart/classification.py'), full_size=[8, 8])
    comparison = load(tmp_path, systems={'C': system})
    with pytest.raises(UserError, match='systems of mmdet and mmseg can be compared'):
        prepare(comparison, comparison.systems[0], str(tmp_path))


def test_no_detection_at_all_counts_as_zero_and_a_wrong_name_as_an_error():
    names = {'mAP': 'coco/bbox_mAP'}
    assert choose_metrics({}, names) == {'mAP': 0.0}
    assert choose_metrics({'coco/bbox_mAP': 0.5, 'x': 1}, names) == {'mAP': 0.5}
    with pytest.raises(UserError, match='gives no coco/bbox_mAP; choose from mIoU'):
        choose_metrics({'mIoU': 1.0}, names)


def test_the_table_has_a_line_a_system_and_the_notes(tmp_path):
    lines = table_of(load(tmp_path), [result()]).splitlines()
    assert lines[2] == (
        '| [Narrow](../configs/a/b.py) | 0.250 | 12.3 | 160x160 | 3.20 M | 0.14 G '
        '| 416x416 | 50.96 M | 14.73 G |'
    )
    assert lines[0].count('|') == lines[1].count('|') == lines[2].count('|')
    assert lines[-1] == '- Narrow: a quarter of the widths.'


def test_systems_without_a_result_are_left_out(tmp_path):
    comparison = load(tmp_path)
    (tmp_path / 'retinanet_r50_fpn_1x_coco.json').write_text('{"system": "Scaled"}')
    assert read_results(comparison, tmp_path) == [{'system': 'Scaled'}]


def test_without_results_the_table_says_so(tmp_path):
    assert table_of(load(tmp_path), []) == 'Nothing has been run yet.\n'
