#!/usr/bin/env python3
"""Writes the expectations of the golden files from a real PostgreSQL 15.

A file is a list of expressions, one a line. Below each stands what PostgreSQL answered:

    -> text        the value's text; \\n, \\r, \\t and \\\\ stand for a newline, carriage return, tab and backslash
    -> NULL        the null value (a text NULL is written \\NULL)
    !  22012 text  an error: SQLSTATE and primary message

Where Wharf answers otherwise on purpose, a further line "    ~ -> text" or "    ~ ! state text" says what; it is left as it
is. Lines that begin with # are comments. Usage: update.py [FILE ..]; the server is found by libpq's variables (PGHOST, PGPORT,
PGUSER), and a database with LC_CTYPE C.UTF-8 is made in it and dropped again.
"""
import pathlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

DATABASE = "wharf_golden"
NULL = "\x01null\x01"
SETUP = "set timezone = 'America/New_York'; set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres';"


def psql(arguments, database="postgres"):
    command = ["psql", "-X", "-q", "-At", "-d", database, "-v", "VERBOSITY=verbose", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def escape(text):
    if text == "NULL":
        return "\\NULL"
    for plain, escaped in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return text


def answer(expression):
    result = psql(["-P", f"null={NULL}", "-c", SETUP, "-c", f"select {expression}"], DATABASE)
    if result.returncode != 0:
        line = next(line for line in result.stderr.splitlines() if "ERROR:" in line)
        state, message = re.search(r"ERROR:\s+(\w{5}): (.*)", line).groups()
        return f"    ! {state} {message}"
    text = result.stdout.removesuffix("\n")
    if text == NULL:
        return "    -> NULL"
    return f"    -> {escape(text)}".rstrip(" ") if text == "" else f"    -> {escape(text)}"


def update(path):
    lines = path.read_text().splitlines()
    lines = [line for line in lines if not line.startswith("    ") or line.startswith("    ~")]
    questions = [line for line in lines if line and not line.startswith(("#", "    "))]
    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(questions, pool.map(answer, questions)))
    out = []
    for line in lines:
        out.append(line)
        if line in answers:
            out.append(answers[line])
    path.write_text("\n".join(out) + "\n")


def main():
    here = pathlib.Path(__file__).parent
    paths = [pathlib.Path(name) for name in sys.argv[1:]] or sorted(here.glob("*.txt"))
    psql(["-c", f"drop database if exists {DATABASE}"])
    made = psql(["-c", f"create database {DATABASE} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C.utf8'"])
    if made.returncode != 0:
        sys.exit(made.stderr)
    try:
        for path in paths:
            update(path)
            print(path)
    finally:
        psql(["-c", f"drop database {DATABASE}"])


main()
