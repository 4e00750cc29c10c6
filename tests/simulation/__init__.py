"""Deterministic simulation: the real engine on a real store in a made-up world, decided by one seed."""
