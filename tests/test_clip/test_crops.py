"""Tests of crops against openai-clip's transform."""

import clip.clip
import numpy as np
import pytest
import torch
from PIL import Image

from ovd.clip.crops import (
    CROP_MODES,
    crop_windows,
    cut_crops,
    normalize_crops,
    plan_crops,
)


def _image(height=60, width=90, seed=0):
    """A smooth random image, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
    return np.array(
        Image.fromarray(small).resize((width, height), Image.BICUBIC)
    )


def _cut(image, box, scale, side, crop_mode='fast'):
    """Return the crop (3, n, n) of one box."""
    return cut_crops(
        image, crop_windows(np.array([box]), scale), side, crop_mode
    )[0]


@pytest.mark.parametrize(
    'box, scale, expected',
    [
        (
            [10, 20, 30, 60],
            1.0,
            [9, 19, 31, 61],
        ),  # whole pixels: margin of 0.001
        ([10.4, 20.4, 30.4, 60.4], 1.0, [10, 20, 31, 61]),
        ([10.4, 20.4, 30.4, 60.4], 1.5, [5, 10, 36, 71]),  # 5.4 10.4 35.4 70.4
        ([0, 0, 8, 8], 1.5, [-3, -3, 11, 11]),  # not clamped
        ([5.5, 5.5, 5.5, 5.5], 1.0, [5, 5, 6, 6]),  # no area: one pixel
        ([5, 5, 5, 5], 1.5, [4, 4, 6, 6]),
    ],
)
def test_crop_windows(box, scale, expected):
    assert crop_windows(np.array([box]), scale).tolist() == [expected]
    assert crop_windows(torch.tensor([box]), scale).tolist() == [expected]


@pytest.mark.parametrize('crop_mode', CROP_MODES)
def test_outside_the_image_is_black(crop_mode):
    image = np.full((8, 8, 3), 200, np.uint8)
    crop = _cut(image, [0.5, 0.5, 8, 7.5], 2.0, 16, crop_mode)
    # 2x: x -3.25 ... 11.75, y -3 ... 11: pixels -4 ... 12 and -4 ... 12
    expected = np.zeros((16, 16), np.uint8)
    expected[4:12, 4:12] = 200
    np.testing.assert_array_equal(crop[1].numpy(), expected)


@pytest.mark.parametrize('crop_mode', CROP_MODES)
def test_small_scale_of_a_box_that_sticks_out(crop_mode):
    image = np.full((8, 8, 3), 200, np.uint8)
    crop = _cut(image, [-20.0, 0, 1, 8], 0.5, 16, crop_mode)
    assert not crop.any()  # x -14.75 ... -4.25


@pytest.mark.parametrize('crop_mode', CROP_MODES)
def test_the_middle_of_long_crops_is_kept(crop_mode):
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = (10, 20, 30)
    crop = _cut(image, [0.5, 0.5, 29.5, 9.5], 1.0, 10, crop_mode)
    assert crop.shape == (3, 10, 10)
    assert (crop == torch.tensor([10, 20, 30]).view(3, 1, 1)).all()


@pytest.mark.parametrize(
    'width, height', [(90, 60), (31, 77), (3, 50), (200, 200)]
)
@pytest.mark.parametrize('crop_mode, grey_levels', [('fast', 2), ('clip', 0)])
def test_crops_equal_openai_transform(width, height, crop_mode, grey_levels):
    image = _image(height, width)
    crop = _cut(
        image, [0.5, 0.5, width - 0.5, height - 0.5], 1.0, 64, crop_mode
    )
    expected = clip.clip._transform(64)(Image.fromarray(image))
    difference = (normalize_crops(crop[None])[0] - expected).abs()
    assert difference.max() <= grey_levels / 255 / 0.26 + 1e-5


def test_plan_has_no_window_twice():
    box = [10.0, 10, 30, 20]
    # The second box is the first one at 1.5 times its size
    plan = plan_crops(np.array([box, [5, 7.5, 35, 22.5], box]), (1.0, 1.5))
    assert plan.windows.shape == (3, 4) and plan.index.shape == (2, 3)
    for scale, row in zip((1.0, 1.5), plan.index, strict=True):
        expected = crop_windows(
            np.array([box, [5, 7.5, 35, 22.5], box]), scale
        )
        assert torch.equal(plan.windows[row], expected)


def test_plan_of_no_box():
    plan = plan_crops(np.zeros((0, 4)), (1.0, 1.5))
    assert plan.windows.shape == (0, 4) and plan.index.shape == (2, 0)
    assert cut_crops(_image(), plan.windows, 16).shape == (0, 3, 16, 16)


def test_unknown_mode():
    with pytest.raises(ValueError, match='crop_mode.*did you mean.*clip'):
        _cut(_image(), [0, 0, 9, 9], 1.0, 16, 'clipp')


@pytest.mark.parametrize(
    'height, width',
    [(4, 90), (90, 4), (1, 200), (200, 3), (31, 300), (80, 700)],
)
def test_ends_of_long_crops_are_not_resized(height, width, monkeypatch):
    image = _image(height, width)
    windows = torch.tensor([[0, 0, width, height]])
    expected = clip.clip._transform(64)(Image.fromarray(image))
    found = normalize_crops(cut_crops(image, windows, 64))[0]
    # One or two grey levels of a smooth image
    assert (found - expected).abs().max() < 3 / 255 / 0.26
    sizes = []
    monkeypatch.setattr(
        'ovd.clip.crops.TF.resize_image',
        lambda crop, size, **_: (
            sizes.append(crop.shape)
            or torch.zeros(3, *size, dtype=torch.uint8)
        ),
    )
    cut_crops(image, windows, 64)
    shorter = min(height, width)
    assert max(sizes[0][1:]) <= shorter + 2 * max(shorter, 4) + 2 * shorter


def test_whole_images_are_cut_as_they_are():
    boxes = np.array([[0.0, 0, 90, 60], [0, 0, 90, 60]])
    plan = plan_crops(boxes, (1.0, 1.5), np.array([False, True]))
    assert plan.windows[plan.index[:, 1]].tolist() == [[0, 0, 90, 60]] * 2
    assert plan.windows[plan.index[0, 0]].tolist() == [-1, -1, 91, 61]


@pytest.mark.parametrize('scales', [1.0, (), (0,), ('1',), (1.0, -1)])
def test_wrong_scales(scales):
    with pytest.raises(ValueError, match='crop_scales must be positive'):
        plan_crops(np.zeros((1, 4)), scales)


@pytest.mark.parametrize('crop_mode', CROP_MODES)
def test_threads_cut_the_same_crops(crop_mode):
    top_left = np.random.default_rng(1).uniform(-20, 60, (70, 2))
    windows = crop_windows(np.hstack([top_left, top_left + 25]))
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2, 3, 8):
            torch.set_num_threads(number)
            found.append(cut_crops(_image(), windows, 32, crop_mode))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(crops, found[0]) for crops in found[1:])
    one_by_one = [
        cut_crops(_image(), windows[[row]], 32, crop_mode) for row in range(70)
    ]
    assert torch.equal(found[0], torch.cat(one_by_one))


def test_an_error_of_a_thread_is_not_lost(monkeypatch):
    def fail(image, window, side):
        if window[0] == 5:
            raise MemoryError('no room')
        return torch.zeros(3, side, side, dtype=torch.uint8)

    monkeypatch.setattr('ovd.clip.crops._cut_fast', fail)
    windows = torch.tensor([[0, 0, 9, 9]] * 40 + [[5, 0, 9, 9]])
    with pytest.raises(MemoryError, match='no room'):
        cut_crops(_image(), windows, 16)
