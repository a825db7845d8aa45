"""Made data and made results, so that the tests need neither files nor minutes."""

import pickle

import numpy as np
import pytest

from mmlayerwise.reproduction.settings import Settings

TINY = Settings(
    subset=40, test_subset=20, epochs=2, batch_size=10, image_size=8, width=1 / 16,
    linear_head=True, forward_epochs=1, forward_samples=40, val_interval=1,
)  # fmt: skip


def write_cifar10(root, per_file=20):
    """Write random images as CIFAR-10's files: each class as often as any other."""
    folder = root / 'cifar-10-batches-py'
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in (*(f'data_batch_{number}' for number in range(1, 6)), 'test_batch'):
        labels = np.arange(per_file) % 10
        rows = random.integers(256, size=(per_file, 3072), dtype=np.uint8)
        # Brightness tells the class.
        rows = np.clip(rows // 4 + 20 * labels[:, None], 0, 255).astype(np.uint8)
        content = {b'data': rows, b'labels': labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture(scope='module')
def cifar10(tmp_path_factory):
    """A data root with such files."""
    root = tmp_path_factory.mktemp('data')
    write_cifar10(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMLAYERWISE_DATA_ROOT', str(root))
        yield root


def result(
    method='backpropagation',
    seed=0,
    accuracy=50.0,
    seconds=10.0,
    model='vgg16',
    dataset='cifar10',
    layerwise=None,
    **settings,
):
    """A result as a run gives it."""
    separation = {'backbone.features.0': 0.3, 'backbone.features.3': 0.4, 'head.fc': 0.5}
    return {
        'format': 'mmlayerwise.reproduction.run',
        'version': 1,
        'model': model,
        'dataset': dataset,
        'method': method,
        'seed': seed,
        'settings': Settings(**settings).to_dict(),
        'accuracy': accuracy,
        'seconds': {'processor': seconds, 'wall': 2 * seconds},
        'parameters': 1000,
        'batch_size': 128,
        'optimizer': {'type': 'SGD', 'lr': 0.1},
        'epochs': [
            {
                'epoch': epoch,
                'loss': 2.0 / epoch,
                'seconds': {'processor': seconds * epoch / 2, 'wall': seconds * epoch},
                'metrics': {'accuracy/top1': accuracy * epoch / 2},
                'separation': {
                    layer: value * epoch / 2 + 0.01 * seed for layer, value in separation.items()
                },
            }
            for epoch in (1, 2)
        ],
        'qls': None,
        'layerwise': layerwise,
        'environment': {
            'command': 'python tools/dev/reproduce.py first-layer',
            'python': '3.11.7',
            'versions': {'torch': '2.13.0'},
            'processor': 'a processor',
            'cores': 2,
            'torch_threads': 1,
            'gpu': None,
        },
    }
