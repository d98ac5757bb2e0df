# Where the image has its static files, compressed when it was built. uwsgi serves them.
STATIC_ROOT = "/opt/saltern/share/horizon/static"
COMPRESS_OFFLINE = True
