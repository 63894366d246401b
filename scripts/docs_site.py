# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What MkDocs does beside building docs/: pages of other folders, and links that lead out of docs/.

Documents are read in the repository as well as on the site, so their links are those of the repository. A link to a
page of another folder goes to its page of the site; one to a file that has no page becomes the name of that file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Documents that stay where their readers look for them, and their pages.
ELSEWHERE = {
    "README_zh.md": "zh/index.md",
    "data/README.md": "data_sets.md",
    "examples/README.md": "recipes.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
PAGES = {page: source for source, page in ELSEWHERE.items()}
COMMENT = re.compile(r"\A(?:<!--.*?-->\s*)+", re.DOTALL)  # before the heading that is the page's title
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>(?!\w+:)[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of other folders."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Turn links of the repository into links of the site, and leave out comments above the title."""
    uri = page.file.src_uri
    source = ROOT / PAGES[uri] if uri in PAGES else DOCS / uri
    return LINK.sub(lambda link: site_link(link, source, uri), COMMENT.sub("", markdown))


def site_link(link: re.Match[str], source: Path, uri: str) -> str:
    """One link, as it is written on the page `uri`, which was made of the file `source`."""
    target = Path(os.path.normpath(source.parent / link["target"]))
    if target.is_relative_to(DOCS):
        page = target.relative_to(DOCS).as_posix()
    elif target.is_relative_to(ROOT) and (elsewhere := ELSEWHERE.get(target.relative_to(ROOT).as_posix())):
        page = elsewhere
    elif target == ROOT / "README.md":
        page = "index.md"
    else:
        return link["text"]
    path = os.path.relpath(page, os.path.dirname(uri) or ".")
    return f"{link['image']}[{link['text']}]({path}{link['anchor'] or ''})"
