"""Running a tool as a process that can be killed, without importing everything anew each time."""

import multiprocessing
import os
import runpy
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import mmlayerwise.engine.launch  # noqa: F401

# Imported once, in the server that the processes are forked from; after mmlayerwise, which supplies
# its operators.
import_module('mmcv.ops')
import_module('torch._dynamo')  # what the first optimizer imports

ROOT = Path(__file__).parents[2]


@dataclass
class Finished:
    """How a process ended.

    Attributes:
        status: Exit status; negative if a signal ended it.
        output: What it wrote to the standard streams.
    """

    status: int
    output: str


def run_tool(name: str, *arguments: str, timeout: float = 300) -> Finished:
    """Run ``tools/<name>`` with the given command line."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([__name__])
    with tempfile.NamedTemporaryFile('r', suffix='.log', errors='replace') as log:
        process = context.Process(target=_run, args=(name, arguments, log.name))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f'{name} took over {timeout} s:\n{log.read()}')
        return Finished(process.exitcode, log.read())


def _run(name: str, arguments: tuple[str, ...], log: str) -> None:
    stream = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.chdir(ROOT)
    sys.stdout = os.fdopen(1, 'w', buffering=1)
    sys.stderr = os.fdopen(2, 'w', buffering=1)
    script = str(ROOT / 'tools' / name)
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name='__main__')
