"""Finding wrong type names and misspelt keys in a config before anything is built."""

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mmengine import registry as registries
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, Registry
from mmengine.utils import is_installed

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.signatures import keyword_arguments, popped_keys, string_constants

# Where Runner builds each part of a config. Other variables of a config are not built.
SECTIONS = {
    'model': 'MODELS',
    'tta_model': 'MODELS',
    'train_dataloader': 'DATASETS',
    'val_dataloader': 'DATASETS',
    'test_dataloader': 'DATASETS',
    'train_cfg': 'LOOPS',
    'val_cfg': 'LOOPS',
    'test_cfg': 'LOOPS',
    'val_evaluator': 'METRICS',
    'test_evaluator': 'METRICS',
    'optim_wrapper': 'OPTIM_WRAPPERS',
    'param_scheduler': 'PARAM_SCHEDULERS',
    'default_hooks': 'HOOKS',
    'custom_hooks': 'HOOKS',
    'visualizer': 'VISUALIZERS',
    'log_processor': 'LOG_PROCESSORS',
}
# Keys below which another registry applies, whatever is around them.
KEYS = {
    'pipeline': 'TRANSFORMS',
    'transforms': 'TRANSFORMS',
    'switch_pipeline': 'TRANSFORMS',
    'sampler': 'DATA_SAMPLERS',
    'batch_sampler': 'DATA_SAMPLERS',
    'collate_fn': 'FUNCTIONS',
    'worker_init_fn': 'FUNCTIONS',
    'dataset': 'DATASETS',
    'datasets': 'DATASETS',
    'optimizer': 'OPTIMIZERS',
    'vis_backends': 'VISBACKENDS',
    'init_cfg': 'WEIGHT_INITIALIZERS',
    'metrics': 'METRICS',
    'assigner': 'TASK_UTILS',
    'anchor_generator': 'TASK_UTILS',
    'prior_generator': 'TASK_UTILS',
    'bbox_coder': 'TASK_UTILS',
    'loss': 'MODELS',
    'miner': 'TASK_UTILS',
    'stop': 'TASK_UTILS',
}
# What mmengine takes out of a component's config before it calls the constructor.
TAKEN_BY_MMENGINE = {
    'HOOKS': {'priority'},
    'PARAM_SCHEDULERS': {'convert_to_iter_based'},
    'OPTIM_WRAPPERS': {'constructor', 'paramwise_cfg', 'optimizer'},
}
# What mmcv and mmdet take out of configs of small layers: norm_cfg, conv_cfg, act_cfg, plugins.
TAKEN_FROM_LAYERS = {'requires_grad', 'fallback_on_stride', 'postfix', '_scope_', 'type'}
# Below these keys a type names a function, a sampler of the measure, or is a plain setting, not a
# registered component.
NOT_COMPONENTS = {
    'samples',
    'nms',
    'roi_layer',
    'metainfo',
    'backend_args',
    'file_client_args',
}


@dataclass(frozen=True)
class Problem:
    """Something wrong in a config.

    Attributes:
        path: Where, as a dotted path.
        message: What, and what was probably meant.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f'{self.path}: {self.message}'


def check_config(cfg: Mapping) -> None:
    """Check every component that a config names: that it exists and takes the keys it is given.

    Nothing is built. Where a component passes unknown keywords on in a way that cannot be followed,
    any key is accepted: there are no false alarms, at the price of a miss.

    Args:
        cfg: A whole config of mmengine, as ``Config.fromfile`` returns it.

    Raises:
        UserError: If a type is in no registry or a key is not an argument of its type; the message
            has one line for each, with the dotted path and the close names there are.
    """
    problems = list(find_problems(cfg))
    if problems:
        lines = ''.join(f'\n  {problem}' for problem in problems[:20])
        more = f'\n  and {len(problems) - 20} more' if len(problems) > 20 else ''
        raise UserError(f'the config does not fit the components it names:{lines}{more}')


def find_problems(cfg: Mapping) -> Iterator[Problem]:
    """Yield what :func:`check_config` complains about.

    Args:
        cfg: A whole config of mmengine.

    Yields:
        One problem for each unknown type or key, in the order of the config.
    """
    scope = cfg.get('default_scope') or 'mmengine'
    with DefaultScope.overwrite_default_scope(scope), _without_search_warnings():
        for section, kind in SECTIONS.items():
            yield from _walk(cfg.get(section), section, kind, parent=None)


@contextmanager
def _without_search_warnings() -> Iterator[None]:
    """Keep mmengine from warning of registries that a toolbox does not have: all are searched."""

    def is_of_interest(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith('Failed to search registry')

    logger = MMLogger.get_current_instance()
    logger.addFilter(is_of_interest)
    try:
        yield
    finally:
        logger.removeFilter(is_of_interest)


def _walk(node: Any, path: str, kind: str, parent: Callable | None) -> Iterator[Problem]:
    """Yield the problems of a part of a config, which is an argument of ``parent``."""
    if isinstance(node, list | tuple):
        for i, item in enumerate(node):
            yield from _walk(item, f'{path}[{i}]', kind, parent)
        return
    if not isinstance(node, Mapping):
        return
    component = parent
    if node.get('type') is not None:
        component = None
        if isinstance(node['type'], str):
            candidates = _candidates(node['type'], kind, node.get('_scope_'))
            if not candidates:
                if problem := _unknown_type(node, path, kind, parent):
                    yield problem
                return
            component = candidates[0]
            yield from _unknown_keys(node, path, kind, candidates, parent)
        elif callable(node['type']):
            component = node['type']
            yield from _unknown_keys(node, path, kind, [component], parent)
    for key, value in node.items():
        if key in NOT_COMPONENTS or _is_of_albumentations(component, key):
            continue
        yield from _walk(value, f'{path}.{key}', KEYS.get(key, kind), component)


def _candidates(name: str, kind: str, scope: str | None) -> list[Callable]:
    """Return the components that a type name may mean, that of the expected registry first."""
    found = []
    with DefaultScope.overwrite_default_scope(scope):
        for root in (kind, *(other for other in _root_registries() if other != kind)):
            component = _get(getattr(registries, root), name)
            if component is not None and component not in found:
                found.append(component)
                if root == kind:
                    break
    return found


def _get(root: Registry, name: str) -> Callable | None:
    with root.switch_scope_and_registry(None) as registry:
        try:
            return registry.get(name)
        except RuntimeError:  # what mmengine raises where it finds nothing
            return None


def _root_registries() -> list[str]:
    return [name for name, value in vars(registries).items() if isinstance(value, Registry)]


def _unknown_type(node: Mapping, path: str, kind: str, parent: Callable | None) -> Problem | None:
    name = node['type']
    scope, _, _ = name.rpartition('.')
    package = scope.partition('.')[0]
    if _is_interpreted_by(parent, name) or _is_operator(name):
        return None
    if package and not is_installed(package):
        return Problem(path, f'{name!r} needs the package {package!r}, which is not installed')
    with getattr(registries, kind).switch_scope_and_registry(
        package if package else node.get('_scope_')
    ) as registry:
        known = set(registry.module_dict)
        ancestor = registry.parent
        while ancestor is not None:
            known |= set(ancestor.module_dict)
            ancestor = ancestor.parent
    close = difflib.get_close_matches(name.rpartition('.')[2], known, n=3, cutoff=0.6)
    hint = f'; close names: {", ".join(close)}' if close else ''
    if not close:
        hint = '; register it in a module that custom_imports names'
    return Problem(
        path,
        f'no component {name!r} in the registry {registry.name!r} of scope '
        f'{registry.scope!r}{hint}',
    )


def _is_interpreted_by(parent: Callable | None, name: str) -> bool:
    """Return whether a type may be a word that the component around it understands itself."""
    return parent is not None and name in string_constants(parent)


def _is_operator(name: str) -> bool:
    """Return whether a type names a function of mmcv.ops, such as ``nms``."""
    try:
        return hasattr(import_module('mmcv.ops'), name)
    except ImportError:
        return False


def _unknown_keys(
    node: Mapping, path: str, kind: str, candidates: list[Callable], parent: Callable | None
) -> Iterator[Problem]:
    """Yield the keys that none of the components which the type may mean accepts."""
    accepted = [keyword_arguments(candidate) for candidate in candidates]
    if any(names is None for names in accepted):
        return
    names = frozenset().union(*accepted)
    taken = TAKEN_FROM_LAYERS | TAKEN_BY_MMENGINE.get(kind, set())
    for owner in (parent, *candidates):
        if isinstance(owner, type):
            taken = taken | popped_keys(owner)
    for key in node:
        if key in names or key in taken:
            continue
        if kind == 'LOOPS' and key == 'by_epoch':
            yield Problem(path, "it has both 'type' and 'by_epoch'; give one of them")
            continue
        close = difflib.get_close_matches(str(key), names - {'self'}, n=1, cutoff=0.6)
        hint = (
            f'; did you mean {close[0]!r}?' if close else f'; it takes {", ".join(sorted(names))}'
        )
        yield Problem(path, f'{candidates[0].__name__} has no argument {key!r}{hint}')


def _is_of_albumentations(component: Callable | None, key: str) -> bool:
    """Return whether the key holds components of albumentations, which has names of its own."""
    return key in ('transforms', 'bbox_params') and getattr(component, '__name__', '') == 'Albu'
