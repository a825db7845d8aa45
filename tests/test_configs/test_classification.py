"""What holds for every classification config; the zoo test covers the rest for those it lists."""

from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from torch import nn

from mmlayerwise.models.classifiers import ImageClassifier
from mmlayerwise.utils.meta_device import meta_device

CONFIGS = Path(__file__).parents[2] / 'configs'
FOLDERS = ('alexnet', 'densenet', 'efficientnet', 'googlenet', 'inception_v3', 'resnet', 'vgg')
PATHS = sorted(path for folder in FOLDERS for path in (CONFIGS / folder).glob('*.py'))
# Published counts with 1000 classes.
IMAGENET_PARAMETERS = {
    'alexnet': 61_100_840,
    'vgg11': 132_863_336,
    'vgg16': 138_357_544,
    'googlenet': 13_004_888,
    'inception_v3': 27_161_264,
    'resnet50': 25_557_032,
    'efficientnet_b0': 5_288_548,
}
# Small enough to train on the CPU in seconds; their enlarged forms differ in size alone.
TRAINED = [path for path in PATHS if not path.stem.endswith('px')] + [
    CONFIGS / 'efficientnet' / 'efficientnet-b0_1xb128-200e_cifar10-224px.py',
    CONFIGS / 'googlenet' / 'googlenet_1xb128-200e_cifar10-224px.py',
]

# These networks divide 32x32 images by less than 32, so that smaller ones do for a test.
SMALLEST = {'googlenet': 16, 'inception_v3': 16, 'resnet': 16, 'densenet': 16}

pytest.importorskip('mmdet')


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmlayerwise'):
        yield


def by_name(paths: list[Path]) -> list:
    return [pytest.param(path, id=path.stem) for path in paths]


def build_on_meta(path: Path) -> nn.Module:
    with meta_device():
        return MODELS.build(Config.fromfile(path).model)


@pytest.mark.parametrize(('name', 'parameters'), IMAGENET_PARAMETERS.items())
def test_base_models_have_the_published_parameters(name, parameters):
    model = build_on_meta(CONFIGS / '_base_' / 'models' / f'{name}.py')
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize('path', by_name(PATHS))
def test_model_and_data_fit(path):
    config = Config.fromfile(path)
    assert config.default_scope == 'mmlayerwise'
    sizes = [t.scale[0] for t in config.test_pipeline if t.type == 'Resize']
    model = build_on_meta(path).eval()
    size = sizes[0] if sizes else 32
    assert (f'{size}px' in path.stem) == bool(sizes)
    features = model.backbone(torch.zeros(2, 3, size, size, device='meta'))
    assert model.head(model.neck(features)).shape == (2, config.num_classes)
    for head in getattr(model, 'auxiliary_head', ()):
        assert head(features).shape == (2, config.num_classes)


@pytest.mark.parametrize('path', by_name(PATHS))
def test_every_config_is_in_its_readme(path):
    parameters = sum(p.numel() for p in build_on_meta(path).parameters())
    readme = (path.parent / 'README.md').read_text(encoding='utf-8')
    (row,) = (line for line in readme.splitlines() if f'({"./" + path.name})' in line)
    assert f'| {parameters:,} |' in row


@pytest.fixture(scope='module')
def real_images(data_root):
    """Four real images of different classes, as the configs feed them."""
    config = Config.fromfile(CONFIGS / '_base_' / 'datasets' / 'cifar10.py')
    dataset = config.val_dataloader.dataset
    dataset.data_root = str(data_root / 'cifar-10-batches-py')
    with DefaultScope.overwrite_default_scope('mmlayerwise'):
        dataset = DATASETS.build(dataset)
    labels = dataset.get_gt_labels()
    return [dataset[int((labels == label).argmax())] for label in (0, 3, 6, 9)]


def resize(sample: dict, size: int) -> dict:
    image = nn.functional.interpolate(sample['inputs'][None].float(), size, mode='bilinear')[0]
    return {**sample, 'inputs': image}


def without_dropout(model: ImageClassifier) -> ImageClassifier:
    """Memorising a batch shows that the network can learn; dropout is there to hinder it."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, 'drop_prob'):
            module.drop_prob = 0.0
    return model


@pytest.mark.parametrize('path', by_name(TRAINED))
def test_learns_a_batch_of_real_images(path, real_images):
    torch.manual_seed(0)
    config = Config.fromfile(path)
    # As mmengine's runner does.
    config.model.setdefault('data_preprocessor', config.data_preprocessor)
    enlarged = path.stem.endswith('px')
    model = without_dropout(MODELS.build(config.model)).train()
    model.init_weights()
    size = 96 if enlarged else SMALLEST.get(path.parent.name, 32)
    samples = [resize(sample, size) for sample in real_images]
    batch = model.data_preprocessor(pseudo_collate(samples), training=True)
    # AlexNet has no batch normalisation to bear large steps.
    rate = 2e-4 if path.parent.name == 'alexnet' else 1e-3
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for _ in range(6):
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if len(losses) == 1:
            silent = [n for n, p in model.named_parameters() if p.grad is None]
            assert not silent
        optimizer.step()
    unmoved = [n for n, p in model.named_parameters() if not p.grad.abs().sum() > 0]
    assert not unmoved
    assert losses[-1] < 0.7 * losses[0], losses
