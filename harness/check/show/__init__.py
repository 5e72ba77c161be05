"""What a check found, in words: Markdown, JUnit XML and GitHub's annotations.

Records in, texts out; nothing here computes, prints, or reads a file.
"""

from harness.check.show.annotations import annotations
from harness.check.show.junit import junit
from harness.check.show.markdown import markdown

__all__ = ["annotations", "junit", "markdown"]
