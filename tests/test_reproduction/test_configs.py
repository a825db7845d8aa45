import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmlayerwise.reproduction.configs import DOWNLOADS, MODEL_CONFIGS, WIDTHS, build_config
from mmlayerwise.reproduction.settings import Settings
from mmlayerwise.reproduction.tables import TABLES
from mmlayerwise.utils.dataset_sources import SOURCES
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device

PAIRS = sorted(
    {
        (model, dataset)
        for table in TABLES.values()
        for model in table.models
        for dataset in table.datasets
    }
)
CLASSES = {
    'cifar10': 10, 'cifar10_plane_truck': 2, 'cifar10_plane_cat_bird': 3, 'cifar100': 100,
    'fashion_mnist': 10, 'ag_news': 4, 'dbpedia': 14,
}  # fmt: skip

pytest.importorskip('mmdet')


@pytest.fixture
def all_data(tmp_path, monkeypatch):
    """Folders alone, which is what building a config looks for."""
    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(tmp_path))
    for source in SOURCES.values():
        (tmp_path / source.layout).mkdir(parents=True, exist_ok=True)


def logits(cfg, inputs):
    with DefaultScope.overwrite_default_scope('mmlayerwise'), meta_device():
        model = MODELS.build(cfg.model).eval()
    return model.head(model.neck(model.backbone(inputs)))


@pytest.mark.parametrize(('model', 'dataset'), PAIRS)
def test_every_network_classifies_every_data_set_at_its_size(model, dataset, all_data):
    cfg = build_config(model, dataset, 'backpropagation', 3, Settings())
    assert cfg.model.head.num_classes == CLASSES[dataset]
    assert cfg.randomness == {'seed': 3}
    if model.startswith('vdcnn'):
        inputs = torch.zeros(2, 1014, dtype=torch.long, device='meta')
        assert cfg.model.backbone.stem_relu
    else:
        size = 224 if model == 'efficientnet_b0' else 32
        inputs = torch.zeros(2, 3, size, size, device='meta')
        sizes = [s.scale for s in cfg.train_dataloader.dataset.pipeline if s.type == 'Resize']
        assert sizes == ([(224, 224)] if size == 224 else [])
    assert logits(cfg, inputs).shape == (2, CLASSES[dataset])


@pytest.mark.parametrize('model', WIDTHS)
def test_narrow_networks_still_fit_together(model, all_data):
    dataset = 'ag_news' if model.startswith('vdcnn') else 'cifar10'
    narrow = build_config(model, dataset, 'backpropagation', 0, Settings(width=0.25))
    whole = build_config(model, dataset, 'backpropagation', 0, Settings())
    if model.startswith('vdcnn'):
        inputs = torch.zeros(2, 1014, dtype=torch.long, device='meta')
    else:
        inputs = torch.zeros(2, 3, 32, 32, device='meta')
    assert logits(narrow, inputs).shape == logits(whole, inputs).shape
    assert narrow.model.head.in_channels * 4 == whole.model.head.in_channels


def test_every_network_has_narrow_forms():
    assert set(WIDTHS) == set(MODEL_CONFIGS)


def test_small_images_and_a_linear_head(all_data):
    settings = Settings(image_size=16, linear_head=True, width=0.25)
    cfg = build_config('vgg16', 'cifar10', 'backpropagation', 0, settings)
    for split in ('train', 'val'):
        kinds = [step.type for step in cfg[f'{split}_dataloader'].dataset.pipeline]
        assert kinds[-2:] == ['Resize', 'PackClassificationInputs']
    assert cfg.model.head.to_dict() == {
        'type': 'LinearClsHead', 'num_classes': 10, 'in_channels': 128,
    }  # fmt: skip
    assert logits(cfg, torch.zeros(2, 3, 16, 16, device='meta')).shape == (2, 10)


def test_a_part_of_the_data_is_the_first_or_every_nth_sample(all_data):
    settings = Settings(subset=100, test_subset=7)
    cfg = build_config('vgg16', 'cifar10', 'backpropagation', 0, settings)
    assert cfg.train_dataloader.dataset.indices == 100
    assert cfg.val_dataloader.dataset.indices == 7
    # DBpedia's files are sorted by class, 40,000 training and 5,000 test texts each.
    cfg = build_config('vdcnn9', 'dbpedia', 'backpropagation', 0, settings.__class__(
        subset=140, test_subset=14, text_length=128))  # fmt: skip
    labels = [index // 40_000 for index in cfg.train_dataloader.dataset.indices]
    assert [labels.count(label) for label in range(14)] == [10] * 14
    assert [index // 5_000 for index in cfg.val_dataloader.dataset.indices] == list(range(14))
    assert cfg.train_dataloader.dataset.pipeline[0].length == 128


def test_the_configs_own_epochs_keep_its_schedule_and_others_get_one_cycle(all_data):
    own = build_config('vgg16', 'cifar10', 'backpropagation', 0, Settings(epochs=200))
    assert own.param_scheduler.type == 'CosineAnnealingLR'
    short = build_config(
        'vgg16', 'cifar10', 'backpropagation', 0, Settings(epochs=4, learning_rate=0.3)
    )
    assert short.train_cfg.max_epochs == 4
    assert short.param_scheduler.type == 'OneCycleLR'
    assert short.param_scheduler.eta_max == short.optim_wrapper.optimizer.lr == 0.3


def hooks_of(cfg, kind):
    return [hook for hook in cfg.custom_hooks if hook.type == f'mmlayerwise.{kind}']


@pytest.mark.parametrize(
    ('method', 'options'),
    [
        ('backpropagation', None),
        ('eigenvectors', {'step': None}),
        ('qls_frozen', {'freeze': True}),
        ('qls_fine_tuned', {}),
    ],
)
def test_methods_of_the_first_layer(method, options, all_data):
    cfg = build_config('vgg16', 'cifar10', method, 5, Settings(subset=300))
    found = hooks_of(cfg, 'QLSInitHook')
    if options is None:
        assert not found
    else:
        (hook,) = found
        assert dict(hook) == dict(
            type='mmlayerwise.QLSInitHook', num_samples=300, seed=5, **options
        )
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop'
    assert len(hooks_of(cfg, 'SeparationHook')) == 1


@pytest.mark.parametrize(
    ('method', 'layers', 'freeze'),
    [
        ('forward_1', 1, True),
        ('forward_13', 13, True),
        ('layer_wise', 'all', True),
        ('layer_wise_fine_tuned', 'all', False),
    ],
)
def test_methods_that_learn_layers_forward(method, layers, freeze, all_data):
    settings = Settings(
        epochs=7, forward_epochs=4, forward_samples=500, forward_batch_size=50, forward_loss='raw'
    )
    cfg = build_config('vgg16', 'cifar10', method, 5, settings)
    assert cfg.train_cfg.to_dict() == {
        'type': 'mmlayerwise.LayerwiseTrainLoop',
        'num_forward_layers': layers,
        'freeze': freeze,
        'batch_size': 50,
        'loss': {'type': 'mmlayerwise.RawTripletLoss'},
        'num_samples': 500,
        'seed': 5,
        'max_epochs': 7,
        'val_interval': 5,
        'stop': {'type': 'mmlayerwise.SeparationStopRule', 'max_epochs': 4},
    }


@pytest.mark.parametrize('dataset', DOWNLOADS)
def test_missing_data_is_named_with_the_command_that_downloads_it(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', str(tmp_path))
    model = 'vdcnn9' if dataset in ('ag_news', 'dbpedia') else 'vgg16'
    with pytest.raises(UserError, match=f'download_dataset.py {DOWNLOADS[dataset]}`, or set'):
        build_config(model, dataset, 'backpropagation', 0, Settings())


def test_every_network_of_the_tables_has_a_config():
    models = {model for table in TABLES.values() for model in table.models}
    assert models == set(MODEL_CONFIGS)
