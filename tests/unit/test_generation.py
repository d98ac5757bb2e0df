"""Generations are named by their content, whole on disk, and diffs hide secrets."""

from __future__ import annotations

import dataclasses
import os

import pytest

from saltern.errors import SalternError
from saltern.service import generation, templates

FORMULA = {"uid": os.getuid(), "config": {"a.conf": {"format": "ini"}, "b.txt": {"format": "raw"}}}
FILES = {"a.conf": "[x]\ny = {{ value }}\n", "b.txt": "{% include 'part' %}", "part": "text\n"}


def rendered(value="1", **changes):
    return generation.render("svc", FORMULA | changes, FILES.get, {"value": value})


def test_equal_content_has_an_equal_name_and_other_content_another():
    assert rendered().digest == rendered().digest != rendered("2").digest


def test_the_pillar_overrides_one_option():
    wanted = rendered(overrides={"a.conf": {"x": {"y": 5}}})
    assert "y = 5" in wanted.files["a.conf"].text


def test_words_of_the_header_are_no_content():
    digest = rendered().digest
    files = rendered().files
    files["a.conf"] = dataclasses.replace(files["a.conf"], header="# Other words\n")
    assert generation.Generation("svc", files, os.getuid()).digest == digest


def test_an_undefined_name_is_an_error_with_file_and_line():
    with pytest.raises(SalternError, match=r"a\.conf, line 2: 'value' is undefined"):
        generation.render("svc", FORMULA, FILES.get, {})


def test_writing_is_whole_and_repeatable(tmp_path):
    folder = generation.write(tmp_path, rendered())
    assert generation.intact(folder, rendered())
    assert generation.read(folder) == {
        name: file.content for name, file in rendered().files.items()
    }
    assert (folder / "a.conf").stat().st_mode & 0o777 == 0o640
    (folder / "a.conf").write_text("changed by hand")
    (folder / "stray").write_text("")
    assert not generation.intact(folder, rendered())
    assert generation.write(tmp_path, rendered()) == folder
    assert generation.intact(folder, rendered())
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_reloadable_file_is_changed_in_place(tmp_path):
    def reloadable(value):
        config = {**FORMULA["config"], "c.txt": {"format": "raw", "reloadable": True}}
        source = {**FILES, "c.txt": value}.get
        return generation.render("svc", FORMULA | {"config": config}, source, {"value": "1"})

    folder = generation.write(tmp_path, reloadable("one"))
    assert reloadable("two").digest == folder.name != rendered().digest
    assert not generation.intact(folder, reloadable("two"))
    assert "+two" in generation.diff(generation.read(folder), reloadable("two"), {})["c.txt"]
    assert generation.write(tmp_path, reloadable("two")) == folder
    assert (folder / "c.txt").read_text() == "two"


def test_a_file_may_be_the_images_own(tmp_path):
    def linked(target):
        return (
            rendered()
            if not target
            else generation.render(
                "svc",
                FORMULA | {"config": {**FORMULA["config"], "paste.ini": {"link": target}}},
                FILES.get,
                {"value": "1"},
            )
        )

    folder = generation.write(tmp_path, linked("/opt/one"))
    assert str((folder / "paste.ini").readlink()) == "/opt/one"
    assert generation.intact(folder, linked("/opt/one"))
    assert len({linked(target).digest for target in ("", "/opt/one", "/opt/two")}) == 3
    (folder / "paste.ini").unlink()
    assert not generation.intact(folder, linked("/opt/one"))
    assert generation.write(tmp_path, linked("/opt/one")) == folder
    assert generation.intact(folder, linked("/opt/one"))


def test_a_diff_names_files_and_hides_secrets():
    old = {"a.conf": "[x]\ny = oldsecret\n", "gone": "x\n"}
    changes = generation.diff(
        old, rendered("newsecret"), {"s": {"a": "oldsecret", "b": "newsecret"}}
    )
    assert set(changes) == {"a.conf", "b.txt", "gone"}
    assert "secret" not in changes["a.conf"].replace("a secret changed", "")


def test_generations_in_use_are_kept(tmp_path):
    digests = [generation.write(tmp_path, rendered(str(number))).name for number in range(6)]
    for number, digest in enumerate(digests):
        os.utime(tmp_path / digest, (number, number))
    removed = generation.prune(tmp_path, used={digests[0]}, keep=2)
    assert sorted(removed) == sorted(digests[1:4])


def test_rabbitmq_hash_is_stable_and_salted():
    assert (
        templates.rabbitmq_hash("a") == templates.rabbitmq_hash("a") != templates.rabbitmq_hash("b")
    )
