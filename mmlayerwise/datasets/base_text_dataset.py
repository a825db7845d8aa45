"""What the text classification data sets share."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmlayerwise.datasets.base_classification_dataset import BaseClassificationDataset
from mmlayerwise.utils.errors import UserError

COLUMNS = ('class index', 'title', 'description')


class BaseTextDataset(BaseClassificationDataset):
    """A data set of labelled texts in the CSV files of Zhang, Zhao and LeCun (2015).

    The folder holds ``train.csv`` and ``test.csv``: a row a text with the class index from 1, the
    title and the description, in quotes, a quote inside doubled, a line break written as a
    backslash and an n. The text is the title and the description, a space between.

    A sample of the pipeline has the keys ``text``, ``gt_label`` (from 0) and ``sample_idx``.
    Arguments as in :class:`BaseClassificationDataset`.
    """

    # Whether a backslash and an n stand for a line break.
    escaped_line_breaks = True

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the split's file.

        Returns:
            Texts, str objects of shape (N,); labels, int64 of shape (N,).

        Raises:
            UserError: If the file is missing, no such CSV, or has a class index without a class.
        """
        path = self.find_file(f'{self.split}.csv')
        samples = [self._parse(path, line, row) for line, row in _rows(path)]
        if not samples:
            raise UserError(f'{path} is empty; download it again')
        texts, labels = zip(*samples, strict=True)
        return np.array(texts, dtype=object), np.array(labels)

    def load_data_list(self) -> list[dict]:
        """List the texts, as mmengine asks for them.

        Returns:
            One dict a text.

        Raises:
            UserError: If a label has no class name.
        """
        texts, labels = self._select_classes(*self.load_arrays())
        self._check_labels(labels)
        pairs = zip(texts.tolist(), labels.tolist(), strict=True)
        return [{'text': text, 'gt_label': label} for text, label in pairs]

    def _parse(self, path: Path, line: int, row: Sequence[str]) -> tuple[str, int]:
        if len(row) != len(COLUMNS):
            raise UserError(
                f'{path}, line {line}: {len(row)} columns where {len(COLUMNS)} are expected '
                f'({", ".join(COLUMNS)}); the file is damaged or of another data set'
            )
        index, *texts = row
        num_classes = len(self.METAINFO['classes'])
        if not index.isdecimal() or not 1 <= int(index) <= num_classes:
            raise UserError(
                f'{path}, line {line}: the class index is {index!r}, but {type(self).__name__} has '
                f'the classes 1 to {num_classes}; the file is damaged or of another data set'
            )
        text = ' '.join(filter(None, map(str.strip, texts)))
        if self.escaped_line_breaks:
            text = text.replace('\\n', '\n')
        return text, int(index) - 1


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file with the number of the line on which each ends."""
    try:
        with path.open(encoding='utf-8', newline='') as stream:
            reader = csv.reader(stream, strict=True)
            for row in reader:
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(
            f'{path}, line {reader.line_num}: {error}; the file is truncated, damaged or no CSV '
            'with its texts in double quotes'
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is not UTF-8 ({error}); download it again') from error
