"""docs/coco_lvis.md: steps in an order that works, hours, messages."""

import ast
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Callable, List

import pytest
import yaml

sys.path += [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / 'tools/benchmarks'),
]
from docs_commands import (  # noqa: E402
    ROOT,
    Tried,
    commands,
    page,
    run_shell,
    section,
    table,
    try_command,
)
from step_hours import RATES, Step, to_markdown  # noqa: E402

from ovd.apis.data_tree import DATA_TREES  # noqa: E402

PAGE = page('coco_lvis')
TOOL = 'benchmarks/step_hours.py'


pytestmark = pytest.mark.usefixtures('no_network')


def missing_file(done: Tried) -> str:
    """Return the file that an error says is missing."""
    error = done.output.rpartition('error: ')[2]
    found = re.search(
        r'(\S+) (?:does not exist|holds no checkpoint)|neither at (\S+)', error
    )
    assert found, (done.words, error)
    return found[1] or found[2]


def is_made_before(path: str, earlier: List[str]) -> bool:
    """Whether a file is brought by the user, or made by an earlier command."""
    if path.startswith('work_dirs/'):
        return any(
            f'/{Path(path).name}.py' in text
            for text in earlier
            if 'train.' in text or 'dist_train' in text
        )
    for tree in DATA_TREES.values():
        for entry in tree.entries:
            place = f'{tree.root}/{entry.path}'.replace('<clip>', 'ViT-B-32')
            if path in (place, f'{place}/manifest.json'):
                return (
                    entry.required
                    or path.startswith('pretrained/')
                    or any(text.startswith(entry.origin) for text in earlier)
                )
    return False


def test_a_step_that_is_left_out_is_noticed() -> None:
    path = 'data/coco/annotations/instances_train2017_48_17_1.json'
    split, *_ = commands(section(PAGE, '## COCO 48/17'))
    assert is_made_before(path, [split.text])
    assert not is_made_before(path, [])
    assert not is_made_before('work_dirs/x', [split.text])


@pytest.mark.parametrize(
    'heading, methods', [('## COCO 48/17', 3), ('## LVIS 866/337', 3)]
)
def test_each_step_asks_for_what_came_before(
    heading: str, methods: int, tmp_path: Path, run_tool: Callable
) -> None:
    """In an empty folder each command fails, and names a file of a step."""
    earlier: List[str] = []
    trained = tested = 0
    for command in commands(section(PAGE, heading)):
        if command.words[0] in ('ln', 'mkdir'):
            run_shell(command.text, tmp_path)
            continue
        done = try_command(command, tmp_path, run_tool)
        assert done.code in (1, 2), command.text
        path = missing_file(done)
        assert is_made_before(path, earlier), (command.text, path)
        trained += (
            any(
                f'configs/{folder}/' in command.text
                for folder in ('vild', 'detpro')
            )
            and 'dist_train' in command.text
        )
        tested += path.startswith('work_dirs/')
        earlier.append(command.text)
    assert trained == methods and tested == methods + 1  # and the RPN's dump


def test_other_commands(tmp_path: Path, run_tool: Callable) -> None:
    (check,) = commands(section(PAGE, '## What to bring'))
    done = try_command(check, tmp_path, run_tool)
    assert done.code == 1 and 'cocodataset.org' in done.output
    *dry, hours = commands(section(PAGE, '## Hours'))
    assert len(dry) == 2 and TOOL in hours.text
    for command in dry:
        tried = try_command(command, tmp_path, run_tool)
        assert tried.words[-1] == '--dry-run' and missing_file(tried)


def test_hours_are_those_of_the_tool(run_tool: Callable) -> None:
    printed = run_tool(TOOL).stdout.strip()
    assert printed in PAGE
    assert printed.count('assumed') == len(table(PAGE, 'rate'))
    assert '**Computed, not measured.**' in PAGE
    # 90,000 batches of 256; 20 epochs; two crops of 300 boxes and of truth
    for work in (90_000 * 256, 20 * 100_170, 2 * (107_761 * 300 + 665_387)):
        assert f'| {work:,} ' in printed


def test_hours_of_other_rates(run_tool: Callable) -> None:
    """A step by hand: 12 epochs of 107,761 images, 100 a second, 4 GPUs."""
    step = Step('COCO', 'RPN', 12 * 107_761, 'rpn-train')
    rates = dict(
        {name: rate.value for name, rate in RATES.items()},
        **{'rpn-train': 100.0},
    )
    text = to_markdown([step], rates, [4])
    assert '| COCO | RPN | 1,293,132 images | 0.9 h |' in text
    assert '| `--rpn-train` | 100 images | given |' in text
    helped = run_tool(TOOL, '-h')
    assert helped.returncode == 0 and 'example' in helped.stdout
    wrong = run_tool(TOOL, '--crops', 0)
    assert wrong.returncode == 2 and '--crops must be positive' in wrong.stderr


def test_hours_use_the_counts_of_the_data_tree() -> None:
    counts = {
        f'{number:,}'
        for tree in ('coco', 'lvis_v1')
        for entry in DATA_TREES[tree].entries
        for number in (entry.images, entry.annotations)
        if number
    }
    source = (ROOT / 'tools' / TOOL).read_text()
    used = re.findall(
        r"'(?:coco|lvis)\S+',\s+([\d_]+),\s+([\d_]+),\s+([\d_]+)", source
    )
    assert len(used) == 2
    for numbers in used:
        assert {number.replace('_', ',') for number in numbers} <= counts


@lru_cache(maxsize=None)
def texts_of_the_package() -> str:
    """Return all strings of the package, a line each, as they are joined."""
    texts = []
    for path in (ROOT / 'ovd').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    ''.join(
                        part.value if isinstance(part, ast.Constant) else '…'
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(
                node.value, str
            ):
                texts.append(node.value)
    return '\n'.join(texts)


def test_messages_exist() -> None:
    rows = table(section(PAGE, '## When it breaks'), 'message')
    assert len(rows) >= 15
    for message, *rest in rows:
        assert all(rest)
        assert message[1:-1] in texts_of_the_package(), message


def test_published_rows_are_those_of_the_metafiles() -> None:
    known = set()
    for path in (ROOT / 'configs').rglob('metafile.yml'):
        for model in yaml.safe_load(path.read_text()).get('Models', ()):
            for result in model['Results'] or ():
                known.add(
                    ' / '.join(
                        f'{value:.1f}' for value in result['Metrics'].values()
                    )
                )
    rows = re.findall(r'\d+\.\d(?: / \d+\.\d)+', ' '.join(PAGE.split()))
    assert len(rows) == 4 and set(rows) <= known
