"""The time of a run, over all its parts."""

import json
import pathlib
import threading
import time

from ulmfit_tf.whole_files import written_whole

_FILE = "seconds.json"
# So much of a killed part is not counted, at most.
_EVERY_SECONDS = 30.0


class RunClock:
    """Counts the seconds that a run's processes have worked on it.

    What was counted is written to the run folder again and again, so that a
    run that is killed and resumed goes on counting.

    Args:
        directory: `pathlib.Path` of the run folder.
        every_seconds: Float, time between files.
    """

    def __init__(self, directory, every_seconds=_EVERY_SECONDS):
        self._path = pathlib.Path(directory) / _FILE
        try:
            self._before = float(json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError):
            # It only counts.
            self._before = 0.0
        self._began = time.monotonic()
        self._stopped = threading.Event()
        self._keeper = threading.Thread(
            target=self._keep, args=(every_seconds,), daemon=True
        )

    def __enter__(self):
        self._keeper.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._keeper.join()

    def seconds(self):
        """Returns the run's seconds so far, rounded to a tenth."""
        return round(self._before + time.monotonic() - self._began, 1)

    def _keep(self, every_seconds):
        stopped = False
        while not stopped:
            stopped = self._stopped.wait(every_seconds)
            with written_whole(self._path) as beside:
                beside.write_text(json.dumps(self.seconds()))
