"""AG's News."""

from mmlayerwise.datasets.base_text_dataset import BaseTextDataset
from mmlayerwise.registry import DATASETS


@DATASETS.register_module()
class AGNews(BaseTextDataset):
    """AG's News (Zhang et al., 2015): 127,600 news titles with descriptions, four classes.

    Files and arguments as in :class:`BaseTextDataset`.
    """

    METAINFO = {'classes': ('World', 'Sports', 'Business', 'Sci/Tech')}
    download_name = 'ag_news'
    # Here a backslash alone is what a line break has left: "the island's lush\national parks".
    escaped_line_breaks = False
