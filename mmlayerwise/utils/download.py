"""Downloads that resume where they were cut off and are checked before they count."""

import hashlib
import os
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from mmlayerwise.utils.errors import UserError

# Told of bytes that are there and bytes in all (None where the server doesn't say).
Progress = Callable[[int, int | None], None]

CHUNK = 2**20
ATTEMPTS = 5
TIMEOUT_SECONDS = 60
_RANGE_NOT_SATISFIABLE = 416
_PARTIAL_CONTENT = 206
_SERVER_ERRORS = 500


class _CutOffError(Exception):
    """The connection ended early; what has come can be continued."""


def download(
    url: str,
    path: str | os.PathLike,
    *,
    checksum: str | None = None,
    report: Progress | None = None,
    pause_seconds: float = 2.0,
) -> str:
    """Download a file; until it is whole and checked it is called ``<path>.part``.

    A ``.part`` file of an earlier try is continued by an HTTP range request where the server has
    them. Connections that break are taken up again up to :data:`ATTEMPTS` times in all.

    Args:
        url: The address.
        path: Where to put the file; it is replaced only by a whole, right one.
        checksum: What the content must have, as ``'md5:<hex>'`` or ``'sha256:<hex>'``.
        report: Told of the progress.
        pause_seconds: Rest before a second try, doubled with each further one.

    Returns:
        The SHA-256 of the content, in hexadecimal.

    Raises:
        UserError: If the server refuses, the connection keeps breaking or the checksum is wrong.
    """
    path = Path(path)
    part = path.with_name(path.name + '.part')
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        try:
            _fetch(url, part, report or (lambda done, total: None))
            break
        except _CutOffError as error:
            if attempt == ATTEMPTS - 1:
                raise UserError(
                    f'{url}: {error}; {_size(part)} bytes are kept in {part}, so run the same '
                    'command again to continue'
                ) from error
            time.sleep(pause_seconds * 2**attempt)
    digest = check(part, checksum, url)
    os.replace(part, path)
    return digest


def check(path: Path, checksum: str | None, url: str) -> str:
    """Compare a downloaded file with its checksum; a wrong one is removed.

    Args:
        path: The file.
        checksum: What it must have, or None for anything.
        url: Where it came from, for the message.

    Returns:
        The SHA-256 of the file, in hexadecimal.

    Raises:
        UserError: If the checksum is another one.
    """
    algorithm, _, expected = (checksum or 'sha256:').partition(':')
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in {algorithm, 'sha256'}}
    with path.open('rb') as file:
        while block := file.read(CHUNK):
            for value in hashes.values():
                value.update(block)
    found = hashes[algorithm].hexdigest()
    if expected and found != expected:
        size = _size(path)
        path.unlink()
        raise UserError(
            f'{url}: the {algorithm} of the {size} downloaded bytes is {found} instead of '
            f'{expected}, so they were removed; if a second try ends the same way, the file on '
            'the server is another one'
        )
    return hashes['sha256'].hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(url: str, part: Path, report: Progress) -> None:
    """Bring the rest of a file, or all of it where the server cannot give the rest."""
    have = _size(part)
    request = Request(url, headers={'User-Agent': 'mmlayerwise'})
    if have:
        request.add_header('Range', f'bytes={have}-')
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            _receive(response, part, have, report)
    except HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and have:
            if error.headers.get('Content-Range') == f'bytes */{have}':
                return  # the last try had brought everything
            part.unlink()
            raise _CutOffError('the file on the server is shorter than what had come') from error
        if error.code >= _SERVER_ERRORS:
            raise _CutOffError(f'the server answers {error.code} {error.reason}') from error
        raise UserError(f'{url}: the server answers {error.code} {error.reason}') from error
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        raise _CutOffError(str(getattr(error, 'reason', error))) from error


def _receive(response: HTTPResponse, part: Path, have: int, report: Progress) -> None:
    """Write what a server sends behind what is there, or over it if it sends everything."""
    continues = response.status == _PARTIAL_CONTENT and response.headers.get(
        'Content-Range', ''
    ).startswith(f'bytes {have}-')
    if not continues:
        have = 0
    length = response.headers.get('Content-Length')
    total = None if length is None else have + int(length)
    report(have, total)
    with part.open('ab' if continues else 'wb') as file:
        while block := response.read(CHUNK):
            file.write(block)
            have += len(block)
            report(have, total)
    if total is not None and have < total:
        raise _CutOffError(f'the connection ended after {have} of {total} bytes')
