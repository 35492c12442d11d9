"""
The way out: finished spans -> OTLP bytes -> a spool on disk -> a collector.

Stands alone: `DurableSpanProcessor` can be added to any SDK provider, with nothing else of
flowspan in use.
"""

from flowspan.delivery._processor import DeliveryStats, DurableSpanProcessor

__all__ = ["DeliveryStats", "DurableSpanProcessor"]
