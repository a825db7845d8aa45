"""The weights of CenterNet on the hourglass network under its authors' names."""

from mmlayerwise.models.ported_weights import PortedNames

# The beginning of a key: ours and theirs.
_PARTS = (
    ('backbone.stem.1.0.', 'pre.1.'),
    ('backbone.stem.0.', 'pre.0.'),
    ('backbone.hourglass_modules.', 'kps.'),
    ('backbone.inters.', 'inters.'),
    ('backbone.out_convs.', 'cnvs.'),
)
# Convolutions with normalisation that they keep in a sequence.
_SEQUENCES = (('backbone.conv1x1s.', 'inters_.'), ('backbone.remap_convs.', 'cnvs_.'))
_BRANCHES = {'heatmap_head': 'hm', 'wh_head': 'wh', 'offset_head': 'reg'}


class CenterNetNames(PortedNames):
    """Names of the authors' code, of ``ctdet_coco_hg.pth`` for example."""

    source = "the authors' CenterNet"

    def their_name(self, key: str) -> str:
        """Their key of one of ours; see :class:`PortedNames`."""
        for ours, theirs in _PARTS:
            if key.startswith(ours):
                return theirs + key.removeprefix(ours).replace('downsample.', 'skip.')
        for ours, theirs in _SEQUENCES:
            if key.startswith(ours):
                index, layer, leaf = key.removeprefix(ours).split('.')
                return f'{theirs}{index}.{("conv", "bn").index(layer)}.{leaf}'
        parts = key.split('.')
        if parts[:2] != ['bbox_head', 'stacks']:
            raise KeyError(key)
        _, _, stack, branch, layer, leaf = parts
        their_layer = {'0': '0.conv', '2': '1'}[layer]
        return f'{_BRANCHES[branch]}.{stack}.{their_layer}.{leaf}'
