"""The page of the first hour: its commands run, in the folder of the demo."""

import inspect
import re
import sys
from pathlib import Path
from typing import Callable

from ovd.datasets.miniature import write_world

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / 'tests'))
from docs_commands import DOCS, commands, page, tool_of  # noqa: E402

# The fixture `road` runs the first; the page has tests of its own.
ELSEWHERE = ('sh tools/demo.sh', 'python tools/web_demo.py')
QUICK = dict(
    train=[
        '--cfg-options',
        'train_cfg.max_iters=2',
        'default_hooks.logger.interval=1',
    ],
    test=['--cfg-options', '+test_dataloader.dataset.indices=8'],
)


def test_every_command_runs(road: Path, run_tool: Callable) -> None:
    if not (road / 'configs').exists():
        (road / 'configs').symlink_to(ROOT / 'configs')
    found = commands(page('first_hour'))
    here = [c for c in found if not c.text.startswith(ELSEWHERE)]
    assert len(found) - len(here) == 2 and len(here) > 7
    for command in here:
        tool, *options = tool_of(command.words)
        done = run_tool(
            tool, *options, *QUICK.get(Path(tool).stem, []), cwd=road
        )
        assert done.returncode == 0, (command.text, done.stderr[-3000:])
    assert 'ensemble' in (road / 'work_dirs/compared.txt').read_text()
    (report,) = (road / 'work_dirs/miniature/vild-ensemble').rglob('*.html')
    assert '<html' in report.read_text()


def test_its_numbers_are_the_worlds(road: Path) -> None:
    text = page('first_hour')
    steps = re.findall(
        r"^step ['\"]", (ROOT / 'tools/demo.sh').read_text(), re.MULTILINE
    )
    assert f'does: {len(steps)} steps' in text
    sizes = inspect.signature(write_world).parameters
    scenes = sizes['num_train'].default + sizes['num_val'].default
    assert f'{scenes:,} scenes' in text


def test_its_links_and_pictures_are_there() -> None:
    links = re.findall(r'\]\((?!http)(.+?)\)', page('first_hour'))
    assert len(links) > 3
    assert [link for link in links if not (DOCS / link).exists()] == [], links
