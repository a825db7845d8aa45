"""Heads of segmentors; there where mmseg is installed."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmseg') is not None:
    from mmlayerwise.models.decode_heads.deconvnet_head import DeconvNetHead
    from mmlayerwise.models.decode_heads.dfn_head import DFNHead
    from mmlayerwise.models.decode_heads.exfuse_head import ExFuseHead
    from mmlayerwise.models.decode_heads.fcn_skip_head import FCNSkipHead
    from mmlayerwise.models.decode_heads.gcn_head import GCNHead
    from mmlayerwise.models.decode_heads.ladder_dense_head import LadderDenseHead
    from mmlayerwise.models.decode_heads.parsenet_head import ParseNetHead
    from mmlayerwise.models.decode_heads.refinenet_head import RefineNetHead
    from mmlayerwise.models.decode_heads.sdn_head import SDNHead
    from mmlayerwise.models.decode_heads.segnet_head import SegNetHead
    from mmlayerwise.models.decode_heads.spg_head import SPGHead
    from mmlayerwise.models.decode_heads.unet_classic_head import UNetClassicHead
    from mmlayerwise.models.decode_heads.unet_head import UNetHead

    __all__ += [
        'DFNHead',
        'DeconvNetHead',
        'ExFuseHead',
        'FCNSkipHead',
        'GCNHead',
        'LadderDenseHead',
        'ParseNetHead',
        'RefineNetHead',
        'SDNHead',
        'SPGHead',
        'SegNetHead',
        'UNetClassicHead',
        'UNetHead',
    ]
