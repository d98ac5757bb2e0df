"""The cloud as the operator describes it: services, hosts, and what each host gets to know of it."""
