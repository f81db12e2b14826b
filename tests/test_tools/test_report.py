"""One page about a run, opened as people do."""

import json
from pathlib import Path
from typing import Any, Callable, Iterator, List

import cv2
import numpy as np
import pytest

CONFIG = """
custom_imports = dict(imports=['ovd'])
model = dict(type='FasterRCNN')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20)
test_dataloader = dict(dataset=dict(
    type='GZSLCocoDataset', ann_file='val.json', test_mode=True,
    data_prefix=dict(img='images/'), pipeline=[]))
test_evaluator = dict(type='GZSLCocoMetric', ann_file='val.json')
"""
ODD = '<script>alert("🦄")</script> & <b>'
NAMES = ['cat', 'dog', ODD, 'unseen']
RUN = 'runs/tiny'


def box(number: int) -> list:
    """The place of an object in its image, as COCO has it."""
    return [10 + 30 * number, 10, 20, 20]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, each with a cat, a dog and an object of an odd name.

    Of the cats both are found; of the dogs one, and the other is taken for
    a cat; of the last none.
    """
    logs = tmp_path / RUN / '20260101_000000/vis_data'
    logs.mkdir(parents=True)
    (logs / 'config.py').write_text(CONFIG)
    lines = [
        dict(loss=4.0 - i, loss_cls=2.0, iter=10 * i, step=10 * i)
        for i in (1, 2)
    ]
    lines.append(dict(bbox_AP50_base=50.0, bbox_AP50_novel=0.0, step=20))
    (logs / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    (tmp_path / 'val.json').write_text(
        json.dumps(
            dict(
                gzsl=dict(
                    base=['cat', 'dog', 'unseen'],
                    novel=[ODD],
                    groups={},
                    subset='val',
                    split='own',
                ),
                images=[
                    dict(id=i, width=100, height=60, file_name=f'{i}.png')
                    for i in (7, 8)
                ],
                annotations=[
                    dict(
                        id=10 * i + k,
                        image_id=i,
                        category_id=k,
                        bbox=box(k),
                        iscrowd=0,
                        area=400,
                    )
                    for i in (7, 8)
                    for k in range(3)
                ],
                categories=[
                    dict(id=k, name=name) for k, name in enumerate(NAMES)
                ],
            )
        )
    )
    (tmp_path / 'images').mkdir()
    for i in (7, 8):
        cv2.imwrite(
            str(tmp_path / f'images/{i}.png'),
            np.full((60, 100, 3), 30 * i, np.uint8),
        )
    write_predictions(
        tmp_path,
        [
            dict(image_id=7, category_id=0, bbox=box(0), score=0.9),
            dict(image_id=8, category_id=0, bbox=box(0), score=0.8),
            dict(image_id=7, category_id=1, bbox=box(1), score=0.7),
            dict(image_id=8, category_id=0, bbox=box(1), score=0.6),
            dict(image_id=8, category_id=2, bbox=[0, 0, 5, 5], score=0.1),
        ],
    )
    return tmp_path


def write_predictions(folder: Path, found: List[dict]) -> None:
    (folder / RUN / 'predictions.json').write_text(json.dumps(found))


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that notes what it asks for and what goes wrong."""
    page = browser.new_page()
    page.requests, page.faults = [], []
    page.on('request', lambda request: page.requests.append(request.url))
    page.on('console', lambda message: page.faults.append(message.text))
    page.on('pageerror', lambda error: page.faults.append(str(error)))
    page.on('dialog', lambda dialog: page.faults.append(dialog.message))
    yield page
    page.close()


def test_the_page(folder: Path, run_tool: Callable, page: Any) -> None:
    """All is on the page, the worst first, nothing comes from elsewhere."""
    done = run_tool('report.py', RUN, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f'{RUN}/report/index.html'
    path = folder / RUN / 'report/index.html'
    assert not [*path.parent.glob('.*')]  # nothing temporary is left
    page.goto(path.as_uri())
    network = [url for url in page.requests if not url.startswith('data:')]
    assert network == [path.as_uri()]
    for section in ('accuracy', 'errors', 'pictures', 'training', 'config'):
        assert page.locator(f'#{section}').is_visible(), section
    assert page.locator('#notices').count() == 0
    images = page.locator('img')
    # PR curves, two pictures of two images, training curves
    assert images.count() == 1 + 4 + 1
    assert all(
        images.nth(i).is_visible()
        and images.nth(i).evaluate('image => image.naturalWidth') > 99
        for i in range(6)
    )

    names = page.locator('#bbox-classes .name')
    assert names.all_inner_texts() == [ODD, 'dog', 'cat']  # none unseen
    assert page.locator('figcaption b').all_inner_texts()[0] == ODD
    assert page.locator('script').count() == 1  # ours, and no alert
    first = page.locator('#bbox-classes tr').first
    assert first.locator('.part').inner_text() == 'novel'
    widths = [
        page.locator('#bbox-classes .bar').nth(i).bounding_box()['width']
        for i in range(3)
    ]
    assert widths[0] == 0 < widths[1] < widths[2]

    cells = page.locator('.confusion tbody tr')
    assert cells.nth(1).inner_text().split('\t') == [
        'dog',
        '1',
        '1',
        '',
        '',
        '',
    ]  # cat, dog, unseen, odd, missed
    assert cells.nth(3).inner_text().split('\t')[0::5] == [ODD, '2']
    assert page.locator('.pairs li').all_inner_texts() == ['dog → cat: 1']

    assert not page.get_by_text('train_cfg.max_iters').is_visible()
    page.locator('#config summary').click()
    page.get_by_label('find an entry').fill('MAX_iters')
    entries = page.locator('#config-entries tr:visible')
    assert entries.all_inner_texts() == ['train_cfg.max_iters\t20']
    assert page.faults == []


def test_what_is_missing_is_told(
    folder: Path, run_tool: Callable, page: Any
) -> None:
    """On the page and on the console, with the command that makes it."""
    (folder / RUN / 'predictions.json').unlink()
    done = run_tool('report.py', RUN, cwd=folder)
    assert done.returncode == 0, done.stderr
    command = f'python tools/test.py CONFIG {RUN} --out {RUN}/predictions.json'
    assert 'notice: no predictions, so no error kinds, ' in done.stdout
    assert command in done.stdout
    assert f'no test is in {RUN}/report, so no AP' in done.stdout
    page.goto((folder / RUN / 'report/index.html').as_uri())
    assert command in page.locator('#notices').inner_text()
    assert page.locator('#training img').is_visible()
    for section in ('accuracy', 'errors', 'pictures'):
        assert page.locator(f'#{section}').count() == 0


def test_the_last_test_is_shown(folder: Path, run_tool: Callable) -> None:
    """Without predictions there is what tools/test.py wrote."""
    run_tool('report.py', RUN, cwd=folder)
    (folder / RUN / 'predictions.json').unlink()
    done = run_tool('report.py', RUN, cwd=folder)
    assert 'no predictions' in done.stdout and 'no AP' not in done.stdout
    text = (folder / RUN / 'report/index.html').read_text()
    assert 'the last test, of 20' in text and 'id="bbox-classes"' in text


def test_pictures_that_cannot_be_read_are_told(
    folder: Path, run_tool: Callable
) -> None:
    (folder / 'images/7.png').unlink()
    (folder / 'images/8.png').write_bytes(b'none')
    done = run_tool('report.py', RUN, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert 'notice: no picture of image 7: ' in done.stdout
    assert 'images/8.png is damaged or no image' in done.stdout


def test_a_run_that_skipped_broken_images(
    folder: Path, run_tool: Callable
) -> None:
    """Its config, as it was in the end, has wrappers."""
    config = next((folder / RUN).rglob('config.py'))
    config.write_text(
        config.read_text()
        + """
test_dataloader = dict(dataset=dict(
    type='EvaluatedDataset', dataset=test_dataloader['dataset'],
    broken_file='broken.jsonl'))
test_evaluator = dict(type='BrokenImageEvaluator', metrics=test_evaluator)
"""
    )
    done = run_tool('report.py', RUN, cwd=folder)
    assert done.returncode == 0, done.stderr
    text = (folder / RUN / 'report/index.html').read_text()
    assert text.count('<figure>') == 2 and 'id="errors"' in text


def test_a_run_without_boxes(folder: Path, run_tool: Callable) -> None:
    """CLIP and prompts have curves and a config alone."""
    options = ['--cfg-options', 'test_evaluator.type=CocoMetric']
    done = run_tool('report.py', RUN, *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert 'this run is tested by CocoMetric, not by GZSL' in done.stdout
    done = run_tool(
        'report.py', RUN, '--predictions', 'found.json', *options, cwd=folder
    )
    assert done.returncode == 2
    assert 'found.json cannot be evaluated: this run is' in done.stderr


@pytest.mark.parametrize(
    'options, message',
    [
        (
            ['runs/tny'],
            'work folder runs/tny does not exist; did you mean "tiny"',
        ),
        (['runs'], 'give the runs in it: runs/tiny'),
        (['images'], 'expected the work_dir of a training'),
        (
            [RUN, '--score-thr', '30'],
            '--score-thr must be in 0 to 1, got 30.0',
        ),
        (
            [RUN, '--predictions', 'lost.json'],
            'predictions file lost.json does not exist',
        ),
    ],
)
def test_errors(
    folder: Path, run_tool: Callable, options: List[str], message: str
) -> None:
    done = run_tool('report.py', *options, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr and 'Traceback' not in done.stderr


def test_no_config(folder: Path, run_tool: Callable) -> None:
    next((folder / RUN).rglob('config.py')).unlink()
    done = run_tool('report.py', RUN, cwd=folder)
    assert done.returncode == 2
    assert 'there is no config' in done.stderr
    assert not (folder / RUN / 'report').exists()
