"""Pictures of class embeddings: of one file, and of two side by side."""

import textwrap
from typing import Dict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ovd.artifacts.files import PathLike, atomic_write
from ovd.colours import BASE_COLOUR, NOVEL_COLOUR

from .class_embedding_agreement import Agreement
from .class_embedding_analysis import (
    Classes,
    order_by_similarity,
    pair_cosines,
)

COLOURS = dict(base=BASE_COLOUR, novel=NOVEL_COLOUR)
MOST_NAMES = 85  # that can be read beside one picture
STRIP = 0.1  # inches that the strips of base and novel are wide
DPI = 150


def save_picture(figure: Figure, path: PathLike) -> None:
    """Write a PNG, atomically."""
    with atomic_write(path) as file:
        figure.savefig(file, format='png', dpi=DPI)


def draw_heat_map(classes: Classes, title: str) -> Figure:
    """Draw the cosines between classes, base ones first, then novel ones.

    Within a group, like classes are beside each other. Names are shown where
    there is room for them.

    Args:
        classes (Classes): The classes.
        title (str): Goes above; long lines are wrapped.
    """
    groups = _order_groups(classes)
    order = np.concatenate([*groups.values()])
    names = [classes.names[i] for i in order]
    if len(names) > MOST_NAMES:
        names = []
    # In inches: the map, and what the longest name takes beside and below it.
    side = max(4, 0.135 * len(names)) if names else 9
    margin = 0.06 * max(map(len, names), default=0)
    figure = Figure(
        figsize=(side + margin + 1.4, side + margin + 1.4), layout='compressed'
    )
    axes = figure.subplots()
    _draw_cosines(axes, classes.cosines[np.ix_(order, order)])
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, labelsize=7)
    axes.spines[:].set_visible(False)
    known = classes.novel_mask is not None
    if known:
        _mark_groups(axes, groups, STRIP / side)
        axes.tick_params('y', pad=72 * 2 * STRIP)  # a strip lies between
    axes.set_title(_wrap(title, side), fontsize=10, pad=40 if known else 10)
    return figure


def _order_groups(classes: Classes) -> Dict[str, np.ndarray]:
    """Return group -> indices of its classes, like ones together."""
    everyone = np.arange(len(classes.names))
    groups = dict(all=everyone)
    if classes.novel_mask is not None:
        groups = dict(
            base=everyone[~classes.novel_mask],
            novel=everyone[classes.novel_mask],
        )
    return {
        name: rows[order_by_similarity(classes.cosines[np.ix_(rows, rows)])]
        for name, rows in groups.items()
    }


def _draw_cosines(axes: Axes, cosines: np.ndarray) -> None:
    """Draw the map (C, C) and its colour bar; the diagonal stays empty.

    A few classes that are all alike or very unlike would take the colours
    from all others: the ends of the bar are percentiles.
    """
    low, high = np.percentile(pair_cosines(cosines), [0.5, 99.8])
    shown = cosines.copy()
    np.fill_diagonal(shown, np.nan)
    image = axes.imshow(
        shown, cmap='magma', vmin=low, vmax=max(high, low + 1e-3)
    )
    axes.figure.colorbar(
        image,
        ax=axes,
        label='cosine between two classes',
        extend='both',
        shrink=0.6,
        aspect=30,
    )


def _mark_groups(
    axes: Axes, groups: Dict[str, np.ndarray], width: float
) -> None:
    """Put strips of the groups' colours left of the map and above it.

    Args:
        axes (Axes): The axes of the map.
        groups (dict[str, ndarray]): Group -> indices, in the order drawn.
        width (float): Of the strips, as a part of the map's.
    """
    start, colours = 0, []
    for name, rows in groups.items():
        colour, end = COLOURS[name], start + len(rows)
        colours += [colour] * len(rows)
        for anchor, size, transform in (
            (
                (-1.6 * width, start - 0.5),
                (width, len(rows)),
                axes.get_yaxis_transform(),
            ),
            (
                (start - 0.5, 1 + 0.6 * width),
                (len(rows), width),
                axes.get_xaxis_transform(),
            ),
        ):
            axes.add_patch(
                Rectangle(
                    anchor,
                    *size,
                    color=colour,
                    linewidth=0,
                    transform=transform,
                    clip_on=False,
                )
            )
        axes.text(
            (start + end - 1) / 2,
            1 + 2.4 * width,
            f'{len(rows):,} {name}',
            color=colour,
            weight='bold',
            ha='center',
            transform=axes.get_xaxis_transform(),
        )
        if start:
            axes.axhline(start - 0.5, color='white', linewidth=1.5)
            axes.axvline(start - 0.5, color='white', linewidth=1.5)
        start = end
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, colour in zip(labels, colours):
            label.set_color(colour)


def draw_agreement(agreement: Agreement, first: str, second: str) -> Figure:
    """Draw the cosines of one file by those of another.

    Beside it, where the CLIP is the same, how alike each class is in both.

    Args:
        agreement (Agreement): What is drawn.
        first (str): The first file, for the labels, in a line or two.
        second (str): The second file.
    """
    panels = 1 if agreement.same_class is None else 2
    figure = Figure(figsize=(1 + 5 * panels, 4.8), layout='constrained')
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_pairs(axes[0], agreement, first, second)
    if agreement.same_class is not None:
        lowest = agreement.same_class.min()
        highest = agreement.same_class.max()
        # Of equal files, differences of the last digit would be spread out.
        axes[1].hist(
            agreement.same_class,
            bins=20,
            range=(min(lowest, highest - 0.01), highest),
            color='#777777',
        )
        axes[1].yaxis.get_major_locator().set_params(integer=True)
        axes[1].tick_params(labelsize=8)
        axes[1].set_xlabel('cosine of a class with itself in the other file')
        axes[1].set_ylabel('classes')
        axes[1].set_title(
            f'mean {agreement.same_class.mean():.3f}, lowest {lowest:.3f}',
            fontsize=9,
        )
        axes[1].spines[['top', 'right']].set_visible(False)
    figure.suptitle(
        f'{len(agreement.names):,} classes that both files have', fontsize=10
    )
    return figure


def _draw_pairs(
    axes: Axes, agreement: Agreement, first: str, second: str
) -> None:
    """Draw how many pairs of classes have which two cosines."""
    image = axes.hexbin(
        agreement.first,
        agreement.second,
        gridsize=60,
        bins='log',
        mincnt=1,
        linewidths=0.1,
    )
    counts = image.get_array()
    assert counts is not None
    image.set_clim(1, max(10, counts.max()))
    axes.figure.colorbar(image, ax=axes, label='pairs of classes')
    axes.tick_params(labelsize=8)
    axes.set_xlabel(_wrap(f'cosine of a pair in {first}', 4))
    axes.set_ylabel(_wrap(f'cosine of a pair in {second}', 4))
    axes.set_title(
        f'rank correlation {agreement.rank_correlation:.3f}, same nearest '
        f'class {agreement.same_neighbour:.0%}',
        fontsize=9,
    )
    axes.spines[['top', 'right']].set_visible(False)


def _wrap(text: str, inches: float) -> str:
    """Break lines that are wider, at about 12 letters an inch."""
    return '\n'.join(
        textwrap.fill(line, int(12 * inches)) for line in text.splitlines()
    )
