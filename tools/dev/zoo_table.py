"""Write docs/zoo.md, the table of every system of the catalogue, from model-index.yml.

Examples:
  python tools/dev/zoo_table.py            # write the table
  python tools/dev/zoo_table.py --check    # exit with status 1 if the table is stale
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.zoo import TASKS, ZooModel, ZooSystem, load_zoo

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / 'docs' / 'zoo.md'
# Where the stock toolboxes keep the configs that `mmdet::` and `mmseg::` name.
STOCK_CONFIGS = {
    'mmdet': 'https://github.com/open-mmlab/mmdetection/blob/v3.3.0/configs',
    'mmseg': 'https://github.com/open-mmlab/mmsegmentation/blob/v1.2.2/configs',
}
HEADER = """\
# Model zoo

<!-- Written by tools/dev/zoo_table.py from model-index.yml; edit that and run the tool. -->

Every system of the catalogue, {count} in all: **{works} work**, {to_come} are to come.

| task | works | to come |
|---|---:|---:|
{counts}

A system that works has a config below. One test, `tests/test_zoo.py`, holds each of these configs
to the same: at full size it has exactly the stated number of parameters (without buffers), and a
narrower form of it trains on a repeated batch with falling loss, gives every parameter a gradient,
predicts valid results, predicts the same after its state dict was loaded into another model, and
has a separation index at every measured layer. The test uses the PyTorch versions of mmcv's
operators where mmcv has no compiled ones.

`mmdet::` and `mmseg::` are configs inside the installed toolboxes: write
`_base_ = 'mmdet::retinanet/retinanet_r101_fpn_1x_coco.py'` to build on one. Parameter counts of
systems to come are the published ones they will have to match.

| id | task | system | status | config | parameters | evidence |
|---|---|---|---|---|---:|---|
"""
LIMITS = """
## What cannot be done

"""


def table() -> str:
    """The whole document."""
    zoo = load_zoo(ROOT / 'model-index.yml')
    counts = Counter((system.task, system.works) for system in zoo)
    works = sum(system.works for system in zoo)
    header = HEADER.format(
        count=len(zoo),
        works=works,
        to_come=len(zoo) - works,
        counts='\n'.join(
            f'| {name} ({task}) | {counts[task, True]} | {counts[task, False]} |'
            for task, name in TASKS.items()
        ),
    )
    limits = [f'- {system.id} {system.name}: {system.limits}' for system in zoo if system.limits]
    footer = LIMITS + '\n'.join(limits) + '\n' if limits else ''
    return header + '\n'.join(map(_row, zoo)) + '\n' + footer


def _row(system: ZooSystem) -> str:
    name = f'[{system.name}]({system.paper["URL"]})' if 'URL' in system.paper else system.name
    parameters = [f'{model.parameters:,}' for model in system.models]
    if not system.works and system.expected_parameters:
        parameters = [f'to be {system.expected_parameters:,}']
    results = [result for model in system.models for result in model.results]
    cells = (
        system.id,
        system.task,
        name,
        system.status,
        '<br>'.join(map(_config, system.models)),
        '<br>'.join(parameters),
        '<br>'.join(['[zoo test](../tests/test_zoo.py)', *map(_evidence, results)])
        if system.works
        else '',
    )
    return f'| {" | ".join(cells)} |'


def _config(model: ZooModel) -> str:
    package, _, path = model.config.rpartition('::')
    link = f'{STOCK_CONFIGS[package]}/{path}' if package else f'../{path}'
    return f'[{f"{package}::" * bool(package)}{model.name}]({link})'


def _evidence(result: dict[str, Any]) -> str:
    metrics = ', '.join(f'{metric} {value}' for metric, value in result['Metrics'].items())
    return f'[{result["Dataset"]}](../{result["Evidence"]}): {metrics}'


def main() -> None:
    """Write the document, or compare it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--check', action='store_true', help='write nothing; fail if docs/zoo.md is stale'
    )
    check = parser.parse_args().check
    with report_errors():
        document = table()
        if not check:
            with write_atomically(DOCUMENT) as path:
                path.write_text(document, encoding='utf-8')
            print(f'wrote {DOCUMENT}')
        elif not DOCUMENT.exists() or DOCUMENT.read_text(encoding='utf-8') != document:
            raise UserError(f'{DOCUMENT} is stale: run "python tools/dev/zoo_table.py"')


if __name__ == '__main__':
    main()
