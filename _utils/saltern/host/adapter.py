"""What Salt's adapters have in common: errors of the library that are told as Salt's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from salt.exceptions import CommandExecutionError

from saltern.errors import SalternError


@contextlib.contextmanager
def salt_errors(*also: type[Exception]) -> Iterator[None]:
    """Raise the library's errors as Salt's, of which it shows the words and no traceback; decorates functions, too.

    :param also: Further kinds that are meant to be read by people.
    :raises CommandExecutionError: Such an error was raised inside.
    """
    try:
        yield
    except (SalternError, *also) as error:
        raise CommandExecutionError(str(error)) from error
