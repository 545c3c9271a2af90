"""`torch.nn.LSTM`."""

import contextlib
import time

import torch


def forward_and_backward(batch, timesteps, features, units, autocast):
    """Returns a function that measures tokens a second."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(features, units, batch_first=True)
    inputs = torch.randn(batch, timesteps, features, requires_grad=True)

    def step():
        precision = (
            torch.autocast("cpu", torch.bfloat16)
            if autocast
            else contextlib.nullcontext()
        )
        with precision:
            outputs, _ = layer(inputs)
        outputs.float().square().mean().backward()
        layer.zero_grad()
        inputs.grad = None

    def measure():
        started = time.perf_counter()
        step()
        return batch * timesteps / (time.perf_counter() - started)

    return measure
