"""Saltern: OpenStack in containers, delivered by Salt. Plain library, knows nothing of Salt."""
