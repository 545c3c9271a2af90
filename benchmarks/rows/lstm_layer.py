"""One LSTM layer, forward and backward, beside `torch.nn.LSTM`."""

from benchmarks.row import Case, Comparison, Row

_SIZES = {"batch": 64, "timesteps": 70, "features": 400, "units": 1152}


def _case(name, side, **arguments):
    function = f"benchmarks.{side}.lstm_layer:forward_and_backward"
    return Case(name, side, function, {**_SIZES, **arguments})


ROW = Row(
    name="lstm_layer",
    title="LSTM layer 400 to 1152, forward and backward, 64 x 70",
    unit="tokens/s",
    cases=(
        _case("torch.nn.LSTM float32", "theirs", autocast=False),
        _case("torch.nn.LSTM bfloat16", "theirs", autocast=True),
        _case("keras.layers.LSTM float32", "ours", variant="keras"),
        _case("kernel float32", "ours", variant="float32"),
        _case("kernel bfloat16", "ours", variant="bfloat16"),
    ),
    comparisons=(
        Comparison(
            "float32 over torch", "kernel float32", "torch.nn.LSTM float32"
        ),
        Comparison(
            "bfloat16 over torch", "kernel bfloat16", "torch.nn.LSTM bfloat16"
        ),
        Comparison(
            "float32 over Keras", "kernel float32", "keras.layers.LSTM float32"
        ),
    ),
)
