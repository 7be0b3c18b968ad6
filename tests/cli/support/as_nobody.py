"""Runs a command as a user whom file permissions bind; root is not one.

    as_nobody.py COMMAND...
"""
import os
import sys

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
os.execvp(sys.argv[1], sys.argv[1:])
