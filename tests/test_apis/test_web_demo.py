"""The page of tools/web_demo.py, in a browser as its visitors have it."""

import contextlib
import json
import os
import socket
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple
from urllib.request import Request, urlopen

import pytest
from PIL import Image

CONFIG = 'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
RUN = 'work_dirs/miniature/vild-ensemble'
VAL = 'data/miniature/val'
PATIENCE = 30000  # milliseconds
ODD = [
    '<img src=x onerror=alert(1)>',
    '{{value}} ${1 + 1} `a`',
    '[**link**](javascript:alert(1))',
    '&lt;b \U0001f984 it\'s "a"',
]


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(('127.0.0.1', 0))
        return trial.getsockname()[1]


def bomb(path: Path) -> Path:
    """Write a PNG of few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data))
            + kind
            + data
            + struct.pack('>I', zlib.crc32(kind + data))
        )

    path.write_bytes(
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(b'\0' * 99))
        + chunk(b'IEND', b'')
    )
    return path


@pytest.fixture(scope='module')
def visits(untrained: Path) -> Any:
    """A detector that has not learned, with small limits."""
    if not os.environ.get('OVD_NEEDS_BROWSER'):  # as in CI
        pytest.importorskip('gradio', reason='gradio is not installed')
    from ovd.apis import OpenVocabularyDetector
    from ovd.apis.web.limits import Limits
    from ovd.apis.web.visits import Visits

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(untrained)
        return Visits(
            OpenVocabularyDetector(CONFIG, RUN, device='cpu'),
            Limits(50, 0.5, 1),
        )


@pytest.fixture(scope='module')
def url(visits: Any, untrained: Path) -> Iterator[str]:
    """Where the page is on the network."""
    from ovd.apis.web.server import serve

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(untrained)
        with serve(visits, '127.0.0.1', free_port(), 0.05) as page:
            yield page.local_url


class Visitor:
    """A browser of its own at the page, which notes what goes wrong."""

    def __init__(self, browser: Any, url: str) -> None:
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self._last: Optional[Tuple[str, str]] = None  # what was typed where
        self.requests: List[str] = []
        self.faults: List[str] = []
        self.page.on('request', lambda r: self.requests.append(r.url))
        self.page.on('pageerror', lambda e: self.faults.append(str(e)))
        self.page.on('dialog', lambda d: self.faults.append(d.message))
        self.page.goto(url)
        self.says('Drop an image')

    def give(self, path: Path) -> None:
        """Drop an image, in place of the last."""
        chosen = self.page.locator('#image input[type=file]')
        chosen.first.set_input_files(path)

    def type(self, names: str) -> None:
        self._enter('#names textarea', names)

    def set_least_score(self, score: str) -> None:
        self._enter('#threshold input[type=number]', score)

    def _enter(self, field: str, text: str) -> None:
        box = self.page.locator(field)
        box.fill(text)
        box.press('Enter')
        self._last = (field, text)

    def says(self, text: str) -> None:
        """Wait until the page says something.

        On a busy machine Chromium may press a key before the page listens.
        People press it again then.
        """
        from playwright.sync_api import TimeoutError

        said = self.page.locator('#said', has_text=text)
        for _ in range(3):
            with contextlib.suppress(TimeoutError):
                said.wait_for(timeout=PATIENCE / 3)
                return
            if self._last:
                self._enter(*self._last)
        said.wait_for()

    @property
    def names(self) -> List[str]:
        """What is in the table."""
        return self.page.locator('#table .name').all_inner_texts()

    def download(self) -> dict:
        with self.page.expect_download() as download:
            self.page.locator('#download').click()
        assert download.value.suggested_filename == 'detections.json'
        return json.loads(Path(download.value.path()).read_text())


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Callable[[], Visitor]]:
    visitors: List[Visitor] = []

    def arrive() -> Visitor:
        visitors.append(Visitor(browser, url))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture
def ask(visits: Any, untrained: Path) -> Iterator[Callable[..., tuple]]:
    """Ask what the page would show, without a browser."""
    from ovd.apis.web.page import show_found

    def show(
        names: object,
        path: object = f'{VAL}/000001.png',
        score_thr: object = 0.05,
        visitor: str = 'one',
    ) -> tuple:
        return show_found(
            visits,
            visitor,
            dict(path=str(untrained / str(path)), orig_name='mine.png'),
            names,
            score_thr,
        )

    yield show
    visits.close()


@pytest.mark.parametrize('typed', [None, float('nan'), '', 2])
def test_a_score_that_is_none_gets_a_message(
    ask: Callable[..., tuple], typed: object
) -> None:
    picture, said, table, _ = ask('heart', score_thr=typed)
    assert picture is None and table == ''
    assert 'Type a score from 0 to 1.' in said


def test_any_failure_takes_what_was_shown_away(
    ask: Callable[..., tuple], visits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        visits.detector, 'predict', lambda *_, **__: 1 / 0, raising=True
    )
    picture, said, table, _ = ask('heart')
    assert picture is None and table == ''
    assert 'Something went wrong' in said and 'division' not in said


def test_a_visitor_may_leave_while_his_image_is_looked_at(
    ask: Callable[..., tuple], visits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = visits.detector.predict

    def leave(*args: Any, **kwargs: Any) -> Any:
        visits.forget('one')
        return predict(*args, **kwargs)

    monkeypatch.setattr(visits.detector, 'predict', leave)
    assert 'This visit is over' in ask('heart')[1]
    assert visits.folders() == []


def test_names_change_what_is_found(visit: Callable, untrained: Path) -> None:
    """Picture, table and json; the threshold; and nothing from elsewhere."""
    one = visit()
    assert one.page.locator('#download').is_disabled()
    assert one.page.locator('#title h1').inner_html().count('<') == 0
    one.give(untrained / VAL / '000001.png')
    one.says('of 3 names')  # those of the checkpoint
    one.type('heart')
    one.says('of 1 name ')
    assert set(one.names) == {'heart'}
    assert [
        chip.split(' ')[0]
        for chip in one.page.locator('.time').all_inner_texts()
    ] == ['names', 'image', 'boxes']
    picture = one.page.locator('#picture img')
    before = picture.get_attribute('src')
    one.type('moon, arrow\nmoon')
    one.says('of 2 names')
    assert set(one.names) == {'moon', 'arrow'}
    assert picture.get_attribute('src') != before

    rows = one.page.locator('#table tbody tr')
    content = one.download()
    assert [item['name'] for item in content['categories']] == [
        'moon',
        'arrow',
    ]
    assert content['images'] == [
        dict(id=1, file_name='000001.png', width=160, height=160)
    ]
    found = content['annotations']
    assert len(found) == rows.count() > 1
    first, score = found[0], '{:.2f}'.format
    assert rows.first.inner_text().split('\t')[1:6] == [
        score(first['score']),
        *(f'{n:.0f}' for n in first['bbox']),
    ]
    assert first['segmentation']['size'] == [160, 160]

    least = (found[0]['score'] + found[-1]['score']) / 2
    one.set_least_score(score(least))
    kept = [item for item in found if item['score'] >= float(score(least))]
    assert len(kept) < len(found)
    rows.nth(len(kept)).wait_for(state='detached')
    assert one.download()['annotations'] == kept
    assert not [
        url
        for url in one.requests
        if not url.startswith(('http://127.0.0.1:', 'data:', 'blob:'))
    ]
    assert one.faults == []


def test_examples_and_bad_input(
    visit: Callable, tmp_path: Path, untrained: Path
) -> None:
    """Each has its message, and the page goes on."""
    one = visit()
    one.page.locator('#examples img').nth(1).click()
    one.says('of 3 names')
    one.type(' , ')
    one.says('Type at least one name')
    assert one.names == [] and one.page.locator('#download').is_disabled()
    one.type(', '.join(f'name {i}' for i in range(10000)))
    one.says('These are 10,000 names; this page takes at most 50')
    one.type('heart')
    one.says('of 1 name ')
    (tmp_path / '<i>text.png').write_text('no image')
    one.give(tmp_path / '<i>text.png')
    one.says('is damaged or no image')
    one.give(bomb(tmp_path / 'bomb.png'))
    one.says('bomb.png has far more than the 1 million pixels')
    (tmp_path / 'big.png').write_bytes(bytes(600000))
    one.give(tmp_path / 'big.png')
    one.page.get_by_text('exceed the maximum allowed').first.wait_for()
    assert not one.page.locator('i', has_text='text').count()
    assert one.faults == []


def test_odd_names_are_text(visit: Callable, untrained: Path) -> None:
    one = visit()
    one.give(untrained / VAL / '000002.png')
    for name in ODD:
        one.type(name)
        one.page.locator('#table .name', has_text=name).first.wait_for()
        assert set(one.names) == {name}
    assert one.page.locator('#table img, #table b, #table a').count() == 0
    one.set_least_score('1')
    one.says('Nothing scores 1.00')
    one.type(ODD[0])
    one.says(f'Nothing scores 1.00; the best is {ODD[0]} with 0.')
    assert one.page.locator('#said img, #said a').count() == 0
    assert one.faults == []


def test_two_visitors_do_not_mix(
    visit: Callable, untrained: Path, visits: Any
) -> None:
    """Whoever comes between; and who leaves is forgotten."""
    ours = {'red': visit(), 'blue': visit()}
    for number, one in enumerate(ours.values(), 1):
        one.give(untrained / VAL / f'{number:06d}.png')
        one.says('of 3 names')
    for words in ('cross', 'moon'):
        for colour, one in ours.items():
            one.type(f'{colour} {words}')
        for colour, one in ours.items():
            one.page.locator(
                '#table .name', has_text=f'{colour} {words}'
            ).first.wait_for()
            assert set(one.names) == {f'{colour} {words}'}
    for number, (colour, one) in enumerate(ours.items(), 1):
        content = one.download()
        assert content['images'][0]['file_name'] == f'{number:06d}.png'
        assert content['categories'] == [dict(id=1, name=f'{colour} moon')]
        assert one.faults == []
    folders = [*visits.folders()]
    assert len(folders) >= 2
    for one in ours.values():
        one.context.close()
    deadline = time.monotonic() + PATIENCE / 1000
    while (
        any(folder.exists() for folder in folders)
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert not any(folder.exists() for folder in folders)
    assert len(visits) == 0


def test_no_other_file_of_the_machine_is_read(
    url: str, visits: Any, untrained: Path, capfd: Any
) -> None:
    """As by a request that no browser makes."""
    path = untrained / VAL / '000003.png'
    upload = dict(path=str(path), meta={'_type': 'gradio.FileData'})
    body = dict(data=[upload, 'heart', 0.0], fn_index=0, session_hash='other')
    urlopen(
        Request(
            f'{url}gradio_api/queue/join',
            json.dumps(body).encode(),
            {'Content-Type': 'application/json'},
        )
    ).close()
    answer = f'{url}gradio_api/queue/data?session_hash=other'
    with urlopen(answer, timeout=PATIENCE / 1000) as stream:
        text = next(
            line
            for line in map(bytes.decode, stream)
            if 'process_completed' in line
        )
    assert json.loads(text[len('data: ') :])['success'] is False
    assert 'other' not in visits
    assert 'it was not uploaded by a user' in capfd.readouterr().err


def test_the_command_of_the_docs(
    untrained: Path,
    run_tool: Callable,
    browser: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it would wait for visitors, there is one."""
    gradio = pytest.importorskip('gradio')
    port, seen = free_port(), []

    def come(page: Any) -> None:
        one = Visitor(browser, page.local_url)
        one.page.locator('#examples img').first.click()
        one.says('of 3 names')
        seen.append(page.server_name)
        one.context.close()

    monkeypatch.setattr(gradio.Blocks, 'block_thread', come)
    done = run_tool(
        'web_demo.py',
        CONFIG,
        RUN,
        '--port',
        port,
        '--score-thr',
        '0.05',
        cwd=untrained,
    )
    assert done.returncode == 0, done.stderr
    assert seen == ['127.0.0.1']
    assert f'http://127.0.0.1:{port}/' in done.stdout
    with socket.socket() as trial:  # it is given back
        assert trial.connect_ex(('127.0.0.1', port))


@pytest.mark.parametrize(
    'names, message',
    [
        ('', 'Type at least one name'),
        (None, 'Type at least one name'),
        ('x' * 5000, 'A name may have 200 letters; one has 5,000: xxx'),
        ('heart,' + '\U0001f984' * 150, 'the name &#34;\U0001f984'),
        ('a\ud800', 'is no text in UTF-8'),
        (','.join(map(str, range(51))), 'at most 50 at once'),
    ],
)
def test_messages_about_names(
    ask: Callable, names: object, message: str
) -> None:
    picture, said, table, _ = ask(names)
    assert message in said and 'role="alert"' in said
    assert picture is None and table == '' and len(said) < 1000


def test_messages_about_images(ask: Callable, tmp_path: Path) -> None:
    assert 'no longer here' in ask('heart', 'gone.png')[1]
    Image.new('L', (1001, 1000)).save(tmp_path / 'wide.png')
    assert (
        'mine.png has 1.0 million pixels'
        in ask('heart', tmp_path / 'wide.png')[1]
    )
    Image.new('L', (3000, 2)).save(tmp_path / 'thin.png')
    said = ask('heart', tmp_path / 'thin.png')[1]
    assert 'mine.png has 3,000 \u00d7 2 pixels' in said and 'too thin' in said
    content = (tmp_path / 'wide.png').read_bytes()
    (tmp_path / 'cut.png').write_bytes(content[:60])
    (tmp_path / 'heavy.png').write_bytes(content + bytes(500001))
    assert 'mine.png has 0.5 MB' in ask('heart', tmp_path / 'heavy.png')[1]
    Image.new('L', (9, 9)).save(tmp_path / 'cut.png')
    content = (tmp_path / 'cut.png').read_bytes()
    (tmp_path / 'cut.png').write_bytes(content[:40])
    assert 'mine.png is damaged' in ask('heart', tmp_path / 'cut.png')[1]


def test_a_large_image_is_shown_small_and_told_in_full(
    ask: Callable, tmp_path: Path
) -> None:
    Image.effect_noise((2000, 400), 99).save(tmp_path / 'wide.jpg')
    picture, said, table, download = ask('heart, ring', tmp_path / 'wide.jpg')
    assert '2,000 \u00d7 400 pixels' in said
    assert picture.size[0] >= 1600
    content = json.loads(Path(download['value']).read_text())
    assert content['annotations'][0]['segmentation']['size'] == [400, 2000]
    assert (
        max(b['bbox'][0] + b['bbox'][2] for b in content['annotations']) > 1600
    )


def test_a_moved_threshold_needs_no_detector(
    ask: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovd.apis import OpenVocabularyDetector

    told = ask('heart, ring')[1]
    assert ask('heart, ring', visitor='two')[1] != ''
    with monkeypatch.context() as patch:
        patch.delattr(OpenVocabularyDetector, 'predict')
        assert ask('heart, ring')[1] == told
        assert ask('heart, ring', score_thr=1)[2] == ''


def test_full_memory_has_a_message_and_is_no_end(
    ask: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovd.apis import OpenVocabularyDetector

    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(OpenVocabularyDetector, 'predict', fail)
        assert 'not enough memory' in ask('heart')[1]
    assert 'of 1 name ' in ask('heart')[1]


def test_the_oldest_visitor_makes_room(
    ask: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovd.apis.web.visits.MOST_VISITORS', 2)
    files = [
        Path(ask('heart', visitor=who)[3]['value'])
        for who in ('one', 'two', 'one', 'three')
    ]
    assert [file.exists() for file in files] == [True, False, True, True]


@pytest.mark.parametrize(
    'options, message',
    [
        (['--port', '70000'], '--port must be in 1 to 65535, got 70000'),
        (
            ['--host', '203.0.113.1'],
            'can not listen at port 7860 of 203.0.113.1',
        ),
        (['--score-thr', '3'], '--score-thr must be in 0 to 1, got 3'),
        (['--max-names', '0'], '--max-names must be positive, got 0'),
        (['--device', 'gpu', '--port', '{free}'], 'there is no device "gpu"'),
    ],
)
def test_wrong_options(
    untrained: Path, run_tool: Callable, options: List[str], message: str
) -> None:
    options = [option.format(free=free_port()) for option in options]
    done = run_tool('web_demo.py', CONFIG, RUN, *options, cwd=untrained)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr


def test_a_port_that_is_taken(untrained: Path, run_tool: Callable) -> None:
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_tool(
            'web_demo.py', CONFIG, RUN, '--port', port, cwd=untrained
        )
    assert done.returncode == 2
    assert done.stderr.startswith(
        f'error: can not listen at port {port} of 127.0.0.1 ('
    )


def test_without_gradio(
    untrained: Path, run_tool: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'gradio', None)
    done = run_tool('web_demo.py', CONFIG, RUN, cwd=untrained)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: the page needs Gradio: pip install 'ovd[demo]'"
    )
    assert len(done.stderr.splitlines()) == 1
