"""Runs the Python blocks of the Markdown documents as tests: those of one document share their names, in order.

Where a block of text follows, it is what the Python block prints, or the error that it ends with: white space aside,
since a page wraps long lines, and with ... for anything. Such a block's lines are named as those of a file example.py.
"""

import contextlib
import io
import linecache
import re
import traceback

import pytest
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from xdist.scheduler import LoadScopeScheduling

SHOWN = re.compile(r"\n+```text\n(.*?)```$", re.DOTALL | re.MULTILINE)


def run_block(example):
    __tracebackhide__ = True
    shown = SHOWN.match(example.document.text, example.end)
    if shown is None:
        return PythonEvaluator()(example)
    source = str(example.parsed)
    linecache.cache["example.py"] = (len(source), None, source.splitlines(keepends=True), "example.py")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            exec(compile(source, "example.py", "exec", dont_inherit=True), example.namespace)
        except Exception as error:  # noqa: BLE001 - what it is, is compared
            output.write("".join(traceback.format_exception_only(error)))
    printed = output.getvalue()
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in shown[1].split("..."))
    if re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL):
        return None
    return f"the page shows\n\n{shown[1]}\nand the block gives\n\n{printed}"


class BlockParser(PythonCodeBlockParser):
    def __init__(self):
        super().__init__()
        self.codeblock_parser = CodeBlockParser("python", run_block)


pytest_collect_file = Sybil(parsers=[BlockParser(), SkipParser()], patterns=["*.md"]).pytest()


class DocumentScheduling(LoadScopeScheduling):
    """Keeps the blocks of a document on one worker; every other test goes to whichever worker is free."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if path.endswith(".md") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return DocumentScheduling(config, log)
