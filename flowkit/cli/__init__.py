"""The command line ``flowkit``; nothing else of flowkit is imported here before a command is under way."""
