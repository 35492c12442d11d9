"""
The way out: finished spans -> OTLP bytes -> a spool on disk -> a collector.

Stands alone: `DurableSpanProcessor` can be added to any SDK provider, with nothing else of
flowspan in use.
"""

from flowspan.delivery._processor import EXIT_TIMEOUT, DeliveryStats, DurableSpanProcessor

__all__ = ["EXIT_TIMEOUT", "DeliveryStats", "DurableSpanProcessor"]
