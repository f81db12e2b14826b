"""Images in whatever form users have them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovd.apis.image_sources import expand_folders, read_image


def test_one_image_that_was_read_is_one_image() -> None:
    image = read_image(np.zeros((2, 3, 3), np.uint8))
    assert expand_folders(image) == [image]
    assert expand_folders([image, image]) == [image, image]


@pytest.mark.parametrize('size', [(3000, 2), (2, 3000)])
def test_a_mere_line_is_refused(size: tuple) -> None:
    width, height = size
    with pytest.raises(ValueError, match=f'{width} x {height}.*too thin'):
        read_image(Image.new('RGB', size))
    with pytest.raises(ValueError, match='too thin'):
        read_image(np.zeros((height, width, 3), np.uint8))


def test_more_than_8_bits_are_not_cut_silently() -> None:
    deep = Image.fromarray(np.full((4, 4), 40000, np.uint16))
    with pytest.raises(ValueError, match='must have 8 bits, got the mode I'):
        read_image(deep)


def test_what_else_is_in_a_folder_is_told(tmp_path: Path) -> None:
    for name in ('a.jpg', 'b.PNG'):
        (tmp_path / name).touch()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(expand_folders(tmp_path)) == 2
    (tmp_path / 'c.heic').touch()
    with pytest.warns(UserWarning, match=r'left out of .*: 1 \.heic'):
        assert len(expand_folders([tmp_path])) == 2
