"""Write pictures of what a config feeds to its model, one by one and on a contact sheet.

Texts are listed in the terminal instead.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, init_default_scope
from rich.console import Console
from rich.progress import track

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.datasets import BaseTextDataset
from mmlayerwise.engine.launch import find_config
from mmlayerwise.utils.config_check import check_config
from mmlayerwise.utils.data_check import check_data
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.sample_pictures import draw_sample, tile, to_picture
from mmlayerwise.visualization.text_table import text_table

EXAMPLES = """\
examples:
  python tools/browse_dataset.py configs/quickstart/detection.py
  python tools/browse_dataset.py configs/quickstart/segmentation.py --phase val --number 4
  python tools/browse_dataset.py mmdet::yolox/yolox_tiny_8xb8-300e_coco.py --mode original \\
      --cfg-options train_dataloader.dataset.dataset.data_root=/data/coco/
"""
MODES = ('transformed', 'original')
PHASES = ('train', 'val', 'test')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'config', help='a config file, or one of an installed package as mmdet::folder/name.py'
    )
    parser.add_argument(
        '--phase', choices=PHASES, default='train', help='whose data set to show (default: train)'
    )
    parser.add_argument(
        '--mode',
        choices=MODES,
        default='transformed',
        help='transformed: after the whole pipeline, as the model gets it, before normalisation '
        '(default); original: as loaded, without augmentation',
    )
    parser.add_argument(
        '--number', type=int, default=16, help='how many samples to show (default: 16)'
    )
    parser.add_argument(
        '--shuffle', action='store_true', help='choose the samples at random, instead of the first'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of the choice and the augmentation (default: 0)'
    )
    parser.add_argument(
        '--output-dir',
        '--out-dir',
        type=Path,
        metavar='DIR',
        help='where the pictures go (default: ./work_dirs/<config name>/browse/<phase>)',
    )
    parser.add_argument('--show', action='store_true', help='open a window for each picture, too')
    # mmdet's tool opens windows unless told otherwise; this one does not need telling.
    parser.add_argument('--not-show', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument(
        '--show-interval',
        type=float,
        default=2,
        metavar='SECONDS',
        help='how long a window stays open (default: 2)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    args = parser.parse_args(argv)
    if args.number < 1:
        parser.error(f'--number must be at least 1, but is {args.number}')
    return args


def build_dataset(cfg: Config, phase: str, mode: str) -> Any:
    """Build the data set of a phase with the pipeline that the mode asks for.

    Args:
        cfg: The config.
        phase: ``'train'``, ``'val'`` or ``'test'``.
        mode: ``'transformed'`` or ``'original'``.

    Returns:
        The data set, whose items are dicts of ``inputs`` and ``data_samples``.

    Raises:
        UserError: If the config has no such phase.
    """
    loader = cfg.get(f'{phase}_dataloader')
    if loader is None:
        there = [name for name in PHASES if cfg.get(f'{name}_dataloader')]
        raise UserError(
            f'{cfg.filename} has no {phase}_dataloader; choose --phase from: {", ".join(there)}'
        )
    dataset = DATASETS.build(loader.dataset)
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    return without_augmentation(dataset) if mode == 'original' else dataset


def without_augmentation(dataset: Any) -> Any:
    """Keep only the transforms that load and pack a sample.

    Args:
        dataset: A data set, maybe inside wrappers such as ``RepeatDataset``.

    Returns:
        The innermost data set.
    """
    transforms = []
    while True:
        pipeline = getattr(dataset, 'pipeline', None)
        # The innermost data set loads; the outermost pipeline packs.
        own = getattr(pipeline, 'transforms', pipeline) or []
        transforms = [*own, *transforms]
        if not hasattr(dataset, 'dataset'):
            break
        dataset = dataset.dataset
    kept = [t for t in transforms if type(t).__name__.startswith(('Load', 'Pack'))]
    dataset.pipeline = Compose(kept)
    return dataset


def innermost(dataset: Any) -> Any:
    """Return the data set inside wrappers such as ``RepeatDataset``."""
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset


def save(picture: np.ndarray, path: Path) -> None:
    """Write an RGB picture."""
    with write_atomically(path) as temporary:
        mmcv.imwrite(picture[..., ::-1], str(temporary))


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the samples of a config's data set."""
    args = parse_args(argv)
    with report_errors():
        path = find_config(args.config)
        cfg = Config.fromfile(path)
        if args.cfg_options is not None:
            cfg.merge_from_dict(args.cfg_options)
        folder = args.output_dir or Path('work_dirs') / path.stem / 'browse' / args.phase
        browse(cfg, args, folder)


def browse(cfg: Config, args: argparse.Namespace, folder: Path) -> None:
    """Write the pictures and the contact sheet into a folder.

    Args:
        cfg: The config.
        args: The parsed command line.
        folder: Where to write; it is created.
    """
    init_default_scope(cfg.get('default_scope', 'mmlayerwise'))
    check_config(cfg)
    check_data(cfg, (args.phase,))
    random.seed(args.seed)
    np.random.seed(args.seed)
    dataset = build_dataset(cfg, args.phase, args.mode)
    if isinstance(innermost(dataset), BaseTextDataset):
        dataset = innermost(dataset)
    number = min(args.number, len(dataset))
    indices = random.sample(range(len(dataset)), number) if args.shuffle else range(number)
    if isinstance(dataset, BaseTextDataset):
        Console().print(text_table(dataset, indices, args.mode == 'transformed'))
        print(f'{number} of {len(dataset)} texts ({args.phase}, {args.mode})')
        return
    pictures = []
    for index in track(indices, description='drawing'):
        item = dataset[index]
        drawn = draw_sample(to_picture(item['inputs']), item['data_samples'], dataset.metainfo)
        save(drawn, folder / f'{index:06d}.png')
        pictures.append(drawn)
        if args.show:
            mmcv.imshow(drawn[..., ::-1], str(index), wait_time=int(1000 * args.show_interval))
    sheet = folder / 'contact_sheet.png'
    save(tile(pictures), sheet)
    print(f'{number} of {len(dataset)} samples ({args.phase}, {args.mode}) are in {folder}')
    print(f'contact sheet: {sheet}')


if __name__ == '__main__':
    main()
