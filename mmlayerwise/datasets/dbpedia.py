"""DBpedia."""

from mmlayerwise.datasets.base_text_dataset import BaseTextDataset
from mmlayerwise.registry import DATASETS


@DATASETS.register_module()
class DBpedia(BaseTextDataset):
    """DBpedia (Zhang et al., 2015): 630,000 titles with abstracts of Wikipedia, fourteen classes.

    Files and arguments as in :class:`BaseTextDataset`.
    """

    METAINFO = {
        'classes': (
            'Company', 'EducationalInstitution', 'Artist', 'Athlete', 'OfficeHolder',
            'MeanOfTransportation', 'Building', 'NaturalPlace', 'Village', 'Animal', 'Plant',
            'Album', 'Film', 'WrittenWork',
        )
    }  # fmt: skip
    download_name = 'dbpedia'
