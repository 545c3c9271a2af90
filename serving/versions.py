"""Models and their versions: found, loaded, swapped and unloaded."""

import collections
import contextlib
import gc
import logging
import threading

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import get_model_status_pb2, prediction_log_pb2

from serving import memory
from serving.session_model import WARM_UP_FILE, SessionModel
from serving.status import invalid_argument, not_found

_State = get_model_status_pb2.ModelVersionStatus.State
# TF Serving replays at most this many.
_MAX_WARM_UP_RECORDS = 1000
# How long the end waits for loading, and then for requests that outlasted
# the server's own grace.
_CANCEL_SECONDS = 1.0


class _Version:
    """One version: its state, its model and who is using it."""

    def __init__(self, number):
        self.number = number
        self.state = _State.LOADING
        self.error = None
        self.model = None
        self.users = 0
        self.identity = None

    def is_unloaded(self):
        """Whether it has served and does no more."""
        return self.state == _State.END and self.error is None


class VersionManager:
    """Keeps the wanted versions of models loaded.

    A new version is loaded and warmed up before an old one is taken out, and
    an old one is closed at the first poll after its last request has been
    answered, so that a swap fails no request.

    Args:
        sources: Sequence of `ModelSource`.
        make_model: Callable from a directory to an object with the methods
            of `SessionModel`.
        warm_up: Callable `(model, PredictionLog)` that replays a record, or
            `None` for none.
    """

    def __init__(self, sources, make_model=SessionModel, warm_up=None):
        self._sources = {source.name: source for source in sources}
        self._make_model = make_model
        self._warm_up = warm_up
        self._versions: dict[str, dict] = {name: {} for name in self._sources}
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._stop = threading.Event()
        self._thread = None
        self._load_counts: collections.Counter = collections.Counter()

    @property
    def names(self):
        """Names of the configured models."""
        return list(self._sources)

    @property
    def load_counts(self):
        """How often versions were loaded, by path and `success` or `fail`."""
        with self._lock:
            return dict(self._load_counts)

    def start(self, poll_seconds):
        """Loads what is there, then polls for versions in a thread.

        Args:
            poll_seconds: Float, between two polls; as in TF Serving 0 for
                one poll, negative for none.
        """
        if poll_seconds >= 0:
            self.poll()
        if poll_seconds >= 0 and not self._stop.is_set():
            self._tell_what_is_missing()
        if poll_seconds <= 0:
            return
        self._thread = threading.Thread(
            target=self._poll_until_stopped, args=(poll_seconds,), daemon=True
        )
        self._thread.start()

    def interrupt(self):
        """Loads no more versions after the one that is being loaded."""
        self._stop.set()

    def stop(self):
        """Stops polling and closes models, which cancels what still runs."""
        self._stop.set()
        if self._thread is not None:
            # It may be loading a version, which can take any time.
            self._thread.join(_CANCEL_SECONDS)
        with self._lock:
            left = [
                (name, version)
                for name, versions in self._versions.items()
                for version in versions.values()
            ]
            for _, version in left:
                version.state = _State.UNLOADING
            self._idle.wait_for(
                lambda: not any(version.users for _, version in left),
                _CANCEL_SECONDS,
            )
            for versions in self._versions.values():
                versions.clear()
        for name, version in left:
            _close(name, version)

    def poll(self):
        """Looks at the disk once and loads and unloads accordingly."""
        for source in self._sources.values():
            try:
                self._poll_source(source)
                self._close_unused(source.name)
            except Exception:
                # The other models are looked at all the same.
                logging.exception("Polling %s failed", source.name)

    def _tell_what_is_missing(self):
        for name, source in self._sources.items():
            if not self._versions[name]:
                logging.warning(
                    "%s: there is no version in %s yet, a folder whose name "
                    "is a number. Requests get NOT_FOUND until there is.",
                    name,
                    source.base_path,
                )

    def _poll_source(self, source):
        wanted = source.wanted_versions()
        # Like TF Serving: when the folder is missing all stays as it is, and
        # when it is there but empty nothing does.
        if wanted is None:
            return
        known = self._versions[source.name]
        for number, directory in wanted.items():
            if self._stop.is_set():
                return
            if _needs_loading(known.get(number), directory):
                self._load(source.name, number, directory)
        if wanted and not any(
            version.number in wanted and version.state == _State.AVAILABLE
            for version in known.values()
        ):
            return
        with self._lock:
            for version in known.values():
                if version.number not in wanted and version.model is not None:
                    version.state = _State.UNLOADING

    def is_ready(self):
        """Whether every model has a version that takes requests."""
        with self._lock:
            return all(
                any(v.state == _State.AVAILABLE for v in versions.values())
                for versions in self._versions.values()
            )

    @contextlib.contextmanager
    def use(self, model_spec):
        """Holds the version that a request asks for.

        Yields:
            `(model, version number)`.

        Raises:
            ServingError: If there is none; codes and messages are
                TF Serving's.
        """
        number = self.requested_version(model_spec)
        with self._lock:
            version = self._find(model_spec.name, number)
            version.users += 1
        try:
            yield version.model, version.number
        finally:
            with self._lock:
                version.users -= 1
                self._idle.notify_all()

    def status(self, model_spec):
        """Returns a `GetModelStatusResponse`."""
        # TF Serving reads no label here, and says of no name NOT_FOUND.
        is_one = model_spec.HasField("version")
        number = model_spec.version.value if is_one else None
        response = get_model_status_pb2.GetModelStatusResponse()
        with self._lock:
            versions = self._versions.get(model_spec.name, {})
            for version in sorted(versions.values(), key=lambda v: -v.number):
                if number in (None, version.number):
                    status = response.model_version_status.add()
                    status.version = version.number
                    status.state = version.state
                    # OK is told, too.
                    status.status.SetInParent()
                    if version.error:
                        status.status.error_code = version.error[0]
                        status.status.error_message = version.error[1]
        if not response.model_version_status:
            which = "any versions" if number is None else f"version {number}"
            raise not_found(
                f"Could not find {which} of model {model_spec.name}"
            )
        return response

    def requested_version(self, model_spec):
        """Returns the version number of a model spec, `None` for latest."""
        if not model_spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = model_spec.WhichOneof("version_choice")
        if choice == "version":
            return model_spec.version.value
        if choice == "version_label":
            source = self._sources.get(model_spec.name)
            label = model_spec.version_label
            if source is None or label not in source.labels:
                raise invalid_argument(
                    f"Unrecognized servable version label: {label}"
                )
            return source.labels[label]
        return None

    def _find(self, name, number):
        available = [
            version
            for version in self._versions.get(name, {}).values()
            if version.state == _State.AVAILABLE
            and number in (None, version.number)
        ]
        if not available:
            request = (
                f"Latest({name})"
                if number is None
                else f"Specific({name}, {number})"
            )
            raise not_found(f"Servable not found for request: {request}")
        return max(available, key=lambda version: version.number)

    def _load(self, name, number, directory):
        version = _Version(number)
        with self._lock:
            self._versions[name][number] = version
        try:
            version.identity = _identity(directory)
            version.model = self._make_model(directory)
            self._replay(version.model, directory)
        except Exception as error:
            if self._stop.is_set():
                # The end has closed the model while it was warmed up.
                return
            # Whatever is wrong with a version, the server goes on.
            logging.exception("%s version %d failed", name, number)
            if version.model is not None:
                version.model.close()
                version.model = None
            with self._lock:
                self._load_counts[str(directory), "fail"] += 1
                version.error = (_code_of(error), str(error))
                version.state = _State.END
            return
        with self._lock:
            self._load_counts[str(directory), "success"] += 1
            version.state = _State.AVAILABLE
        logging.info("%s version %d is available", name, number)

    def _replay(self, model, directory):
        path = directory / WARM_UP_FILE
        if self._warm_up is None or not path.exists():
            return
        records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        for index, record in enumerate(records):
            if index >= _MAX_WARM_UP_RECORDS:
                raise invalid_argument(
                    "Number of warmup records exceeds the maximum "
                    f"({_MAX_WARM_UP_RECORDS}) at {path}"
                )
            try:
                log = prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError as error:
                raise invalid_argument(
                    f"Failed to parse warmup record: {record} from {path}"
                ) from error
            self._warm_up(model, log)

    def _close_unused(self, name):
        """Closes what is unloaded, but for what a request still uses."""
        with self._lock:
            unused = [
                version
                for version in self._versions[name].values()
                if version.state == _State.UNLOADING and version.users == 0
            ]
        for version in unused:
            _close(name, version)
            with self._lock:
                # Its status is told from now on, as by TF Serving.
                version.state = _State.END

    def _poll_until_stopped(self, seconds):
        while not self._stop.wait(seconds):
            self.poll()


def _close(name, version):
    if version.model is None:
        return
    version.model.close()
    version.model = None
    # A graph refers to itself; its memory comes back here.
    gc.collect()
    memory.trim()
    logging.info("%s version %d is unloaded", name, version.number)


def _code_of(error):
    """Returns the number of a failed load's status code."""
    if isinstance(error, tf.errors.OpError):
        return error.error_code
    code = getattr(error, "code", None)
    if not isinstance(code, grpc.StatusCode):
        code = grpc.StatusCode.UNKNOWN
    return code.value[0]


def _needs_loading(version, directory):
    if version is None or version.is_unloaded():
        return True
    # A version that failed is tried again when anything of it has changed: it
    # may have been seen while it was copied.
    return version.state == _State.END and version.identity != _identity(
        directory
    )


def _identity(directory):
    """What changes with a folder and its files; `None` if there is none."""
    try:
        statuses = {
            path: path.stat() for path in (directory, *directory.rglob("*"))
        }
    except OSError:
        return None
    return {
        path: (status.st_ino, status.st_mtime_ns, status.st_size)
        for path, status in statuses.items()
    }
