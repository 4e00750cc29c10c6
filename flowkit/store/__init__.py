"""The only place that knows SQL: tables, guarded writes, reads, migrations, checks."""
