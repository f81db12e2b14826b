"""What the host downloads runs no code, whatever the environment says."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Iterator, Tuple

import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from ovd.engine.launch import build_runner
from ovd.user_errors import one_line_errors

MARK = 'executed'


class Payload:
    """Pickled, it writes a file."""

    def __reduce__(self) -> Tuple[Any, tuple]:
        return exec, (f'open({MARK!r}, "w").close()',)


def content_of(value: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


FILES = {
    '/evil.pth': content_of(dict(state_dict=dict(weight=Payload()))),
    '/old.pth': content_of(dict(state_dict=Payload()), zipped=False),
    '/good.pth': content_of(dict(state_dict=dict(weight=torch.ones(2)))),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802  (its name in the library)
        self.send_response(200)
        self.send_header('Content-Length', str(len(FILES[self.path])))
        self.end_headers()
        self.wfile.write(FILES[self.path])

    def log_message(self, *args: Any) -> None:
        """Be silent."""


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server of the files, which mmengine's names know too."""
    with HTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(
            target=server.serve_forever, kwargs=dict(poll_interval=0.01)
        ).start()
        url = f'http://127.0.0.1:{server.server_port}'
        home = tmp_path / 'home'
        home.mkdir()
        (home / 'open_mmlab.json').write_text(
            json.dumps(dict(evil=f'{url}/evil.pth', local='evil.pth'))
        )
        (home / 'evil.pth').write_bytes(FILES['/evil.pth'])
        monkeypatch.setenv('MMENGINE_HOME', str(home))
        monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
        monkeypatch.setenv('no_proxy', '127.0.0.1')
        monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')
        monkeypatch.chdir(tmp_path)
        yield url
        server.shutdown()


def test_downloads_are_not_believed(url: str, tmp_path: Path) -> None:
    build_runner(
        Config(
            dict(
                model=nn.Linear(1, 1),
                work_dir=str(tmp_path),
                launcher='none',
                log_level='ERROR',
                default_scope='mmdet',
            )
        )
    )
    names = [
        f'{url}/evil.pth',
        f'{url}/old.pth',
        'open-mmlab://evil',
        'openmmlab://evil',
        'open-mmlab://local',
    ]
    for name in names:
        with pytest.raises((UnpicklingError, ValueError)):
            CheckpointLoader.load_checkpoint(name, 'cpu')
        assert not Path(MARK).exists()
    good = CheckpointLoader.load_checkpoint(f'{url}/good.pth', 'cpu')
    assert good['state_dict']['weight'].tolist() == [1, 1]


@pytest.mark.parametrize('name', ['evil.pth', 'old.pth'])
def test_a_refused_download_is_one_line(
    url: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')  # our launcher
    with pytest.raises(SystemExit, match='2'), one_line_errors():
        CheckpointLoader.load_checkpoint(f'{url}/{name}', 'cpu')
    said = capsys.readouterr().err
    assert said.startswith('error: a download is not opened, because')
    assert 'exec' in said and 'Traceback' not in said


def test_they_act_where_they_are_believed(url: str) -> None:
    """Without us, the host believes what it downloads."""
    CheckpointLoader.load_checkpoint(f'{url}/evil.pth', 'cpu')
    assert Path(MARK).exists()
