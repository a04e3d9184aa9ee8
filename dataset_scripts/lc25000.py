"""LC25000: 25,000 pictures of lung and colon tissue in five classes, by Borkowski et al., 2019.

Features: RGB JPEG of 768 x 768 px, H&E; every picture is a turned or flipped copy of one of 1,250 originals.
Classes: colon adenocarcinoma, benign colon, lung adenocarcinoma, lung squamous cell carcinoma, benign lung.
Splits: none published; default by file name (hash), 80/20, which puts siblings of nearly every picture on both sides.
`grouped=` takes a table of siblings and keeps them together. `paper` has the CLIMB paper's sizes, 15,000 / 3,750.
Licence: none stated. Cite: arXiv 1912.12142.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from climb_hf.errors import LayoutError, OptionError, SchemaError
from climb_hf.readers.image_splits import hash_order
from climb_hf.readers.tables import is_junk, read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

CLASSES = ("colon_aca", "colon_n", "lung_aca", "lung_scc", "lung_n")
#: Where the class folders may lie below the root: at once, or as the publisher has them.
PLACES = ("", "colon_image_sets/", "lung_image_sets/")
SUFFIXES = (".jpeg", ".jpg")
TABLE = "final_clusters.csv"
PER_CLASS = 5000
#: Of each class the paper used 3,750 pictures, 750 of them for testing.
PAPER = {"test": 750, "train": 3000}


class Lc25000(Source):
    """LC25000."""

    name = "lc25000"
    title = "LC25000: lung and colon histopathology pictures"
    homepage = "https://github.com/tampapath/lung_colon_image_set"
    citation = (
        "@article{borkowski2019lc25000, title={Lung and Colon Cancer Histopathological Image Dataset (LC25000)}, "
        "author={Borkowski, Andrew A. and Bui, Marilyn M. and Thomas, L. Brannon and Wilson, Catherine P. and DeLand, "
        "Lauren A. and Mastorides, Stephen M.}, journal={arXiv preprint arXiv:1912.12142}, year={2019}}"
    )
    license = "unknown"
    license_note = "The publisher states no licence; re-uploads disagree. Treated as not to be shared."
    redistributable = False
    access = "open"
    how_to_get = (
        "Fetch `LC25000.zip` (1.85 GB) from Academic Torrents, 7a638ed187a6180fd6e464b3666a6ea0499af4af; or, with a "
        "Kaggle account, `kaggle datasets download -d andrewmvd/lung-and-colon-cancer-histopathological-images`.",
        "Unzip it and pass the folder that holds `lung_colon_image_set/`, or the five class folders.",
        "For a split without leaks: `git clone https://github.com/GeorgeBatch/LC25000-clean` and pass its "
        "`annotations` folder as `grouped=`.",
    )
    modality = "Tissues"
    family = "image"
    domains = ("Pathology",)
    tasks = ("Classification",)
    published_splits = {"train": 15000, "test": 3750}
    cautions = (
        "The default split leaks: every original stands in the set about 20 times, turned or flipped, and siblings of "
        "about 99 % of the test pictures are in train. Scores near 1 measure that, not diagnosis.",
        "`grouped=PATH` keeps siblings together by a table of clusters, such as LC25000-clean's (third party).",
        "`split_by='paper'` leaks in the same way. It has the paper's sizes, without 6,250 pictures; which ones "
        "depended on the order of files on one machine, so the members here are drawn by hash.",
    )
    folders: ClassVar[tuple[str, ...]] = CLASSES
    splits = ("official", "paper")
    extra_options = {"grouped": None}
    fingerprint_patterns = tuple(f"{place}{name}/*" for place in PLACES for name in CLASSES)
    root_markers = ("colon_image_sets", "lung_image_sets", *(f"{name}/*.jp*g" for name in CLASSES))

    def option_files(self, options: Options) -> list[Path]:
        """Return the cluster tables of `grouped`."""
        return [] if options["grouped"] is None else _tables(options["grouped"])

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the pictures by class and number."""
        clusters = self._clusters(options["grouped"])
        for folder in self.folders:
            drawn = self._drawn(folder, options)
            for number, path in self._pictures(root, folder):
                name, cluster = f"{folder}/{path.name}", None
                if clusters is not None and (cluster := clusters.get((folder, number))) is None:
                    yield LeftOut(name, "picture without a row in the cluster table (`grouped`)")
                    continue
                if drawn is not None and number not in drawn:
                    total = sum(self.published_splits.values())
                    yield LeftOut(name, f"not among the {total:,} pictures of `split_by={options.split_by!r}`")
                    continue
                yield Record(
                    id=name,
                    group=name if cluster is None else f"{folder}/cluster{cluster}",
                    split=None if drawn is None else drawn[number],
                    raw_labels=(folder,),
                    files=(path.relative_to(root).as_posix(),),
                    metadata={"folder": folder, "organ": folder.split("_")[0], "number": number, "cluster": cluster},
                )

    def _pictures(self, root: Path, folder: str) -> list[tuple[int, Path]]:
        """Return (number, file) of a class, by number; 0 where a name has none."""
        places = [path for place in PLACES for path in sorted(root.glob(place + folder)) if path.is_dir()]
        if len(places) > 1:
            found = [path.relative_to(root).as_posix() for path in places]
            raise LayoutError(f"{self.name}: expected one folder `{folder}`, found {found}. Pass one of them alone.")
        files = (path for place in places for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
        return sorted((self._number(path.stem), path) for path in files if not is_junk(path.name))

    @staticmethod
    def _number(stem: str) -> int:
        match = re.search(r"\d+$", stem)
        return int(match.group()) if match else 0

    def _drawn(self, folder: str, options: Options) -> dict[int, str] | None:
        """Return number -> split of the pictures of a class in the paper's share, present or not; `None`: by hash."""
        if options.split_by != "paper":
            return None
        order = hash_order([f"{folder}/{number}" for number in range(1, PER_CLASS + 1)], options.seed)
        numbers = [int(name.split("/")[1]) for name in order]
        ends = PAPER["test"], PAPER["test"] + PAPER["train"]
        return dict.fromkeys(numbers[: ends[0]], "test") | dict.fromkeys(numbers[ends[0] : ends[1]], "train")

    def _clusters(self, path: str | None) -> dict[tuple[str, int], str] | None:
        """Return (class folder, number) -> cluster, from one table or from all below a folder."""
        if path is None:
            return None
        tables = _tables(path)
        if not tables:
            raise OptionError(
                f"{self.name}: `grouped` must be a table with the columns `cluster_label` and `img_path`, or a folder "
                f"with tables named `{TABLE}`; found none at `{Path(path).expanduser()}`."
            )
        clusters: dict[tuple[str, int], str] = {}
        for table in tables:
            for row in read_csv_rows(table, required=("cluster_label", "img_path")):
                image = PurePosixPath(row["img_path"].replace("\\", "/"))
                key = (image.parent.name, self._number(image.stem))
                if clusters.setdefault(key, row["cluster_label"]) != row["cluster_label"]:
                    raise SchemaError(f"{self.name}: `{table}` puts `{image}` into a second cluster; pass one table.")
        return clusters


def _tables(path: str) -> list[Path]:
    """Return the cluster table at a path, or those below a folder."""
    top = Path(path).expanduser()
    return [top] if top.is_file() else sorted(top.rglob(f"UNI/resize_only/{TABLE}")) or sorted(top.rglob(TABLE))
