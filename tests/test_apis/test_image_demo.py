"""The command line: pictures, videos, COCO json, and what can't be read."""

import json
from pathlib import Path
from typing import Callable

import cv2
import mmcv
import numpy as np
import pytest
from pycocotools.coco import COCO

CONFIG = 'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
RUN = 'work_dirs/miniature/vild-ensemble'
VAL = 'data/miniature/val'
WORDS = '--texts', 'red circle, heart'


@pytest.fixture
def demo(in_untrained: Path, tmp_path: Path, run_tool) -> Callable:
    """Call the tool, everything drawn into the test's own folder."""

    def call(image: object, *options: object):
        return run_tool(
            'image_demo.py',
            image,
            CONFIG,
            RUN,
            '--out-dir',
            tmp_path / 'out',
            '--device',
            'cpu',
            '--score-thr',
            '0.05',
            *options,
        )

    return call


def test_pictures_and_json_of_a_folder(demo, tmp_path):
    done = demo(VAL, *WORDS, '--coco-json', tmp_path / 'found.json')
    assert done.returncode == 0, done.stderr
    assert 'left out' not in done.stdout
    out = tmp_path / 'out'
    assert sorted(path.name for path in out.iterdir()) == [
        '000001.png',
        '000002.png',
        '000003.png',
    ]
    assert str(out / '000001.png') in done.stdout
    assert 'image/s' in done.stderr or 's/image' in done.stderr
    read = COCO(str(tmp_path / 'found.json'))
    assert [c['name'] for c in read.loadCats([1, 2])] == [
        'red circle',
        'heart',
    ]
    assert [i['file_name'] for i in read.loadImgs([1, 2, 3])] == [
        f'{VAL}/00000{n}.png' for n in (1, 2, 3)
    ]
    annotations = read.dataset['annotations']
    assert [a['id'] for a in annotations] == [*range(1, len(annotations) + 1)]
    assert {a['image_id'] for a in annotations} == {1, 2, 3}
    assert all(
        a['score'] >= 0.05 and a['segmentation']['counts'] for a in annotations
    )
    drawn = cv2.imread(str(out / '000001.png'))
    plain = cv2.resize(
        cv2.imread(f'{VAL}/000001.png'),
        (480, 480),
        interpolation=cv2.INTER_CUBIC,
    )
    assert drawn.shape == plain.shape and (drawn != plain).any()


def test_names_of_a_file_and_without_masks(demo, tmp_path):
    (tmp_path / 'names.txt').write_text('ring\nheart\n')
    pictures = []
    for option in ('--show-masks', '--no-show-masks'):
        done = demo(
            f'{VAL}/000002.png', '--texts-file', tmp_path / 'names.txt', option
        )
        assert done.returncode == 0, done.stderr
        pictures.append(cv2.imread(str(tmp_path / 'out/000002.png')))
    assert '000002.png: ring' in done.stdout + done.stderr
    assert (pictures[0] != pictures[1]).any()


def test_no_json_no_run_lengths(demo, monkeypatch):
    monkeypatch.delattr('ovd.apis.detections.Detections.to_coco')
    done = demo(f'{VAL}/000002.png', *WORDS)
    assert done.returncode == 0, done.stderr


def test_one_name_in_two_formats_and_what_is_no_image(demo, tmp_path):
    folder = tmp_path / 'images'
    (folder / 'more').mkdir(parents=True)
    image = cv2.imread(f'{VAL}/000001.png')
    for name in ('a.png', 'a.jpg', 'b.png'):
        cv2.imwrite(str(folder / name), image)
    for name in ('c.mp4', 'd.txt', 'e.txt', 'README', '.hidden'):
        (folder / name).touch()
    done = demo(folder, *WORDS)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'a.jpg.png',
        'a.png.png',
        'b.png',
    ]
    assert (
        f'left out of {folder}: 1 .mp4 (give each video alone), 2 .txt, '
        '1 folder, 1 without suffix\n'
    ) in done.stdout


def test_pictures_that_would_be_one_are_named(demo, tmp_path):
    for folder in ('one', 'two'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'a.png').touch()
    done = demo(f'{tmp_path}/*/a.png', *WORDS)
    assert done.returncode == 2
    assert f'{tmp_path}/one/a.png and {tmp_path}/two/a.png' in done.stderr


def test_the_names_of_a_dataset(demo, tmp_path):
    done = demo(
        f'{VAL}/000002.png',
        '--vocabulary',
        'voc',
        '--coco-json',
        tmp_path / 'found.json',
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / 'found.json').read_text())
    assert len(found['categories']) == 20
    assert found['categories'][0] == dict(id=1, name='aeroplane')


def test_unreadable_files_are_named_and_passed_over(demo, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    content = Path(f'{VAL}/000001.png').read_bytes()
    for name in ('a', 'c'):
        (folder / f'{name}.png').write_bytes(content)
    (folder / 'b.png').write_text('no image')
    (folder / 'd.jpg').touch()
    cv2.imwrite(str(folder / 'e.png'), np.zeros((2, 3000, 3), np.uint8))
    done = demo(
        folder,
        *WORDS,
        '--coco-json',
        tmp_path / 'found.json',
        '--batch-size',
        2,
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert f'passed over: {folder / "b.png"} is damaged or no image' in said
    assert f'passed over: {folder / "d.jpg"}' in said
    assert f'passed over: {folder / "e.png"} has 3000 x 2 pixels' in said
    assert 'Traceback' not in said
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'a.png',
        'c.png',
    ]
    found = json.loads((tmp_path / 'found.json').read_text())
    assert [image['file_name'] for image in found['images']] == [
        str(folder / 'a.png'),
        str(folder / 'c.png'),
    ]


def write_video(path: Path, number: int) -> None:
    image = cv2.imread(f'{VAL}/000001.png')
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (160, 120)
    )
    for shift in range(number):
        writer.write(np.ascontiguousarray(image[shift : shift + 120]))
    writer.release()


def test_a_video(demo, tmp_path):
    """As many frames at the same rate; nothing is left beside it."""
    write_video(tmp_path / 'film.mp4', 6)
    done = demo(
        tmp_path / 'film.mp4', *WORDS, '--coco-json', tmp_path / 'found.json'
    )
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / 'out').iterdir()
    film = mmcv.VideoReader(str(made))
    assert made.name == 'film.mp4'
    assert (film.frame_cnt, film.fps, film.width, film.height) == (
        6,
        10,
        640,
        480,
    )
    found = json.loads((tmp_path / 'found.json').read_text())
    assert [image['file_name'] for image in found['images']] == [
        f'{tmp_path / "film.mp4"}#{number}' for number in range(1, 7)
    ]


@pytest.mark.parametrize('damage', ['cut', 'text'])
def test_a_video_that_can_not_be_read(demo, tmp_path, damage):
    path = tmp_path / 'film.avi'
    if damage == 'text':
        path.write_text('no video')
    else:
        write_video(path, 40)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 3])
    done = demo(path, *WORDS)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert (
        f'passed over: {path} is damaged' in said
        or 'passed over: only ' in said
    )
    assert 'Traceback' not in said


@pytest.mark.parametrize(
    'image, options, message',
    [
        ('gone.png', WORDS, 'gone.png is no image, no pattern'),
        (VAL, ('--texts', ' , '), 'expected at least one name, got none'),
        (VAL, ('--texts', 'a, a'), "several times: ['a']"),
        (VAL, ('--vocabulary', 'cocoo'), 'did you mean "coco"'),
        (
            VAL,
            ('--texts-file', 'gone.txt'),
            'list of classes gone.txt does not',
        ),
        (VAL, (*WORDS, '--texts-file', 'a'), 'not allowed with argument'),
        (VAL, (*WORDS, '--score-thr', '3'), 'score_thr must be in [0, 1]'),
        (VAL, (*WORDS, '--batch-size', '0'), 'batch size must be positive'),
        (VAL, (*WORDS, '--device', 'gpu'), 'there is no device "gpu"'),
        (
            VAL,
            (*WORDS, '--out-dir', f'{VAL}/000001.png'),
            'is a file: expected',
        ),
        (VAL, (*WORDS, '--coco-json', VAL), 'is a folder: expected the name'),
        (VAL, (*WORDS, '--out-dir', VAL), 'is one of the images'),
    ],
)
def test_wrong_arguments(demo, image, options, message):
    done = demo(image, *options)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr


def test_masks_of_a_detector_without_them(in_untrained, tmp_path, run_tool):
    config = CONFIG.replace('mask-rcnn', 'faster-rcnn')
    with pytest.warns(UserWarning, match='mask_head'):
        done = run_tool(
            'image_demo.py',
            VAL,
            config,
            RUN,
            *WORDS,
            '--show-masks',
            '--out-dir',
            tmp_path,
        )
    assert done.returncode == 2
    assert 'makes no masks to show' in done.stderr


def test_help_has_an_example(run_tool):
    done = run_tool('image_demo.py', '-h')
    assert done.returncode == 0
    assert 'example:\n  python tools/image_demo.py' in done.stdout
    assert 'exit code: 0' in done.stdout
