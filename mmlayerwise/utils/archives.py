"""Unpacking archives that need not be trusted."""

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from mmlayerwise.utils.errors import UserError


@dataclass(frozen=True)
class _Member:
    """A regular file in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def extract(
    archive: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    rename: Mapping[str, str] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Unpack a tar (plain or compressed) or zip file.

    Only regular files are written, with ordinary permissions, and only inside ``folder``. All names
    are looked at before anything is written.

    Args:
        archive: The archive.
        folder: Where to unpack; files in the way are replaced.
        rename: New beginnings by old beginnings of names; where given, files with none of these
            beginnings are left out.
        report: Told of unpacked bytes and bytes in all.

    Returns:
        The files written.

    Raises:
        UserError: If it isn't an archive, is damaged, or a name in it leads out of ``folder``.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with _members(archive) as members:
            plan = [(m, _target(archive, folder, m.name, rename)) for m in members]
            plan = [(member, target) for member, target in plan if target is not None]
            total, done = sum(member.size for member, _ in plan), 0
            for member, target in plan:
                target.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, target.open('wb') as sink:
                    shutil.copyfileobj(source, sink, 2**20)
                done += member.size
                if report is not None:
                    report(done, total)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f'{archive} is damaged ({error}); download it again') from error
    return [target for _, target in plan]


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    """Open an archive and list its regular files."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield [
                _Member(info.filename, info.file_size, lambda info=info: file.open(info))
                for info in file.infolist()
                if not info.is_dir()
            ]
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as file:
            infos = file.getmembers()
            links = [info.name for info in infos if not (info.isfile() or info.isdir())]
            if links:
                raise UserError(
                    f'{archive} holds a link or device ({links[0]!r}), which a data set has no '
                    'need of; nothing was unpacked'
                )
            yield [
                _Member(info.name, info.size, lambda info=info: file.extractfile(info))
                for info in infos
                if info.isfile()
            ]
    else:
        with archive.open('rb') as file:
            beginning = file.read(16)
        raise UserError(
            f'{archive} is neither a tar nor a zip file; it begins with {beginning!r}'
            + (' (a web page instead of the data)' if beginning.lstrip()[:1] == b'<' else '')
        )


def _target(
    archive: Path, folder: Path, name: str, rename: Mapping[str, str] | None
) -> Path | None:
    """Return where a member goes, or None if it is left out."""
    parts = PurePosixPath(name.replace('\\', '/')).parts
    if not parts or parts[0] == '/' or ':' in parts[0] or '..' in parts:
        raise UserError(
            f'{archive} is not safe to unpack: {name!r} leads out of the folder; nothing was '
            'unpacked'
        )
    name = '/'.join(parts)
    if rename is None:
        return folder / name
    for old, new in rename.items():
        if name.startswith(old):
            return folder / (new + name[len(old) :])
    return None
