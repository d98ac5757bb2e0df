"""The part of the Dockerfile language that the image graph is read from."""

import pytest

from saltern.errors import SalternError
from saltern.images import dockerfile

TWO_STAGES = """
# comment
FROM a/builder:1 AS builder
RUN one \\
    # a comment inside a continued line
    && two
FROM a/base:1
COPY --from=builder /x /
COPY --chown=1:1 --from=a/other:1 /y /
USER keystone
"""


def test_sources_are_images_not_stages():
    stages = dockerfile.parse(TWO_STAGES)
    assert dockerfile.sources(stages) == ["a/builder:1", "a/base:1", "a/other:1"]


def test_the_last_stage_says_what_it_runs_on_and_as_whom():
    stages = dockerfile.parse(TWO_STAGES)
    assert dockerfile.runs_on(stages) == "a/base:1"
    assert stages[-1].user == "keystone"


def test_a_stage_can_start_from_a_stage():
    stages = dockerfile.parse("FROM a AS one\nFROM one AS two\nFROM two\n")
    assert dockerfile.sources(stages) == ["a"]
    assert dockerfile.runs_on(stages) == "a"


def test_continued_lines_are_one_instruction():
    assert dockerfile.instructions(TWO_STAGES)[1] == (4, "RUN one && two")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("FORM a\n", "line 1: unknown instruction 'FORM'"),
        ("RUN a\n", "before FROM"),
        ("FROM a b\n", "Write FROM image"),
        ("# nothing\n", "there is no FROM"),
    ],
)
def test_mistakes_are_named_with_their_line(text, says):
    with pytest.raises(SalternError, match=says):
        dockerfile.parse(text)
