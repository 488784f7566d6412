"""Versions of the schema, one file each; alembic reads them in order."""
