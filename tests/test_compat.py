import json
import os

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer, MessageHub, MMLogger
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, Runner

import mmlayerwise
from mmlayerwise import compat
from mmlayerwise.utils.checkpoint_check import find_latest_checkpoint
from mmlayerwise.utils.errors import UserError
from tests.test_robustness import toy  # noqa: F401  (registers the model and the data set)


def round_trip(path, **content):
    torch.save({'state_dict': {'weight': torch.ones(2)}, **content}, path)
    return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')


def test_installing_twice_changes_nothing():
    before = LocalBackend.put, CheckpointHook._save_checkpoint_with_step, BaseDataset.prepare_data
    classes = len(torch.serialization.get_safe_globals())
    compat.install()
    assert CheckpointHook._save_checkpoint_with_step is before[1]
    assert BaseDataset.prepare_data is before[2]
    assert len(torch.serialization.get_safe_globals()) == classes


def test_only_data_classes_and_their_rebuilders_are_allowed():
    names = {
        entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'
        for entry in compat.checkpoint_classes()
    }
    dtypes = {name for name in names if name.startswith('numpy.dtypes.')}
    assert len(dtypes) == 13
    assert 'numpy.dtypes.ObjectDType' not in dtypes
    assert names - dtypes == {
        'mmengine.logging.history_buffer.HistoryBuffer',
        'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler',
        'builtins.getattr',
        'numpy.ndarray',
        'numpy.dtype',
        'numpy._core.multiarray._reconstruct',
        'numpy.core.multiarray._reconstruct',
        'numpy._core.multiarray.scalar',
        'numpy.core.multiarray.scalar',
    }
    assert getattr not in [
        entry[0] for entry in compat.checkpoint_classes() if type(entry) is tuple
    ]


def test_what_a_message_hub_holds_comes_back(tmp_path):
    buffer = HistoryBuffer([0.5, 0.25], [1, 2])
    scalars = {'loss': np.float32(0.5), 'epoch': np.int64(3), 'best': np.float64(0.75)}
    palette = np.array([[1, 2, 3]], dtype=np.uint8)
    loaded = round_trip(tmp_path / 'a.pth', buffer=buffer, scalars=scalars, palette=palette)
    assert loaded['buffer'].data[0].tolist() == [0.5, 0.25]
    assert loaded['buffer'].statistics('mean') == 0.25
    assert loaded['scalars'] == scalars
    assert loaded['palette'].dtype == np.uint8
    assert loaded['palette'].tolist() == [[1, 2, 3]]


def test_getattr_in_a_checkpoint_reaches_the_named_methods_only():
    assert compat._named_method(HistoryBuffer, 'mean') is HistoryBuffer.mean
    for owner, name in ((HistoryBuffer, '__init__'), (torch.Tensor, 'map_'), (os, 'system')):
        with pytest.raises(Exception, match='Unsupported global'):
            compat._named_method(owner, name)


class Harmful:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_mmengine_does_not_fall_back_to_unpickling(tmp_path):
    trace = tmp_path / 'trace'
    with pytest.raises(UserError, match='could run code'):
        round_trip(tmp_path / 'harmful.pth', harmful=Harmful(trace))
    assert not trace.exists()


def test_downloaded_checkpoints_are_loaded_without_unpickling(tmp_path):
    source = tmp_path / 'harmful.pth'
    torch.save({'harmful': Harmful(tmp_path / 'trace')}, source)
    with pytest.raises(Exception, match='GLOBAL'):
        mmengine.runner.checkpoint.load_url(source.as_uri(), model_dir=str(tmp_path / 'cache'))
    assert not (tmp_path / 'trace').exists()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'nested' / 'epoch_1.pth'
    mmengine.fileio.put(b'old', path)

    def fail(source, target):
        raise OSError('disk full')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='disk full'):
        mmengine.fileio.put(b'new', path)
    with pytest.raises(OSError, match='disk full'):
        mmengine.fileio.put_text('new', path)
    assert path.read_bytes() == b'old'
    assert list(path.parent.iterdir()) == [path]


def test_the_runner_searches_for_whole_checkpoints():
    assert mmengine.runner.runner.find_latest_checkpoint is find_latest_checkpoint
    assert mmengine.runner.find_latest_checkpoint is find_latest_checkpoint


def build_runner(folder, **checkpoint) -> Runner:
    cfg = Config(
        dict(
            model=dict(type='DropoutClassifier'),
            train_dataloader=dict(
                dataset=dict(type='NoisyPoints', size=8),
                sampler=dict(type='DefaultSampler', shuffle=True),
                batch_size=4,
                num_workers=0,
            ),
            train_cfg=dict(by_epoch=True, max_epochs=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, **checkpoint)),
            default_scope='mmengine',
            work_dir=str(folder),
            experiment_name=str(folder).replace('/', '_'),
        )
    )
    return Runner.from_cfg(cfg)


def test_the_only_checkpoint_is_removed_after_the_next_is_written(tmp_path, monkeypatch):
    runner = build_runner(tmp_path, max_keep_ckpts=1)
    seen = []
    save = runner.save_checkpoint

    def spy(*args, **kwargs):
        save(*args, **kwargs)
        seen.append(sorted(path.name for path in tmp_path.glob('*.pth')))

    monkeypatch.setattr(runner, 'save_checkpoint', spy)
    runner.train()
    assert seen == [['epoch_1.pth'], ['epoch_1.pth', 'epoch_2.pth'], ['epoch_2.pth', 'epoch_3.pth']]
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_3.pth']


def test_a_hook_that_never_prepared_a_training_saves_nothing_and_does_not_fail():
    # Runner.val() alone calls after_val_epoch, but never before_train, which sets the backend.
    hook = CheckpointHook(save_best=None)
    assert not hasattr(hook, 'file_backend')
    hook._save_best_checkpoint(runner=None, metrics={})


class RecordingRunner:
    """What a checkpoint hook asks of a runner when it saves the best."""

    epoch, iter = 1, 10

    def __init__(self, name):
        self.message_hub = MessageHub.get_instance(name)
        self.saved = []
        self.logger = MMLogger.get_current_instance()

    def save_checkpoint(self, out_dir, filename, **kwargs):
        self.saved.append(filename)


def best_hook(tmp_path):
    hook = CheckpointHook(save_best='coco/bbox_mAP', rule='greater')
    hook.out_dir, hook.file_backend = str(tmp_path), LocalBackend()
    return hook


@pytest.mark.parametrize('metrics', [{}, {'separation/backbone': 0.5}])
def test_the_best_checkpoint_waits_for_a_metric_without_numbers(tmp_path, metrics):
    runner, hook = RecordingRunner(f'waits-{len(metrics)}'), best_hook(tmp_path)
    hook._save_best_checkpoint(runner, metrics)
    assert runner.saved == []
    hook._save_best_checkpoint(runner, {'coco/bbox_mAP': 0.1})
    assert runner.saved == ['best_coco_bbox_mAP_epoch_1.pth']


def test_a_misspelled_metric_still_fails(tmp_path):
    with pytest.raises(KeyError, match='coco/bbox_mAP'):
        best_hook(tmp_path)._save_best_checkpoint(RecordingRunner('misspelled'), {'coco/segm': 0.1})


def test_a_file_written_anew_under_the_removed_name_stays(tmp_path):
    old, new = tmp_path / 'best_1.pth', tmp_path / 'best_2.pth'
    for path in (old, new):
        path.write_bytes(b'old')
    deferred = compat._DeferredRemoval(LocalBackend())
    deferred.remove(str(old))
    deferred.remove(str(new))
    assert old.exists()
    mmengine.fileio.put(b'new', str(new))
    deferred.remove_outdated()
    assert not old.exists()
    assert new.read_bytes() == b'new'


def test_an_image_that_does_not_decode_is_named(tmp_path):
    image = tmp_path / 'broken.jpg'
    image.write_bytes(b'no image')
    (tmp_path / 'list.json').write_text(
        json.dumps({'metainfo': {}, 'data_list': [{'img_path': str(image)}]})
    )

    def fail(data_info):
        raise AttributeError("'NoneType' object has no attribute 'squeeze'")

    dataset = BaseDataset(ann_file=str(tmp_path / 'list.json'), pipeline=[fail])
    with pytest.raises(UserError, match=r'broken\.jpg.* cannot be decoded: it has 8 bytes'):
        dataset[0]


def test_other_errors_of_a_pipeline_stay_what_they_are(tmp_path):
    (tmp_path / 'list.json').write_text(
        json.dumps({'metainfo': {}, 'data_list': [{'img_path': ''}]})
    )

    def fail(data_info):
        raise AttributeError('a fault')

    dataset = BaseDataset(ann_file=str(tmp_path / 'list.json'), pipeline=[fail])
    with pytest.raises(AttributeError, match='a fault'):
        dataset[0]


def test_the_hook_is_registered_in_the_scope():
    assert mmlayerwise.__version__
    assert HOOKS.get('mmlayerwise.RandomStateHook').__name__ == 'RandomStateHook'
