"""A reader of what Ferrite writes, made from the FORMAT.md pages alone. It shares no code with the server."""
