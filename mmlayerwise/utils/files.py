"""Writing files so that a reader never sees half of one."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: str | os.PathLike, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends well.

    Args:
        path: The file to write; its folder is created.
        durable: Whether the content has to be on the disk before it gets its final name, so that
            not even a power failure leaves half a file.

    Yields:
        The temporary path, with the same suffix, to write to. If the block raises, it is removed
        and ``path`` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        prefix=f'.{path.stem}-', suffix=path.suffix, dir=path.parent
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; results are for everybody the umask admits.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if durable:
            with temporary.open('rb') as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: str | os.PathLike, suffix: str) -> None:
    """Remove what killed writers of :func:`write_atomically` left in a folder.

    Args:
        folder: A folder that nobody writes to at the moment.
        suffix: Suffix of the files meant, such as ``.pth``.
    """
    pattern = re.compile(r'\..+-[a-z0-9_]{8}' + re.escape(suffix))
    for file in Path(folder).glob(f'.*{suffix}'):
        if pattern.fullmatch(file.name):
            file.unlink(missing_ok=True)
