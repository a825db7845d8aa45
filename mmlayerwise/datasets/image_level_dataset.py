"""Images that have a word of a tree as their only label."""

from typing import Any

from mmdet.datasets import BaseDetDataset
from mmengine.fileio import list_dir_or_file

from mmlayerwise.models.layers.word_tree import WordTree
from mmlayerwise.registry import DATASETS
from mmlayerwise.utils.errors import UserError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.JPG', '.JPEG', '.PNG')


@DATASETS.register_module()
class ImageLevelDataset(BaseDetDataset):
    """Folders of images, each named after a node of a word tree, for a detector.

    The layout is ImageNet's: ``<data_root>/<data_prefix['img']>/<node>/<image>``; with darknet's
    ``9k.tree`` the nodes are WordNet's numbers, such as n02084071. A sample has the keys
    ``img_path`` and ``image_label``, the node's number, which ``LoadImageLabel`` makes an
    annotation of. Folders that are no node are left out unless that leaves none.

    Args:
        tree: File of the word tree in darknet's format.
        **kwargs: As for mmdet's ``BaseDetDataset``: ``data_root``, ``data_prefix``, ``pipeline``.

    Raises:
        UserError: No folder is named after a node.
    """

    def __init__(self, tree: str, **kwargs: Any) -> None:
        self.tree_file = tree
        self.nodes = {name: number for number, name in enumerate(WordTree.from_file(tree).names)}
        metainfo = {'classes': tuple(self.nodes), **(kwargs.pop('metainfo', None) or {})}
        super().__init__(metainfo=metainfo, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images, folder by folder in the order of their names."""
        root = self.data_prefix['img']
        try:
            folders = sorted(list_dir_or_file(root, list_file=False))
        except FileNotFoundError as error:
            raise UserError(f'ImageLevelDataset: the folder {root} does not exist') from error
        known = [folder for folder in folders if folder in self.nodes]
        samples = [
            dict(img_path=f'{root.rstrip("/")}/{folder}/{file}', image_label=self.nodes[folder])
            for folder in known
            for file in sorted(
                list_dir_or_file(f'{root}/{folder}', list_dir=False, suffix=SUFFIXES)
            )
        ]
        if not samples:
            raise UserError(
                f'ImageLevelDataset: no folder of {root} with images is named after a node of '
                f'{self.tree_file}; there are {", ".join(folders[:5]) or "no folders"}, and nodes '
                f'such as {", ".join(list(self.nodes)[:5])}'
            )
        return [{'img_id': number, 'instances': [], **one} for number, one in enumerate(samples)]

    def filter_data(self) -> list[dict]:
        """Keep all: none has boxes."""
        return self.data_list

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of an image, as a list."""
        return [self.get_data_info(idx)['image_label']]
