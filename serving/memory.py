"""Keeps the C library from holding on to the memory of unloaded versions."""

import contextlib
import ctypes

# glibc's number of the setting, from malloc.h.
_M_MMAP_THRESHOLD = -3
# Bytes from which a block gets pages of its own: most of a model's weights,
# and next to nothing of what a request needs.
_OWN_PAGES = 1 << 20


def return_large_blocks():
    """Has large blocks go back to the system as soon as they are freed.

    By default glibc takes the first large block that is freed, a matrix of
    an unloaded version, as a sign to keep such ones among the small, where
    what requests use lies in the gaps that they leave.
    """
    # glibc has it; other C libraries do without.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES)


def trim():
    """Has the C library give back what it keeps of freed memory.

    Without it a server grows by a megabyte or two a version, in the gaps
    between what is still in use.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
