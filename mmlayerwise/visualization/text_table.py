"""A table of texts and their classes for the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mmlayerwise.datasets.base_text_dataset import BaseTextDataset
from mmlayerwise.datasets.transforms.quantize_characters import QuantizeCharacters


def text_table(dataset: BaseTextDataset, indices: Sequence[int], transformed: bool = True) -> Table:
    """List texts.

    Args:
        dataset: The texts.
        indices: Which of them.
        transformed: Whether to show what the model reads, the characters behind the pipeline's
            quantiser, instead of the text of the file.

    Returns:
        A table with index, class, number of characters and text.
    """
    table = Table(show_lines=True)
    for heading in ('index', 'class', 'characters'):
        table.add_column(heading, justify='left' if heading == 'class' else 'right')
    table.add_column('text', overflow='fold')
    quantizers = [t for t in dataset.pipeline.transforms if isinstance(t, QuantizeCharacters)]
    for index in indices:
        known = dataset.get_data_info(index)
        shown = known['text']
        if transformed and quantizers:
            shown = quantizers[0].decode(dataset[index]['inputs'].tolist())
        label = dataset.metainfo['classes'][known['gt_label']]
        # Not str, in which rich would take brackets for markup.
        table.add_row(str(index), Text(label), str(len(known['text'])), Text(shown))
    return table
