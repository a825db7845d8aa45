"""The command line of the tools that exchange weights with other PyTorch implementations."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn

from mmlayerwise.engine.launch import find_config
from mmlayerwise.utils.checkpoint_check import load_safely
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically


def convert_weights(
    description: str,
    examples: str,
    make_names: Callable[[nn.Module], object],
    argv: Sequence[str] | None = None,
) -> None:
    """Run such a tool.

    Args:
        description: What it does.
        examples: Calls of it, for ``--help``.
        make_names: Gives the ``PortedNames`` of a built model.
        argv: The command line; that of the process by default.
    """
    args = _parse_args(description, examples, argv)
    with report_errors():
        # Behind the import of mmlayerwise, which lets mmdet be imported.
        from mmlayerwise.models.ported_weights import export_weights, import_weights

        if not Path(args.source).is_file():
            raise UserError(f'file {args.source!r} does not exist')
        cfg = Config.fromfile(find_config(args.config))
        if args.cfg_options is not None:
            cfg.merge_from_dict(args.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        model = MODELS.build(cfg.model)
        names = make_names(model)
        if args.back:
            load_checkpoint(model, args.source, map_location='cpu', strict=True)
            result = export_weights(model, names)
        else:
            import_weights(model, load_safely(args.source, map_location='cpu'), names)
            result = dict(state_dict=model.state_dict(), meta={})
        with write_atomically(args.target) as path:
            torch.save(result, path)
        print(f'{args.source} of {"mmlayerwise" if args.back else names.source} converted')
        print(f'wrote {args.target}')


def _parse_args(description: str, examples: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'config', help='a config file, or one of an installed package as mmdet::folder/name.py'
    )
    parser.add_argument('source', help='the file to read')
    parser.add_argument('target', help='the file to write')
    parser.add_argument(
        '--back', action='store_true', help='the source is a checkpoint of ours, the target theirs'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, such as model.bbox_head.num_classes=90',
    )
    return parser.parse_args(argv)
