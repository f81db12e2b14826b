"""Pictures: colours, crowds, labels that can be read, the legend."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image, ImageColor, ImageDraw

from ovd.apis.drawing import (
    BASE_COLOUR,
    NOVEL_COLOUR,
    draw_instances,
    render_detections,
    shrink_image,
)
from ovd.apis.labels import draw_box, draw_labels, draw_legend, text_colour
from ovd.colours import class_colour

GREY = np.full((100, 120, 3), 90, np.uint8)
LONG = 'a long\n name ' + 'x' * 60
BOXES = torch.tensor([[10.0, 20.0, 50.0, 60.0], [70.0, 30.0, 110.0, 90.0]])


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def draw(tmp_path: Path, **kwargs: object) -> np.ndarray:
    arguments = dict(
        image=GREY,
        bboxes=BOXES,
        names=['cat', 'dog'],
        base_classes=['cat'],
        out_file=tmp_path / 'a.png',
        min_side=400,
    )
    draw_instances(**{**arguments, **kwargs})
    return read(tmp_path / 'a.png')


def test_base_and_novel_have_their_colours(tmp_path):
    """Lower edges, which no label hides, of a picture enlarged four times."""
    picture = draw(tmp_path)
    assert picture.shape == (400, 480, 3)
    assert tuple(picture[240, 120]) == BASE_COLOUR
    assert tuple(picture[360, 360]) == NOVEL_COLOUR
    assert tuple(picture[160, 120]) == (90, 90, 90)


def test_masks_are_tinted(tmp_path):
    """Three tenths of the colour over the image, in the mask alone."""
    masks = torch.zeros(2, 100, 120, dtype=torch.bool)
    masks[1, 40:60, 80:100] = True
    picture = draw(tmp_path, masks=masks).astype(float)
    tint = 0.7 * 90 + 0.3 * np.array(NOVEL_COLOUR)
    assert np.abs(picture[200, 360] - tint).max() <= 1
    assert tuple(picture[300, 360]) == (90, 90, 90)


def test_crowds_are_dashed(tmp_path):
    """Their edges have gaps, those of other boxes have not."""
    row = draw(tmp_path, is_crowd=[True, False])
    dashed = (row[240, 45:195] == BASE_COLOUR).all(1)
    assert 0.3 < dashed.mean() < 0.7
    assert (row[360, 285:435] == NOVEL_COLOUR).all()


def test_legend_is_added_below(tmp_path):
    """The image stays as it was, with both colours in a strip below it."""
    plain = draw(tmp_path)
    picture = draw(tmp_path, legend=True)
    assert (picture[:400] == plain).all() and len(picture) > 400
    strip = picture[400:].reshape(-1, 3)
    for colour in (BASE_COLOUR, NOVEL_COLOUR, (255, 255, 255)):
        assert (strip == colour).all(1).sum() > 50


def test_legend_counts(tmp_path, monkeypatch):
    """Crowds are named where there are some."""
    from ovd.apis import drawing

    rows = []
    monkeypatch.setattr(
        drawing,
        'draw_legend',
        lambda canvas, found, _: rows.append(found) or canvas,
    )
    draw(tmp_path, legend=True)
    draw(tmp_path, legend=True, is_crowd=[False, True])
    assert [list(found) for found in rows] == [
        ['base: 1', 'novel: 1'],
        ['base: 1', 'novel: 0', 'base crowds: 0', 'novel crowds: 1'],
    ]


def test_nothing_to_draw(tmp_path):
    """An image without objects is an ordinary one."""
    picture = draw(
        tmp_path,
        bboxes=torch.zeros(0, 4),
        names=[],
        masks=torch.zeros(0, 100, 120, dtype=torch.bool),
    )
    assert (picture == 90).all()


def test_detections_are_drawn_with_their_scores(monkeypatch):
    """In the colours of their classes, long names cut, in one line."""
    from ovd.apis import drawing

    texts = []
    monkeypatch.setattr(
        drawing,
        'draw_labels',
        lambda canvas, boxes, labels, *_: texts.extend(labels),
    )
    sample = DetDataSample(
        pred_instances=InstanceData(
            bboxes=BOXES,
            labels=torch.tensor([1, 0]),
            scores=torch.tensor([0.5, 0.25]),
        )
    )
    picture = np.asarray(render_detections(GREY, sample, ['cat', LONG]))
    # the larger box first: smaller ones are drawn on top
    assert texts == ['cat 0.25', f'a long name {"x" * 27}\u2026 0.50']
    assert tuple(picture[300, 150]) == ImageColor.getrgb(class_colour(1))
    assert tuple(picture[449, 450]) == ImageColor.getrgb(class_colour(0))


def test_masks_of_detections_may_be_left_out():
    sample = DetDataSample(
        pred_instances=InstanceData(
            bboxes=BOXES,
            labels=torch.tensor([1, 0]),
            scores=torch.ones(2),
            masks=torch.ones(2, 100, 120, dtype=torch.bool),
        )
    )
    tinted, plain = (
        np.asarray(render_detections(GREY, sample, ['cat', 'dog'], show))
        for show in (True, False)
    )
    assert tuple(plain[-1, -1]) == (90, 90, 90) != tuple(tinted[-1, -1])


def test_colours_of_classes_are_distinct():
    for number, least in ((20, 80), (30, 15)):
        found = np.array(
            [
                ImageColor.getrgb(class_colour(label))
                for label in range(number)
            ],
            float,
        )
        apart = np.linalg.norm(found[:, None] - found, axis=-1)
        assert apart[~np.eye(number, dtype=bool)].min() > least


def test_labels_keep_out_of_each_others_way():
    """Three boxes in one place: no label hides another, all are inside."""
    canvas = Image.new('RGB', (300, 200))
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    draw_labels(
        canvas, [(100, 80, 250, 150)] * 3, ['a long label'] * 3, colours, 16
    )
    areas = [(np.asarray(canvas) == colour).all(2).sum() for colour in colours]
    assert max(areas) - min(areas) < 0.05 * max(areas)


@pytest.mark.parametrize(
    'box', [(0, 0, 5, 5), (290, 190, 299, 199), (-20, -20, 400, 400)]
)
def test_labels_stay_in_the_picture(box):
    """All of the label's area is there, whatever the corner."""
    canvas = Image.new('RGB', (300, 200))
    draw_labels(canvas, [box], ['label'], [(200, 0, 0)], 16)
    inside = Image.new('RGB', (300, 200))
    draw_labels(inside, [(100, 100, 200, 150)], ['label'], [(200, 0, 0)], 16)
    area, expected = (
        (np.asarray(c) == (200, 0, 0)).all(2).sum() for c in (canvas, inside)
    )
    assert abs(int(area) - int(expected)) < 60


def test_text_can_be_read():
    assert text_colour(BASE_COLOUR) == 'white'
    assert text_colour(NOVEL_COLOUR) == 'black'


def test_boxes_without_size_do_not_fail():
    """An annotation may be thinner than a pixel, or turned over."""
    pen = ImageDraw.Draw(Image.new('RGB', (20, 20)))
    for dashed in (False, True):
        draw_box(pen, (5.0, 5.0, 5.0, 4.0), BASE_COLOUR, 2, dashed)


def test_legend_has_a_swatch_per_row():
    picture = draw_legend(
        Image.new('RGB', (200, 10)),
        {'a': ((200, 0, 0), False), 'b': ((0, 200, 0), True)},
        10,
    )
    pixels = np.asarray(picture)[10:]
    full, dashed = (
        (pixels == colour).all(2).sum()
        for colour in ((200, 0, 0), (0, 200, 0))
    )
    assert full > dashed > 10


@pytest.mark.parametrize(
    'longest, size', [(60, (60, 50)), (120, (120, 100)), (1, (1, 1))]
)
def test_shrunk_to_fit_a_page(longest: int, size: tuple) -> None:
    shrunk = shrink_image(GREY, longest)
    assert shrunk.shape[1::-1] == size and (shrunk == 90).all()
    assert (shrunk is GREY) == (size == (120, 100))
