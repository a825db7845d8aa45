"""Generated parts of Markdown files."""

from pathlib import Path

from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically


def insert_between_marks(path: Path, name: str, text: str) -> None:
    """Replace what stands between two marks of a Markdown file.

    Args:
        path: The file, with the lines ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.
        name: Name of the marks.
        text: What to put between them.

    Raises:
        UserError: If the marks are not there.
    """
    content = path.read_text(encoding='utf-8') if path.is_file() else ''
    before, inside, after = split_at_marks(content, name, path)
    if inside != text:
        with write_atomically(path) as temporary:
            temporary.write_text(before + text + after, encoding='utf-8')


def split_at_marks(content: str, name: str, path: Path) -> tuple[str, str, str]:
    """Cut a text at two marks.

    Args:
        content: The text.
        name: Name of the marks.
        path: Where the text is from, for the message.

    Returns:
        What is before, between and behind; the marks are in the first and the last part.

    Raises:
        UserError: If the marks are not there.
    """
    begin, end = f'<!-- {name}: begin -->\n', f'<!-- {name}: end -->'
    if content.count(begin) != 1 or content.count(end) != 1:
        raise UserError(f'{path} must have the lines {begin.strip()!r} and {end!r}, once each')
    before, _, rest = content.partition(begin)
    inside, _, after = rest.partition(end)
    return before + begin, inside, end + after
