"""Turn darknet's .weights file into a checkpoint, or a checkpoint into a .weights file."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from mmengine import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.launch import find_config
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically

EXAMPLES = """\
examples:
  python tools/model_converters/darknet.py \\
      configs/yolov4/yolov4_csp53_8xb8-mosaic-273e_coco.py yolov4.weights yolov4.pth
  python tools/model_converters/darknet.py CONFIG yolov4.pth yolov4.weights
  python tools/model_converters/darknet.py CONFIG yolov4.conv.137 start.pth --first-layers-only
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config', help='a config file, or one of an installed package as mmdet::folder/name.py'
    )
    parser.add_argument('source', help='the file to read: a checkpoint if it ends in .pth')
    parser.add_argument('target', help='the file to write: a checkpoint if it ends in .pth')
    parser.add_argument(
        '--first-layers-only',
        action='store_true',
        help='the .weights file has only the first layers, as files of pre-trained layers have',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, such as model.bbox_head.num_classes=20',
    )
    args = parser.parse_args(argv)
    if args.source.endswith('.pth') == args.target.endswith('.pth'):
        parser.error('exactly one of source and target must be a checkpoint that ends in .pth')
    return args


def build_model(args: argparse.Namespace) -> nn.Module:
    """Build the detector of the config, without its pre-trained weights."""
    cfg = Config.fromfile(find_config(args.config))
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    return MODELS.build(cfg.model)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert a file."""
    args = parse_args(argv)
    with report_errors():
        # Behind the import of mmlayerwise, which lets mmdet be imported.
        from mmlayerwise.models.darknet_weights import (
            DarknetHeader,
            load_darknet_weights,
            save_darknet_weights,
        )

        if not Path(args.source).is_file():
            raise UserError(f'file {args.source!r} does not exist')
        model = build_model(args)
        if args.target.endswith('.pth'):
            header = load_darknet_weights(model, args.source, args.first_layers_only)
            checkpoint = dict(state_dict=model.state_dict(), meta=dict(darknet=asdict(header)))
            with write_atomically(args.target) as path:
                torch.save(checkpoint, path)
        else:
            checkpoint = load_checkpoint(model, args.source, map_location='cpu', strict=True)
            header = DarknetHeader(**checkpoint.get('meta', {}).get('darknet', {}))
            save_darknet_weights(model, args.target, header)
        print(f'{args.source}: {header}')
        print(f'wrote {args.target}')


if __name__ == '__main__':
    main()
