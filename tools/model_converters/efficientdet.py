"""Turn weights of Yet-Another-EfficientDet-Pytorch into a checkpoint, or back with --back.

That project's files hold the weights of EfficientDet's authors, with 90 outputs for classes; a
config of 80 classes takes those of COCO.
"""

from collections.abc import Sequence

from torch import nn

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.weight_conversion import convert_weights

EXAMPLES = """\
examples:
  python tools/model_converters/efficientdet.py \\
      configs/efficientdet/efficientdet-d0_effb0_bifpn_8xb16-crop512-300e_coco.py \\
      efficientdet-d0.pth d0.pth
  python tools/model_converters/efficientdet.py CONFIG d0.pth theirs.pth --back
"""


def _names(model: nn.Module) -> object:
    from mmlayerwise.models.efficientdet_weights import EfficientDetNames

    return EfficientDetNames(model)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert a file."""
    convert_weights(__doc__, EXAMPLES, _names, argv)


if __name__ == '__main__':
    main()
