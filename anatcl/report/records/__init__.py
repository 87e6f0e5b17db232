"""What ran: exclusions, runtime, provenance, the methods text."""
