"""Work of the first process that the others wait for, however long."""

from datetime import timedelta
from typing import Callable, List, Optional

import torch.distributed as dist
from mmengine.dist import get_world_size, is_main_process

PATIENCE = timedelta(days=2)  # of the others, while the first one works


def patient_group() -> dist.ProcessGroup:
    """Return a group of all processes whose calls may wait for long.

    Of its own, because the limit of the default group is minutes, and gloo,
    which notices when the first process is gone.
    """
    return dist.new_group(backend='gloo', timeout=PATIENCE)


def run_on_first(job: Callable[[], None]) -> None:
    """Run a job on the first process while the others wait for it.

    Raises:
        Exception: On the first process, whatever the job raises.
        RuntimeError: On the others then, with its message: not all errors
            can be sent.
    """
    if get_world_size() == 1:
        job()
        return
    group = patient_group()
    failure: List[Optional[str]] = [None]
    try:
        if is_main_process():
            job()
    except BaseException as error:
        failure = [f'{type(error).__name__}: {error}']
        raise
    finally:
        dist.broadcast_object_list(failure, src=0, group=group)
        dist.destroy_process_group(group)
    if failure[0] is not None:
        raise RuntimeError(f'the first process failed: {failure[0]}')
