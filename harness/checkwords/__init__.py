"""What a check found, in words: Markdown, JUnit XML and GitHub's annotations.

Records in, texts out; nothing here computes, prints, or reads a file.
"""

from harness.checkwords.as_annotations import annotations
from harness.checkwords.as_junit import junit
from harness.checkwords.as_markdown import markdown

__all__ = ["annotations", "junit", "markdown"]
