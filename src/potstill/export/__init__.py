"""Models exported to formats that other runtimes read."""
