"""A profile as a table for the log."""

from collections.abc import Callable, Sequence

from mmlayerwise.separation.object_sizes import SIZES
from mmlayerwise.separation.profile import LayerSeparation, SeparationProfile

_Column = tuple[str, Callable[[LayerSeparation], str]]
_PLURALS = {'box': 'boxes'}


def format_table(profile: SeparationProfile, before: SeparationProfile | None = None) -> str:
    """Text table of a profile, with the change since an earlier one.

    Columns that no layer has something for are left out: the index of small, medium and large
    objects, the class with the lowest index, the level of the feature pyramid, the length of
    sketches.

    Args:
        profile: What to show.
        before: An earlier profile of the same layers.
    """
    columns = _columns(profile, before)
    rows = {
        layer.name: [show(layer) for _, show in columns]
        for layer in profile.layers
        if layer.index is not None
    }
    headers = [header for header, _ in columns]
    widths = [max(map(len, column)) for column in zip(headers, *rows.values(), strict=True)]
    first = max(map(len, ['layer', *(layer.name for layer in profile.layers)]))

    def line(name: str, cells: Sequence[str]) -> str:
        shown = [f'{cell:>{width}}' for cell, width in zip(cells, widths, strict=True)]
        return '  '.join([f'{name:<{first}}', *shown])

    lines = [line('layer', headers)]
    for layer in profile.layers:
        known = rows.get(layer.name)
        lines.append(line(layer.name, known) if known else f'{layer.name:<{first}}  {layer.error}')
    return '\n'.join(lines)


def _columns(profile: SeparationProfile, before: SeparationProfile | None) -> list[_Column]:
    measured = [layer for layer in profile.layers if layer.index is not None]
    earlier = {layer.name: layer.index for layer in before.layers} if before else {}
    columns: list[_Column] = [
        ('index', lambda layer: f'{layer.index:.4f}'),
        ('95 % interval', lambda layer: '{:.3f} - {:.3f}'.format(*layer.interval)),
    ]
    if before is not None:
        columns.append(('change', lambda layer: _change(layer.index, earlier.get(layer.name))))
    columns += [
        ('soft', lambda layer: f'{layer.soft:.4f}'),
        ('centre', lambda layer: f'{layer.center:.4f}'),
    ]
    sizes = [size for size, _ in SIZES if any(size in layer.per_size for layer in measured)]
    columns += [(size, lambda layer, size=size: _of_size(layer, size)) for size in sizes]
    if any(len(layer.per_class) > 1 for layer in measured):
        columns.append(('lowest class', _lowest_class))
    columns.append(('chance', lambda layer: f'{layer.chance:.3f}'))
    if any(layer.level is not None for layer in measured):
        columns.append(('level', lambda layer: '' if layer.level is None else str(layer.level)))
    if any(layer.sketch_dimension for layer in measured):
        columns.append(('sketch', _sketch))
    plural = _PLURALS.get(profile.samples, f'{profile.samples}s')
    return [*columns, (plural, lambda layer: str(layer.num_samples))]


def _change(index: float, earlier: float | None) -> str:
    return '' if earlier is None else f'{index - earlier:+.4f}'


def _of_size(layer: LayerSeparation, size: str) -> str:
    return f'{layer.per_size[size][0]:.3f}' if size in layer.per_size else ''


def _sketch(layer: LayerSeparation) -> str:
    return f'{layer.sketch_dimension} of {layer.dimension}' if layer.sketch_dimension else ''


def _lowest_class(layer: LayerSeparation) -> str:
    if not layer.per_class:
        return ''
    name, (index, _) = min(layer.per_class.items(), key=lambda item: item[1][0])
    return f'{name} {index:.2f}'
