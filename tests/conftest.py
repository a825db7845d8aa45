import os
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

import mmlayerwise  # noqa: F401  (installs the operator fallback before any toolbox is imported)

# Every xdist worker is one process on one core.
torch.set_num_threads(1)


@pytest.fixture(scope='session')
def data_root() -> Path:
    """Folder of the real data sets (cifar-10-batches-py, coco_mini, camvid, ag_news_csv)."""
    root = os.environ.get('MMLAYERWISE_DATA_ROOT')
    if not root:
        pytest.skip('MMLAYERWISE_DATA_ROOT is not set')
    return Path(root)


@pytest.fixture(autouse=True)
def _forget_default_scope():
    """Undo what the runner of another test left behind: its registry scope, which is global."""
    DefaultScope._instance_dict.clear()


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='no CUDA device'))
