"""The colours of the statuses in pictures: what fills a box, and what draws its border."""

from __future__ import annotations

from collections.abc import Mapping

COLORS: Mapping[str, tuple[str, str]] = {
    "succeeded": ("#dcf5e3", "#2da44e"),
    "failed": ("#ffdcd9", "#cf222e"),
    "running": ("#d5ebff", "#0969da"),
    "canceled": ("#fff1c7", "#bf8700"),
    "ready": ("#eef1f4", "#57606a"),
    "pending": ("#f6f8fa", "#8c959f"),
}
PLAIN = ("#ffffff", "#57606a")
"""Of a step of which no status is known, as in the graph of a package."""
