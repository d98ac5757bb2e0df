"""What runs on a host beside its containers: facts, checks, logs, what people get there."""
