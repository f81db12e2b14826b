"""The colours of pictures: of base and novel, and of any number of classes."""

import colorsys

# Told apart by colour-blind people too (Okabe and Ito).
BASE_COLOUR = '#0072B2'
NOVEL_COLOUR = '#E69F00'

# The golden section: each hue lies in the widest gap of those before
HUE_STEP = (5**0.5 - 1) / 2
# Saturation and value; hues that come near after some steps differ in these
TONES = ((0.9, 0.95), (0.55, 1.0), (1.0, 0.6))


def class_colour(label: int) -> str:
    """Return the colour of a class, far from those of labels near by.

    Args:
        label (int): From 0 on; the same label always has the same colour.

    Returns:
        str: As ``#rrggbb``.
    """
    hue = (label * HUE_STEP + 0.6) % 1  # blue first
    saturation, value = TONES[label % len(TONES)]
    red, green, blue = (
        round(255 * part)
        for part in colorsys.hsv_to_rgb(hue, saturation, value)
    )
    return f'#{red:02x}{green:02x}{blue:02x}'
