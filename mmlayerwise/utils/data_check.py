"""Finding what is wrong with the data of a config before hours are spent on it."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS, DefaultScope

from mmlayerwise.utils.errors import UserError

# Larger annotation files are not parsed twice; a truncated one shows at its end.
MAX_PARSED_BYTES = 64 * 2**20
# Keys of a model's config at which `num_classes` counts the classes of the data set.
CLASS_HEADS = ('bbox_head', 'mask_head', 'decode_head', 'head')
# Parts that count something else: objects against background, the classes of a tracker's detector.
OTHER_HEADS = ('rpn_head', 'auxiliary_head', 'detector', 'reid')
# Models with one of these parts take the names of the classes as text, any number of them.
TEXT_ENCODERS = ('language_model', 'text_encoder')


def check_data(cfg: Mapping, splits: Sequence[str] = ('train', 'val')) -> None:
    """Check the folders, annotation files and numbers of classes that a config names.

    Nothing is built and no image is read. Data behind an address such as ``s3://`` is not checked.

    Args:
        cfg: A whole config of mmengine.
        splits: Which of the data loaders are going to be used.

    Raises:
        UserError: If a folder or an annotation file is missing, an annotation file is not JSON or
            names none of the classes, or a head has another number of classes than the data.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        for split in splits:
            loader = cfg.get(f'{split}_dataloader')
            if not isinstance(loader, Mapping):
                continue
            for path, dataset in _datasets(loader.get('dataset'), f'{split}_dataloader.dataset'):
                _check_files(dataset, path)
                _check_num_classes(cfg.get('model'), dataset, path)


def _datasets(node: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    """Yield the data sets inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    if isinstance(node, list | tuple):
        for i, item in enumerate(node):
            yield from _datasets(item, f'{path}[{i}]')
    elif isinstance(node, Mapping):
        inner = [key for key in ('dataset', 'datasets') if key in node]
        for key in inner:
            yield from _datasets(node[key], f'{path}.{key}')
        if not inner:
            yield path, node


def _check_files(dataset: Mapping, path: str) -> None:
    root = dataset.get('data_root') or ''
    if not isinstance(root, str) or _is_remote(dataset, root):
        return
    if root and not os.path.isdir(root):
        raise UserError(
            f'{path}.data_root: there is no folder {root!r} (seen from {os.getcwd()}). '
            'tools/download_dataset.py downloads public data sets; if you have the data elsewhere, '
            f'set data_root in the config or --cfg-options {path}.data_root=FOLDER'
        )
    annotations = dataset.get('ann_file')
    if isinstance(annotations, str) and annotations:
        _check_annotations(Path(root, annotations), dataset, f'{path}.ann_file')
    prefixes = dataset.get('data_prefix')
    for key, prefix in prefixes.items() if isinstance(prefixes, Mapping) else ():
        if isinstance(prefix, str) and prefix and not os.path.exists(os.path.join(root, prefix)):
            raise UserError(
                f'{path}.data_prefix.{key}: there is no folder {os.path.join(root, prefix)!r}; '
                f'{_listing(Path(root, prefix).parent)}'
            )


def _check_annotations(file: Path, dataset: Mapping, path: str) -> None:
    if not file.exists():
        raise UserError(
            f'{path}: annotation file {str(file)!r} does not exist; {_listing(file.parent)}'
        )
    if file.suffix != '.json' or not file.is_file():
        return
    if file.stat().st_size > MAX_PARSED_BYTES:
        _check_ends_of_json(file, path)
        return
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:  # also covers text that is not UTF-8
        raise UserError(_not_json(file, path, str(error))) from error
    classes = _classes(dataset)
    if not isinstance(content, dict) or not classes:
        return
    categories = content.get('categories')
    if not isinstance(categories, list) or not all(
        isinstance(category, dict) and 'name' in category for category in categories
    ):
        return
    names = [category['name'] for category in categories]
    if names and not set(names) & set(classes):
        raise UserError(
            f'{path}: none of the categories in {str(file)!r} ({_some(names)}) is one of the '
            f'classes of the data set ({_some(classes)}), so no box would be left. Set '
            f'metainfo=dict(classes=({names[0]!r}, ...)) in the data set and num_classes='
            f'{len(names)} in the head'
        )


def _check_ends_of_json(file: Path, path: str) -> None:
    with file.open('rb') as stream:
        start = stream.read(1024).strip()
        stream.seek(-1024, os.SEEK_END)
        end = stream.read().strip()
    if start[:1] + end[-1:] not in (b'{}', b'[]'):
        raise UserError(_not_json(file, path, 'it does not end as it begins'))


def _not_json(file: Path, path: str, reason: str) -> str:
    return (
        f'{path}: {str(file)!r} is not JSON ({reason}). Perhaps its download was cut short or it '
        'is an error page; download it again'
    )


def _check_num_classes(model: Any, dataset: Mapping, path: str) -> None:
    classes = _classes(dataset)
    if classes is None or not isinstance(model, Mapping) or set(TEXT_ENCODERS) & set(model):
        return
    things = _metainfo(dataset).get('thing_classes')
    for where, num_classes in _heads(model, 'model'):
        expected = len(things) if things and 'bbox_head' in where else len(classes)
        if num_classes not in (expected, len(things or classes)):
            raise UserError(
                f'{where}.num_classes is {num_classes}, but the data set at {path} has {expected} '
                f'classes ({_some(classes)}). Set {where}.num_classes={expected}, or the classes '
                'of the data set with metainfo=dict(classes=(...))'
            )


def _heads(node: Any, path: str) -> Iterator[tuple[str, int]]:
    """Yield the path and the number of classes of each head that classifies into the data's."""
    if isinstance(node, list | tuple):
        for i, item in enumerate(node):
            yield from _heads(item, f'{path}[{i}]')
    elif isinstance(node, Mapping):
        name = path.rpartition('.')[2].partition('[')[0]
        if name in CLASS_HEADS and isinstance(node.get('num_classes'), int):
            yield path, node['num_classes']
        for key, value in node.items():
            if key not in OTHER_HEADS:
                yield from _heads(value, f'{path}.{key}')


def _classes(dataset: Mapping) -> Sequence[str] | None:
    """Return the names of the classes, or None where they are not known before the data is read."""
    classes = _metainfo(dataset).get('classes')
    return classes if isinstance(classes, list | tuple) and classes else None


def _metainfo(dataset: Mapping) -> Mapping:
    given = dataset.get('metainfo')
    kind = dataset.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(dataset.get('_scope_')) as registry:
            kind = registry.get(kind)
    own = getattr(kind, 'METAINFO', {})
    return {**own, **given} if isinstance(given, Mapping) else own


def _is_remote(dataset: Mapping, root: str) -> bool:
    backend = (dataset.get('backend_args') or {}).get('backend', 'local')
    return '://' in root or backend not in ('local', 'disk')


def _listing(folder: Path) -> str:
    """Return what there is instead of a missing file."""
    if not folder.is_dir():
        return f'there is no folder {str(folder)!r} either'
    return f'in {str(folder)!r} there are: {_some(sorted(os.listdir(folder))) or "no files"}'


def _some(names: Sequence) -> str:
    return ', '.join(map(str, names[:5])) + (', ...' if len(names) > 5 else '')
