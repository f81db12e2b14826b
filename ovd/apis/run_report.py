"""One page about a run: the work of tools/report.py."""

from datetime import datetime
from pathlib import Path
from typing import Optional, Sequence

from ovd.artifacts.files import PathLike, atomic_write
from ovd.engine.config_check import check_types
from ovd.engine.config_origins import read_config
from ovd.engine.overrides import apply_overrides
from ovd.engine.testing import list_test_evaluators
from ovd.evaluation.error_analysis import analyse_errors
from ovd.evaluation.metrics import GZSLCocoMetric
from ovd.evaluation.offline import build_metrics
from ovd.evaluation.predictions import load_predictions
from ovd.evaluation.report import read_classes, read_groups

from .browse_dataset import build_dataset
from .error_pictures import draw_errors
from .plot_logs import choose_panels
from .report_page import IOU_TYPES, RunReport, render_page
from .training_logs import find_logs, read_training_logs

PREDICTIONS = 'predictions.json'
PAGE = 'index.html'


def write_run_report(
    work_dir: PathLike,
    predictions: Optional[PathLike] = None,
    score_thr: float = 0.3,
    cfg_options: Sequence[str] = (),
) -> Path:
    """Write ``report/index.html`` into a run's work folder, and print where.

    Predictions are evaluated anew, as ``tools/eval.py`` does; without them
    the page shows the AP of the run's last test.

    Args:
        work_dir (PathLike): Work folder of a training run.
        predictions (PathLike, optional): What ``tools/test.py --out`` kept.
            Defaults to ``predictions.json`` in the work folder, if it exists.
        score_thr (float): Least score of detections in pictures and in the
            confusion matrix. Defaults to 0.3.
        cfg_options (Sequence[str]): Overrides of the config, `key=value`.

    Raises:
        FileNotFoundError: If the folder has no log or config, or the
            predictions or their annotations don't exist.
        ValueError: If one of them is broken, they don't fit each other, or
            the score is not in 0 to 1.
    """
    if not 0 <= score_thr <= 1:
        raise ValueError(f'--score-thr must be in 0 to 1, got {score_thr}')
    (log,) = read_training_logs([work_dir])
    config = find_run_config(work_dir)
    cfg = read_config(str(config))
    apply_overrides(cfg, cfg_options)
    check_types(cfg)
    report = RunReport(
        Path(work_dir).resolve().name,
        str(work_dir),
        cfg,
        log,
        score_thr=score_thr,
        notices=list(log.notices),
    )
    folder = Path(work_dir, 'report')
    file = _find_predictions(report, predictions)
    if file is not None:
        _evaluate(report, file, folder)
        assert report.errors is not None
        report.pictures.extend(
            draw_errors(
                report.errors,
                build_dataset(config, 'test', False, cfg_options),
                [row.name for row in next(iter(report.classes.values()))],
                report.notices,
            )
        )
    else:
        _read_last_test(report, folder)
    try:
        report.panels = choose_panels([log])
    except ValueError as error:
        report.notices.append(f'no training curves: {error}')
    page = folder / PAGE
    with atomic_write(page, 'w') as stream:
        stream.write(render_page(report))
    for notice in report.notices:
        print(f'notice: {notice}')
    print(page)
    return page


def find_run_config(work_dir: PathLike) -> Path:
    """Return the config that the run last trained with, as it was in the end.

    Raises:
        FileNotFoundError: If it is not beside the log, or there is no log.
    """
    config = find_logs(Path(work_dir))[-1].with_name('config.py')
    if not config.is_file():
        raise FileNotFoundError(
            f'there is no config {config} beside the log: expected the '
            'work_dir of a training by tools/train.py, whole'
        )
    return config


def _find_predictions(
    report: RunReport, predictions: Optional[PathLike]
) -> Optional[Path]:
    """Return the predictions file, or None and say what is missing."""
    evaluators = [str(e.get('type')) for e in list_test_evaluators(report.cfg)]
    if not any(name.startswith('GZSL') for name in evaluators):
        what = (
            f'this run is tested by {", ".join(evaluators) or "nothing"}'
            ', not by GZSLCocoMetric or GZSLLVISMetric'
        )
        if predictions is not None:
            raise ValueError(f'{predictions} cannot be evaluated: {what}')
        report.notices.append(
            f'{what}: it has no AP, no errors and no pictures'
        )
        return None
    if predictions is not None:
        return Path(predictions)
    path = Path(report.work_dir, PREDICTIONS)
    if path.is_file():
        return path
    report.notices.append(
        'no predictions, so no error kinds, no confusion matrix and no '
        f'pictures: python tools/test.py CONFIG {report.work_dir} --out '
        f'{path}, or give --predictions FILE'
    )
    return None


def _evaluate(report: RunReport, file: Path, folder: Path) -> None:
    """Evaluate predictions, and read what that writes."""
    found = load_predictions(file)
    metric = next(
        metric
        for metric in build_metrics(report.cfg)
        if isinstance(metric, GZSLCocoMetric)
    )
    metric.report_dir = str(folder)
    truth = metric.load_truth()
    metric.evaluate_predictions(truth, found.in_blocks)
    if metric.only_annotated:
        truth = truth.only_annotated()
    protocol = next(iter(metric.protocols.values()))
    report.errors = analyse_errors(
        truth, found.in_blocks, protocol, report.score_thr
    )
    report.source = f'{file} of {_time_of(file)}, {truth.describe_images()}'
    for iou_type in metric.protocols:
        _read_test(report, folder, iou_type)


def _read_last_test(report: RunReport, folder: Path) -> None:
    """Read what the last tools/test.py or tools/eval.py left."""
    for iou_type in IOU_TYPES:
        names = ('groups.csv', 'classes.csv', 'pr.png')
        files = [folder / f'{iou_type}_{name}' for name in names]
        if all(file.is_file() for file in files):
            report.source = f'the last test, of {_time_of(files[0])}'
            _read_test(report, folder, iou_type)
    if not report.groups and any(
        'GZSL' in str(e.get('type')) for e in list_test_evaluators(report.cfg)
    ):
        report.notices.append(f'no test is in {folder}, so no AP')


def _read_test(report: RunReport, folder: Path, iou_type: str) -> None:
    report.groups[iou_type] = read_groups(folder, iou_type)
    report.classes[iou_type] = read_classes(folder, iou_type)
    report.curves[iou_type] = folder / f'{iou_type}_pr.png'


def _time_of(path: Path) -> str:
    return f'{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M}'
