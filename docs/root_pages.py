"""A hook of MkDocs: pages that stand outside docs/ become pages of the site, and links to them follow."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "benchmarks/README.md": "benchmarks.md"}
PLAIN = ("LICENSE", "CITATION.cff")  # files that are copied as they are


def on_files(files, config):
    """Add the pages and files."""
    for source, target in {**PAGES, **{name: name for name in PLAIN}}.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown, page, **_):
    """Point each relative link to where its file is in the site."""
    sources = {target: source for source, target in PAGES.items()}
    here = posixpath.dirname(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    start = posixpath.dirname(page.file.src_uri)

    def moved(match):
        path, anchor = match[1], match[2] or ""
        target = posixpath.normpath(posixpath.join(here, path))
        target = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(target, start or '.')}{anchor})"

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)", moved, markdown)
