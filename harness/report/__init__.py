"""What people see of a comparison: the page, its figures, tables and files, the terminal."""
