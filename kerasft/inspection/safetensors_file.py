"""safetensors files: what their header says. The library itself refuses one that does not match the file's size."""

from kerasft.inspection.limits import NAME_LENGTH, check_file, refused


def shapes(path):
    """Returns `{name: shape}` of all tensors, without reading one.

    Raises: UserError if there is no such file, its header is damaged or a name is too long.
    """
    from safetensors import SafetensorError, safe_open

    check_file(path, "safetensors file")
    try:
        with safe_open(path, framework="numpy") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except (SafetensorError, OSError, OverflowError, UnicodeError) as error:
        raise refused(path, "not a whole safetensors file", str(error)) from None
    if found and len(longest := max(found, key=len)) > NAME_LENGTH:
        raise refused(path, f"a name may have {NAME_LENGTH:,} characters at most", longest)
    return found
