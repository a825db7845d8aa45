"""Turn weights of the authors' CenterNet on Hourglass-104 into a checkpoint; --back turns back."""

from collections.abc import Sequence

from torch import nn

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.weight_conversion import convert_weights

EXAMPLES = """\
examples:
  python tools/model_converters/centernet.py \\
      configs/centernet/centernet_hg104_8xb3-crop512-50e_coco.py ctdet_coco_hg.pth hg104.pth
  python tools/model_converters/centernet.py CONFIG hg104.pth theirs.pth --back
"""


def _names(_: nn.Module) -> object:
    from mmlayerwise.models.centernet_weights import CenterNetNames

    return CenterNetNames()


def main(argv: Sequence[str] | None = None) -> None:
    """Convert a file."""
    convert_weights(__doc__, EXAMPLES, _names, argv)


if __name__ == '__main__':
    main()
