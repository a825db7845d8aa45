"""Turning a config into one that trains from scratch on other data."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config


def start_untrained(cfg: Config) -> None:
    """Drop weights to download, and random changes of the batch's size.

    Args:
        cfg: Of a detector or segmentor, changed in place.
    """
    for node in dicts_of(cfg.model):
        node.pop('batch_augments', None)
        if 'pretrained' in node:
            node['pretrained'] = None
        init = node.get('init_cfg')
        if isinstance(init, dict) and init.get('type') == 'Pretrained':
            node['init_cfg'] = None
    cfg.load_from, cfg.resume = None, False


def set_classes(cfg: Config, classes: Sequence[str]) -> None:
    """Make every part of the model predict other classes.

    Args:
        cfg: Of a detector or segmentor, changed in place.
        classes: Their names.
    """
    for node in dicts_of(cfg.model):
        if 'num_classes' in node:
            node['num_classes'] = len(classes)
        if 'classes' in node:
            node['classes'] = list(classes)


def dicts_of(node: Any) -> Iterator[dict]:
    """Every dict in nested dicts, lists and tuples, outer ones first."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from dicts_of(child)
