# What the collection of static files needs to be told; the service gets its settings from /etc/horizon.
SECRET_KEY = "of no use"
