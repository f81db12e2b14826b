"""Images in whatever form users have them."""

import numpy as np

from ovd.apis.image_sources import expand_folders, read_image


def test_one_image_that_was_read_is_one_image() -> None:
    image = read_image(np.zeros((2, 3, 3), np.uint8))
    assert expand_folders(image) == [image]
    assert expand_folders([image, image]) == [image, image]
