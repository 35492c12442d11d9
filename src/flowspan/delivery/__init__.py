"""
The way out: finished spans -> OTLP bytes -> a spool on disk -> a collector.

Stands alone: it can be added to any SDK provider, with nothing else of flowspan in use.
"""
