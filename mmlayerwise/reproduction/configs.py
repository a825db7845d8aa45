"""From a cell of a table to a config that trains it, put together from ``configs/``."""

from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from mmlayerwise.engine.launch import find_config
from mmlayerwise.reproduction.methods import METHODS
from mmlayerwise.reproduction.settings import Settings
from mmlayerwise.utils.dataset_sources import SOURCES
from mmlayerwise.utils.errors import UserError

MODEL_CONFIGS = {
    'alexnet': 'alexnet/alexnet_1xb128-200e_cifar10.py',
    'vgg11': 'vgg/vgg11_1xb128-200e_cifar10.py',
    'vgg16': 'vgg/vgg16_1xb128-200e_cifar10.py',
    'resnet50': 'resnet/resnet50_1xb128-200e_cifar10.py',
    'inception_v3': 'inception_v3/inception-v3_1xb128-200e_cifar10.py',
    'efficientnet_b0': 'efficientnet/efficientnet-b0_1xb128-200e_cifar10-224px.py',
    'vdcnn9': 'vdcnn/vdcnn9_1xb128-15e_ag-news.py',
    'vdcnn17': 'vdcnn/vdcnn17_1xb128-15e_ag-news.py',
    'vdcnn29': 'vdcnn/vdcnn29_1xb128-15e_ag-news.py',
}
# Names of the data sets for tools/download_dataset.py.
DOWNLOADS = {
    'cifar10': 'cifar10',
    'cifar10_plane_truck': 'cifar10',
    'cifar10_plane_cat_bird': 'cifar10',
    'cifar100': 'cifar100',
    'fashion_mnist': 'fashion_mnist',
    'ag_news': 'ag_news',
    'dbpedia': 'dbpedia',
}
# Samples of the training and the test split of data sets whose files are sorted by class: of these
# every n-th sample is taken, of the others the first ones.
SORTED = {'dbpedia': (560_000, 70_000)}
# Side of the images as the data configs give them.
NATIVE_SIZE = 32
# Of the separation index per epoch.
MEASURED_SAMPLES = 500


def build_config(model: str, dataset: str, method: str, seed: int, settings: Settings) -> Config:
    """Build the config of one run.

    Args:
        model: Key of the network.
        dataset: Key of the data set.
        method: Key of the method.
        seed: Of the initial weights, the order of the data and the augmentation.
        settings: Size of the run.

    Returns:
        A whole config, without a work directory.

    Raises:
        UserError: If the data is not there.
    """
    cfg = Config.fromfile(find_config(f'mmlayerwise::{MODEL_CONFIGS[model]}'))
    enlarged = [step.scale[0] for step in cfg.test_pipeline if step.type == 'Resize']
    take_dataset(cfg, dataset)
    if cfg.model.backbone.type == 'VDCNN':
        prepare_text(cfg, settings)
    else:
        resize(cfg, settings.image_size or (enlarged[0] if enlarged else NATIVE_SIZE))
    if settings.width != 1:
        scale_width(cfg, model, settings.width)
    if settings.linear_head:
        simplify_head(cfg)
    limit(cfg, dataset, settings)
    schedule(cfg, settings)
    cfg.default_hooks.checkpoint.update(interval=settings.val_interval, max_keep_ckpts=1)
    cfg.randomness = dict(seed=seed)
    METHODS[method].apply(cfg, settings)
    measure = dict(type='mmlayerwise.SeparationHook', layers='auto', max_samples=MEASURED_SAMPLES)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), measure]
    return cfg


def take_dataset(cfg: Config, dataset: str) -> None:
    """Replace the data of a config by another base config's and fit the heads to it.

    Args:
        cfg: The config, changed in place.
        dataset: Name of a file in ``configs/_base_/datasets``.

    Raises:
        UserError: If the data is not there; tells the command that downloads it.
    """
    data = Config.fromfile(find_config(f'mmlayerwise::_base_/datasets/{dataset}.py'))
    for key, value in data.items():
        cfg[key] = value
    root = data.train_dataloader.dataset.data_root
    if not Path(root).is_dir():
        raise UserError(
            f'{dataset} is not in {root}. Download it by `python tools/download_dataset.py '
            f'{DOWNLOADS[dataset]}`, or set the environment variable MMLAYERWISE_DATA_ROOT to the '
            f'folder that holds {SOURCES[DOWNLOADS[dataset]].layout}'
        )
    for name in ('head', 'auxiliary_head'):
        if cfg.model.get(name):
            cfg.model[name].num_classes = data.num_classes


def resize(cfg: Config, size: int) -> None:
    """Let the pipelines give images of another size.

    Args:
        cfg: The config, changed in place.
        size: Height and width in pixels.
    """
    if size == NATIVE_SIZE:
        return
    interpolation = 'area' if size < NATIVE_SIZE else 'bicubic'
    step = dict(type='Resize', scale=(size, size), interpolation=interpolation)
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.pipeline = [*dataset.pipeline[:-1], step, dataset.pipeline[-1]]
    if cfg.model.backbone.type == 'VGG':
        # Five poolings leave nothing of less than 32 pixels otherwise.
        cfg.model.backbone.ceil_mode = True


def prepare_text(cfg: Config, settings: Settings) -> None:
    """Cut texts to a length and put a ReLU behind the first convolution.

    The paper's network has none there, but quasi least squares learn one; with it in all runs these
    differ in nothing else.

    Args:
        cfg: The config, changed in place.
        settings: Size of the run.
    """
    cfg.model.backbone.stem_relu = True
    if settings.text_length:
        for split in ('train', 'val', 'test'):
            cfg[f'{split}_dataloader'].dataset.pipeline[0].length = settings.text_length


def _scale_plain(model: Config, width: float) -> None:
    model.backbone.widen_factor = width
    _scale_head(model.head, width)


def _scale_head(head: Config, width: float) -> None:
    head.in_channels = round(head.in_channels * width)
    if 'mid_channels' in head:
        head.mid_channels = [round(channels * width) for channels in head.mid_channels]


def _scale_resnet(model: Config, width: float) -> None:
    channels = round(64 * width)
    model.backbone.update(base_channels=channels, stem_channels=channels)
    _scale_head(model.head, width)


def _scale_efficientnet(model: Config, width: float) -> None:
    from mmdet.models.utils import make_divisible

    model.backbone.update(type='ScaledEfficientNet', widen_factor=width)
    # The family's numbers of channels are multiples of 8.
    model.head.in_channels = make_divisible(model.head.in_channels * width, 8)


def _scale_vdcnn(model: Config, width: float) -> None:
    model.backbone.base_channels = round(64 * width)
    _scale_head(model.head, width)


WIDTHS: dict[str, Callable[[Config, float], None]] = {
    'alexnet': _scale_plain,
    'vgg11': _scale_plain,
    'vgg16': _scale_plain,
    'resnet50': _scale_resnet,
    'inception_v3': _scale_plain,
    'efficientnet_b0': _scale_efficientnet,
    **dict.fromkeys(('vdcnn9', 'vdcnn17', 'vdcnn29'), _scale_vdcnn),
}


def scale_width(cfg: Config, model: str, width: float) -> None:
    """Make a network narrower or wider.

    Args:
        cfg: The config, changed in place.
        model: Key of the network.
        width: Factor on the channels.
    """
    WIDTHS[model](cfg.model, width)


def simplify_head(cfg: Config) -> None:
    """Replace several fully connected layers by one.

    Args:
        cfg: The config, changed in place.
    """
    head = cfg.model.head
    if head.type == 'StackedLinearClsHead':
        cfg.model.head = dict(
            type='LinearClsHead', num_classes=head.num_classes, in_channels=head.in_channels
        )


def limit(cfg: Config, dataset: str, settings: Settings) -> None:
    """Use part of each split, in batches of the wanted size.

    Args:
        cfg: The config, changed in place.
        dataset: Key of the data set.
        settings: Size of the run.
    """
    totals = SORTED.get(dataset, (None, None))
    for split, number, total in (
        ('train', settings.subset, totals[0]),
        ('val', settings.test_subset, totals[1]),
        ('test', settings.test_subset, totals[1]),
    ):
        loader = cfg[f'{split}_dataloader']
        if number and total and number < total:
            loader.dataset.indices = [place * total // number for place in range(number)]
        else:
            loader.dataset.indices = number
        if settings.device == 'cpu':
            # Workers would compete with the training for the cores, and their time isn't counted.
            loader.update(num_workers=0, persistent_workers=False)
    if settings.batch_size:
        cfg.train_dataloader.batch_size = settings.batch_size


def schedule(cfg: Config, settings: Settings) -> None:
    """Train as long as wanted.

    A config's own number of epochs keeps its schedule; another gets one cycle of the learning rate,
    whose slow start lets deep networks begin to learn in a few epochs.

    Args:
        cfg: The config, changed in place.
        settings: Size of the run.
    """
    if settings.learning_rate:
        cfg.optim_wrapper.optimizer.lr = settings.learning_rate
    cfg.train_cfg.val_interval = settings.val_interval
    if settings.epochs == cfg.train_cfg.max_epochs:
        return
    cfg.train_cfg.max_epochs = settings.epochs
    cfg.param_scheduler = dict(
        type='OneCycleLR',
        eta_max=cfg.optim_wrapper.optimizer.lr,
        total_steps=settings.epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
