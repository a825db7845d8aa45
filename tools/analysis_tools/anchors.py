"""Find anchor shapes for the training data of a config by k-means with the IoU distance."""

import argparse
import json
from collections.abc import Sequence

from mmengine import Config, DictAction
from mmengine.registry import DATASETS, init_default_scope

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.launch import find_config
from mmlayerwise.utils.anchors import cluster_anchors, collect_box_sizes
from mmlayerwise.utils.errors import report_errors
from mmlayerwise.utils.files import write_atomically

EXAMPLES = """\
examples:
  python tools/analysis_tools/anchors.py configs/yolov2/yolov2_d19_8xb8-ms-160e_coco.py
  python tools/analysis_tools/anchors.py CONFIG --num-anchors 9 --input-size 608 608 --stride 1
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config', help='a config file, or one of an installed package as mmdet::folder/name.py'
    )
    parser.add_argument(
        '--num-anchors', type=int, default=5, metavar='K', help='how many anchors (default: 5)'
    )
    parser.add_argument(
        '--input-size',
        type=int,
        nargs=2,
        default=(416, 416),
        metavar=('W', 'H'),
        help='input of the network in pixels; images are fitted into it (default: 416 416)',
    )
    parser.add_argument(
        '--stride',
        type=int,
        default=32,
        help='pixels of a cell; YOLOv2Head takes anchors in cells of 32, YOLOv3 and YOLOv4 take '
        'them in pixels, that is with --stride 1 (default: 32)',
    )
    parser.add_argument('--restarts', type=int, default=10, help='random starts (default: 10)')
    parser.add_argument('--seed', type=int, default=0, help='of the random starts (default: 0)')
    parser.add_argument('--out', metavar='FILE', help='write the anchors to this JSON file too')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, such as train_dataloader.dataset.data_root=DIR/',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Cluster and print the anchors."""
    args = parse_args(argv)
    with report_errors():
        cfg = Config.fromfile(find_config(args.config))
        if args.cfg_options is not None:
            cfg.merge_from_dict(args.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        sizes = collect_box_sizes(dataset, tuple(args.input_size))
        anchors, overlap = cluster_anchors(sizes, args.num_anchors, args.restarts, args.seed)
        result = dict(
            anchors=[
                [round(float(side) / args.stride, 5) for side in anchor] for anchor in anchors
            ],
            mean_iou=round(overlap, 4),
            num_boxes=len(sizes),
            input_size=list(args.input_size),
            stride=args.stride,
        )
        print(f'mean IoU of {len(sizes)} boxes with their nearest anchor: {overlap:.4f}')
        print(f'anchors={[tuple(anchor) for anchor in result["anchors"]]}')
        if args.out:
            with write_atomically(args.out) as path:
                path.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
            print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
