import copy

import pytest
from mmengine.config import Config

from mmlayerwise.utils.config_check import check_config, find_problems
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.signatures import keyword_arguments

mmdet = pytest.importorskip('mmdet')


@pytest.fixture(scope='module')
def stock():
    from mmengine.hub import get_config

    return get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py')


def problems(cfg: Config) -> list[str]:
    return [str(problem) for problem in find_problems(cfg)]


def changed(cfg: Config, **changes) -> Config:
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return cfg


def test_a_stock_config_has_no_problem(stock):
    check_config(stock)


def test_registries_that_a_toolbox_lacks_are_no_matter_of_warnings(stock, caplog):
    check_config(stock)
    assert 'Failed to search registry' not in caplog.text


def test_a_misspelt_key_deep_in_the_model_is_named_with_its_path(stock):
    cfg = changed(stock, model__bbox_head__loss_cls__gama=1.5)
    assert problems(cfg) == [
        "model.bbox_head.loss_cls: FocalLoss has no argument 'gama'; did you mean 'gamma'?"
    ]
    with pytest.raises(UserError, match=r'model\.bbox_head\.loss_cls: FocalLoss has no argument'):
        check_config(cfg)


def test_a_wrong_type_lists_the_close_names(stock):
    (problem,) = problems(changed(stock, model__backbone__type='ResNett'))
    assert problem.startswith(
        "model.backbone: no component 'ResNett' in the registry 'model' of scope 'mmdet'; "
        'close names: ResNet'
    )


def test_all_problems_are_reported_at_once(stock):
    cfg = changed(
        stock,
        model__neck__out_chanels=128,
        train_dataloader__sampler__shufle=True,
        optim_wrapper__optimizer__momentun=0.9,
        default_hooks__checkpoint__intervall=1,
    )
    cfg.train_dataloader.dataset.pipeline[2].type = 'Resise'
    cfg.param_scheduler[0].start_facto = 0.1
    found = problems(cfg)
    assert [problem.partition(':')[0] for problem in found] == [
        'model.neck',
        'train_dataloader.sampler',
        'train_dataloader.dataset.pipeline[2]',
        'optim_wrapper.optimizer',
        'param_scheduler[0]',
    ]
    # CheckpointHook keeps any keyword, so that one cannot be told to be wrong.


def test_a_package_that_is_not_installed_is_named(stock):
    (problem,) = problems(changed(stock, model__backbone__type='mmnowhere.ResNet'))
    assert "needs the package 'mmnowhere', which is not installed" in problem


def test_a_type_nobody_knows_points_at_custom_imports(stock):
    (problem,) = problems(changed(stock, model__backbone__type='Qwertzuiop'))
    assert problem.endswith('register it in a module that custom_imports names')


def test_a_prefixed_type_is_looked_up_in_its_own_scope(stock):
    hook = {'type': 'mmlayerwise.RandomStateHook', 'priority': 'LOW'}
    assert problems(changed(stock, custom_hooks=[hook])) == []
    wrong = {'type': 'mmlayerwise.RandomStatHook'}
    (problem,) = problems(changed(stock, custom_hooks=[wrong]))
    assert "'hook' of scope 'mmlayerwise'; close names: RandomStateHook" in problem


def test_settings_with_a_type_of_their_own_are_left_alone(stock):
    cfg = changed(stock, model__test_cfg__nms={'type': 'soft_nms', 'iou_threshold': 0.5})
    cfg.model.backbone.norm_cfg = {'type': 'BN', 'requires_grad': False}
    assert problems(cfg) == []


def test_a_loop_is_either_typed_or_by_epoch(stock):
    cfg = changed(stock, train_cfg={'type': 'EpochBasedTrainLoop', 'by_epoch': True})
    cfg.train_cfg.max_epochs = 1
    assert problems(cfg) == ["train_cfg: it has both 'type' and 'by_epoch'; give one of them"]


class Base:
    def __init__(self, width, depth=1):
        self.size = width, depth


class Passing(Base):
    def __init__(self, name, **kwargs):
        super().__init__(**kwargs)


class Popping(Base):
    def __init__(self, name, **kwargs):
        self.other = kwargs.pop('other', None)
        super().__init__(**kwargs)


class Collecting:
    def __init__(self, **kwargs):
        self.all = kwargs


def test_keywords_are_followed_to_super_and_no_further():
    assert keyword_arguments(Base) == {'width', 'depth'}
    assert keyword_arguments(Passing) == {'name', 'width', 'depth'}
    assert keyword_arguments(Popping) is None
    assert keyword_arguments(Collecting) is None


def test_a_deprecated_name_is_still_accepted():
    from mmcv.ops import DeformConv2dPack

    assert {'deformable_groups', 'deform_groups'} <= keyword_arguments(DeformConv2dPack)
