import numpy as np
from tensorboard.backend.event_processing import (
    data_provider,
    plugin_event_multiplexer,
)
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector import projector_plugin
from werkzeug import test as werkzeug_test
from werkzeug import wrappers

from trainers.projector import write_projector
from ulmfit_tf import text


def test_tensorboards_projector_shows_the_words(tmp_path):
    words = ["what", "naïve", "東京", "rare", "never"]
    vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, *words])
    first = len(text.SPECIAL_TOKENS)
    embedding = np.random.default_rng(0).normal(size=(len(vocabulary), 4))
    corpus = [2, first + 1, first, 0, first + 2, first + 3] * 2
    corpus += [first + 1, first + 1, first + 2]
    run = tmp_path / "forward" / "train"
    write_projector(run, embedding, vocabulary, np.array(corpus))
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    plugin = projector_plugin.ProjectorPlugin(
        base_plugin.TBContext(
            logdir=str(run),
            data_provider=data_provider.MultiplexerDataProvider(
                multiplexer, str(run)
            ),
        )
    )
    apps = plugin.get_plugin_apps()

    def get(app):
        client = werkzeug_test.Client(apps[app], wrappers.Response)
        response = client.get(f"{app}?run=.&name=words")
        assert response.status_code == 200
        return response.data

    # By occurrences, and without what never occurs.
    assert get("/metadata").decode().splitlines() == [
        "word\toccurrences",
        "naïve\t4",
        "東京\t3",
        "what\t2",
        "rare\t2",
    ]
    shown = np.frombuffer(get("/tensor"), "float32").reshape(4, 4)
    np.testing.assert_allclose(
        shown, embedding[[first + n for n in (1, 2, 0, 3)]], rtol=1e-3
    )
