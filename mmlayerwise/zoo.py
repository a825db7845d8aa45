"""Reads the model zoo: every system of the catalogue, with the configs of those that work.

The list is ``model-index.yml`` and the metafiles it imports; its head documents the fields.
"""

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

import mmlayerwise
from mmlayerwise.utils.errors import UserError

# In a checkout `.mim` links to the repository's files; in a wheel it holds copies.
INDEX = Path(mmlayerwise.__file__).parent / '.mim' / 'model-index.yml'
TASKS = {
    'det': 'detection',
    'inst': 'instance segmentation',
    'pan': 'panoptic segmentation',
    'sem': 'semantic segmentation',
    'cls': 'image classification',
    'text': 'text classification',
}
STATUSES = ('works', 'to come')
_ID_ORDER = 'DSIPC'
_ID = re.compile(rf'([{_ID_ORDER}])(\d\d)([a-z]?)')


@dataclass(frozen=True)
class ZooModel:
    """One config of a system that works.

    Attributes:
        name: File name of the config without ``.py``.
        config: ``configs/<method>/<name>.py``; ``mmdet::...`` or ``mmseg::...`` for a stock config.
        parameters: Number of parameters, without buffers.
        results: Results of our own runs: dicts of ``Task``, ``Dataset``, ``Metrics``, ``Evidence``.
    """

    name: str
    config: str
    parameters: int
    results: tuple[dict[str, Any], ...] = ()

    @property
    def config_path(self) -> Path:
        """The config file, inside the installed package that ships it."""
        package, _, path = self.config.rpartition('::')
        if not package:
            return INDEX.parent / path
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise UserError(f'{self.config}: the package {package!r} is not installed')
        return Path(spec.origin).parent / '.mim' / 'configs' / path


@dataclass(frozen=True)
class ZooSystem:
    """One row of the catalogue.

    Attributes:
        id: Its id in the catalogue, such as ``'D16'``.
        name: The system's usual name.
        task: One of :data:`TASKS`.
        status: ``'works'`` or ``'to come'``.
        paper: ``Title`` and, where there is an open one, ``URL``.
        expected_parameters: Published count that a system to come will have to match.
        models: Its configs, the main one first; empty for a system to come.
        limits: What a layer-wise tool cannot do with it, and why.
    """

    id: str
    name: str
    task: str
    status: str
    paper: dict[str, str]
    expected_parameters: int | None = None
    models: tuple[ZooModel, ...] = field(default=())
    limits: str | None = None

    @property
    def works(self) -> bool:
        """Whether the system can be built, trained and measured today."""
        return self.status == 'works'


def load_zoo(index: str | Path = INDEX) -> list[ZooSystem]:
    """Read the list.

    Args:
        index: The ``model-index.yml``; the files it imports lie relative to its folder.

    Returns:
        The systems, ordered by id: D, S, I, P, C, each by number.

    Raises:
        UserError: A file is missing or an entry is incomplete or contradicts another.
    """
    index = Path(index)
    collections, models = [], {}
    for path in _read(index)['Import']:
        metafile = _read(index.parent / path)
        for entry in metafile.get('Models') or ():
            where = f'{path}: {entry.get("Name", "a model")}'
            collection = _get(entry, 'In Collection', where)
            models.setdefault(collection, []).append(_parse_model(entry, where))
        for entry in metafile.get('Collections') or ():
            collections.append((f'{path}: {entry.get("Name", "a collection")}', entry))
    zoo = [
        _parse_system(entry, tuple(models.pop(entry.get('Name'), ())), where)
        for where, entry in collections
    ]
    if models:
        raise UserError(f'{index}: models of unknown collections: {", ".join(models)}')
    _check_unique(index, 'catalogue id', [system.id for system in zoo])
    _check_unique(index, 'collection', [system.name for system in zoo])
    _check_unique(index, 'model', [model.name for system in zoo for model in system.models])
    return sorted(zoo, key=lambda system: _sort_key(system.id))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f'cannot read the model zoo: {error}') from error
    if not isinstance(content, dict):
        raise UserError(f'{path}: expected a mapping, found {type(content).__name__}')
    return content


def _get(entry: dict[str, Any], key: str, where: str) -> Any:
    if key not in entry:
        raise UserError(f'{where} has no {key!r}')
    return entry[key]


def _parse_model(entry: dict[str, Any], where: str) -> ZooModel:
    return ZooModel(
        name=_get(entry, 'Name', where),
        config=_get(entry, 'Config', where),
        parameters=_get(_get(entry, 'Metadata', where), 'Parameters', where),
        results=tuple(entry.get('Results') or ()),
    )


def _parse_system(entry: dict[str, Any], models: tuple[ZooModel, ...], where: str) -> ZooSystem:
    metadata = _get(entry, 'Metadata', where)
    system = ZooSystem(
        id=_get(metadata, 'Catalogue', where),
        name=_get(entry, 'Name', where),
        task=_get(metadata, 'Task', where),
        status=_get(metadata, 'Status', where),
        paper=entry.get('Paper') or {},
        expected_parameters=metadata.get('Expected Parameters'),
        models=models,
        limits=metadata.get('Limits'),
    )
    for key, value, choices in (('Task', system.task, TASKS), ('Status', system.status, STATUSES)):
        if value not in choices:
            raise UserError(f'{where} has {key} {value!r}; choose from {", ".join(choices)}')
    if system.works != bool(models):
        raise UserError(
            f'{where} has Status {system.status!r} and {len(models)} models; a system works if and '
            'only if it has a model'
        )
    return system


def _check_unique(index: Path, kind: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f'{index}: {kind} listed twice: {", ".join(repeated)}')


def _sort_key(system_id: str) -> tuple[int, int, str]:
    match = _ID.fullmatch(system_id)
    if match is None:
        raise UserError(f'{system_id!r} is no catalogue id: expected one like D16, D22a or S01')
    letter, number, suffix = match.groups()
    return _ID_ORDER.index(letter), int(number), suffix
