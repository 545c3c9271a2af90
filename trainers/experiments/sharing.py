"""Jobs of an experiment that several processes work through together."""

import logging
import pathlib

from trainers.locks import Held, locked

_log = logging.getLogger("trainers")


def share_out(directory, jobs, work):
    """Does jobs one by one, those that another process is at later.

    A job's lock is held while it is done. All processes are given every job,
    so `work` must find out what is done already.

    Args:
        directory: Folder for the locks.
        jobs: Dict from names, which are file names, to jobs.
        work: Callable of a job. If it raises `Held`, as for a stage that
            several jobs need, the job is done later.
    """
    directory = pathlib.Path(directory)
    waiting, done = list(jobs), 0
    while waiting:
        held = {}
        for name in waiting:
            try:
                with locked(directory / name, patience=0.0):
                    _log.info("%d of %d: %s", done + 1, len(jobs), name)
                    work(jobs[name])
                    done += 1
            except Held as error:
                _log.info("%s: another process is at it; later", name)
                held[name] = error.path
        if len(held) == len(waiting):
            # Nothing is left but what others are at.
            with locked(next(iter(held.values()))):
                pass
        waiting = list(held)
