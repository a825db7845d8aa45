"""What is committed is what its runs say, down to the documentation."""

import json
from pathlib import Path

import pytest

from mmlayerwise.reproduction.markdown import render
from mmlayerwise.reproduction.settings import Settings
from mmlayerwise.reproduction.summary import load_runs, summarise
from mmlayerwise.utils.markdown import split_at_marks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'forward_learning.md'
# A table that is being run has no summary yet.
FOLDERS = sorted(path.parent for path in (ROOT / 'results' / 'reproduction').glob('*/summary.json'))


def summary_of(folder):
    return json.loads((folder / 'summary.json').read_text())


def test_the_reduced_tables_of_the_lectures_are_there():
    assert {'first-layer-reduced', 'forward-layers-reduced'} <= {one.name for one in FOLDERS}


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_the_summary_is_that_of_the_runs(folder):
    summary = summary_of(folder)
    runs = load_runs(folder / 'runs', Settings(**summary['settings']))
    again = json.loads(json.dumps(summarise(summary['table'], runs)))
    differences = [row.pop('difference') for row in again['rows']]
    expected = [row.pop('difference') for row in summary['rows']]
    assert again == summary
    for one, other in zip(differences, expected, strict=True):
        assert one == (other and pytest.approx(other))


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_the_page_of_the_results_and_the_documentation_have_the_table_of_the_summary(folder):
    table = render(summary_of(folder))
    readme = (folder / 'README.md').read_text()
    assert table in readme
    assert split_at_marks(PAGE.read_text(), folder.name, PAGE)[1] == table
    for picture in folder.glob('*.png'):
        assert f'](./{picture.name})' in readme
        assert picture.read_bytes()[:4] == b'\x89PNG'
