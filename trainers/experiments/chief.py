"""The chief of parallel workers, which does not wait for those that died."""

import contextlib
import logging
import os
import pathlib
import secrets
import threading
import time
import urllib.parse
from concurrent import futures

import grpc
import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.engine import oracle as oracle_locks

from trainers.command_line import UserError

_log = logging.getLogger("trainers")
_BEAT_SECONDS = 5.0
# Silence before a word is said of it; work goes on, as a machine may be slow.
_WARNING_SECONDS = 60.0
_POLL_SECONDS = 1.0
_COMPLETED = "COMPLETED"


@contextlib.contextmanager
def signs_of_life(directory, worker, every=_BEAT_SECONDS):
    """Changes a worker's file now and then for as long as its process lives.

    Args:
        directory: Folder that the chief sees as well.
        worker: Str, the worker's id.
        every: Seconds between two changes.
    """
    path = _path(directory, worker)
    path.parent.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()

    def beat():
        while not ended.is_set():
            # Not a time: the clocks of two machines differ.
            path.write_text(secrets.token_hex(8))
            ended.wait(every)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Watch:
    """Knows for how long workers have shown no sign of life.

    Args:
        directory: Folder of their files.
        clock: Callable that returns seconds.
    """

    def __init__(self, directory, clock=time.monotonic):
        self.directory = directory
        self.clock = clock
        self._seen = {}

    def silence(self, worker) -> float:
        """Returns the seconds since a worker's file was seen to change."""
        try:
            sign = _path(self.directory, worker).read_text()
        except FileNotFoundError:
            sign = None
        last, since = self._seen.get(worker, (object(), 0.0))
        if sign != last:
            since = self.clock()
            self._seen[worker] = sign, since
        return self.clock() - since


class Servicer(OracleServicer):
    """Answers workers, and keeps what went wrong for the chief to tell.

    Attributes:
        failure: `None`, or the exception that a worker's call has raised.
    """

    def __init__(self, oracle):
        super().__init__(oracle)
        self.failure = None

    def CreateTrial(self, request, context):
        with self._kept():
            return super().CreateTrial(request, context)

    def UpdateTrial(self, request, context):
        with self._kept():
            return super().UpdateTrial(request, context)

    def EndTrial(self, request, context):
        with self._kept():
            return super().EndTrial(request, context)

    @contextlib.contextmanager
    def _kept(self):
        try:
            yield
        except Exception as error:
            self.failure = error
            # KerasTuner holds its lock for ever after a call that raises,
            # and the chief would wait for it.
            held_by = oracle_locks.THREADS[self.oracle]
            if held_by == threading.current_thread().name:
                oracle_locks.THREADS[self.oracle] = None
                oracle_locks.LOCKS[self.oracle].release()
            raise


def listen():
    """Returns a server that has its place, for `serve`.

    Raises:
        UserError: If there is no listening there.
    """
    place = ":".join(
        os.environ[f"KERASTUNER_ORACLE_{name}"] for name in ("IP", "PORT")
    )
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=1),
        # Else two chiefs could listen at one place, and mix their trials.
        options=[("grpc.so_reuseport", 0)],
    )
    try:
        server.add_insecure_port(place)
    except RuntimeError as error:
        raise UserError(
            f"The chief cannot listen at {place}. Choose another "
            "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT for it and all "
            "workers."
        ) from error
    _log.info("waiting for workers at %s", place)
    return server


def serve(server, oracle, watch, timeout):
    """Hands trials to workers until the search is over.

    In place of KerasTuner's own function, which waits for ever for a worker
    that has died. The trial of one that is silent for too long is given to
    another; where there is none, the search ends without it.

    Args:
        server: What `listen` returned.
        oracle: KerasTuner `Oracle`.
        watch: `Watch`.
        timeout: Seconds of silence after which a worker counts as dead.

    Returns:
        List of the workers that died, if the search ended without them.

    Raises:
        RuntimeError: If a worker's call failed.
    """
    servicer = Servicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    server.start()
    try:
        return wait_for_workers(servicer, watch, timeout)
    finally:
        # The last answers may still be on their way.
        server.stop(grace=5).wait()


def wait_for_workers(servicer, watch, timeout, poll=_POLL_SECONDS):
    """Waits until no worker is left; see `serve`."""
    oracle, warned, dead, told = servicer.oracle, set(), [], None
    while True:
        time.sleep(poll)
        if servicer.failure is not None:
            raise RuntimeError(
                f"The chief could not answer a worker: {servicer.failure!r}"
            ) from servicer.failure
        running = _running(oracle)
        done = _completed(oracle)
        if (done, running) != told:
            told = done, running
            _log.info(
                "%d of at most %d trials done; %s",
                done,
                oracle.max_trials,
                ", ".join(
                    f"{worker} runs {trial}" if trial else f"{worker} waits"
                    for worker, trial in sorted(running.items())
                )
                or "no worker",
            )
        for worker, trial in running.items():
            silence = watch.silence(worker)
            if silence > timeout:
                _log.warning("%s counts as dead", worker)
                _take_back(oracle, worker)
                dead.append(worker)
            elif silence > min(_WARNING_SECONDS, timeout / 2):
                if worker not in warned:
                    _log.warning(
                        "%s, with trial %s, has shown no sign of life for "
                        "%.0f s. Started again with the same "
                        "KERASTUNER_TUNER_ID it goes on; after %.0f s it "
                        "counts as dead.",
                        worker,
                        trial,
                        silence,
                        timeout,
                    )
                warned.add(worker)
            else:
                warned.discard(worker)
        nobody = not _running(oracle)
        if nobody and (servicer.stop_triggered or dead):
            over = servicer.stop_triggered and not _unfinished(oracle)
            return [] if over else dead


@keras_tuner.synchronized
def _running(oracle):
    """Workers, and the trial that each runs or `None`."""
    running = {
        worker: trial.trial_id
        for worker, trial in oracle.ongoing_trials.items()
    }
    return {**dict.fromkeys(oracle.tuner_ids), **running}


@keras_tuner.synchronized
def _take_back(oracle, worker):
    """Lets another worker run a dead one's trial."""
    oracle.tuner_ids.discard(worker)
    trial = oracle.ongoing_trials.pop(worker, None)
    if trial is not None:
        oracle._retry_queue.append(trial.trial_id)


@keras_tuner.synchronized
def _completed(oracle):
    return sum(each.status == _COMPLETED for each in oracle.trials.values())


@keras_tuner.synchronized
def _unfinished(oracle):
    return len(oracle.trials) > _completed(oracle)


def _path(directory, worker):
    return pathlib.Path(directory) / urllib.parse.quote(worker, safe="")
