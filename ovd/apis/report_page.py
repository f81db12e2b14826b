"""The HTML page about a run: all in one file, every name escaped."""

import base64
import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from matplotlib.figure import Figure
from mmengine.config import Config
from PIL import Image

from ovd.colours import BASE_COLOUR, NOVEL_COLOUR
from ovd.evaluation.error_analysis import (
    ERROR_KINDS,
    ErrorAnalysis,
    confused_pairs,
    most_confused,
)
from ovd.evaluation.report import ClassRow

from .error_pictures import ErrorPicture
from .html_templates import template_environment
from .log_pictures import Panel, draw_logs
from .print_config import config_entries
from .training_logs import TrainingLog

IOU_TYPES = dict(bbox='boxes', segm='masks')
MOST_CONFUSED = 24  # classes of the confusion matrix
MOST_PAIRS = 20
DPI = 110
QUALITY = 85  # of JPEG


@dataclass
class RunReport:
    """What the page shows; what is empty is told in ``notices``.

    Args:
        name (str): Of the run.
        work_dir (str): Of the run.
        cfg (Config): The run's, with overrides.
        log (TrainingLog): What it logged.
        panels (list[Panel]): Which curves of it are drawn.
        source (str): What the AP is of.
        groups (dict): ``'bbox'`` or ``'segm'`` -> metric -> group -> percent.
        classes (dict): ``'bbox'`` or ``'segm'`` -> classes, worst first.
        curves (dict): ``'bbox'`` or ``'segm'`` -> PNG of PR curves.
        errors (ErrorAnalysis, optional): Of the predictions.
        score_thr (float): Least score of detections that are shown.
        pictures (list[ErrorPicture]): The worst class first.
        notices (list[str]): What was passed over, and what to do.
    """

    name: str
    work_dir: str
    cfg: Config
    log: TrainingLog
    panels: List[Panel] = field(default_factory=list)
    source: str = ''
    groups: Dict[str, Dict[str, Dict[str, float]]] = field(
        default_factory=dict
    )
    classes: Dict[str, List[ClassRow]] = field(default_factory=dict)
    curves: Dict[str, Path] = field(default_factory=dict)
    errors: Optional[ErrorAnalysis] = None
    score_thr: float = 0.3
    pictures: List[ErrorPicture] = field(default_factory=list)
    notices: List[str] = field(default_factory=list)


def render_page(report: RunReport) -> str:
    """Return the page; all that it shows is in it."""
    environment = template_environment()
    environment.filters.update(
        percent=lambda value: '–' if math.isnan(value) else f'{value:.1f}',
        measured=lambda rows: [
            row for row in rows if not math.isnan(row.ap['AP50'])
        ],
        jpeg=_jpeg_uri,
        png=lambda path: _uri('png', Path(path).read_bytes()),
    )
    errors = report.errors
    return environment.get_template('run_report.html').render(
        report=report,
        facts=dict(_facts(report)),
        iou_types=IOU_TYPES,
        colours=dict(base=BASE_COLOUR, novel=NOVEL_COLOUR),
        error_kinds=ERROR_KINDS,
        confusion=errors and _confusion(errors),
        pairs=errors and confused_pairs(errors, MOST_PAIRS),
        novel=set(errors.truth.groups['novel']) if errors else set(),
        training=report.panels
        and _figure_uri(draw_logs([report.log], report.panels)),
        config=list(config_entries(report.cfg)),
    )


def _facts(report: RunReport) -> Iterator[tuple]:
    """Yield what is told of the run below its name."""
    yield 'work folder', report.work_dir
    yield 'model', report.cfg.get('model', {}).get('type', '–')
    trained = [report.log.curves[key] for key in report.log.trained]
    if trained:
        last = max(rows[-1, 0] for rows in trained)
        yield 'trained', f'{int(last):,} iterations'
    if report.source:
        yield 'AP of', report.source
    if report.errors:
        yield 'split', report.errors.truth.split


def _confusion(errors: ErrorAnalysis) -> Dict[str, Any]:
    """Return names and rows of the matrix of the most confused classes.

    A cell is a number and its share of the row. The columns are those
    classes, all others if there are some, and "missed"; the last row is
    "nothing there".
    """
    chosen = most_confused(errors, MOST_CONFUSED).tolist()
    size = len(errors.names)
    others = [i for i in range(size) if i not in set(chosen)]
    rows = []
    for i in [*chosen, size]:
        row = errors.confusion[i]
        numbers = [
            *row[chosen].tolist(),
            *([int(row[others].sum())] if others else []),
            int(row[size]),
        ]
        total = max(1, sum(numbers))
        rows.append([(number, number / total) for number in numbers])
    return dict(
        names=[errors.names[i] for i in chosen],
        rows=rows,
        left_out=len(others),
    )


def _figure_uri(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format='png', dpi=DPI)
    return _uri('png', stream.getvalue())


def _jpeg_uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, 'JPEG', quality=QUALITY, optimize=True)
    return _uri('jpeg', stream.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
