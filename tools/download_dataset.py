"""Download public data sets to the places where the configs look for them."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from mmlayerwise.utils.dataset_download import download_dataset
from mmlayerwise.utils.dataset_sources import SOURCES
from mmlayerwise.utils.errors import report_errors

EXAMPLES = """\
An interrupted download continues where it was cut off when the command is run again. Every file is
checked; --list tells who vouches for the checksums. Mind the terms of use of the data sets.

examples:
  python tools/download_dataset.py --list
  python tools/download_dataset.py cifar10 fashion_mnist
  MMLAYERWISE_DATA_ROOT=/data python tools/download_dataset.py coco2017
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'names', nargs='*', metavar='NAME', help=f'any of: {", ".join(sorted(SOURCES))}'
    )
    parser.add_argument(
        '--save-dir',
        type=Path,
        default=Path(os.environ.get('MMLAYERWISE_DATA_ROOT') or 'data'),
        metavar='DIR',
        help='the data root (default: the environment variable MMLAYERWISE_DATA_ROOT, else data)',
    )
    parser.add_argument(
        '--keep-archives', action='store_true', help='keep the archives in DIR/downloads'
    )
    parser.add_argument('--list', action='store_true', help='list the data sets and exit')
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in SOURCES]
    if unknown:
        parser.error(f'no data set {unknown[0]!r}; there are: {", ".join(sorted(SOURCES))}')
    if not args.names and not args.list:
        parser.error('name a data set, or give --list')
    return args


def print_list(console: Console) -> None:
    """Print what can be downloaded."""
    table = Table('name', 'what', 'folder', 'download', 'checksums by')
    for name, source in SOURCES.items():
        sizes = [file.size for file in source.files]
        size = f'{sum(sizes) / 1e6:,.0f} MB' if all(sizes) else 'not known'
        table.add_row(name, source.title, source.layout, size, source.checksums_by)
    console.print(table)


@contextmanager
def show_progress(console: Console, title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar for one download or archive."""
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def main(argv: Sequence[str] | None = None) -> None:
    """List or download."""
    args = parse_args(argv)
    console = Console()
    if args.list:
        print_list(console)
        return
    with report_errors():
        for name in args.names:
            download_dataset(
                SOURCES[name],
                args.save_dir,
                display=lambda title: show_progress(console, title),
                say=lambda text: console.print(text, highlight=False, soft_wrap=True),
                keep_archives=args.keep_archives,
            )


if __name__ == '__main__':
    main()
