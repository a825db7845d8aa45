"""Telling a whole, loadable checkpoint from a truncated or foreign one, without unpickling code."""

import difflib
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import remove_temporaries

# What mmengine's Runner reads when it resumes.
RESUME_KEYS = ('meta', 'state_dict', 'message_hub', 'optimizer')
# Where SeparationPruningHook stores how the model became smaller than its config says.
PRUNING_KEY = 'separation_pruning'


def load_safely(file: str | os.PathLike | IO[bytes], map_location: Any = None) -> Any:
    """Load a checkpoint that holds tensors and classes on torch's allow-list only.

    Args:
        file: Path of a checkpoint, or its bytes as an open file.
        map_location: Same as in :func:`torch.load`.

    Returns:
        What the checkpoint holds, usually a dict.

    Raises:
        UserError: If the file is damaged, is no checkpoint, or would run code when unpickled.
    """
    name = str(file) if isinstance(file, str | os.PathLike) else 'the checkpoint'
    if name != 'the checkpoint' and not _is_complete_archive(Path(name)):
        raise UserError(_damaged(name))
    # weights_only is the default since torch 2.6. Leaving it unset there keeps torch's own switch
    # TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD, with which a user can ask for unpickling explicitly.
    options = {} if _weights_only_is_default() else {'weights_only': True}
    try:
        return torch.load(file, map_location=map_location, **options)
    except pickle.UnpicklingError as error:
        reason = _refused(str(error))
        if reason is None:
            raise UserError(_damaged(name)) from error
        raise UserError(
            f'{name} holds more than plain data ({reason}): loading it could run code of whoever '
            'wrote the file. If you trust its origin, put the class on the allow-list with '
            'torch.serialization.add_safe_globals([...]) in a module named by custom_imports, or '
            'set the environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 for this run'
        ) from error
    except (OSError, MemoryError):
        raise
    except Exception as error:  # bytes that are no pickle make the unpickler stumble in any way
        if isinstance(error, RuntimeError) and 'CUDA' in str(error):
            raise  # no fault of the file: a device is missing or full
        raise UserError(_damaged(name)) from error


def is_whole(path: str | os.PathLike) -> bool:
    """Return whether every byte of a checkpoint is there; its content is not judged.

    Args:
        path: Path of a file written by :func:`torch.save`.
    """
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        return False
    if not zipfile.is_zipfile(path):
        # Written in torch's format from before 1.6, which has no checksum; or truncated.
        try:
            load_safely(path, map_location='cpu')
        except UserError:
            return False
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, ValueError, EOFError):
        return False


def check_checkpoint(
    path: str | os.PathLike,
    model: nn.Module | None = None,
    resume: bool = False,
    whole_model: bool = False,
    prunes: bool = False,
) -> None:
    """Check that a checkpoint is whole, safe to load and of use here.

    Args:
        path: A local file; addresses such as ``https://`` are left to the loader.
        model: The model that is to take the weights; at least one of its parameters has to be in
            the checkpoint with the same shape.
        resume: Whether training is to continue from it, which needs more than weights.
        whole_model: Whether the checkpoint is to fill the model, as for testing, and not only a
            part of it, as for fine-tuning; then most parameters have to be there.
        prunes: Whether a hook of the run makes the model as small as a pruned checkpoint.

    Raises:
        UserError: If the file is missing, damaged, unsafe or foreign; the message says which.
    """
    if '://' in str(path):
        return
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f'checkpoint {path} does not exist{_close_files(path)}')
    if not is_whole(path):
        raise UserError(_damaged(str(path)))
    checkpoint = load_safely(path, map_location='cpu')
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(weights, Mapping) or not any(map(torch.is_tensor, weights.values())):
        raise UserError(
            f'{path} is no checkpoint of a model: it holds {_describe(checkpoint)}, expected a '
            "dict of tensors or a dict with the key 'state_dict', as mmengine writes it"
        )
    if resume:
        missing = [key for key in RESUME_KEYS if key not in checkpoint]
        if missing:
            raise UserError(
                f'training cannot resume from {path}: it has no {", ".join(map(repr, missing))}. '
                'It holds weights only; start from them with load_from instead '
                f'(--cfg-options load_from={path}, without --resume)'
            )
    pruned = PRUNING_KEY in checkpoint
    if pruned and model is not None and not prunes:
        raise UserError(
            f'{path} is of a model that was pruned in training. Use the config of that training, '
            'with its SeparationPruningHook in custom_hooks; tools/compress.py turns both into a '
            'config and weights that need no hook'
        )
    if model is not None and not pruned:
        _check_fits(path, weights, model, whole_model or resume)


def find_latest_checkpoint(path: str | os.PathLike) -> str | None:
    """Return the newest whole checkpoint of a work directory.

    It is the one that the file ``last_checkpoint`` names, or, where that one is damaged or the
    file is missing, the most recently written whole ``*_<number>.pth``. Passed over files are
    named in a warning.

    Args:
        path: A work directory of mmengine's Runner.

    Returns:
        The path of the checkpoint, or None if there is none to resume from.
    """
    from mmengine.dist import is_main_process
    from mmengine.logging import print_log

    if is_main_process():
        remove_temporaries(path, '.pth')
    for candidate in _candidates(Path(path)):
        if is_whole(candidate):
            return str(candidate)
        print_log(
            f'Skip {candidate}: the file is truncated or damaged, probably by a job that was '
            'killed while writing it. Looking for an older checkpoint.',
            logger='current',
            level=logging.WARNING,
        )
    print_log(f'There is no checkpoint to resume from in {path}.', logger='current')
    return None


def _candidates(folder: Path) -> list[Path]:
    """Return the checkpoints of a work directory, the one to try first at the front."""
    found = sorted(
        (
            file
            for file in folder.glob('*.pth')
            if file.stem.rpartition('_')[2].isdigit() and not file.name.startswith(('best_', '.'))
        ),
        key=lambda file: file.stat().st_mtime_ns,
        reverse=True,
    )
    pointer = folder / 'last_checkpoint'
    if not pointer.is_file():
        return found
    name = pointer.read_text().strip()
    if not name:
        return found
    if '://' not in name and Path(name).is_dir():
        return [Path(name)]  # a sharded checkpoint of DeepSpeed or FSDP: nothing to check here
    # A work directory that was moved still names its checkpoint by the old path.
    last = Path(name) if Path(name).is_file() else folder / Path(name).name
    if not last.is_file():
        return found
    siblings = [file for file in found if file.resolve() != last.resolve()]
    return [last, *siblings]


def _is_complete_archive(path: Path) -> bool:
    """Return False for a missing tail, which shows in the archive's directory at the end."""
    with path.open('rb') as file:
        start = file.read(4)
    if not start:
        return False
    return start != b'PK\x03\x04' or zipfile.is_zipfile(path)


def _check_fits(path: Path, weights: Mapping, model: nn.Module, whole_model: bool) -> None:
    """Raise if no parameter, or for a whole model less than half, is in the checkpoint."""
    # Buffers don't tell models apart: every batch normalisation counts its batches.
    own = {key: value.shape for key, value in model.named_parameters()}
    given = {key.removeprefix('module.'): value for key, value in weights.items()}
    fitting = sum(getattr(given.get(key), 'shape', None) == shape for key, shape in own.items())
    least = max(1, len(own) / 2) if whole_model else 1
    if fitting >= least:
        return
    raise UserError(
        f'{path} is a checkpoint of another model: it has {fitting} of the {len(own)} parameters '
        f'of {type(model).__name__} (such as {", ".join(list(own)[:3])}); it holds '
        f'{", ".join(list(given)[:3])} and others, {len(given)} in all. Give the checkpoint that '
        'belongs to this config'
    )


def _weights_only_is_default() -> bool:
    version = torch.__version__.split('.')
    return (int(version[0]), int(version[1])) >= (2, 6)


def _damaged(name: str) -> str:
    return (
        f'{name} is truncated or is no checkpoint of torch. Copy or download it again, or use an '
        'earlier checkpoint'
    )


def _refused(message: str) -> str | None:
    """Return which class or call torch refused, or None where it could not read the file at all."""
    for pattern in (r'GLOBAL ([\w.]+)', r'(Unsupported class .*)', r'(Trying to .*)'):
        if match := re.search(pattern, message):
            return match.group(1)
    return None


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        keys = ', '.join(map(repr, list(value)[:5]))
        return f'a dict with the keys {keys}' if keys else 'an empty dict'
    return f'a {type(value).__name__}'


def _close_files(path: Path) -> str:
    names = [file.name for file in path.parent.glob('*.pth')]
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.4)
    if close:
        return f'; in {path.parent} there are: {", ".join(close)}'
    return '' if path.parent.is_dir() else f': there is no folder {path.parent}'
