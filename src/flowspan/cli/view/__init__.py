"""`flowspan view`: traces from files, a spool or a receiver of its own; terminal or page."""
