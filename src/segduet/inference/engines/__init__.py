"""Runtimes that answer windows, one file each, imported only where the runtime is asked for."""
