"""Bridges between the toolboxes and a current torch and numpy, in one place.

Each function mends one thing that was seen to break and says which versions need it. They apply to
the maintained forks and to the original packages alike, and installing them twice changes nothing.
"""

import functools
import json
import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def install() -> None:
    """Apply every bridge; called once on import of the package."""
    allow_checkpoint_classes()
    load_without_unpickling()
    write_whole_files()
    keep_old_checkpoint_until_new_is_written()
    resume_from_whole_checkpoint()
    name_undecodable_images()
    find_configs_of_editable_installs()
    let_ssd_predict()
    save_no_best_without_metric()
    find_torchvision_weights()


def allow_checkpoint_classes() -> None:
    """Let torch load mmengine's checkpoints with ``weights_only=True``.

    Needed by: torch>=2.6 with every mmengine. A checkpoint holds, besides tensors, the message hub
    (``HistoryBuffer`` with its numpy arrays), the data set's metainfo (numpy arrays and scalars)
    and the state of the schedulers (``OneCycleLR`` names its annealing function).
    """
    import torch

    torch.serialization.add_safe_globals(checkpoint_classes())


def checkpoint_classes() -> list:
    """Return what mmengine's checkpoints hold beyond plain data and tensors.

    Returns:
        Classes, and pairs of a function and the name it has in a checkpoint, as
        :func:`torch.serialization.add_safe_globals` takes them.
    """
    import numpy as np
    from mmengine.logging import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
    from numpy.dtypes import (
        BoolDType,
        Float16DType,
        Float32DType,
        Float64DType,
        Int8DType,
        Int16DType,
        Int32DType,
        Int64DType,
        StrDType,
        UInt8DType,
        UInt16DType,
        UInt32DType,
        UInt64DType,
    )

    multiarray = getattr(np, '_core', None) or np.core
    multiarray = multiarray.multiarray
    names = ('numpy._core.multiarray', 'numpy.core.multiarray')  # numpy 2 and numpy 1
    return [
        HistoryBuffer,
        OneCycleParamScheduler,
        (_named_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        *((multiarray._reconstruct, f'{name}._reconstruct') for name in names),
        *((multiarray.scalar, f'{name}.scalar') for name in names),
        BoolDType,
        Int8DType,
        Int16DType,
        Int32DType,
        Int64DType,
        UInt8DType,
        UInt16DType,
        UInt32DType,
        UInt64DType,
        Float16DType,
        Float32DType,
        Float64DType,
        StrDType,
    ]


def _named_method(owner: type, name: str) -> Callable:
    """Stand for ``getattr`` in a checkpoint, for the methods that mmengine pickles by name only.

    ``HistoryBuffer`` pickles its statistics and ``OneCycleLR`` its annealing function as
    ``getattr(class, name)``. The real ``getattr`` on the allow-list would open every attribute of
    every allowed object to whoever wrote the file.
    """
    from pickle import UnpicklingError

    from mmengine.logging import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

    allowed = {
        HistoryBuffer: ('min', 'max', 'mean', 'current', *HistoryBuffer._statistics_methods),
        OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
    }
    if isinstance(owner, type) and owner in allowed and name in allowed[owner]:
        return getattr(owner, name)
    raise UnpicklingError(f'Unsupported global: GLOBAL builtins.getattr({owner!r}, {name!r})')


def load_without_unpickling() -> None:
    """Keep mmengine from unpickling arbitrary objects when it loads a checkpoint.

    Needed by: onedl-mmengine 0.10.12, whose loader puts ``getattr`` on the allow-list and falls
    back to ``weights_only=False``; both stacks for checkpoints from ``https://``, where torch's
    downloader has ``weights_only=False`` as its default; torch<2.6, where every load has.
    A damaged or foreign file gives one message that names it.
    """
    import mmengine.runner.checkpoint as checkpoint
    from mmengine.runner import CheckpointLoader

    from mmlayerwise.utils.checkpoint_check import load_safely

    def load_from_local(filename: str, map_location: Any) -> Any:
        filename = os.path.expanduser(filename)
        if not os.path.isfile(filename):
            raise FileNotFoundError(f'{filename} can not be found.')
        return load_safely(filename, map_location=map_location)

    def safe_torch_load(file: Any, map_location: Any = None, weights_only: Any = None) -> Any:
        return load_safely(file, map_location=map_location)

    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
    checkpoint.load_from_local = load_from_local
    if hasattr(checkpoint, '_safe_torch_load'):
        checkpoint._safe_torch_load = safe_torch_load
    if not isinstance(checkpoint.load_url, functools.partial):
        checkpoint.load_url = functools.partial(checkpoint.load_url, weights_only=True)


def write_whole_files() -> None:
    """Make mmengine's local storage write a file whole or not at all.

    Needed by: every mmengine. ``LocalBackend`` writes in place, so a job killed meanwhile leaves a
    truncated checkpoint under the final name. Checkpoints are also flushed to the disk, so that
    they outlive a power failure.
    """
    from mmengine.fileio import LocalBackend

    from mmlayerwise.utils.files import write_atomically

    def put(self: LocalBackend, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to ``filepath`` through a temporary file beside it."""
        durable = Path(filepath).suffix in ('.pth', '.pt')
        with write_atomically(filepath, durable=durable) as temporary:
            temporary.write_bytes(obj)

    def put_text(
        self: LocalBackend, obj: str, filepath: str | Path, encoding: str = 'utf-8'
    ) -> None:
        """Write text to ``filepath`` through a temporary file beside it."""
        with write_atomically(filepath) as temporary:
            temporary.write_text(obj, encoding=encoding)

    LocalBackend.put = put
    LocalBackend.put_text = put_text


def keep_old_checkpoint_until_new_is_written() -> None:
    """Let ``CheckpointHook`` remove an outdated checkpoint after it saved the new one.

    Needed by: every mmengine. With ``max_keep_ckpts=1`` the stock hook first removes the only
    checkpoint and then writes the next, and likewise the best one; a job killed in between has lost
    all.
    """
    from mmengine.hooks import CheckpointHook

    for name in ('_save_checkpoint_with_step', '_save_best_checkpoint'):
        method = getattr(CheckpointHook, name)
        if not hasattr(method, '__wrapped__'):
            setattr(CheckpointHook, name, _remove_at_the_end(method))


def _remove_at_the_end(method: Callable) -> Callable:
    """Wrap a method of ``CheckpointHook``: files it removes go when it has returned."""

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        # A run that only validates sets no backend; of two nested calls the outer one removes.
        backend = getattr(self, 'file_backend', None)
        if backend is None or isinstance(backend, _DeferredRemoval):
            return method(self, *args, **kwargs)
        self.file_backend = deferred = _DeferredRemoval(backend)
        try:
            result = method(self, *args, **kwargs)
        finally:
            self.file_backend = backend
        deferred.remove_outdated()
        return result

    return wrapper


class _DeferredRemoval:
    """A storage backend that notes which local files to remove instead of removing them."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._outdated: dict[str, tuple[int, int]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str | Path) -> None:
        if os.path.isfile(path):
            self._outdated[str(path)] = _identity(path)
        else:
            self._backend.remove(path)

    def remove_outdated(self) -> None:
        """Remove the files noted, except those that were written anew under the same name."""
        for path, identity in self._outdated.items():
            if os.path.isfile(path) and _identity(path) == identity:
                self._backend.remove(path)


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns


def resume_from_whole_checkpoint() -> None:
    """Let ``--resume`` pass over a damaged checkpoint and take the newest whole one.

    Needed by: every mmengine. The stock search believes the file ``last_checkpoint``, whatever it
    points at, and finds nothing where a job was killed before that file was written.
    """
    import mmengine.runner
    import mmengine.runner._flexible_runner
    import mmengine.runner.checkpoint
    import mmengine.runner.runner

    from mmlayerwise.utils.checkpoint_check import find_latest_checkpoint

    for module in (
        mmengine.runner,
        mmengine.runner.checkpoint,
        mmengine.runner.runner,
        mmengine.runner._flexible_runner,
    ):
        module.find_latest_checkpoint = find_latest_checkpoint


def find_configs_of_editable_installs() -> None:
    """Let ``_base_ = 'package::...'`` reach a package installed with ``pip install -e``.

    Needed by: mmengine 0.10.7, which looks for the package in site-packages, where an editable one
    is not.
    """
    from importlib.util import find_spec

    from mmengine.config import config
    from mmengine.utils import get_installed_path

    def get_importable_path(package: str) -> str:
        path = get_installed_path(package)
        spec = None if os.path.exists(path) else find_spec(package)
        return os.path.dirname(spec.origin) if spec and spec.origin else path

    config.get_installed_path = get_importable_path


def name_undecodable_images() -> None:
    """Let a data set say which file it was that could not be decoded.

    Needed by: mmseg on both stacks, whose label maps are decoded from bytes, so that the error
    names no file; mmdet and mmcv give the name of an image as the end of a long traceback.
    """
    from mmengine.dataset import BaseDataset

    prepare_data = BaseDataset.prepare_data
    if hasattr(prepare_data, '__wrapped__'):
        return

    @functools.wraps(prepare_data)
    def wrapper(self: BaseDataset, idx: int) -> Any:
        try:
            return prepare_data(self, idx)
        except Exception as error:
            from mmlayerwise.utils.image_check import explain_undecodable

            message = explain_undecodable(self.get_data_info(idx))
            if message is None:
                raise
            from mmlayerwise.utils.errors import UserError

            raise UserError(message) from error

    BaseDataset.prepare_data = wrapper


def let_ssd_predict() -> None:
    """Let mmdet's SSD predict.

    Needed by: mmdet 3.3.0 and onedl-mmdetection 3.5.1, whose dense heads look at the class of
    ``loss_cls`` while predicting; ``SSDHead`` has none, its loss is a function.
    """
    from mmlayerwise.utils.after_import import after_import

    def set_default(module: Any) -> None:
        if not hasattr(module.SSDHead, 'loss_cls'):
            module.SSDHead.loss_cls = None

    after_import('mmdet.models.dense_heads.ssd_head', set_default)


def save_no_best_without_metric() -> None:
    """Let ``save_best`` wait while a metric has nothing to say.

    Needed by: every mmengine with mmdet's ``CocoMetric``, which returns no numbers for a network
    that detects nothing yet, as after a first short epoch; ``CheckpointHook`` then fails with a
    KeyError. A misspelled name still fails: the metric's other numbers are there.
    """
    from mmengine.hooks import CheckpointHook
    from mmengine.logging import print_log

    save_best = CheckpointHook._save_best_checkpoint
    if hasattr(save_best, 'waits_for_metric'):
        return

    @functools.wraps(save_best)
    def wrapper(self: CheckpointHook, runner: Any, metrics: dict[str, Any]) -> None:
        if not self.save_best:
            return
        given = {key.split('/')[0] for key in metrics}
        wanted = [key for key in self.key_indicators if key != 'auto']
        missing = {key: None for key in wanted if key.split('/')[0] not in given}
        if missing or not metrics:
            names = ', '.join(missing) or 'metric'
            print_log(
                f'No best checkpoint now: this validation gave no {names}.',
                'current',
                logging.WARNING,
            )
        if metrics or missing:
            save_best(self, runner, {**metrics, **missing})

    wrapper.waits_for_metric = True
    CheckpointHook._save_best_checkpoint = wrapper


def find_torchvision_weights() -> None:
    """Download ``torchvision://NAME`` without torchvision installed.

    Needed by: every mmengine, which imports torchvision to look up the addresses although it has
    them in a file of its own. With torchvision installed that lookup stays.
    """
    import mmengine.runner.checkpoint as checkpoint

    original = checkpoint.get_torchvision_models
    if getattr(original, 'works_without_torchvision', False):
        return

    @functools.wraps(original)
    def get_torchvision_models() -> dict[str, str]:
        if find_spec('torchvision') is not None:
            return original()
        import mmengine

        addresses = Path(mmengine.__file__).parent / 'hub' / 'torchvision_0.12.json'
        return json.loads(addresses.read_text())

    get_torchvision_models.works_without_torchvision = True
    checkpoint.get_torchvision_models = get_torchvision_models
