"""The compressed model as an entry of a config."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmlayerwise.compression import CompressionError, CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.outputs import every_output
from tests.test_compression.architectures import model_config, shaken
from tests.test_compression.test_apply import halving_plan
from tests.zoo.configs import build

SIZE = (64, 64)


@pytest.fixture(scope='module')
def retinanet():
    """The config of a detector, a plan, and the compressed detector with its weights."""
    config, scope = model_config('retinanet')
    model = shaken(build(config, scope))
    plan = halving_plan(model, SIZE)
    plan.cut = 'backbone.layer3'
    plan.channels = {
        name: kept for name, kept in plan.channels.items() if not name.startswith('bbox_head')
    }
    apply_plan(model, plan, SIZE)
    return config, plan, model


def build_in_mmdet(config: dict) -> nn.Module:
    return build(ConfigDict(config), 'mmdet')


def same_outputs(one: nn.Module, other: nn.Module) -> bool:
    images = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    one.eval(), other.eval()
    with torch.no_grad():
        pairs = zip(every_output(one, images), every_output(other, images), strict=True)
        return all(torch.equal(*pair) for pair in pairs)


def test_gives_the_detector_itself_into_which_the_weights_load(retinanet):
    config, plan, model = retinanet
    rebuilt = build_in_mmdet(
        dict(type='mmlayerwise.CompressedModel', model=config, plan=plan.to_dict())
    )
    assert type(rebuilt) is type(model)
    rebuilt.load_state_dict(model.state_dict())
    assert same_outputs(rebuilt, model)


def test_parts_of_the_original_may_stay_where_they_are(retinanet, tmp_path):
    config, plan, model = retinanet
    plan.save(tmp_path / 'plan.json')
    base = Config(dict(model=config))
    base.merge_from_dict(
        dict(
            model=dict(
                type='mmlayerwise.CompressedModel',
                model=dict(type=config.type),
                plan=str(tmp_path / 'plan.json'),
                input_size=SIZE,
            )
        )
    )
    # As mmdet's and mmseg's interfaces for inference expect it.
    assert 'type' in base.model.backbone
    rebuilt = build(base.model, 'mmdet')
    rebuilt.load_state_dict(model.state_dict())
    assert same_outputs(rebuilt, model)


def test_further_keys_go_to_the_original(retinanet):
    config, plan, _ = retinanet
    test_cfg = dict(config.test_cfg, score_thr=0.42)
    rebuilt = build_in_mmdet(
        dict(
            type='mmlayerwise.CompressedModel',
            model=config,
            plan=plan.instructions(),
            test_cfg=test_cfg,
            data_preprocessor=dict(type='DetDataPreprocessor', mean=[1, 2, 3], std=[1, 1, 1]),
        )
    )
    assert rebuilt.test_cfg.score_thr == 0.42
    assert rebuilt.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_weights_of_pretraining_are_left_out(retinanet):
    config, plan, _ = retinanet
    config = copy.deepcopy(config)
    config.backbone.init_cfg = dict(type='Pretrained', checkpoint='nowhere://resnet18')
    rebuilt = build_in_mmdet(dict(type='mmlayerwise.CompressedModel', model=config, plan=plan))
    assert rebuilt.backbone.init_cfg is None
    rebuilt.init_weights()  # without looking for the file


@pytest.mark.parametrize('nested', [True, False])
def test_a_compressed_model_is_compressed_again(retinanet, nested):
    config, plan, model = retinanet
    again = copy.deepcopy(model)
    name = 'bbox_head.cls_convs.0.conv'
    second = CompressionPlan(fingerprint(again), channels={name: [0, 3, 5]})
    report = apply_plan(again, second, SIZE)
    assert set(report.groups[0].cuts) == {name, 'bbox_head.cls_convs.1.conv'}

    kind = 'mmlayerwise.CompressedModel'
    if nested:
        inner = dict(type=kind, model=config, plan=plan.to_dict())
        rebuilt = build_in_mmdet(dict(type=kind, model=inner, plan=second.to_dict()))
    else:
        plans = [plan.to_dict(), second.to_dict()]
        rebuilt = build_in_mmdet(dict(type=kind, model=config, plan=plans))
    rebuilt.load_state_dict(again.state_dict())
    assert same_outputs(rebuilt, again)


def test_is_copied_and_saved_without_code(retinanet, tmp_path):
    *_, model = retinanet
    copied = copy.deepcopy(model)
    assert same_outputs(copied, model)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    weights = torch.load(tmp_path / 'weights.pth', weights_only=True)
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())


def test_a_runner_trains_it_and_resumes(tmp_path):
    """A classifier through mmengine's Runner, with the preprocessor given beside the model."""
    from mmengine.runner import Runner
    from torch.utils.data import Dataset

    from mmlayerwise.structures import ClassificationDataSample

    class Digits(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            image = torch.full((3, 16, 16), 60 * index, dtype=torch.uint8)
            sample = ClassificationDataSample().set_gt_label(index)
            return dict(inputs=image, data_samples=sample)

    config, scope = model_config('densenet40')
    config.backbone.update(depth=13, growth_rate=4)
    config.head.in_channels = 52
    config.pop('data_preprocessor', None)
    original = build(copy.deepcopy(config), scope)
    name = 'backbone.stages.0.layer0.conv'
    plan = CompressionPlan(fingerprint(original), channels={name: [1, 2]})

    def run(**options):
        runner = Runner(
            model=dict(type='mmlayerwise.CompressedModel', model=config, plan=plan.to_dict()),
            data_preprocessor=dict(mean=[7.0, 7.0, 7.0], std=[50.0, 50.0, 50.0]),
            work_dir=str(tmp_path),
            train_dataloader=dict(
                dataset=Digits(),
                sampler=dict(type='DefaultSampler', shuffle=False),
                batch_size=2,
                collate_fn=dict(type='pseudo_collate'),
            ),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            custom_hooks=[dict(type='EMAHook')],
            default_scope='mmlayerwise',
            experiment_name=f'compressed-{len(options)}-{options["train_cfg"]["max_epochs"]}',
            log_level='WARNING',
            **options,
        )
        return runner, runner.train()

    _, trained = run(train_cfg=dict(by_epoch=True, max_epochs=1))
    assert trained.backbone.stages[0].layer0.conv.out_channels == 2
    assert trained.data_preprocessor.mean.flatten().tolist() == [7.0, 7.0, 7.0]
    runner, _ = run(train_cfg=dict(by_epoch=True, max_epochs=2), resume=True)
    assert runner.epoch == 2
    momentum = runner.optim_wrapper.optimizer.state
    weight = runner.model.backbone.stages[0].layer0.conv.weight
    assert momentum[weight]['momentum_buffer'].shape == weight.shape == (2, 16, 3, 3)


def test_another_model_is_refused():
    config, scope = model_config('unet')
    plan = CompressionPlan('0' * 64, channels={'decode_head.convs.0.conv': [0]})
    with pytest.raises(CompressionError, match='made for another model'):
        build(
            ConfigDict(type='mmlayerwise.CompressedModel', model=config, plan=plan.to_dict()), scope
        )


def test_the_type_of_the_original_is_asked_for():
    with (
        DefaultScope.overwrite_default_scope('mmdet'),
        pytest.raises(CompressionError, match='without `type`'),
    ):
        MODELS.build(dict(type='mmlayerwise.CompressedModel', model={}, plan={}))


def test_a_missing_plan_is_named(tmp_path):
    config, scope = model_config('unet')
    path = str(tmp_path / 'absent.json')
    with pytest.raises(CompressionError, match=r'absent\.json is no readable JSON'):
        build(ConfigDict(type='mmlayerwise.CompressedModel', model=config, plan=path), scope)
