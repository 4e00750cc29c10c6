"""The same scenarios on PostgreSQL, against raw psycopg loops on the same server in the same run."""
