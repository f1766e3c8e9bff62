"""What people type, turned into what services take. No rule lives here: services judge."""
