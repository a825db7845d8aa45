import pytest

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.markdown import insert_between_marks, split_at_marks


def test_a_table_replaces_the_one_between_its_marks(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text('above\n<!-- one: begin -->\nold\n<!-- one: end -->\nbelow\n')
    insert_between_marks(path, 'one', 'new\n')
    assert path.read_text() == 'above\n<!-- one: begin -->\nnew\n<!-- one: end -->\nbelow\n'


def test_a_page_without_marks_is_refused(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text('text\n')
    with pytest.raises(UserError, match=r"page\.md must have the lines '<!-- one: begin -->'"):
        insert_between_marks(path, 'one', 'new\n')
    assert path.read_text() == 'text\n'


def test_a_page_that_is_missing_is_refused(tmp_path):
    with pytest.raises(UserError, match='must have the lines'):
        insert_between_marks(tmp_path / 'page.md', 'one', 'new\n')
    assert not (tmp_path / 'page.md').exists()


def test_the_marks_stay_with_what_is_outside(tmp_path):
    text = 'a\n<!-- one: begin -->\nb\n<!-- one: end -->\nc\n'
    parts = split_at_marks(text, 'one', tmp_path)
    assert parts == ('a\n<!-- one: begin -->\n', 'b\n', '<!-- one: end -->\nc\n')
