"""The machine and the versions that results belong to."""

import json
import os
import pathlib
import platform
import subprocess

_PACKAGES = {
    "ours": ("tensorflow", "keras", "numpy"),
    "theirs": ("torch", "fastai", "spacy", "numpy"),
}
# What decides the speed of matrix products.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe():
    """Returns processor, cores, flags and memory as a dict."""
    information = pathlib.Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    fields = dict(
        (part.strip() for part in line.split(":", 1))
        for line in text.splitlines()
        if ":" in line
    )
    flags = set(fields.get("flags", "").split())
    page = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": fields.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "memory_gib": round(page / 2**30, 1),
        "system": platform.system(),
    }


def versions(pythons):
    """Returns the versions of Python and packages of each side."""
    return {
        side: _versions_in(python, _PACKAGES[side])
        for side, python in pythons.items()
    }


def _versions_in(python, packages):
    program = (
        "import json, platform, importlib.metadata as m;"
        f"names = {packages!r};"
        "print(json.dumps({'python': platform.python_version(),"
        " **{n: m.version(n) for n in names}}))"
    )
    reply = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, check=True
    )
    return json.loads(reply.stdout)
