"""The folder that a compression leaves: config, plan, weights, report; whole or not at all."""

import pprint
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import escape
from os.path import relpath
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmlayerwise.compression.plan import CompressionPlan
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically

CONFIG, PLAN, WEIGHTS, REPORT = 'config.py', 'plan.json', 'weights.pth', 'report.html'
_FILES = {CONFIG, PLAN, WEIGHTS, REPORT}
# What the new config says itself, and what a command line sets.
_CHANGED = ('custom_imports', 'load_from', 'resume', 'work_dir', 'launcher')
_HEADER = '# Made by tools/compress.py; plan.json and report.html beside it tell what went and why.'


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder whose content would be lost.

    Raises:
        UserError: If it holds something and may not be overwritten, or something else than an
            earlier compression.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f'--out {folder} is a file; give the name of a folder')
    found = {file.name for file in folder.iterdir()} if folder.exists() else set()
    if found - _FILES:
        raise UserError(
            f'--out {folder} holds other files ({", ".join(sorted(found - _FILES)[:3])}); give a '
            'new folder'
        )
    if found and not overwrite:
        raise UserError(
            f'--out {folder} holds an earlier compression; give a new folder, or --overwrite'
        )


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder`` that takes its place when the block ends well.

    Args:
        folder: The folder to make; what is there is replaced.

    Yields:
        The temporary folder. If the block raises, it is removed and ``folder`` stays as it was.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(f'.{escape(folder.name)}-compression-*'):
        shutil.rmtree(stale, ignore_errors=True)  # of a process that was killed
    temporary = Path(tempfile.mkdtemp(prefix=f'.{folder.name}-compression-', dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            old = temporary.with_name(f'{temporary.name}-old')
            folder.rename(old)
            try:
                temporary.rename(folder)
            except BaseException:
                old.rename(folder)
                raise
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_weights(model: nn.Module, meta: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint of tensors and plain values, which needs no unpickling of code.

    Args:
        model: The compressed model.
        meta: Plain values to store beside, such as the classes.
        path: The file.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with write_atomically(path) as temporary:
        torch.save({'meta': dict(meta), 'state_dict': state}, temporary)


def write_config(
    path: Path,
    cfg: Config,
    base: str,
    plans: Sequence[CompressionPlan],
    input_size: Sequence[int],
) -> None:
    """Write a config that inherits the user's and builds the compressed model.

    The parts of the original model stay where they are in the config, so that tools which look for
    ``model.backbone`` find it.

    Args:
        path: The file, in the folder of the weights.
        cfg: The user's config as it was used, with its overrides.
        base: The config's name on the command line: a path or ``package::path``.
        plans: What goes, one after the other.
        input_size: Height and width of an image, for tracing.
    """
    steps = [plan.instructions() for plan in plans]
    inner = cfg.model.type
    if inner in ('mmlayerwise.CompressedModel', 'CompressedModel'):
        earlier = cfg.model.to_dict()['plan']
        steps = [*(earlier if isinstance(earlier, list) else [earlier]), *steps]
        inner = cfg.model.model.type
    model = {
        'type': 'mmlayerwise.CompressedModel',
        'model': {'type': inner},
        'input_size': list(input_size),
        'plan': steps if len(steps) > 1 else steps[0],
    }
    reference = base if '::' in base else relpath(Path(base).resolve(), path.parent.resolve())
    own = {'custom_imports': _imports(cfg), 'model': model}
    text = '\n'.join([_HEADER, f'_base_ = {reference!r}', '', _assignments(own)])
    if not _gives(path, text, cfg, model):
        text = _flat(cfg, model, own)
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def _assignments(values: Mapping[str, Any]) -> str:
    lines = [f"load_from = '{{{{ fileDirname }}}}/{WEIGHTS}'"]
    lines += [f'{name} = {_literal(value)}' for name, value in values.items()]
    return '\n'.join([*lines, ''])


def _flat(cfg: Config, model: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Text of a config that stands alone, for what inheritance cannot express."""
    whole = Config(cfg.to_dict())
    parts = {**whole.model.to_dict(), **model}
    for key in (*_CHANGED, 'model'):
        whole.pop(key, None)
    return '\n'.join([_HEADER, whole.pretty_text, _assignments({**own, 'model': parts})])


def _gives(path: Path, text: str, cfg: Config, model: Mapping[str, Any]) -> bool:
    """Whether a config of this text, in this place, is the user's but for the model."""
    trial = path.with_name(f'.{path.stem}_trial.py')
    try:
        trial.write_text(text, encoding='utf-8')
        found = Config.fromfile(trial, import_custom_modules=False).to_dict()
    except Exception:  # a config of the new style, which cannot be inherited by this one
        return False
    finally:
        trial.unlink(missing_ok=True)
    expected = cfg.to_dict()
    expected['model'] = {**expected['model'], **model}
    for key in _CHANGED:
        found.pop(key, None)
        expected.pop(key, None)
    return found == expected


def _imports(cfg: Config) -> dict[str, Any]:
    given = cfg.get('custom_imports') or {}
    names = given.get('imports', [])
    names = [names] if isinstance(names, str) else list(names)
    return {
        'imports': [*names, *(['mmlayerwise'] if 'mmlayerwise' not in names else [])],
        'allow_failed_imports': bool(given.get('allow_failed_imports', False)),
    }


def _literal(value: Any) -> str:
    """A Python literal, wrapped at the usual width."""
    return pprint.pformat(value, width=96, compact=True, sort_dicts=False)
