"""Split or verify annotation files and say on the terminal what was done."""

import sys
from typing import Sequence

from terminaltables import AsciiTable

from ovd.artifacts.files import PathLike
from ovd.datasets.gzsl_sources import split_sources
from ovd.datasets.gzsl_split import SplitReport
from ovd.datasets.gzsl_verify import verify_split


def run_split(
    config: PathLike,
    split: str,
    min_annotations: int = 1,
    overwrite: bool = False,
) -> None:
    """Split the files of a dataset config; the arguments are the tool's."""
    reports = []
    for report in split_sources(config, split, min_annotations, overwrite):
        print(_describe(report), flush=True)
        reports.append(report)
    rows = [
        [
            report.output.name if report.output else report.source.name,
            *(f'{count:,}' for count in (*report.images, *report.annotations)),
        ]
        for report in reports
    ]
    head = ['file', 'images', 'removed', 'annotations', 'removed']
    print(AsciiTable([head, *rows]).table)


def _describe(report: SplitReport) -> str:
    """Return one line that says what became of a file."""
    if report.output is None:
        return (
            f'{report.source} needs no split: all its classes are '
            'evaluated, on all its images'
        )
    if report.state == 'up to date':
        return f'{report.output} is up to date'
    return f'{report.output} written'


def run_verify(ann_files: Sequence[PathLike]) -> bool:
    """Verify split files, all of them, and print what is wrong on stderr.

    Returns:
        bool: Whether all of them are sound.
    """
    sound = True
    for ann_file in ann_files:
        try:
            print(verify_split(ann_file), flush=True)
        except (ValueError, OSError) as error:
            print(f'error: {error}', file=sys.stderr, flush=True)
            sound = False
    return sound
