"""Copies one member of a package file to a file of its own: extract.py PACKAGE MEMBER BYTES TARGET

A!B names the member B of the zip file that is the member A. The package is read as data: nothing in it is run or
imported, no path in it is used to write, and never more than BYTES bytes are written.
"""
import sys
import zipfile


def copy_member(package, member, limit, target):
    outer, _, inner = member.partition("!")
    with zipfile.ZipFile(package) as archive, archive.open(outer) as stream:
        if inner:
            with zipfile.ZipFile(stream) as nested, nested.open(inner) as nested_stream:
                copy_exactly(nested_stream, limit, target)
        else:
            copy_exactly(stream, limit, target)


def copy_exactly(stream, limit, target):
    left = limit
    with open(target, "wb") as out:
        while left:
            block = stream.read(min(left, 1 << 20))
            if not block:
                raise ValueError(f"it ends {left} bytes before the {limit} bytes that the manifest states")
            out.write(block)
            left -= len(block)
    if stream.read(1):
        raise ValueError(f"it is longer than the {limit} bytes that the manifest states")


if __name__ == "__main__":
    try:
        copy_member(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        sys.exit(f"member '{sys.argv[2]}': {error}")
