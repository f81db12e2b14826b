"""Work of the first process, where there is one process.

What the others of several do is in ``test_class_embedding_hook.py``.
"""

from typing import List

import pytest
import torch.distributed as dist

from ovd.engine import first_process
from ovd.engine.first_process import run_on_first


@pytest.fixture(params=[False, True], ids=['no group', 'group of one'])
def alone(request, tmp_path, monkeypatch):
    """A run without a launcher, or of a launcher that starts one process."""
    if request.param:
        dist.init_process_group(
            'gloo',
            init_method=f'file://{tmp_path}/store',
            rank=0,
            world_size=1,
        )

    def refuse() -> None:
        raise AssertionError('nobody waits, so no group is needed')

    monkeypatch.setattr(first_process, 'patient_group', refuse)
    yield
    if request.param:
        dist.destroy_process_group()


def test_the_job_is_done_once(alone) -> None:
    done: List[str] = []
    assert run_on_first(lambda: done.append('job')) is None
    assert done == ['job']


@pytest.mark.parametrize(
    'error', [ValueError('no such file'), KeyboardInterrupt()]
)
def test_its_error_is_passed_on_as_it_is(alone, error) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as found:
        run_on_first(fail)
    assert found.value is error
