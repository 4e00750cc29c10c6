"""Serves the metrics of a worker to Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowkit.cli.failing import CommandFailed
from flowkit.cli.output import Output


@contextmanager
def serving(host: str, port: int | None) -> Iterator[list[Any]]:
    """Serve, for the length of the block, what the observers that are given measure; without a port there are none.

    Args:
        port: 0 is one that is free.

    Raises:
        CommandFailed: the port cannot be had.
        MissingExtra: the library is not installed.
    """
    if port is None:
        yield []
        return
    from flowkit.prometheus import Prometheus, start_http_server

    metrics = Prometheus()
    try:
        server, thread = start_http_server(port, addr=host)
    except OSError as error:
        where = f"{host}:{port}"
        raise CommandFailed(f"metrics cannot be served: {error.strerror}", where=where, hint="is it taken?") from error
    Output().note(f"metrics for Prometheus are at http://{host}:{server.server_port}/metrics")
    try:
        yield [metrics]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
