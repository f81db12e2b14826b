"""Which files are whole images, and the list of those that are not."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from torch._utils import ExceptionWrapper

from ovd.datasets.broken_images import (
    BrokenImageError,
    broken,
    is_cut_off,
    record_broken,
)


def encode(suffix: str, *options: int, side: int = 64) -> bytes:
    image = np.random.RandomState(0).randint(0, 256, (side, side, 3))
    return cv2.imencode(suffix, image.astype(np.uint8), options)[1].tobytes()


JPEG, PNG = encode('.jpg'), encode('.png')
PROGRESSIVE = encode('.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = encode('.jpg', cv2.IMWRITE_JPEG_RST_INTERVAL, 1)
# A camera's: with a whole JPEG, its thumbnail, in front of the coded pixels
SMALL = encode('.jpg', side=8)
CAMERA = (
    JPEG[:2]
    + b'\xff\xe1'
    + (len(SMALL) + 2).to_bytes(2, 'big')
    + SMALL
    + JPEG[2:]
)
KINDS = dict(
    jpeg=JPEG,
    png=PNG,
    progressive=PROGRESSIVE,
    restarts=RESTARTS,
    camera=CAMERA,
)


@pytest.mark.parametrize('kind', KINDS)
def test_whole_files(kind: str) -> None:
    content = KINDS[kind]
    assert not is_cut_off(content)
    for trailing in (b'\0', b'\r\n', bytes(5000), b'ftyp' + content[:-40]):
        assert not is_cut_off(content + trailing)


@pytest.mark.parametrize('kind', KINDS)
def test_files_without_an_end(kind: str) -> None:
    content = KINDS[kind]
    for length in (
        len(content) // 2,
        len(content) - 40,
        len(content) - 20,
        len(content) - 12,
    ):
        lost = len(content) - length
        assert is_cut_off(content[:length])
        assert is_cut_off(content[:length] + bytes(lost))  # never copied
    assert is_cut_off(CAMERA[: len(SMALL) + 7])


def test_other_files_are_no_matter_of_ends() -> None:
    for content in (b'', b'\xff', b'no image', encode('.bmp')[:-20]):
        assert not is_cut_off(content)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize(
    'spoilt',
    [
        JPEG[: len(JPEG) // 2],
        JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2),
        PNG[: len(PNG) // 2],
        b'',
        b'no image',
        None,
    ],
    ids=['half', 'zeros', 'half png', 'empty', 'text', 'gone'],
)
def test_the_loader_names_the_file(
    backend: str, spoilt: bytes, tmp_path: Path
) -> None:
    load = TRANSFORMS.build(
        dict(type='LoadWholeImage', imdecode_backend=backend)
    )
    path = tmp_path / 'a.jpg'
    if spoilt is not None:
        path.write_bytes(spoilt)
    with pytest.raises(BrokenImageError, match='a.jpg cannot be used: ') as e:
        load(dict(img_path=str(path)))
    assert e.value.path == str(path) and e.value.reason
    path.write_bytes(JPEG)
    assert load(dict(img_path=str(path)))['img'].shape == (64, 64, 3)


def test_the_error_travels_to_other_processes() -> None:
    error = pickle.loads(pickle.dumps(broken('a.jpg', 'cut off')))
    assert (error.path, error.reason) == ('a.jpg', 'cut off')
    with pytest.raises(BrokenImageError, match='a.jpg cannot be used: cut'):
        try:
            raise error
        except BrokenImageError:
            wrapped = ExceptionWrapper(where='in DataLoader worker 0')
        wrapped.reraise()


def test_each_image_is_recorded_once(tmp_path: Path) -> None:
    file = tmp_path / 'run' / 'broken.jsonl'
    for epoch in range(3):
        for name in ('a.jpg', 'a.jpg.jpg', 'a"é.jpg'):
            record_broken(file, name, f'broken in epoch {epoch}')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [
        dict(image=name, reason='broken in epoch 0')
        for name in ('a.jpg', 'a.jpg.jpg', 'a"é.jpg')
    ]
