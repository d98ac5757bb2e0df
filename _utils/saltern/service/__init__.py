"""One service of a host: its templates, files, states, tasks and key rings."""
