"""The table of the data tree, the two READMEs that show it, and the code."""

import re
import shlex
from pathlib import Path
from typing import Dict

import pytest

from ovd.apis.class_names import DATASETS, ClassNames
from ovd.apis.data_tree import DATA_TREES
from ovd.apis.inspect_data import INSPECTORS
from ovd.clip.weights import MAKE_MINIATURE
from ovd.datasets.gzsl_split import how_to_make

ROOT = Path(__file__).parents[2]
ENTRIES = {
    entry.path: entry
    for tree in DATA_TREES.values()
    for entry in tree.all_entries()
}


def read_trees(readme: Path) -> Dict[str, str]:
    """Return path -> description of all that the trees of a README show.

    Folders that have something below them are no entries of their own.
    """
    found: Dict[str, str] = {}
    for block in readme.read_text().split('```')[1::2]:
        language, root, *lines = block.splitlines()
        if language:
            continue
        assert re.fullmatch(r'[\w./]+/', root), root
        parents = [root.rstrip('/')]
        for line in lines:
            branch, name, text = re.fullmatch(
                r'((?:│   |    )*)[├└]── (\S+) *(.*)', line
            ).groups()
            depth = len(branch) // 4
            path = f'{parents[depth]}/{name.rstrip("/")}'
            parents[depth + 1 :] = [path]
            found.pop(parents[depth], None)
            assert path not in found
            found[path] = text + ('/' if name.endswith('/') else '')
    return found


def show(entries: Dict[str, object], folder: str) -> Dict[str, str]:
    """Return path -> description as `read_trees` does, from the table."""
    return {
        path: entry.description + '/' * entry.is_folder
        for path, entry in entries.items()
        if path.startswith(f'{folder}/')
    }


@pytest.mark.parametrize('folder', ['data', 'pretrained'])
def test_readme_shows_the_table_and_nothing_else(folder):
    """Paths, counts and notes, in both directions."""
    assert read_trees(ROOT / folder / 'README.md') == show(ENTRIES, folder)


def test_readme_has_the_command_of_every_step():
    """Line ends and `\\` aside; what is no command is no code."""
    pages = ''.join(
        (ROOT / folder / 'README.md').read_text().replace('\\\n', '')
        for folder in ('data', 'pretrained')
    )
    shown = [
        shlex.split(line, comments=True)
        for code in re.findall(r'```sh\n(.+?)```', pages, re.DOTALL)
        for line in code.splitlines()
    ]
    made = [
        shlex.split(entry.origin)
        for entry in ENTRIES.values()
        if entry.makeable and not entry.origin.startswith('mkdir')
    ]
    assert len(made) > 15
    assert [command for command in made if command not in shown] == []


def test_commands_name_tools_and_configs_that_exist():
    """Nobody is told to run what this version lacks."""
    pages = [
        (ROOT / folder / 'README.md').read_text()
        for folder in ('data', 'pretrained')
    ]
    named = set(
        re.findall(
            r'(?:tools|configs)/[\w./-]+\.(?:py|sh)',
            ' '.join([*pages, *(entry.origin for entry in ENTRIES.values())]),
        )
    )
    assert len(named) > 8
    assert sorted(n for n in named if not (ROOT / n).is_file()) == []


def test_paths_are_those_that_the_code_reads_and_writes():
    """Class names, class embeddings, splits and CLIP of the datasets."""
    for name, dataset in DATASETS.items():
        if dataset.ann_file is not None:
            assert ENTRIES[dataset.ann_file].kind == 'annotations'
        assert ClassNames(name).folder / 'vild.pth' in map(Path, ENTRIES)
    split = 'data/miniature/annotations/instances_train_48_17_1.json'
    assert ENTRIES[split].origin == how_to_make(split)
    assert ENTRIES[DATASETS['miniature'].pretrained].origin == MAKE_MINIATURE


def test_what_data_configs_read_has_its_place():
    """Annotation files of the base configs, users' own aside."""
    named = set()
    for path in (ROOT / 'configs').rglob('*.py'):
        named |= set(
            re.findall(r"'(data/(?!custom)[\w./-]+\.\w+)'", path.read_text())
        )
    assert len(named) >= 3
    # Those of other sentences and of learned prompts lie beside vild.pth.
    places = {
        re.sub(r'prompt/(detpro|learned)\.pth$', 'prompt/vild.pth', n)
        for n in named
    }
    assert sorted(n for n in places if n not in ENTRIES) == []


def test_table_is_consistent():
    """Every kind can be looked into, and no path is there twice."""
    assert {entry.kind for entry in ENTRIES.values()} <= set(INSPECTORS)
    assert len(ENTRIES) == sum(
        len(tree.entries) for tree in DATA_TREES.values()
    )
    for entry in ENTRIES.values():
        assert entry.origin and not entry.path.endswith('/')
        assert not (entry.required and entry.path.startswith('pretrained'))
