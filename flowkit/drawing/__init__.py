"""Draws graphs of steps: as lines of text, as Mermaid, as SVG; pure, without any library for it."""
