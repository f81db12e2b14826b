"""Print the data tree with what is there: the work of tools/check_data.py."""

import os
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Iterator, Sequence

from ovd.artifacts.files import PathLike
from ovd.suggest import check_choice

from .data_tree import DATA_TREES
from .inspect_data import (
    DAMAGED,
    INCOMPLETE,
    MISSING,
    THERE,
    Finding,
    inspect_entry,
)
from .tree_entry import Entry, Tree

UNITS = ('B', 'kB', 'MB', 'GB', 'TB')
# Longer names push their own text to the right, not that of all others.
MAX_NAME_WIDTH = 48


def check_data(names: Sequence[str] = (), root: PathLike = '.') -> bool:
    """Print what is there, what is missing, and how to get or make it.

    Nothing is written.

    Args:
        names (Sequence[str]): Keys of ``DATA_TREES``; none for all of them,
            those of which nothing is there in one line each.
        root (PathLike): Folder that holds `data/` and `pretrained/`.

    Returns:
        bool: Whether all that was named, or is there in part, has what it
        requires, and nothing is damaged or incomplete.

    Raises:
        ValueError: If a name is none of those.
        FileNotFoundError: If `root` is no folder.
    """
    for name in names:
        check_choice(name, DATA_TREES, 'the dataset')
    if not Path(root).is_dir():
        raise FileNotFoundError(
            f'{root} is no folder; expected the one that holds data/ and '
            'pretrained/'
        )
    good = True
    for name in dict.fromkeys(names or DATA_TREES):
        tree = DATA_TREES[name]
        findings = inspect_tree(tree, Path(root))
        is_there = any(item.state != MISSING for item in findings)
        if not names and not is_there:
            print(f'{tree.root}: nothing there ({tree.source})\n', flush=True)
            continue
        print(
            '\n'.join(
                [
                    *describe_tree(tree, findings, Path(root)),
                    *describe_faults(findings),
                ]
            )
            + '\n',
            flush=True,
        )
        good = good and not any(map(_is_fault, findings))
    return good


def _is_fault(finding: Finding) -> bool:
    return finding.state in (DAMAGED, INCOMPLETE) or (
        finding.state == MISSING and finding.entry.required
    )


def inspect_tree(tree: Tree, root: Path) -> list[Finding]:
    """Look into everything that belongs to a tree."""
    entries = [
        found
        for entry in tree.all_entries()
        for found in _fill_placeholder(entry, root)
    ]
    known = {entry.path for entry in entries}
    entries += [
        entry for entry in _others(tree, root) if entry.path not in known
    ]
    return [inspect_entry(root, tree.root, entry) for entry in entries]


def _fill_placeholder(entry: Entry, root: Path) -> Iterator[Entry]:
    """Yield what is there in place of `<clip>`, or the entry as it is."""
    if '<' not in entry.path:
        yield entry
        return
    # `*` of pathlib fits .gitkeep and .DS_Store, too; what does not exist is
    # a link to nowhere, which is to be shown
    pattern = re.sub('<.+?>', '*', entry.path)
    found = [
        path
        for path in sorted(root.glob(pattern))
        if not path.name.startswith('.')
        and (path.is_dir() == entry.is_folder or not path.exists())
    ]
    if not found:
        yield entry
    for path in found:
        yield replace(entry, path=path.relative_to(root).as_posix())


def _others(tree: Tree, root: Path) -> Iterator[Entry]:
    """Yield artefacts under names of the user's, beside those of the table."""
    for folder, kind, pattern in (
        ('annotations', 'split', r'.+_\w+_\d+\.json'),
        ('prompt', 'class_embeddings', r'.+\.pth'),
        ('proposals', 'proposals', r'.+\.(pkl|safetensors)'),
    ):
        sources = [
            Path(entry.path).stem
            for entry in tree.entries
            if entry.kind == 'annotations'
        ]
        for path in sorted((root / tree.root / folder).glob('*')):
            fits = re.fullmatch(pattern, path.name) and (
                kind != 'split'
                or any(path.name.startswith(f'{stem}_') for stem in sources)
            )
            if fits and not path.name.startswith('.'):
                yield Entry(path.relative_to(root).as_posix(), kind, '')


def describe_tree(
    tree: Tree, findings: Sequence[Finding], root: Path
) -> Iterator[str]:
    """Yield the lines of a tree, one per file or folder."""
    yield f'{tree.root}/{_arrow(root / tree.root)}  ({tree.source})'
    nodes: dict = {}
    for finding in findings:
        node = nodes
        parts = Path(finding.entry.path).relative_to(tree.root).parts
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        node[parts[-1]] = finding
    rows = list(_branches(nodes, root / tree.root, ''))
    width = max(
        len(name)
        for name, text in rows
        if text and len(name) <= MAX_NAME_WIDTH
    )
    for name, text in rows:
        yield f'{name:{width}}  {text}'.rstrip()


def _branches(
    nodes: dict, folder: Path, indent: str
) -> Iterator[tuple[str, str]]:
    """Yield (name with its branch, text) of a folder and all below it."""
    for i, (name, item) in enumerate(nodes.items(), 1):
        is_last = i == len(nodes)
        branch = indent + ('└── ' if is_last else '├── ')
        is_folder = isinstance(item, dict) or item.entry.is_folder
        arrow = _arrow(folder / name)
        label = f'{branch}{name}{"/" * is_folder}{arrow}'
        if isinstance(item, dict):
            yield label, ''
            yield from _branches(
                item, folder / name, indent + ('    ' if is_last else '│   ')
            )
        else:
            yield label, _describe(item)


def _arrow(path: Path) -> str:
    return f' -> {os.readlink(path)}' if path.is_symlink() else ''


def _describe(finding: Finding) -> str:
    entry = finding.entry
    if finding.state == THERE:
        size = () if finding.size is None else (human_size(finding.size),)
        return ', '.join(filter(None, (finding.text, *size)))
    if finding.state == MISSING:
        state = 'MISSING' if entry.required else 'not there'
        return f'{state}: {entry.description}'.rstrip(': ')
    return f'{finding.state.upper()}, see below'


def describe_faults(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield what is wrong, and how to get or make what is missing."""
    for finding in findings:
        if finding.state in (DAMAGED, INCOMPLETE):
            yield f'{finding.state}: {finding.text}'
    by_origin = defaultdict(list)
    for finding in findings:
        if finding.state == MISSING:
            by_origin[finding.entry.origin].append(finding.entry)
    for origin, entries in by_origin.items():
        makes = 'to make' if entries[0].makeable else 'to get'
        yield f'{makes} {", ".join(entry.path for entry in entries)}:'
        yield f'  {origin}'


def human_size(size: int) -> str:
    """Return '448.7 MB' for bytes; a megabyte has a million of them."""
    number, unit = float(size), UNITS[0]
    for unit in UNITS:
        if number < 999.95 or unit == UNITS[-1]:
            break
        number /= 1000
    return f'{size} B' if unit == 'B' else f'{number:.1f} {unit}'
