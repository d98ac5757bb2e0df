"""An all-in-one upgraded from one real release to the next, while clients ask it without pause."""
