# What the collection of static files needs to be told; the service gets its settings from /etc/horizon.
SECRET_KEY = "of no use"
# Templates ask the cache, and where it is built there is none.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
