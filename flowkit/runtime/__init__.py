"""Runs user code: the worker's loop, one attempt, its context, pools, and the Runtime that holds them."""
