"""docs/artefacts.md: tables and code against what the tools write."""

import json
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
from docs_commands import blocks, commands, page, section, table, try_command  # noqa: E402
from docs_world import NUM_TRAIN, write_tiny_world  # noqa: E402

from ovd.artifacts.embedding_store import (  # noqa: E402
    BOX_KINDS,
    EmbeddingStore,
    EmbeddingStoreWriter,
)
from ovd.artifacts.proposals import FORMAT as PROPOSALS  # noqa: E402
from ovd.artifacts.proposals import load_proposals  # noqa: E402
from ovd.artifacts.store_plan import FORMAT as STORE  # noqa: E402
from ovd.artifacts.store_plan import shard_name  # noqa: E402
from ovd.artifacts.tensor_file import TensorFile  # noqa: E402
from ovd.artifacts.weights_file import FORMAT as WEIGHTS  # noqa: E402
from ovd.clip.class_embedding_recipe import Recipe  # noqa: E402
from ovd.clip.prompt_templates import TEMPLATE_SETS  # noqa: E402
from ovd.datasets.gzsl_split import read_gzsl  # noqa: E402

PAGE = page('artefacts')
DATA = Path('data/miniature')
ANNOTATIONS = DATA / 'annotations/instances_train_48_17_1.json'
RPN = 'configs/miniature/rpn_r18_fpn_miniature'
DETECTOR = 'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'


def one_iteration(
    run_tool: Callable, folder: Path, config: str, *more: str
) -> None:
    done = run_tool(
        'train.py',
        config,
        '--cfg-options',
        'train_cfg.max_iters=1',
        'train_dataloader.batch_size=2',
        *more,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope='module')
def world(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_clip_path: str,
    run_tool: Callable,
) -> Path:
    """A folder with one file of each kind, made by the tools."""
    folder = tmp_path_factory.mktemp('artefacts')
    write_tiny_world(folder, tiny_clip_path, run_tool)
    one_iteration(run_tool, folder, f'{RPN}.py')
    one_iteration(run_tool, folder, DETECTOR)
    # The demo trains for 900.
    run = folder / 'work_dirs/miniature/vild-ensemble'
    assert (run / 'last_checkpoint').read_text().endswith('/iter_1.pth')
    (run / 'iter_1.pth').rename(run / 'iter_900.pth')
    (run / 'last_checkpoint').write_text('iter_900.pth')
    torch.save(torch.randn(8, 64), folder / 'prompt.pth')
    Recipe(tiny_clip_path, 'learned', prompts=[folder / 'prompt.pth']).make(
        ['red star']
    ).save(folder / DATA / 'prompt/learned.pth')
    return folder


@pytest.fixture(autouse=True)
def in_world(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def listed(heading: str, first: str) -> Dict[str, str]:
    """Return what a table says, by each name in its first column."""
    return {
        name: ' | '.join(rest)
        for cell, *rest in table(section(PAGE, heading), first)
        for name in re.findall(r'`(\w+)`', cell)
    }


def run_code(heading: str) -> List[Dict[str, Any]]:
    """Run the blocks of a section; return their variables."""
    found = []
    for code in blocks(section(PAGE, heading), 'python'):
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= 6
        variables: Dict[str, Any] = {}
        exec(compile(code, 'artefacts.md', 'exec'), variables)
        found.append(variables)
    return found


def check_arrays(heading: str, path: Path) -> TensorFile:
    """Compare the arrays of a file with the table of a section."""
    file, said = TensorFile(path), listed(heading, 'array')
    assert set(file.names()) <= set(said)
    for name in file.names():
        assert file.read(name).dtype.name in said[name], name
    return file


def test_the_commands(world: Path, run_tool: Callable) -> None:
    found = commands(PAGE)
    assert len(found) == 5
    for command in found:
        done = try_command(command, world, run_tool)
        assert done.code == 0, (command.text, done.output[-2000:])


def test_annotations() -> None:
    (variables,) = run_code('## GZSL annotations')
    assert set(variables['gzsl']) == set(listed('## GZSL annotations', 'key'))
    assert ANNOTATIONS.read_text().startswith('{"gzsl": ')
    for key in ('kept', 'removed'):
        assert set(variables['gzsl'][key]) == {'images', 'annotations'}
    assert set(variables['gzsl']['source']) == {'file', 'sha256'}


def test_proposals(run_tool: Callable, capsys) -> None:
    """Those of a dump, and converted ones."""
    out = DATA / 'proposals/dumped.pkl'
    for tool, *options in (
        (
            'test.py',
            f'{RPN}_train.py',
            'work_dirs/miniature/rpn',
            '--out',
            out,
        ),
        (
            'convert_proposals.py',
            out,
            out.with_suffix('.safetensors'),
            '--ann-file',
            ANNOTATIONS,
            '--folder',
            'train',
        ),
    ):
        done = run_tool(tool, *options)
        assert done.returncode == 0, done.stderr[-2000:]
    said = listed('## Proposals', 'key')
    dumped = load_proposals(out).provenance
    assert {*dumped, 'converted_from'} == set(said)
    assert set(dumped['annotations']) == {'file', 'sha256', 'source_sha256'}
    file = check_arrays('## Proposals', out.with_suffix('.safetensors'))
    assert set(file.names()) == set(listed('## Proposals', 'array'))
    assert set(file.info) == {'format', 'provenance'}
    assert file.info['format'] == PROPOSALS and PROPOSALS in PAGE
    assert set(file.info['provenance']) == set(said)
    (variables,) = run_code('## Proposals')
    assert len(variables['proposals']) == NUM_TRAIN
    assert 'train/000001.png (' in capsys.readouterr().out


def test_the_store(capsys) -> None:
    folder = DATA / 'proposal_embeddings/miniature'
    manifest = json.loads((folder / 'manifest.json').read_text())
    assert set(manifest) == set(listed('## Proposal embeddings', 'key'))
    assert manifest['format'] == STORE and STORE in PAGE
    file = check_arrays('## Proposal embeddings', folder / shard_name(0))
    assert set(file.info) == {'plan', 'shard', 'broken', 'sha256'}
    assert file.info['plan'] == manifest['sha256']
    said = listed('## Proposal embeddings', 'array')
    for number, kind in enumerate(BOX_KINDS):
        assert f'{number} {kind}' in said['kinds']
    (variables,) = run_code('## Proposal embeddings')
    assert variables['item']['embeddings'].dtype == np.float16
    assert 'ground_truth' in capsys.readouterr().out


def test_int8_has_scales(tmp_path: Path) -> None:
    store = EmbeddingStore(DATA / 'proposal_embeddings/miniature')
    plan = store.manifest
    items = [store.get(i) for i in plan.shard_image_ids(0)]
    plan.settings['dtype'] = 'int8'
    EmbeddingStoreWriter(tmp_path, plan).write_shard(0, items)
    file = check_arrays('## Proposal embeddings', tmp_path / shard_name(0))
    assert set(file.names()) == set(listed('## Proposal embeddings', 'array'))
    found = file.read('embeddings') * file.read('scales')[:, None]
    expected = np.concatenate([item['embeddings'] for item in items])
    assert (np.sum(found * expected, 1) > 0.999).all()


def test_class_embeddings() -> None:
    said = listed('## Class embeddings', 'key')
    learned = torch.load(DATA / 'prompt/learned.pth', weights_only=True)
    assert set(learned) == set(said)
    for name in (*TEMPLATE_SETS, 'learned', 'converted'):
        assert f'`{name}`' in said['templates']
    assert set(learned['settings']) == {'precision', 'synonyms', 'prompts'}
    (variables,) = run_code('## Class embeddings')
    assert len(variables['found'].names) == 65


def test_learned_contexts() -> None:
    (variables,) = run_code('## Learned contexts')
    assert variables['contexts'].shape == (1, 8, 64)


def test_checkpoints(world: Path, run_tool: Callable) -> None:
    (export,) = commands(section(PAGE, '## Checkpoints'))
    (world / 'work_dirs/vild-ensemble.safetensors').unlink(missing_ok=True)
    assert try_command(export, world, run_tool).code == 0
    said = listed('## Checkpoints', 'key')
    first, second = run_code('## Checkpoints')
    checkpoint = first['checkpoint']
    assert set(checkpoint) == set(said)
    for key in re.findall(r'`(\w+)`', said['meta']):
        assert (
            key in checkpoint['meta']
            or key in checkpoint['meta']['dataset_meta']
        ), key
    assert (
        list(checkpoint['meta']['dataset_meta']['novel_classes'])
        == read_gzsl(ANNOTATIONS)['novel']
    )
    assert not any(
        'class_embeddings' in key or 'teacher' in key
        for key in checkpoint['state_dict']
    )
    assert second['weights']['meta'].keys() == checkpoint['meta'].keys() - {
        'position'
    }
    file = TensorFile('work_dirs/vild-ensemble.safetensors')
    assert set(file.info) == {'format', 'meta', 'sha256'}
    assert file.info['format'] == WEIGHTS and f'`{WEIGHTS}`' in PAGE
