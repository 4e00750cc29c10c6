"""What users write: decorators that mark functions, and builders that describe graphs of steps; no I/O."""
