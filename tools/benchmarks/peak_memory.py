"""How much memory a job takes for tensors at its peak."""

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any, Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(job: Callable[[], Any], device: str) -> float:
    """Return the largest sum of bytes of a job's tensors."""
    job()
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        job()
        return torch.cuda.max_memory_allocated() - before
    with tempfile.TemporaryDirectory() as folder:
        with profile(
            activities=[ProfilerActivity.CPU], profile_memory=True
        ) as profiler:
            job()
        trace = Path(folder) / 'trace.json'
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())['traceEvents']
    changes = sorted(
        (event['ts'], event['args']['Bytes'])
        for event in events
        if event['name'] == '[memory]'
    )
    return max(itertools.accumulate(change for _, change in changes))
