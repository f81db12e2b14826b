"""All pages of docs/: what they name exists, and each has a test."""

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from docs_commands import DOCS, ROOT, commands, page, section  # noqa: E402

PAGES = sorted(path.stem for path in DOCS.glob('*.md'))
# Those that name a page as docs_commands.page does, or by its path
TESTS = '\n'.join(
    path.read_text()
    for path in (ROOT / 'tests').rglob('test_*.py')
    if path != Path(__file__)
)


@pytest.mark.parametrize('name', PAGES)
def test_what_a_page_names_exists(name: str) -> None:
    text = page(name)
    links = re.findall(r'\]\((?!https?:)([^)#]+)', text)
    files = re.findall(r'(?:tools|configs)/[\w./*-]+\.(?:py|sh)\b', text)
    # A page may make a folder of configs, and name them.
    missing = [
        file
        for file in files
        if not any(ROOT.glob(file)) and (ROOT / file).parent.is_dir()
    ]
    missing += [link for link in links if not (DOCS / link).exists()]
    assert not missing


@pytest.mark.parametrize('name', PAGES)
def test_a_page_with_commands_has_a_test(name: str) -> None:
    if commands(page(name)):
        assert f"page('{name}')" in TESTS or f'docs/{name}.md' in TESTS


def test_commands_are_read_as_a_shell_does() -> None:
    text = (
        '# A\n```sh\n# note\nA=1 sh tools/x.sh "a b" \\\n    c  # why\n'
        '\npython y.py\n```\n```python\n# B\nprint()\n```\n# C\n'
    )
    first, second = commands(text)
    assert first.variables == dict(A='1')
    assert first.words == ['sh', 'tools/x.sh', 'a b', 'c']
    assert second.text == 'python y.py'
    assert 'print()' in section(text, '# A')
    assert section(text, '# C') == '\n'
