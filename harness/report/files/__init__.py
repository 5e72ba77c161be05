"""A comparison on disk: tidy CSV files, one JSON with provenance, NetCDF draws.

The columns and keys are a contract with other people's scripts: additions are fine, changes
are not.
"""

from harness.report.files.folder import OutputError as OutputError
from harness.report.files.folder import reserved as reserved
from harness.report.files.netcdf import remove_draws as remove_draws
from harness.report.files.reading import ResultsError as ResultsError
from harness.report.files.reading import read as read
from harness.report.files.tables import COLUMNS as COLUMNS
from harness.report.files.tables import method_seconds as method_seconds
from harness.report.files.tables import tables as tables
from harness.report.files.writing import SCHEMA as SCHEMA
from harness.report.files.writing import write as write
