"""HDF5: what leads to other files or places, what is no number, what declares more than it holds."""

import io

import h5py
import numpy as np

from tests.faults.hostile import Case, load_backbone
from tests.faults.whole import archive, copied


def cases():
    """Yields each of them in an `.h5` file, in the weights of a `.keras` archive and in those of a preset folder."""
    for what, change in CHANGES.items():
        yield Case(f"h5: {what}", _h5(change), load_backbone)
        yield Case(f"h5 in zip: {what}", _keras(change), load_backbone)
        yield Case(f"h5 in preset: {what}", _preset(change), load_backbone)
    for what, content in {"empty": b"", "no HDF5": b"x" * 1000, "cut": None, "signature": b"\x89HDF\r\n\x1a\n"}.items():
        yield Case(f"h5: {what}", _bytes(content), load_backbone)
        yield Case(f"h5 in zip: {what}", _keras_bytes(content), load_backbone)
    yield Case("h5: config that is a number", _h5(_config_number), load_backbone)
    yield Case("h5: no config", _h5(_no_config), load_backbone)
    yield Case("h5: whole", lambda whole, folder: copied(whole.h5, folder), load_backbone, is_harmless=True)


def _first_dataset(file):
    """Returns the group and name of an array of weights."""
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    parent, _, name = found[0].rpartition("/")
    return file[parent], name


def _replaced(make):
    """Returns a change that puts something in the place of an array; `make` gets its group and name."""

    def change(file):
        group, name = _first_dataset(file)
        del group[name]
        make(group, name)

    return change


def _external_link(group, name):
    group[name] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_link(group, name):
    group[name] = h5py.SoftLink("/nowhere")


def _link_to_itself(group, name):
    group[name] = h5py.SoftLink(f"{group.name}/{name}")


def _external_storage(group, name):
    group.create_dataset(name, (8,), "f4", external=[("/etc/passwd", 0, 32)])


def _virtual(group, name):
    layout = h5py.VirtualLayout((8,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (8,))
    group.create_virtual_dataset(name, layout)


def _reference(group, name):
    group.create_dataset(name, (1,), h5py.ref_dtype)[0] = group.ref


def _region(group, name):
    group.create_dataset(name, (1,), h5py.regionref_dtype)


def _strings(group, name):
    group.create_dataset(name, data=["a", "b"], dtype=h5py.string_dtype())


def _lists(group, name):
    group.create_dataset(name, (2,), h5py.vlen_dtype(np.int32))


def _compound(group, name):
    group.create_dataset(name, (2,), [("a", "f4"), ("b", "i4")])


def _bomb_by_shape(group, name):
    group.create_dataset(name, (1_000_000_000,), "f4")  # 3.9 GiB, none of it written.


def _bomb_by_chunks(group, name):
    group.create_dataset(name, (1_000_000_000,), "f4", chunks=(1_000_000,), compression="gzip")


def _bomb_by_zeros(group, name):
    group.create_dataset(name, data=np.zeros(30_000_000, "f4"), chunks=(1_000_000,), compression="gzip")


def _many_bombs(group, name):
    for number in range(20):
        group.create_dataset(f"{name}{number}", (4_000_000,), "f4", chunks=(1000,))  # 16 MB each: below any floor.


def _plugin(group, name):
    group.create_dataset(name, data=np.zeros(1000, "f4"), compression="lzf")


def _type(group, name):
    group[name] = np.dtype("f8")


def _cycle(group, name):
    group[name] = group.file["/"]


def _alias(group, name):
    group.create_dataset("one", data=np.zeros(8, "f4"))
    group[name] = group["one"]


def _long_name(group, name):
    group.create_dataset("n" * 5000, data=np.zeros(8, "f4"))


def _parent(group, name):
    group.create_group("..").create_dataset(name, data=np.zeros(8, "f4"))


def _attribute(group, name):
    group.create_dataset(name, data=np.zeros(8, "f4")).attrs["x"] = group.ref


def _empty(group, name):
    group.create_dataset(name, data=h5py.Empty("f4"))


CHANGES = {
    what: _replaced(make)
    for what, make in {
        "external link": _external_link,
        "soft link": _soft_link,
        "link to itself": _link_to_itself,
        "external storage": _external_storage,
        "virtual array": _virtual,
        "reference": _reference,
        "region": _region,
        "strings": _strings,
        "lists": _lists,
        "compound": _compound,
        "bomb by shape, 3.9 GiB": _bomb_by_shape,
        "bomb by chunks": _bomb_by_chunks,
        "bomb by zeros": _bomb_by_zeros,
        "many small bombs": _many_bombs,
        "plug-in filter": _plugin,
        "named type": _type,
        "group within itself": _cycle,
        "array under two names": _alias,
        "long name": _long_name,
        "parent": _parent,
        "reference in an attribute": _attribute,
        "array without a shape": _empty,
        "array that lacks": lambda group, name: None,
        "array of another shape": lambda group, name: group.create_dataset(name, data=np.zeros((3, 3), "f4")),
    }.items()
}


def _config_number(file):
    del file.attrs["model_config"]
    file.attrs["model_config"] = 7


def _no_config(file):
    del file.attrs["model_config"]


def _h5(change):
    def make(whole, folder):
        path = copied(whole.h5, folder)
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return make


def _keras(change):
    def make(whole, folder):
        weights = io.BytesIO(whole.entries()["model.weights.h5"])
        with h5py.File(weights, "a") as file:
            change(file)
        return archive(folder / "model.keras", {**whole.entries(), "model.weights.h5": weights.getvalue()})

    return make


def _preset(change):
    def make(whole, folder):
        preset = copied(whole.preset, folder)
        with h5py.File(preset / "model.weights.h5", "a") as file:
            change(file)
        return preset

    return make


def _bytes(content):
    def make(whole, folder):
        path = folder / "model.h5"
        path.write_bytes(whole.h5.read_bytes()[:-2000] if content is None else content)
        return path

    return make


def _keras_bytes(content):
    def make(whole, folder):
        weights = whole.entries()["model.weights.h5"][:-2000] if content is None else content
        return archive(folder / "model.keras", {**whole.entries(), "model.weights.h5": weights})

    return make
