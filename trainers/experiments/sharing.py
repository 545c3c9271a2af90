"""Jobs of an experiment that several processes work through together."""

import logging
import pathlib

from trainers.locks import Held, is_held, locked, wait_for_any

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
    # By job, the lock that it waits for.
    left, done = dict.fromkeys(jobs), 0
    while left:
        ended = []
        for name, path in left.items():
            if path is not None and is_held(path):
                continue
            try:
                with locked(directory / name, patience=0.0):
                    _log.info("%d of %d: %s", done + 1, len(jobs), name)
                    work(jobs[name])
            except Held as error:
                _log.info("%s: later, another process is at it", name)
                left[name] = error.path
            else:
                ended.append(name)
                done += 1
        for name in ended:
            del left[name]
        if left and not ended:
            _log.info("waiting for other processes: %s", ", ".join(left))
            wait_for_any(left.values())
