"""HTML of what the page says; whatever comes from a visitor is text."""

from typing import Dict, List

from markupsafe import escape

from ovd.apis.html_templates import template_environment
from ovd.colours import class_colour

from .finding import Finding

MAX_MESSAGE = 400  # letters
# Gradio fills in `${...}` and `{{...}}` in the browser.
ENTITIES = {ord(letter): f'&#{ord(letter)};' for letter in '{}$`'}
PARTS = dict(text='names', image='image', boxes='boxes')
ENVIRONMENT = template_environment()


def say(text: str, is_error: bool = False) -> str:
    """Return a line of plain text, cut if it is very long."""
    if len(text) > MAX_MESSAGE:
        text = f'{text[: MAX_MESSAGE - 1]}\u2026'
    attributes = 'class="message" role="alert"' if is_error else 'class="said"'
    return f'<p {attributes}>{plain(text)}</p>'


def plain(text: str) -> str:
    """Return text that means nothing to HTML or to Gradio."""
    return str(escape(text)).translate(ENTITIES)


def summarise(
    finding: Finding, annotations: List[dict], score_thr: float
) -> str:
    """Return how much was found, and how long each part took."""
    width, height = finding.size_wh
    number, names = len(annotations), len(finding.classes)
    text = (
        f'{number} {"object" if number == 1 else "objects"} of '
        f'{names:,} {"name" if names == 1 else "names"} in '
        f'{width:,} \u00d7 {height:,} pixels'
    )
    best = max(
        finding.content['annotations'],
        key=lambda item: item['score'],
        default=None,
    )
    if not annotations and best is not None:
        name = finding.classes[best['category_id'] - 1]
        text = (
            f'Nothing scores {score_thr:.2f}; the best is {name} '
            f'with {best["score"]:.2f}'
        )
    chips = ''.join(
        f'<span class="time" data-part="{part}">{word} <b>'
        f'{_duration(finding.seconds[part])}</b></span>'
        for part, word in PARTS.items()
    )
    return f'{say(text)}<p class="times">{chips}</p>'


def _duration(seconds: float) -> str:
    return f'{seconds:.2f} s' if seconds >= 1 else f'{1000 * seconds:.0f} ms'


def tabulate(finding: Finding, annotations: List[dict]) -> str:
    """Return the table of detections, in pixels of the image as given."""
    rows: List[Dict] = []
    for item in annotations:
        label = item['category_id'] - 1
        rows.append(
            dict(
                item,
                name=finding.classes[label],
                colour=class_colour(label),
                novel=finding.novel[label],
            )
        )
    if not rows:
        return ''
    return (
        ENVIRONMENT.get_template('web_found.html')
        .render(rows=rows, has_masks='segmentation' in rows[0])
        .translate(ENTITIES)
    )
