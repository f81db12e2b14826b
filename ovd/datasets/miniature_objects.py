"""Draw one object of the miniature world: shape, colour, pattern.

Shapes are drawn at three times the size and averaged down, so that edges are
smooth. Angles are radians, lengths pixels unless said otherwise.
"""

import colorsys
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Tuple

import cv2
import numpy as np

from .miniature_names import Look

SUPERSAMPLING = 3

# hue in degrees, saturation, value; each object varies around it
COLOUR_HSV = dict(
    red=(357, 0.84, 0.86),
    yellow=(48, 0.85, 0.95),
    green=(128, 0.66, 0.62),
    blue=(216, 0.80, 0.84),
    purple=(284, 0.62, 0.68),
    grey=(220, 0.04, 0.52),
    brown=(24, 0.58, 0.42),
    black=(230, 0.15, 0.15),
    white=(50, 0.04, 0.96),
)
HSV_JITTER = (7, 0.08, 0.08)


@dataclass(frozen=True)
class Patch:
    """A drawn object: colours (h, w, 3) and coverage (h, w), 0 to 1."""

    colours: np.ndarray
    alpha: np.ndarray


def draw_patch(rng: np.random.Generator, look: Look, size: float) -> Patch:
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
    cv2.polylines(
        colours, contours, True, edge, max(1, round(0.13 * radius)), shift=4
    )
    # Light falls from the upper left.
    colours *= (1 - 0.13 * (xs + ys) / radius)[..., None]

    alpha = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    return Patch(
        cv2.resize(colours, (side, side), interpolation=cv2.INTER_AREA),
        alpha.astype(np.float32) / 255,
    )


def _paints(rng: np.random.Generator, colour: str) -> Tuple[tuple, ...]:
    """Return (main, pattern, edge) RGB of a colour, each varied a little."""
    h, s, v = np.array(COLOUR_HSV[colour]) + rng.uniform(-1, 1, 3) * HSV_JITTER
    s, v = np.clip([s, v], 0, 1)
    main = np.array(colorsys.hsv_to_rgb(h / 360 % 1, s, v)) * 255
    bright = main @ (0.3, 0.59, 0.11) > 150
    second = 0.22 * main if bright else 0.15 * main + 0.85 * 250
    return tuple(main), tuple(second), tuple(0.55 * main)


def _pattern(
    rng: np.random.Generator,
    pattern: str,
    xs: np.ndarray,
    ys: np.ndarray,
    angle: float,
    radius: float,
) -> np.ndarray:
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
        return (0.92 * circle,)
    if shape == 'ring':
        return circle, 0.5 * circle[::-1]
    if shape == 'moon':
        a = np.linspace(0.28 * np.pi, 1.72 * np.pi, 36)
        outer = np.stack([np.cos(a), np.sin(a)], 1)
        b = np.linspace(1.5 * np.pi, 0.5 * np.pi, 24)
        inner = np.stack([0.75 * np.cos(b), 0.77 * np.sin(b)], 1)
        inner[:, 0] += outer[0, 0]
        return (np.concatenate([outer, inner]) + (0.2, 0),)
    if shape == 'heart':
        return (
            np.stack(
                [
                    16 * np.sin(t) ** 3,
                    -(
                        13 * np.cos(t)
                        - 5 * np.cos(2 * t)
                        - 2 * np.cos(3 * t)
                        - np.cos(4 * t)
                    )
                    - 2.5,
                ],
                1,
            )
            / 16,
        )
    if shape == 'star':
        a = np.arange(10) * np.pi / 5 - np.pi / 2
        r = np.where(np.arange(10) % 2, 0.5, 1.1)
        return (np.stack([r * np.cos(a), r * np.sin(a)], 1),)
    corners = dict(
        square=[(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)],
        triangle=[(0, -1), (1, 0.8), (-1, 0.8)],
        cross=[
            (-0.34, -1),
            (0.34, -1),
            (0.34, -0.34),
            (1, -0.34),
            (1, 0.34),
            (0.34, 0.34),
            (0.34, 1),
            (-0.34, 1),
            (-0.34, 0.34),
            (-1, 0.34),
            (-1, -0.34),
            (-0.34, -0.34),
        ],
        arrow=[
            (-1, -0.36),
            (0, -0.36),
            (0, -0.9),
            (1.05, 0),
            (0, 0.9),
            (0, 0.36),
            (-1, 0.36),
        ],
        hourglass=[
            (-0.85, -1),
            (0.85, -1),
            (0.2, 0),
            (0.85, 1),
            (-0.85, 1),
            (-0.2, 0),
        ],
        bolt=[
            (0.2, -1),
            (-0.7, 0.15),
            (-0.08, 0.15),
            (-0.3, 1),
            (0.7, -0.2),
            (0.08, -0.2),
            (0.5, -1),
        ],
    )
    return (np.array(corners[shape], float),)
