"""Rank pre-trained networks for transfer learning by how well they separate the target data."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.analysis import sampler_options
from mmlayerwise.engine.launch import add_common_arguments, load_config
from mmlayerwise.engine.transfer import Candidate, rank
from mmlayerwise.utils.errors import UserError, report_errors

EXAMPLES = """\
Nothing is trained: a network is judged by the separation index of its feature extractor's output
on the target data (arXiv 2012.13717). Networks below 0.5 (best + chance) are rejected. Results are
ranking.md, ranking.json and ranking.png.

examples:
  python tools/analysis_tools/rank_backbones.py --data TARGET_CONFIG --out ranking \\
      --network configs/resnet/A.py a.pth --network configs/vgg/B.py b.pth name=VGG
  python tools/analysis_tools/rank_backbones.py --cross --network A.py a.pth \\
      --network B.py b.pth layer=backbone.layer3
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--network',
        nargs='+',
        action='append',
        required=True,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='a network: its config, then its weights (without them the initial ones, with what '
        "init_cfg loads), then layer=NAME for another layer than the feature extractor's output "
        'and name=NAME for the table; give the option once for every network',
    )
    parser.add_argument(
        '--data',
        metavar='CONFIG',
        help='config of the target data: all networks are measured on its validation data, through '
        "its pipeline (default: the validation data of each network's own config)",
    )
    parser.add_argument(
        '--cross',
        action='store_true',
        help='also look up the neighbours of validation samples among the training samples',
    )
    parser.add_argument(
        '--by',
        choices=('index', 'cross'),
        default='index',
        help='what to rank by; cross implies --cross (default: index)',
    )
    parser.add_argument(
        '--samples',
        nargs='+',
        default=['auto'],
        metavar=('TYPE', 'KEY=VALUE'),
        help='ImageSamples, PixelSamples or BoxSamples with arguments, or auto to follow the '
        'annotations (default: auto)',
    )
    parser.add_argument(
        '--max-samples',
        type=int,
        default=2000,
        metavar='N',
        help='compare at most N samples, balanced over the classes (default: 2000)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the choice (default: 0)')
    parser.add_argument(
        '--out', default='ranking', metavar='DIR', help='folder of the results (default: ranking)'
    )
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    if args.work_dir is not None:
        args.out = args.work_dir
    return args


def read_network(words: Sequence[str], args: argparse.Namespace) -> Candidate:
    """Read ``CONFIG [CHECKPOINT] [layer=NAME] [name=NAME]``.

    Raises:
        UserError: If there is more than that.
    """
    config, *rest = words
    checkpoint = rest.pop(0) if rest and '=' not in rest[0] else None
    named = dict(word.split('=', 1) for word in rest if '=' in word)
    if len(named) < len(rest) or not named.keys() <= {'layer', 'name'}:
        raise UserError(
            f'--network {" ".join(words)}: expected CONFIG [CHECKPOINT] [layer=NAME] [name=NAME]'
        )
    own = argparse.Namespace(**{**vars(args), 'config': config})
    name = named.get('name', Path(config).stem)
    return Candidate(partial(load_config, own), checkpoint, named.get('layer'), name)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all networks and write the ranking."""
    args = parse_args(argv)
    with report_errors():
        target = None
        if args.data is not None:
            target = load_config(argparse.Namespace(**{**vars(args), 'config': args.data}))
        rank(
            [read_network(words, args) for words in args.network],
            args.out,
            target=target,
            cross=args.cross,
            by=args.by,
            samples=sampler_options(args.samples),
            max_samples=args.max_samples,
            seed=args.seed,
        )


if __name__ == '__main__':
    main()
