import re
from pathlib import Path

import pytest

from mmlayerwise.ops.extension import implemented_operators

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def test_the_page_on_operators_lists_exactly_those_there_are():
    table = (ROOT / 'docs' / 'ops.md').read_text().partition('## What there is')[2].split('##')[0]
    rows = [line for line in table.splitlines() if line.startswith('| ')][1:]
    listed = re.findall(r'`(\w+)`', ' '.join(row.split('|')[2] for row in rows))
    assert sorted(listed) == sorted(implemented_operators())


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_to_files_of_the_repository_lead_somewhere(page):
    targets = re.findall(r'\]\(([^)#]+)[^)]*\)', page.read_text())
    local = [target for target in targets if '://' not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []
