"""Parquet files."""

from kerasft.data.base import as_examples, check_names, existing_file
from kerasft.errors import UserError

ENDINGS = (".parquet",)


def read(path):
    """Reads a Parquet file; a pandas index that was saved with it is a column like the others.

    Args:
        path: str or path.

    Returns: pandas.DataFrame.
    Raises: UserError if it is not a whole Parquet file, or its text is not UTF-8.
    """
    import pyarrow
    import pyarrow.parquet

    path = existing_file(path)
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
        table.validate(full=True)  # Only this looks at the bytes of the strings.
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path.name} is not a whole Parquet file ({error}). Received: {str(path)!r}") from None
    check_names(table.column_names, path.name)
    return as_examples(table.to_pandas(ignore_metadata=True), path.name, path)
