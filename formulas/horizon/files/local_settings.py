"""Horizon's settings are the keys of settings.yaml beside this file; here is what data cannot say."""

import base64
import hashlib
import hmac
from pathlib import Path

import yaml
from cryptography.fernet import Fernet
from openstack_dashboard.settings import HORIZON_CONFIG

_settings = yaml.safe_load(Path("/etc/horizon/settings.yaml").read_text())
_secret = hashlib.sha256(_settings["SECRET_KEY"].encode()).digest()


def _name(key, prefix, version):
    """Return the name of a cache entry; a session's own name would let its reader in."""
    return hmac.new(_secret, f"{prefix}:{version}:{key}".encode(), "sha256").hexdigest()


class _Sealed:
    """Entries of memcached as encrypted JSON that belongs to its name.

    Django would pickle them: who reaches memcached could read tokens and run code here.
    """

    def __init__(self):
        self._box = Fernet(base64.urlsafe_b64encode(_secret))

    def serialize(self, key, value):
        """Return bytes and flags, as pymemcache wants them."""
        text = self._json().dumps([self._text(key), value])
        return self._box.encrypt(text), 0

    def deserialize(self, key, value, flags):
        """Return the value; anything else than what `serialize` made for this name is an error."""
        name, content = self._json().loads(self._box.decrypt(value))
        if name != self._text(key):
            raise ValueError("a cache entry has another's name")
        return content

    @staticmethod
    def _text(key):
        return key.decode() if isinstance(key, bytes) else key

    @staticmethod
    def _json():
        # Its import needs settings that are complete.
        from openstack_auth.serializers import HorizonSerializer

        return HorizonSerializer()


HORIZON_CONFIG.update(_settings.pop("HORIZON_CONFIG", {}))
_settings["CACHES"]["default"]["KEY_FUNCTION"] = _name
_settings["CACHES"]["default"]["OPTIONS"]["serde"] = _Sealed()
globals().update(_settings)
