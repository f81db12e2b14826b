"""The page itself: what is where, and what happens when."""

import json
import logging
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

import gradio as gr
import torch
from gradio.components import Component
from PIL import Image

from .markup import plain, say, summarise, tabulate
from .visits import Visits

WELCOME = 'Drop an image, or take an example.'
HINT = 'Any words, with commas or new lines between. Enter looks for them.'
FILES_KEPT = 6 * 3600  # seconds that pictures and uploads stay on the disk
MOST_WAITING = 64
AT_ONCE = 8  # visitors; the detector takes them one by one
TABLE_HEIGHT = 400  # pixels; longer ones scroll
STYLE = Path(__file__).with_name('style.css')
Shown = Tuple[Optional[Image.Image], str, str, Any]


def build_page(
    visits: Visits,
    title: str,
    names: Sequence[str],
    score_thr: float,
    examples: Sequence[Path],
) -> gr.Blocks:
    """Return the page, not yet on the network.

    Args:
        visits (Visits): What finds and keeps.
        title (str): Its headline.
        names (Sequence[str]): What it looks for at first.
        score_thr (float): Threshold at first.
        examples (Sequence[Path]): Images to try.
    """
    with gr.Blocks(
        title=title, analytics_enabled=False, delete_cache=(600, FILES_KEPT)
    ) as page:
        gr.HTML(f'<h1>{plain(title)}</h1>', elem_id='title')
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                asked, triggers = _add_inputs(names, score_thr, examples)
            with gr.Column(scale=3, min_width=320):
                shown = _add_outputs()

        def show(
            upload: Any, text: Any, score_thr: Any, request: gr.Request
        ) -> Shown:
            return show_found(
                visits, request.session_hash or '', upload, text, score_thr
            )

        # One event for all, of which a visitor has one at a time and the last
        # in any case: what is shown fits what stands there. Unprocessed: the
        # image is read here, after a look at its size.
        gr.on(
            triggers,
            show,
            asked,
            shown,
            preprocess=False,
            trigger_mode='always_last',
            concurrency_limit=AT_ONCE,
            show_progress='minimal',
            show_progress_on=shown[:1],
            api_visibility='private',
        )

        def leave(request: gr.Request) -> None:
            visits.forget(request.session_hash or '')

        page.unload(leave)
    return page.queue(max_size=MOST_WAITING, api_open=False)


def _add_inputs(
    names: Sequence[str], score_thr: float, examples: Sequence[Path]
) -> Tuple[List[Component], List[Any]]:
    """Return image, names and threshold, and what makes the page look."""
    image = gr.Image(
        label='Image',
        sources=['upload', 'clipboard'],
        height=260,
        buttons=[],
        elem_id='image',
    )
    words = gr.Textbox(
        ', '.join(names),
        label='Names',
        info=HINT,
        lines=1,
        max_lines=6,
        elem_id='names',
        placeholder='red circle, striped blue star',
    )
    button = gr.Button('Look for them', variant='primary')
    threshold = gr.Slider(
        0, 1, score_thr, step=0.01, label='Least score', elem_id='threshold'
    )
    if examples:
        gr.Examples(
            [[str(path)] for path in examples],
            [image],
            label='Images to try',
            elem_id='examples',
        )
    return [image, words, threshold], [
        image.change,
        words.submit,
        words.blur,
        button.click,
        threshold.input,
    ]


def _add_outputs() -> List[Component]:
    """Return picture, words, table and download."""
    said = gr.HTML(say(WELCOME), elem_id='said')
    picture = gr.Image(
        label='Found',
        interactive=False,
        format='jpeg',
        height=460,
        buttons=['fullscreen'],
        elem_id='picture',
    )
    table = gr.HTML(
        elem_id='table', apply_default_css=False, max_height=TABLE_HEIGHT
    )
    download = gr.DownloadButton(
        'Download as COCO json', interactive=False, elem_id='download'
    )
    return [picture, said, table, download]


def show_found(
    visits: Visits, visitor: str, upload: Any, text: Any, score_thr: Any
) -> Shown:
    """Return what the page shows: picture, words, table, download.

    Args:
        visits (Visits): What finds and keeps.
        visitor (str): Whose page it is.
        upload (Any): What Gradio knows of the file; None without.
        text (Any): Names as they were typed.
        score_thr (Any): In [0, 1].
    """
    if not upload:
        return _message(WELCOME, is_error=False)
    try:
        score_thr = _score(score_thr)
        path = str(upload['path'])
        names = visits.limits.split_names(text)
        finding, folder = visits.find(
            visitor, path, upload.get('orig_name') or Path(path).name, names
        )
    except (ValueError, FileNotFoundError) as error:
        return _message(str(error))
    except (MemoryError, torch.OutOfMemoryError):
        return _message(
            'There is not enough memory for this: try a smaller '
            'image, or fewer names.'
        )
    except Exception:  # noqa: BLE001  (what was found before has to go)
        logging.exception('a request failed')
        return _message(
            'Something went wrong here; the log of the server says what.'
        )
    content = finding.above(score_thr)
    annotations: List[dict] = content['annotations']
    file = folder / 'detections.json'
    try:
        file.write_text(json.dumps(content))
    except FileNotFoundError:  # forgotten meanwhile, and the folder with him
        return _message('This visit is over: give the image again.')
    return (
        finding.draw(annotations),
        summarise(finding, annotations, score_thr),
        tabulate(finding, annotations),
        gr.update(value=str(file), interactive=True),
    )


def _score(typed: Any) -> float:
    """Return the threshold that was typed.

    Raises:
        ValueError: If it is no number from 0 to 1.
    """
    if not isinstance(typed, (int, float)) or not 0 <= typed <= 1:
        raise ValueError('Type a score from 0 to 1.')
    return float(typed)


def _message(text: str, is_error: bool = True) -> Shown:
    return (
        None,
        say(text, is_error),
        '',
        gr.update(value=None, interactive=False),
    )
