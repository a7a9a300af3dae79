"""What the site makes of links that leave the folder: they go to the repository."""

import posixpath
import re


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Relative links to files outside the documentation, and to what it leaves out, as links to the repository."""
    folder = posixpath.dirname(page.file.src_uri)

    def repository(found: re.Match) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, found[1]))
        if path.startswith("docs/") and files.get_file_from_path(path.removeprefix("docs/")):
            return found[0]
        return f"]({config.repo_url}/blob/main/{path}{found[2] or ''})"

    return re.sub(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", repository, markdown)
