"""Draw the scenes of the miniature world.

A scene is a function of its random generator alone. Shapes are drawn at
three times the size and averaged down, so that edges are smooth; the mask of
an object is where it covers at least half of a pixel and nothing lies on it.

Frames: pixels, (x, y) from the top left corner; images are RGB.
"""
import colorsys
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np

from .miniature_names import (BASE_SHAPES, COLOURS, DISTRACTOR_COLOURS,
                              DISTRACTOR_SHAPES, NOVEL_SHAPES, PATTERNS, Look)

IMAGE_SIZE = 160
MIN_SIZE, MAX_SIZE = 22, 56
MIN_OBJECTS, MAX_OBJECTS = 2, 5
MAX_DISTRACTORS = 3
MIN_VISIBLE = 0.6
SUPERSAMPLING = 3

# hue in degrees, saturation, value; each object varies around it
COLOUR_HSV = dict(
    red=(357, 0.84, 0.86), yellow=(48, 0.85, 0.95), green=(128, 0.66, 0.62),
    blue=(216, 0.80, 0.84), purple=(284, 0.62, 0.68), grey=(220, 0.04, 0.52),
    brown=(24, 0.58, 0.42), black=(230, 0.15, 0.15), white=(50, 0.04, 0.96))
HSV_JITTER = (7, 0.08, 0.08)


@dataclass(frozen=True)
class Scene:
    """One image and what is in it.

    Attributes:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        labels (np.ndarray): (K,) index into the looks that were given to
            :func:`render_scene`, for the named objects only.
        masks (np.ndarray): (K, H, W) bool, visible pixels.
        bboxes (np.ndarray): (K, 4) int64 xyxy, tight around the masks; x2
            and y2 lie one past the last pixel.
        distractors (np.ndarray): (M, 4) int64 xyxy of the nameless objects.
    """
    image: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    bboxes: np.ndarray
    distractors: np.ndarray


@dataclass(frozen=True)
class _Patch:
    """A drawn object: colours (h, w, 3) and coverage (h, w), 0 to 1."""
    colours: np.ndarray
    alpha: np.ndarray


def render_scene(rng: np.random.Generator,
                 looks: Sequence[Look],
                 image_size: int = IMAGE_SIZE) -> Scene:
    """Draw a scene with 2 to 5 of ``looks`` and up to 3 nameless objects.

    Objects lie on one another, but each named one keeps at least 60 % of its
    area visible; one that finds no place for that is left out.

    Args:
        rng (np.random.Generator): The only source of randomness.
        looks (Sequence[Look]): What may appear, all equally often.
        image_size (int): Height and width in pixels. Defaults to 160.
    """
    canvas = draw_background(rng, image_size)
    owner = np.full((image_size, image_size), -1)
    labels: List[int] = []
    areas: List[int] = []
    for label in _choose_items(rng, len(looks)):
        look = looks[label] if label >= 0 else _nameless_look(rng)
        size = MIN_SIZE * (MAX_SIZE / MIN_SIZE)**rng.random()
        patch = _draw_patch(rng, look, size)
        corner = _find_place(rng, patch, owner, labels, areas, label >= 0)
        if corner is None:
            continue
        mask = _paste(canvas, patch, corner)
        owner[mask] = len(labels)
        labels.append(label)
        areas.append(int((patch.alpha >= 0.5).sum()))
    canvas *= rng.uniform(0.86, 1.08) * rng.uniform(0.96, 1.04, 3)
    return _pack(canvas, owner, np.array(labels))


def _choose_items(rng: np.random.Generator, num_looks: int) -> np.ndarray:
    """Return labels in drawing order, -1 for a nameless object."""
    count = rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1)
    named = rng.integers(0, num_looks, count)
    nameless = np.full(rng.integers(0, MAX_DISTRACTORS + 1), -1)
    return rng.permutation(np.concatenate([named, nameless]))


def _nameless_look(rng: np.random.Generator) -> Look:
    """Return a look whose colour or shape (not both) is in no name."""
    if rng.random() < 0.5:
        colours, shapes = DISTRACTOR_COLOURS, BASE_SHAPES + NOVEL_SHAPES
    else:
        colours, shapes = COLOURS, DISTRACTOR_SHAPES
    return Look(*(str(rng.choice(v)) for v in (PATTERNS, colours, shapes)))


def _find_place(rng: np.random.Generator, patch: _Patch, owner: np.ndarray,
                labels: List[int], areas: List[int],
                named: bool) -> Optional[Tuple[int, int]]:
    """Return a top left corner where all stay visible enough, or None."""
    solid = patch.alpha >= 0.5
    h, w = solid.shape
    for _ in range(40):
        x = int(rng.integers(-w // 8, owner.shape[1] - w + w // 8 + 1))
        y = int(rng.integers(-h // 8, owner.shape[0] - h + h // 8 + 1))
        rows, cols, inside = _overlap(owner.shape, (x, y), solid.shape)
        if named and solid[inside].sum() < 0.9 * solid.sum():
            continue
        hidden = owner[rows, cols][solid[inside]]
        if all(label < 0 or (owner == i).sum() - (hidden == i).sum() >=
               MIN_VISIBLE * area
               for i, (label, area) in enumerate(zip(labels, areas))):
            return x, y
    return None


def _overlap(canvas_hw: Tuple[int, ...], corner: Tuple[int, int],
             patch_hw: Tuple[int, ...]) -> Tuple[slice, slice, tuple]:
    """Return the slices of a canvas and of a patch where both overlap."""
    (height, width), (x, y), (h, w) = canvas_hw, corner, patch_hw
    x1, x2 = max(x, 0), min(x + w, width)
    y1, y2 = max(y, 0), min(y + h, height)
    return slice(y1, y2), slice(x1, x2), (slice(y1 - y, y2 - y),
                                          slice(x1 - x, x2 - x))


def _paste(canvas: np.ndarray, patch: _Patch,
           corner: Tuple[int, int]) -> np.ndarray:
    """Draw a patch and its soft shadow; return its mask (H, W) bool."""
    mask = np.zeros(canvas.shape[:2], bool)
    offset = max(1, patch.alpha.shape[0] // 20)
    rows, cols, inside = _overlap(mask.shape,
                                  (corner[0] + offset, corner[1] + offset),
                                  patch.alpha.shape)
    shadow = cv2.GaussianBlur(patch.alpha, (0, 0), 1.5 * offset)[inside]
    canvas[rows, cols] *= 1 - 0.35 * shadow[..., None]
    rows, cols, inside = _overlap(mask.shape, corner, patch.alpha.shape)
    alpha = patch.alpha[inside][..., None]
    canvas[rows, cols] += alpha * (patch.colours[inside] - canvas[rows, cols])
    mask[rows, cols] = patch.alpha[inside] >= 0.5
    return mask


def _pack(canvas: np.ndarray, owner: np.ndarray, labels: np.ndarray) -> Scene:
    """Turn what was drawn into annotations of what can be seen."""
    masks = owner == np.arange(len(labels))[:, None, None]
    visible = masks.any(axis=(1, 2))
    labels, masks = labels[visible], masks[visible]
    bboxes = np.array([_tight_box(mask) for mask in masks]).reshape(-1, 4)
    named = labels >= 0
    image = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return Scene(image, labels[named], masks[named], bboxes[named],
                 bboxes[~named])


def _tight_box(mask: np.ndarray) -> Tuple[int, int, int, int]:
    """Return the xyxy box of the True pixels, x2 and y2 exclusive."""
    xs, ys = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
    return xs[0], ys[0], xs[-1] + 1, ys[-1] + 1


# --- objects ---------------------------------------------------------------


def _draw_patch(rng: np.random.Generator, look: Look, size: float) -> _Patch:
    """Draw an object of ``size`` pixels, turned by up to 20 degrees."""
    side = int(np.ceil(size * 1.25)) + 2
    angle = math.radians(rng.uniform(-20, 20))
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    stretch = rng.uniform(0.9, 1.1)
    radius = size / 2 * SUPERSAMPLING
    scale = radius * np.array([stretch, 1 / stretch])
    n = side * SUPERSAMPLING
    contours = [
        np.round(((outline * scale) @ turn + n / 2) * 16).astype(np.int32)
        for outline in shape_outline(look.shape)
    ]
    mask = np.zeros((n, n), np.uint8)
    cv2.fillPoly(mask, contours, 255, shift=4)

    main, second, edge = _paints(rng, look.colour)
    ys, xs = np.mgrid[:n, :n].astype(np.float32) - np.float32(n / 2)
    colours = np.empty((n, n, 3), np.float32)
    colours[:] = main
    colours[_pattern(rng, look.pattern, xs, ys, angle, radius)] = second
    cv2.polylines(colours, contours, True, edge,
                  max(1, round(0.13 * radius)), shift=4)
    # Light falls from the upper left.
    colours *= (1 - 0.13 * (xs + ys) / radius)[..., None]

    alpha = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    colours = cv2.resize(colours, (side, side), interpolation=cv2.INTER_AREA)
    return _Patch(colours, alpha.astype(np.float32) / 255)


def _paints(rng: np.random.Generator, colour: str) -> Tuple[tuple, ...]:
    """Return (main, pattern, edge) RGB of a colour, each varied a little."""
    h, s, v = np.array(COLOUR_HSV[colour]) + rng.uniform(-1, 1, 3) * HSV_JITTER
    s, v = np.clip([s, v], 0, 1)
    main = np.array(colorsys.hsv_to_rgb(h / 360 % 1, s, v)) * 255
    bright = main @ (0.3, 0.59, 0.11) > 150
    second = 0.22 * main if bright else 0.15 * main + 0.85 * 250
    return tuple(main), tuple(second), tuple(0.55 * main)


def _pattern(rng: np.random.Generator, pattern: str, xs: np.ndarray,
             ys: np.ndarray, angle: float, radius: float) -> np.ndarray:
    """Return where (n, n) the second paint goes.

    Stripes and dots keep their number per object, not their width in pixels,
    so that they can be told apart on the smallest objects.
    """
    if pattern == 'plain':
        return np.zeros(xs.shape, bool)
    tilt = angle + math.radians(45 + rng.uniform(-12, 12))
    cos, sin = math.cos(tilt) / radius, math.sin(tilt) / radius
    u, v = xs * cos + ys * sin, ys * cos - xs * sin
    if pattern == 'striped':
        return (u / 0.48 + rng.random()) % 1 < 0.4
    u, v = ((w / 0.5 + rng.random()) % 1 - 0.5 for w in (u, v))
    return u * u + v * v < 0.3**2


@lru_cache(maxsize=None)
def shape_outline(shape: str) -> Tuple[np.ndarray, ...]:
    """Return the contours (N, 2) of a shape about 2 wide; a second is a hole.

    Args:
        shape (str): One of the shapes of :mod:`.miniature_names`.
    """
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(t), np.sin(t)], 1)
    if shape == 'circle':
        return (0.92 * circle, )
    if shape == 'ring':
        return circle, 0.5 * circle[::-1]
    if shape == 'moon':
        a = np.linspace(0.28 * np.pi, 1.72 * np.pi, 36)
        outer = np.stack([np.cos(a), np.sin(a)], 1)
        b = np.linspace(1.5 * np.pi, 0.5 * np.pi, 24)
        inner = np.stack([0.75 * np.cos(b), 0.77 * np.sin(b)], 1)
        inner[:, 0] += outer[0, 0]
        return (np.concatenate([outer, inner]) + (0.2, 0), )
    if shape == 'heart':
        return (np.stack([16 * np.sin(t)**3, -(
            13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) -
            np.cos(4 * t)) - 2.5], 1) / 16, )
    if shape == 'star':
        a = np.arange(10) * np.pi / 5 - np.pi / 2
        r = np.where(np.arange(10) % 2, 0.5, 1.1)
        return (np.stack([r * np.cos(a), r * np.sin(a)], 1), )
    corners = dict(
        square=[(-.84, -.84), (.84, -.84), (.84, .84), (-.84, .84)],
        triangle=[(0, -1), (1, .8), (-1, .8)],
        cross=[(-.34, -1), (.34, -1), (.34, -.34), (1, -.34), (1, .34),
               (.34, .34), (.34, 1), (-.34, 1), (-.34, .34), (-1, .34),
               (-1, -.34), (-.34, -.34)],
        arrow=[(-1, -.36), (0, -.36), (0, -.9), (1.05, 0), (0, .9), (0, .36),
               (-1, .36)],
        hourglass=[(-.85, -1), (.85, -1), (.2, 0), (.85, 1), (-.85, 1),
                   (-.2, 0)],
        bolt=[(.2, -1), (-.7, .15), (-.08, .15), (-.3, 1), (.7, -.2),
              (.08, -.2), (.5, -1)])
    return (np.array(corners[shape], float), )


# --- background ------------------------------------------------------------


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return (size, size, 3) float32: cloudy texture, blobs and strokes."""
    near, far = _muted(rng), _muted(rng)
    cells = int(rng.integers(3, 7))
    blend = _noise(rng, cells, size, 0.35) + _noise(rng, 4 * cells, size, 0.12)
    canvas = near + np.clip(0.5 + blend, 0, 1)[..., None] * (far - near)
    canvas += _noise(rng, size // 2, size, 4.0)[..., None]
    for _ in range(rng.integers(2, 5)):
        blob = np.zeros((size, size), np.uint8)
        centre = rng.integers(0, size, 2).tolist()
        axes = rng.integers(size // 16, size // 4, 2).tolist()
        cv2.ellipse(blob, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1,
                    cv2.LINE_AA)
        alpha = blob[..., None] * np.float32(rng.uniform(0.2, 0.5) / 255)
        canvas += alpha * (_muted(rng) - canvas)
    # OpenCV smooths the edges of lines in 8 bits only.
    canvas = np.clip(canvas, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(4, 10)):
        headings = np.cumsum(rng.normal(0, 0.7, 14)) + rng.uniform(0, 7)
        steps = np.stack([np.cos(headings), np.sin(headings)], 1)
        steps *= rng.uniform(size / 60, size / 15)
        points = np.cumsum(steps, 0) + rng.uniform(0, size, 2)
        cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], False,
                      _muted(rng).tolist(), int(rng.integers(1, 4)),
                      cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32)


def _muted(rng: np.random.Generator) -> np.ndarray:
    """Return a colour (3,) float32 that no object has: weakly saturated."""
    hsv = rng.random(), rng.uniform(0.05, 0.32), rng.uniform(0.35, 0.85)
    return np.array(colorsys.hsv_to_rgb(*hsv), np.float32) * 255


def _noise(rng: np.random.Generator, cells: int, size: int,
           amplitude: float) -> np.ndarray:
    """Return smooth noise (size, size) float32 with ``cells`` bumps a side."""
    grid = rng.normal(0, amplitude, (cells, cells)).astype(np.float32)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
