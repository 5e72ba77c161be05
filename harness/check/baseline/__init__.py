"""Baselines: what a comparison found, written down; and whether it still finds the same.

Arrays and records in, records out: nothing here runs CmdStan, so other people's test suites
can use it on draws of any origin (:mod:`harness.check.pytest_plugin`).
"""
