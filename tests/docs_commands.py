"""The pages of ``docs/``: what stands in their fenced blocks, and trying it.

Tests of a page append the folder of this file to ``sys.path``. A command that
needs data or machines which tests don't have is tried as far as it goes: the
launcher's real script runs with stand-ins for Python and ``srun``, and what it
would start runs in this process up to the first file that is missing.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'

# Notes one argument a line in $LOG, and runs nothing.
STAND_IN = '#!/bin/sh\nprintf \'%s\\n\' "${0##*/}" "$@" >"$LOG"\n'


class Command(NamedTuple):
    """A command line of a page.

    Args:
        text (str): As it stands there, in one line.
        variables (dict[str, str]): Those that are set before it.
        words (list[str]): The program and its arguments.
    """

    text: str
    variables: Dict[str, str]
    words: List[str]


class Tried(NamedTuple):
    """What came of a command.

    Args:
        words (list[str]): The tool and its options, without the launcher.
        processes (list[str]): What the launcher would start, as it is.
        code (int): Exit code.
        output (str): Of stdout and stderr.
    """

    words: List[str]
    processes: List[str]
    code: int
    output: str


def page(name: str) -> str:
    """Return the text of a page, by its name without ``.md``."""
    return (DOCS / f'{name}.md').read_text(encoding='utf-8')


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next of its level."""
    level, fenced, found = len(heading.split(' ')[0]), False, None
    for line in text.splitlines():
        fenced ^= line.startswith('```')
        is_heading = not fenced and re.match(rf'#{{1,{level}}} ', line)
        if found is None and line == heading:
            found = []
        elif found is not None and is_heading:
            break
        elif found is not None:
            found.append(line)
    assert found is not None, f'no heading {heading!r}'
    return '\n'.join(found) + '\n'


def blocks(text: str, language: str) -> List[str]:
    """Return the fenced blocks of a language."""
    return re.findall(
        rf'^```{language}\n(.*?)^```$', text, re.MULTILINE | re.DOTALL
    )


def commands(text: str) -> List[Command]:
    """Return the commands of all ``sh`` blocks, without comments."""
    lines = '\n'.join(blocks(text, 'sh')).replace('\\\n', ' ').splitlines()
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        variables = {}
        while words and re.match(r'[A-Z_]+=', words[0]):
            name, _, value = words.pop(0).partition('=')
            variables[name] = value
        if words:
            found.append(Command(' '.join(line.split()), variables, words))
    return found


def table(text: str, first: str) -> List[List[str]]:
    """Return the rows of the table whose first heading is this one."""
    lines = text[text.index(f'| {first} |') :].split('\n\n')[0].splitlines()
    return [
        [cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
        for line in lines[2:]
        if line.startswith('|')
    ]


def write_files(text: str, folder: Path) -> List[Path]:
    """Write the ``python`` blocks that begin with ``# NAME.py``."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for block in blocks(text, 'python'):
        if name := re.match(r'# (\S+\.py)\n', block):
            path = folder / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
            written.append(path)
    return written


def started(command: Command, folder: Path) -> List[str]:
    """Run the script of a launcher; return what it would start.

    Returns:
        list[str]: ``srun`` or Python's name, and the arguments.
    """
    stand_ins = folder / 'stand-ins'
    stand_ins.mkdir(exist_ok=True)
    for name in ('python', 'srun'):
        (stand_ins / name).write_text(STAND_IN)
        (stand_ins / name).chmod(0o755)
    log = stand_ins / 'log'
    log.unlink(missing_ok=True)
    shell, script, *rest = command.words
    done = subprocess.run(
        [shell, str(ROOT / script), *rest],
        cwd=folder,
        text=True,
        capture_output=True,
        env=dict(
            os.environ,
            **command.variables,
            LOG=str(log),
            PYTHON=str(stand_ins / 'python'),
            PATH=f'{stand_ins}:{os.environ["PATH"]}',
        ),
    )
    assert done.returncode == 0, (command.text, done.stderr)
    return log.read_text().splitlines()


def run_shell(text: str, folder: Path) -> str:
    """Run a command line as it stands in a folder; return its output."""
    done = subprocess.run(
        ['sh', '-ec', text],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, (text, done.stdout)
    return done.stdout


def tool_of(processes: List[str]) -> List[str]:
    """Return the tool that processes run and its options, less a launcher."""
    at = max(
        i
        for i, word in enumerate(processes)
        if re.search(r'tools/[\w/]+\.py$', word)
    )
    words = [processes[at].rpartition('tools/')[2], *processes[at + 1 :]]
    if '--launcher' in words:
        at = words.index('--launcher')
        del words[at : at + 2]
    return words


def try_command(
    command: Command, folder: Path, run_tool: Callable, *more: str
) -> Tried:
    """Run a command as far as it goes without what a test doesn't have.

    Args:
        command (Command): ``python tools/…`` or ``sh tools/…``.
        folder (Path): Where to run it; it gets a link to ``configs``.
        run_tool (Callable): The fixture of that name.
        more (str): Further options of the tool.
    """
    if not (folder / 'configs').exists():
        (folder / 'configs').symlink_to(ROOT / 'configs')
    processes = (
        started(command, folder) if command.words[0] == 'sh' else command.words
    )
    words = tool_of(processes)
    done = run_tool(*words, *more, cwd=folder)
    return Tried(words, processes, done.returncode, done.stdout + done.stderr)
