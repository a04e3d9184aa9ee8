"""Synthetic raw copy of Messidor-2: drawn fundus photographs, the grade table and the list of pairs.

Every photograph is drawn and every grade is made up; none comes from a patient. The signs of retinopathy that a
picture shows follow from its grade.

Oddities of the release that it writes:

* two parts with two naming schemes: `YYYYMMDD_NNNNN_NNNN_PP.png`, and `IM######.JPG` whose ending the grade table
  writes in lower case;
* rows without grade and oedema (ungradable) among the graded ones, one of each part; their pictures are there;
* `messidor-2.csv`, semicolon-delimited with CRLF and a blank behind the last column name, which holds no grades; its
  pairs cross grades, and an ungradable eye may have a graded partner;
* three native sizes of about 3:2 (here a fifteenth of the real ones);
* `.DS_Store` files.
"""

from pathlib import Path

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    rng,
    save_image,
    write_bytes,
    write_csv,
    write_text,
)
from climb_hf.miniatures._fundus import paper_split, photograph

__all__ = ["make"]

_FOLDERS = {"adcis": "IMAGES", "doubled": "IMAGES/IMAGES", "lower": "images", "documents": "documents"}
_COLUMNS = {
    "grades": "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable",
    "preprocessed": "id_code,diagnosis,adjudicated_dme,adjudicated_gradable",
}
_CLASSES = ("None", "Mild DR", "Moderate DR", "Severe DR", "PDR")  # Table 7, by grade
_SIZES = ((96, 144), (100, 150), (102, 154))
_README = "Synthetic stand-in for the notes on the adjudicated grades.\n"


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "adcis", table: str = "grades", with_pairs: bool = True
) -> list[Expected]:
    """Write a synthetic Messidor-2 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of graded images, at least 8; two or three ungradable ones come
            on top, so that every image has its pair.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and grades.
        layout (`str`, *optional*, defaults to `"adcis"`): where the pictures lie: `"adcis"` (`IMAGES/`), `"doubled"`
            (`IMAGES/IMAGES/`), `"lower"` (`images/`) or `"documents"`.
        table (`str`, *optional*, defaults to `"grades"`): `"grades"` for the published table, `"preprocessed"` for
            the re-shared one with `id_code,diagnosis`, `.JPG` and the gradable rows only.
        with_pairs (`bool`, *optional*, defaults to `True`): write `messidor-2.csv`.

    Returns:
        `list[Expected]`: in the order of the table, `split` is `None`; `values`: `raw_labels`, `image_id` (as in the
        table), `laterality`, `partner`, `part`, `dme`, `paper_split`, `size` (width, height).

    Raises:
        OptionError: an option out of range.
    """
    check_count("messidor2", n, seed)
    check_choice("messidor2", "layout", layout, tuple(_FOLDERS))
    check_choice("messidor2", "table", table, tuple(_COLUMNS))
    names = _names(n + 2 + n % 2)
    ungradable = {len(names) // 4, len(names) - 3} | ({len(names) - 6} if n % 2 else set())
    random = rng(seed, "messidor2", "grades")
    grades = [int(grade) for grade in random.permutation([i % len(_CLASSES) for i in range(n)])]
    graded = [name for at, name in enumerate(names) if at not in ungradable]
    of = dict(zip(graded, grades, strict=True))
    pairs = list(zip(names[::2], names[1::2], strict=True))
    side = {name: ("left", "right")[eye] for pair in pairs for eye, name in enumerate(pair)}
    for at, name in enumerate(names):
        severity, size = of.get(name, 0), _SIZES[at % 3 if name.endswith("png") else at % 2]
        pixels = photograph(rng(seed, "messidor2", "picture", at), *size, severity, side[name])
        if name not in of:
            pixels //= 6  # too dark to grade
        options = {"compress_level": 3} if name.endswith("png") else {"quality": 92}
        save_image(root / _FOLDERS[layout] / name, pixels, **options)
    _write_tables(root, names, of, pairs if with_pairs else None, table)
    write_bytes(root / _FOLDERS[layout] / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    partner = {a: b for left, right in pairs for a, b in ((left, right), (right, left))}
    first = {name: left for left, right in pairs for name in (left, right)}
    return [
        Expected(
            name,
            None,
            first[name] if with_pairs else name,
            (_CLASSES[of[name]],),
            {
                "raw_labels": (str(of[name]),),
                "image_id": _written(name, table),
                "laterality": side[name] if with_pairs else None,
                "partner": partner[name],
                "part": "extension" if name.startswith("IM") else "original",
                "dme": int(of[name] > 2),
                "paper_split": split,
                "size": _SIZES[names.index(name) % (3 if name.endswith("png") else 2)][::-1],
            },
        )
        for name, split in zip(graded, paper_split(grades), strict=True)
    ]


def _names(count: int) -> list[str]:
    """File names in the order of the table, neighbours are a pair; the last two fifths belong to the extension."""
    extension = max(4, count * 2 // 5 // 2 * 2)
    original = count - extension
    names = [
        f"2099{10 + at // 20:02d}{1 + at // 2 % 20:02d}_{30000 + 53 * at}_0{(1, 2, 4)[at * 3 // original]}00_PP.png"
        for at in range(original)
    ]
    return names + [f"IM{990000 + 7 * at:06d}.JPG" for at in range(extension)]


def _written(name: str, table: str) -> str:
    """The name as a grade table writes it."""
    return name.replace(".JPG", ".jpg") if table == "grades" else name


def _write_tables(
    root: Path, names: list[str], grades: dict[str, int], pairs: list[tuple[str, str]] | None, table: str
) -> None:
    """Write the grade table, its notes and the list of pairs."""
    rows: list[list[object]] = [[*_COLUMNS[table].split(",")]]
    for name in names:
        if name in grades:
            rows.append([_written(name, table), grades[name], int(grades[name] > 2), 1])
        elif table == "grades":
            rows.append([_written(name, table), None, None, 0])
    write_csv(root / "messidor_data.csv", rows)
    write_text(root / "messidor_readme.txt", _README)
    if pairs is not None:
        write_text(root / "messidor-2.csv", "left;right \r\n" + "".join(f"{a};{b}\r\n" for a, b in pairs))
