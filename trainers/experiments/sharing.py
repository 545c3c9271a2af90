"""Jobs of an experiment that several processes work through together."""

import pathlib

from trainers.locks import locked


def shared_out(directory, jobs):
    """Yields jobs one by one, those that another process is at later.

    A job's lock is held until the next one is asked for. All processes are
    given every job, so what they do must find out what is done already.

    Args:
        directory: Folder for the locks.
        jobs: Dict from names, which are file names, to jobs.
    """
    directory = pathlib.Path(directory)
    waiting = list(jobs)
    while waiting:
        held = []
        for name in waiting:
            try:
                with locked(directory / name, patience=0.0):
                    yield jobs[name]
            except TimeoutError:
                held.append(name)
        if len(held) == len(waiting):
            # Nothing is left but what others are at.
            with locked(directory / held[0]):
                pass
        waiting = held
