"""URLs as paths: what a message shows of them, and URLs with secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from usage_errors import usage_error

import potstill
from potstill.recipe import Recipe
from potstill.remote.access import filesystem
from potstill.remote.urls import check_url, is_url, name_of, shown


@pytest.mark.parametrize(
    ("path", "expected"),
    [("s3://bucket/a.csv", True), ("https://host/a", True), ("a.csv", False), ("/s3://a", False), (Path("a"), False)],
    ids=["s3", "https", "file", "local", "path"],
)
def test_a_url_is_told_from_a_path(path: object, expected: bool):
    assert is_url(path) == expected


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("s3://bucket/a b.csv", "s3://bucket/a b.csv"),
        ("sftp://me:secret@host:22/a.csv", "sftp://host:22/a.csv"),
        ("https://host/a.csv?X-Amz-Signature=secret", "https://host/a.csv"),
        ("https://host?secret@x/y", "https://host"),
        ("https://host/a#secret", "https://host/a"),
    ],
    ids=["clean", "user", "signed", "query", "fragment"],
)
def test_nothing_secret_is_shown(url: str, clean: str):
    assert shown(url) == clean
    if url == clean:
        assert check_url(url) == url
        return
    with usage_error("url.secret", clean) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_the_name_is_the_last_part():
    assert [name_of(url) for url in ("s3://b/c/d.csv", "s3://b/c/", "s3://b")] == ["d.csv", "c", "b"]


def test_a_recipe_keeps_urls_and_refuses_secrets():
    recipe = Recipe.model_validate({"data": {"paths": ["s3://b/c.csv", "d.csv"]}, "labels": "s3://b/labels"})
    assert recipe.absolute().data.paths == ["s3://b/c.csv", str(Path("d.csv").absolute())]
    assert recipe.absolute().labels == "s3://b/labels"  # type: ignore[attr-defined]
    recipe.data.paths = ["https://me:secret@host/c.csv"]
    with usage_error("url.secret") as caught:
        recipe.absolute()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "key", "fact"),
    [
        ("dropbox://a/b.csv", "url.missing_package", "pip install dropboxdrivefs"),
        ("cloud://a/b.csv", "url.unknown_protocol", "cloud://"),
    ],
)
def test_a_protocol_that_cannot_be_used(url: str, key: str, fact: str):
    with usage_error(key, url, fact):
        filesystem(url)


def test_labels_are_not_written_to_a_url():
    with usage_error("labels.output_is_url", "s3://host/b") as caught:
        potstill.label(teacher="embedded", data="embedded", output="s3://me:secret@host/b")
    assert "secret" not in str(caught.value)
