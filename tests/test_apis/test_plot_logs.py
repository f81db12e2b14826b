"""Logs of resumed runs are joined, and drawn where people look for them."""

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Callable, List

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ovd.apis.log_pictures import draw_logs, smooth
from ovd.apis.plot_logs import choose_panels
from ovd.apis.training_logs import read_training_logs
from ovd.colours import BASE_COLOUR, NOVEL_COLOUR

TOOL = Path(__file__).parents[2] / 'tools/analysis/plot_logs.py'


def train_line(iteration: int, loss: float, **more: float) -> dict:
    """What the host logs of an iteration, epochs or not."""
    return dict(
        lr=0.1,
        data_time=0.1,
        loss=loss,
        loss_cls=loss / 2,
        time=0.5,
        **more,
        iter=iteration,
        memory=9,
        step=iteration,
    )


def val_line(step: int, base: float, novel: float) -> dict:
    groups = dict(base=base, novel=novel, all=base)
    return dict(
        {
            f'bbox_{stat}_{group}': value
            for stat in ('AP', 'AP50', 'AP75')
            for group, value in groups.items()
        },
        data_time=77.0,
        time=77.0,
        step=step,
    )


def write_log(folder: str, lines: List[dict], tail: str = '') -> Path:
    path = Path(folder) / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines) + tail)
    return path


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a was resumed at 20, after its log had got to 30."""
    monkeypatch.chdir(tmp_path)
    write_log(
        'runs/a/20260101_000000',
        [
            train_line(10, 9.0),
            train_line(20, 8.0),
            val_line(20, 50.0, 20.0),
            train_line(30, 7.0),
        ],
        tail='{"lr": 0.1, "lo',
    )
    write_log('runs/a/20260102_000000', [])  # ended before it logged
    write_log(
        'runs/a/20260103_000000',
        [train_line(30, 5.0), train_line(40, 4.0), val_line(40, 60.0, 30.0)],
    )
    write_log(
        'runs/b/20260101_000000',
        [
            train_line(10, 1.0, epoch=1),
            val_line(1, 10.0, 5.0),
            train_line(20, 2.0, epoch=2),
            val_line(2, 11.0, 6.0),
        ],
    )


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., str]:
    """Call the tool; return what it prints, or the error it exits with."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            assert error.code == 2
            return capsys.readouterr().err
        return capsys.readouterr().out

    return call


def test_the_parts_of_a_resumed_run_are_joined() -> None:
    (log,) = read_training_logs(['runs/a'])
    assert log.curves['loss'].tolist() == [[10, 9], [20, 8], [30, 5], [40, 4]]
    assert log.curves['bbox_AP50_novel'].tolist() == [[20, 20], [40, 30]]
    # A validation's time is no iteration's.
    assert set(log.curves['time'][:, 1]) == {0.5}
    assert log.trained == {
        'lr',
        'data_time',
        'loss',
        'loss_cls',
        'time',
        'memory',
    }
    (notice,) = log.notices
    assert '20260101_000000' in notice and 'cut off' in notice


def test_one_part_and_a_start_from_the_beginning() -> None:
    (log,) = read_training_logs(['runs/a/20260103_000000'])
    assert log.name == '20260103_000000' and len(log.curves['loss']) == 2
    write_log('runs/a/20260104_000000', [train_line(10, 3.0)])
    (log,) = read_training_logs(['runs/a'])
    assert log.curves['loss'].tolist() == [[10, 3]]
    assert 'bbox_AP_base' not in log.curves


def test_metrics_by_epoch_are_put_where_they_were_found() -> None:
    (log,) = read_training_logs(['runs/b'])
    assert log.curves['bbox_AP_base'].tolist() == [[10, 10], [20, 11]]
    assert 'epoch' not in log.curves


def test_names_tell_runs_apart() -> None:
    write_log('other/b/20260101_000000', [train_line(10, 1.0)])
    assert [log.name for log in read_training_logs(['runs/a', 'runs/b'])] == [
        'a',
        'b',
    ]
    assert [
        log.name for log in read_training_logs(['other/b', 'runs/b/'])
    ] == ['other/b', 'runs/b']


def draw(folders: List[str], **options: List[str]) -> Figure:
    logs = read_training_logs(folders)
    return draw_logs(logs, choose_panels(logs, **options))


def test_what_is_drawn() -> None:
    figure = draw(['runs/a', 'runs/b'])
    panels = {axes.get_title('left'): axes for axes in figure.axes}
    assert [*panels] == ['loss', 'loss_cls', 'bbox_AP', 'bbox_AP50']
    assert {axes.get_xlabel() for axes in figure.axes} == {'iteration'}
    assert panels['loss'].get_ylabel() == 'loss'
    assert panels['bbox_AP'].get_ylabel() == 'percent'
    found = {
        (line.get_color(), line.get_linestyle()): line.get_xydata().tolist()
        for line in panels['bbox_AP'].lines
    }
    assert found == {
        (BASE_COLOUR, '-'): [[20, 50], [40, 60]],
        (NOVEL_COLOUR, '-'): [[20, 20], [40, 30]],
        (BASE_COLOUR, '--'): [[10, 10], [20, 11]],
        (NOVEL_COLOUR, '--'): [[10, 5], [20, 6]],
    }
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ['a', 'b']
    colours = [handle.get_color() for handle in legend.legend_handles]
    # What was logged, and its mean, of each run
    assert [line.get_color() for line in panels['loss_cls'].lines] == [
        colours[0],
        colours[0],
        colours[1],
        colours[1],
    ]
    assert len({BASE_COLOUR, NOVEL_COLOUR, *colours}) == 4


def test_keys_that_are_asked_for() -> None:
    figure = draw(['runs/a'], keys=['lr', 'bbox_AP75_novel', 'memory'])
    assert [
        (axes.get_title('left'), axes.get_ylabel()) for axes in figure.axes
    ] == [('lr', 'learning rate'), ('memory', 'MB'), ('bbox_AP75', 'percent')]
    assert len(figure.axes[2].lines) == 1


def test_recall_stands_in_where_there_is_no_ap() -> None:
    write_log(
        'rpn/1',
        [
            train_line(1, 1.0),
            {'recall/AR_base@100': 40.0, 'step': 1},
            {'recall/AR_novel@100': 30.0, 'step': 1},
        ],
    )
    titles = [axes.get_title('left') for axes in draw(['rpn']).axes]
    assert titles == ['loss', 'loss_cls', 'recall/AR@100']


def test_the_mean_is_about_its_place_and_passes_over_nan() -> None:
    assert smooth(np.arange(3.0)).tolist() == [0, 1, 2]  # too few
    values = np.arange(40.0)
    values[20] = np.nan
    found = smooth(values)
    assert found[[0, 1, 39]].tolist() == [0.5, 1, 38.5]
    assert np.isnan(found[20]) and found[19] == 18.5


def test_the_tool_writes_a_picture(run: Callable[..., str]) -> None:
    out = run('runs/a', 'runs/b', '--out', 'new/logs.png')
    assert 'a, b: new/logs.png' in out and 'notice: the last line of' in out
    with Image.open('new/logs.png') as image:
        assert image.format == 'PNG' and image.width > image.height


@pytest.mark.parametrize(
    'arguments, message',
    [
        (
            ['runs/a', '--keys', 'los_cls'],
            'error: no run logged "los_cls"; did you mean "loss_cls"',
        ),
        (['runs/c'], 'error: work folder runs/c does not exist'),
        (
            ['runs'],
            'error: no vis_data/scalars.json in .*'
            'give the runs in it: runs/a runs/b',
        ),
        (['runs/a', 'runs/../runs/a'], 'error: a folder is given twice'),
        (['empty'], 'error: nothing is logged yet in empty'),
        (['broken'], 'error: line 1 of broken/.* is none of a log: '),
        (['metrics'], 'error: no run logged a loss, .* of acc$'),
    ],
)
def test_errors(
    run: Callable[..., str], arguments: List[str], message: str
) -> None:
    write_log('empty/1', [])
    write_log('broken/1', [dict(loss=1.0), train_line(10, 1.0)])
    write_log('metrics/1', [dict(acc=1.0, step=1)])
    error = run(*arguments)
    assert re.match(message, error), error
    assert not Path('work_dirs').exists()
