"""Draw the scenes of the miniature world.

A scene is a function of its random generator alone. The mask of an object is
where it covers at least half of a pixel and nothing lies on it.

Frames: pixels, (x, y) from the top left corner; images are RGB.
"""

import colorsys
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np

from .miniature_names import (
    BASE_SHAPES,
    COLOURS,
    DISTRACTOR_COLOURS,
    DISTRACTOR_SHAPES,
    NOVEL_SHAPES,
    PATTERNS,
    Look,
)
from .miniature_objects import Patch, draw_patch

IMAGE_SIZE = 160
MIN_SIZE, MAX_SIZE = 22, 56
MIN_OBJECTS, MAX_OBJECTS = 2, 5
MAX_DISTRACTORS = 3
MIN_VISIBLE = 0.6


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


def render_scene(
    rng: np.random.Generator,
    looks: Sequence[Look],
    image_size: int = IMAGE_SIZE,
) -> Scene:
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
        size = MIN_SIZE * (MAX_SIZE / MIN_SIZE) ** rng.random()
        patch = draw_patch(rng, look, size)
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
    colours: Sequence[str] = COLOURS
    shapes: Sequence[str] = DISTRACTOR_SHAPES
    if rng.random() < 0.5:
        colours, shapes = DISTRACTOR_COLOURS, BASE_SHAPES + NOVEL_SHAPES
    return Look(*(str(rng.choice(v)) for v in (PATTERNS, colours, shapes)))


def _find_place(
    rng: np.random.Generator,
    patch: Patch,
    owner: np.ndarray,
    labels: List[int],
    areas: List[int],
    named: bool,
) -> Optional[Tuple[int, int]]:
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
        left = [
            (owner == i).sum() - (hidden == i).sum()
            for i in range(len(labels))
        ]
        if all(
            label < 0 or visible >= MIN_VISIBLE * area
            for label, visible, area in zip(labels, left, areas, strict=True)
        ):
            return x, y
    return None


def _overlap(
    canvas_hw: Tuple[int, ...],
    corner: Tuple[int, int],
    patch_hw: Tuple[int, ...],
) -> Tuple[slice, slice, tuple]:
    """Return the slices of a canvas and of a patch where both overlap."""
    (height, width), (x, y), (h, w) = canvas_hw, corner, patch_hw
    x1, x2 = max(x, 0), min(x + w, width)
    y1, y2 = max(y, 0), min(y + h, height)
    return (
        slice(y1, y2),
        slice(x1, x2),
        (slice(y1 - y, y2 - y), slice(x1 - x, x2 - x)),
    )


def _paste(
    canvas: np.ndarray, patch: Patch, corner: Tuple[int, int]
) -> np.ndarray:
    """Draw a patch and its soft shadow; return its mask (H, W) bool."""
    mask = np.zeros(canvas.shape[:2], bool)
    offset = max(1, patch.alpha.shape[0] // 20)
    rows, cols, inside = _overlap(
        mask.shape, (corner[0] + offset, corner[1] + offset), patch.alpha.shape
    )
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
    return Scene(
        image, labels[named], masks[named], bboxes[named], bboxes[~named]
    )


def _tight_box(mask: np.ndarray) -> Tuple[int, int, int, int]:
    """Return the xyxy box of the True pixels, x2 and y2 exclusive."""
    xs, ys = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
    return xs[0], ys[0], xs[-1] + 1, ys[-1] + 1


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
        cv2.ellipse(
            blob,
            centre,
            axes,
            rng.uniform(0, 180),
            0,
            360,
            255,
            -1,
            cv2.LINE_AA,
        )
        alpha = blob[..., None] * np.float32(rng.uniform(0.2, 0.5) / 255)
        canvas += alpha * (_muted(rng) - canvas)
    # OpenCV smooths the edges of lines in 8 bits only.
    canvas = np.clip(canvas, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(4, 10)):
        headings = np.cumsum(rng.normal(0, 0.7, 14)) + rng.uniform(0, 7)
        steps = np.stack([np.cos(headings), np.sin(headings)], 1)
        steps *= rng.uniform(size / 60, size / 15)
        points = np.cumsum(steps, 0) + rng.uniform(0, size, 2)
        cv2.polylines(
            canvas,
            [np.round(points * 16).astype(np.int32)],
            False,
            _muted(rng).tolist(),
            int(rng.integers(1, 4)),
            cv2.LINE_AA,
            shift=4,
        )
    return canvas.astype(np.float32)


def _muted(rng: np.random.Generator) -> np.ndarray:
    """Return a colour (3,) float32 that no object has: weakly saturated."""
    hsv = rng.random(), rng.uniform(0.05, 0.32), rng.uniform(0.35, 0.85)
    return np.array(colorsys.hsv_to_rgb(*hsv), np.float32) * 255


def _noise(
    rng: np.random.Generator, cells: int, size: int, amplitude: float
) -> np.ndarray:
    """Return smooth noise (size, size) float32 with ``cells`` bumps a side."""
    grid = rng.normal(0, amplitude, (cells, cells)).astype(np.float32)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
