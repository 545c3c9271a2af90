"""Addresses that only this machine reaches."""

import ipaddress


def is_loopback(host):
    """Whether a host, without its port, is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
