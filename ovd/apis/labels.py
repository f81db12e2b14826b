"""Boxes, labels that keep out of each other's way, and a legend."""

from functools import lru_cache
from typing import Dict, Iterator, List, Sequence, Tuple

from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

Colour = Tuple[int, ...]  # as PIL gives it: three, with alpha four
Box = Sequence[float]  # xyxy in pixels of the picture


@lru_cache(maxsize=8)
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that comes with matplotlib, so is everywhere."""
    return ImageFont.truetype(findfont('DejaVu Sans'), size)


def text_colour(background: Colour) -> str:
    """Return black or white, whichever can be read on a colour."""
    red, green, blue = background
    return 'black' if 0.3 * red + 0.59 * green + 0.11 * blue > 128 else 'white'


def draw_box(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    width: int,
    dashed: bool = False,
) -> None:
    """Draw the outline of a box, with gaps if it is dashed."""
    x1, y1, x2, y2 = box
    if not dashed:
        pen.rectangle(
            (x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=width
        )
        return
    step = 4 * width
    for start in range(int(x1), int(x2), 2 * step):
        end = min(start + step, x2)
        for y in (y1, y2):
            pen.line((start, y, end, y), fill=colour, width=width)
    for start in range(int(y1), int(y2), 2 * step):
        end = min(start + step, y2)
        for x in (x1, x2):
            pen.line((x, start, x, end), fill=colour, width=width)


def draw_labels(
    canvas: Image.Image,
    boxes: Sequence[Box],
    texts: Sequence[str],
    colours: Sequence[Colour],
    size: int,
) -> None:
    """Write a label at each box, where it hides no other label if it can.

    Args:
        canvas (Image.Image): Picture to draw on.
        boxes (Sequence[Box]): What the labels belong to.
        texts (Sequence[str]): One per box.
        colours (Sequence[Colour]): Backgrounds of the labels.
        size (int): Height of the font in pixels.
    """
    pen, font = ImageDraw.Draw(canvas), load_font(size)
    placed: List[Box] = []
    for box, text, colour in zip(boxes, texts, colours):
        wide, high = pen.textlength(text, font=font) + size / 2, 1.3 * size
        # the first of those that hide least
        place = min(
            _places(box, wide, high, canvas.size),
            key=lambda place: sum(_overlap(place, p) for p in placed),
        )
        placed.append(place)
        pen.rectangle(tuple(place), fill=colour)
        pen.text(
            (place[0] + size / 4, place[1]),
            text,
            fill=text_colour(colour),
            font=font,
        )


def _places(
    box: Box, wide: float, high: float, canvas_wh: Tuple[int, int]
) -> Iterator[Box]:
    """Yield where a label may be: above, below, inside; left, then right."""
    for left in (box[0], box[2] - wide):
        left = max(0, min(left, canvas_wh[0] - wide))
        for top in (box[1] - high, box[3], box[1], box[3] - high):
            top = max(0, min(top, canvas_wh[1] - high))
            yield left, top, left + wide, top + high


def _overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(
        0, min(a[3], b[3]) - max(a[1], b[1])
    )


def draw_legend(
    canvas: Image.Image, rows: Dict[str, Tuple[Colour, bool]], size: int
) -> Image.Image:
    """Return the picture with a white strip below it.

    Args:
        canvas (Image.Image): The picture.
        rows (Dict[str, Tuple[Colour, bool]]): Text -> colour, and whether
            its boxes are dashed.
        size (int): Height of the font in pixels.
    """
    taller = Image.new(
        'RGB', (canvas.width, canvas.height + 2 * size), 'white'
    )
    taller.paste(canvas)
    pen, font = ImageDraw.Draw(taller), load_font(size)
    left, top = size / 2, canvas.height + size / 2
    for text, (colour, dashed) in rows.items():
        swatch = (left, top, left + 1.5 * size, top + size)
        if dashed:
            draw_box(pen, swatch, colour, 2, dashed=True)
        else:
            pen.rectangle(swatch, fill=colour)
        pen.text(
            (left + 2 * size, top - size / 8), text, fill='black', font=font
        )
        left += 3 * size + pen.textlength(text, font=font)
    return taller
