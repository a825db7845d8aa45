"""Bringing a data set to its place: download, check, unpack, remember."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from mmlayerwise.utils.archives import extract
from mmlayerwise.utils.dataset_sources import RemoteFile, Source
from mmlayerwise.utils.download import check, download
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically

RECORD = 'downloads.json'
ARCHIVES = 'downloads'

# Opens a progress display for a piece of work and gives the function that moves it.
Display = Callable[[str], AbstractContextManager[Callable[[int, int | None], None]]]


def download_dataset(
    source: Source,
    root: Path,
    *,
    display: Display,
    say: Callable[[str], None],
    keep_archives: bool = False,
) -> None:
    """Bring a data set under a data root, leaving out the files that are there already.

    What was brought is written to ``<root>/downloads.json`` with its SHA-256. A later download of
    a file that has no published checksum is compared with that.

    Args:
        source: The data set.
        root: The data root; partial downloads wait in ``<root>/downloads`` to be continued.
        display: Makes progress displays.
        say: Told what happens.
        keep_archives: Keep archives after they were unpacked.

    Raises:
        UserError: If there is no room, a download fails or an archive is damaged or unsafe.
    """
    record = _read_record(root)
    for file in source.files:
        known = record.get(file.url, {})
        if known.get('brought') and (root / source.layout).exists():
            say(f'{file.name}: there already')
            continue
        record[file.url] = {'sha256': _bring(file, root, known.get('sha256'), display, say)}
        _write_record(root, record)
        if file.unpack:
            _unpack(file, root, display)
            if not keep_archives:
                (root / ARCHIVES / file.name).unlink()
        record[file.url]['brought'] = True
        _write_record(root, record)
    say(f'ready: {root / source.layout}')


def _bring(
    file: RemoteFile,
    root: Path,
    recorded: str | None,
    display: Display,
    say: Callable[[str], None],
) -> str:
    """Download a file; return its SHA-256."""
    path = root / ARCHIVES / file.name if file.unpack else root / file.folder / file.name
    checksum = file.checksum or (f'sha256:{recorded}' if recorded else None)
    if path.exists():
        return check(path, checksum, file.url)
    if checksum is None:
        say(f'{file.name}: nobody publishes a checksum; this download is trusted and recorded')
    _check_room(file, path)
    with display(f'downloading {file.name}') as report:
        return download(file.url, path, checksum=checksum, report=report)


def _unpack(file: RemoteFile, root: Path, display: Display) -> None:
    """Unpack an archive, and the archives inside it that the source names."""
    folder = root / file.folder
    with display(f'unpacking {file.name}') as report:
        extract(root / ARCHIVES / file.name, folder, rename=file.rename, report=report)
    for name in file.nested:
        inner = folder / name
        with display(f'unpacking {inner.name}') as report:
            extract(inner, inner.parent, report=report)
        inner.unlink()


def _check_room(file: RemoteFile, path: Path) -> None:
    """Refuse a download that cannot fit on the disk."""
    if file.size is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + '.part')
    have = part.stat().st_size if part.exists() else 0
    # What is unpacked takes about as much again.
    need = file.size - have + (file.size if file.unpack else 0)
    free = shutil.disk_usage(path.parent).free
    if free < need:
        raise UserError(
            f'{file.name} needs about {need / 1e9:.1f} GB and {path.parent} has {free / 1e9:.1f} GB'
            ' left; make room or choose another --save-dir'
        )


def _read_record(root: Path) -> dict[str, dict]:
    path = root / RECORD
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f'{path} is not JSON ({error}); remove it to start over') from error


def _write_record(root: Path, record: dict[str, dict]) -> None:
    with write_atomically(root / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + '\n')
