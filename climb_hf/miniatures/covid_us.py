"""Synthetic raw copy of COVIDx-US: drawn lung ultrasound clips and the tables of its repository.

Every frame is drawn and every row is made up; none comes from a patient. A grey sector shows a pleura line; normal
lungs have horizontal A-lines below it, COVID-19 moving vertical B-lines, pneumonia a bright, patchy consolidation.

Oddities of the release that it writes:

* `utils/video_metadata.csv`: Windows-1252 bytes, cells with line breaks, an all-empty last row, back-slashes in
  `folder`, the source's own `filename`, blank ages and sexes;
* `labels/COVIDx-US1.4_4class.csv` and `utils/LUSS_metadata.csv` with CRLF; severity 0 to 3, `NA` or blank;
* names `<n>_<source>_<class>`, beside MP4 also GIF, WMV, MOV and AVI, videos of the class `other`;
* `22_butterfly_covid`, withdrawn by its publisher: in all tables but `video_files_properties.csv`, without a file;
* one more video that is listed but no longer to be had; `.DS_Store`; cropped copies (`<id>_prc.avi`);
* several videos of one patient, a cardiac clip among those of lungs, crop boxes as quoted tuples.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    csv_text,
    rng,
    smooth_noise,
    to_uint8,
    write_bytes,
    write_csv,
)
from climb_hf.miniatures._video import write_video
from climb_hf.miniatures._xlsx import write_xlsx
from climb_hf.optional import require

__all__ = ["make"]

_CLASSES = ("covid", "pneumonia", "normal")
_WORDS = {"covid": "COVID", "pneumonia": "Pneumonia", "normal": "Normal", "other": "Other"}
_NAMES = {"covid": "Covid", "pneumonia": "Pneumonia", "normal": "Normal"}
_SOURCES = {  # token -> name in the tables, licence
    "butterfly": ("ButterflyNetwork", ""),
    "grepmed": ("GrepMed", ""),
    "pocusatlas": ("PocusAtlas", "CC BY-NC 4.0"),
    "litfl": ("LITFL", "CC BY-NC-SA 4.0"),
    "radio": ("Radiopaedia", "CC BY-NC-SA 3.0"),
    "core": ("CoreUltrasound", ""),
    "uf": ("UF", ""),
    "paper": ("Paper", "CC BY 4.0"),
    "clarius": ("Clarius", ""),
}
_METADATA = (
    "id,filename,filetype,folder,source,url,probe,class,class_on_website,version,date_added,type,patient,case_no,"
    "gender,age,comment,paper_link,paper_doi,license,link"
)
_CLINICAL = (
    "id,LUSS,filetype,source,probe,class,class_on_website,type,patient,case_no,gender,age,fever,cough,pain,headache,"
    "respiratory_problems,fatigue,weight_loss,alcoholic,drug_use,distress,asymptomatic,a_line,b_line"
)
_CROPPING = (
    "filename,source,probe,class,org_width,org_height,org_framecount,org_framerate,org_duration,green_dot,"
    "top_left_symbol,red_symbol,white_arrow,text,meter,sound,extra_end_part,del_upper,width_rate,x1_w_y1_h,"
    "cropped_filename,crp_width,crp_height,version,date_added,multiple_videos,Note"
)
_EXTRA = (("pocusatlas", "covid", "gif"), ("uf", "pneumonia", "wmv"), ("paper", "normal", "mov"),
          ("paper", "covid", "avi"), ("core", "other", "mp4"), ("litfl", "other", "mp4"),
          ("butterfly", "covid", "mp4"))  # fmt: skip
_WITHDRAWN = "22_butterfly_covid"
_GONE = 6  # place in `_EXTRA` of the video that is listed but not there


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "repository") -> list[Expected]:
    """Write a synthetic COVIDx-US folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): MP4 videos of a class, at least 8; seven others are added.
        seed (`int`, *optional*, defaults to `0`): seed of tables and videos.
        layout (`str`, *optional*, defaults to `"repository"`): `"repository"` (tables, `data/video/original/`) or
            `"videos"` (`videos/<id>.mp4` and no table).

    Returns:
        `list[Expected]`: the MP4 videos of a class by number; `split` is `None`; `values`: `file`, `age`, `sex`,
        `luss`, `patient`, `probe`, `type`, `num_frames`, `fps`, `size` (width, height), `crop_box`.

    Raises:
        OptionError: an option out of range.
        DependencyError: PyAV is not installed.
    """
    check_count("covid_us", n, seed)
    check_choice("covid_us", "layout", layout, ("repository", "videos"))
    require("av", extra="video")
    folder = "videos" if layout == "videos" else "data/video/original"
    tokens = list(_SOURCES)
    videos = [_Video(tokens[k % 5], _CLASSES[k // 2 % 3], "mp4", k, seed) for k in range(n)]
    videos += [_Video(source, word, kind, n + k, seed) for k, (source, word, kind) in enumerate(_EXTRA)]
    order = rng(seed, "covid_us", "order").permutation(len(videos))
    numbers = [number for number in range(1, len(videos) + 2) if number != 22]
    expected = []
    for number, place in zip(numbers, order, strict=False):
        video = videos[place]
        video.id = f"{number}_{video.source}_{video.word}"
        file = f"{folder}/{video.id}.{video.kind}"
        if place != n + _GONE:
            write_video(root / file, video.pictures(), video.fps)
        if place < n:
            values = video.values | {"file": file}
            group = values["patient"] if layout == "repository" else video.id
            if layout == "videos":
                values |= {"age": None, "sex": None, "luss": None, "patient": None}
            expected.append(Expected(video.id, None, str(group), (_NAMES[video.word],), values))
    if layout == "repository":
        withdrawn = _Video("butterfly", "covid", "mp4", n + len(_EXTRA), seed)
        withdrawn.id = _WITHDRAWN
        listed = sorted([*videos, withdrawn], key=lambda video: int(video.id.split("_")[0]))
        _write_tables(root, listed)
        first = expected[0].id
        write_video(root / "data/video/cropped" / f"{first}_prc.avi", [np.zeros((64, 64), np.uint8)] * 2, 20)
    write_bytes(root / folder / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


class _Video:
    """One clip: its rows and its frames."""

    def __init__(self, source: str, word: str, kind: str, place: int, seed: int) -> None:
        self.source, self.word, self.kind, self.place, self.id = source, word, kind, place, ""
        self._random = rng(seed, "covid_us", place)
        self.frames, self.fps = 14 + place * 3 % 9, (20, 25, 30, 10)[place % 4]
        self.height, self.width = (150, 112, 128)[place % 3], (198, 200, 224)[place % 3]
        self.values: dict[str, object] = {
            "patient": f"p{1 + place // 2 if place % 4 < 2 else 100 + place}",  # two of one patient, two of one each
            "age": (None, 31.0, None, 62.0, None)[place % 5],
            "sex": (None, "male", None, "female")[place % 4],
            "luss": (0, 1, 2, 3, None, None)[place % 6],
            "probe": "Linear" if place % 4 == 3 else "Convex",
            "type": "cardiac" if place == 4 else "lung",
            "crop_box": [20, 90, 10, 80] if place % 4 == 3 else None,
            "num_frames": self.frames,
            "fps": float(self.fps),
            "size": (self.width, self.height),
        }

    @property
    def luss(self) -> str:
        """Cell of the severity score."""
        value = self.values["luss"]
        return str(value) if value is not None else "NA" if self.place % 6 == 4 else ""

    def pictures(self) -> list[NDArray[np.uint8]]:
        """All frames, (height, width) grey."""
        random = self._random
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        y, x = y / self.height, x / self.width - 0.5
        sector = np.abs(x) < 0.18 + 0.3 * y
        pleura, phase = random.uniform(0.18, 0.26), random.uniform(0, 6)
        texture = 0.12 + 0.08 * smooth_noise(random, self.height, self.width, 24)
        patches = np.clip(smooth_noise(random, self.height, self.width, 5) + 0.3, 0, 1)
        shown = []
        for t in range(self.frames):
            breath = 0.05 * np.sin(phase + t / 4)
            picture = texture + 0.8 * np.exp(-(((y - pleura) / 0.015) ** 2))
            if self.word == "covid":
                for at in (-0.12, 0.02, 0.15):
                    picture = picture + 0.6 * (y > pleura) * np.exp(-(((x - at - breath) / 0.02) ** 2))
            elif self.word == "normal":
                for k in (2, 3):
                    picture = picture + 0.5 * np.exp(-(((y - k * pleura) / 0.015) ** 2))
            elif self.word == "pneumonia":
                picture = picture + 0.8 * patches * (y > pleura + 0.05) * (y < 0.8 + breath)
            shown.append(to_uint8(picture * sector))
        return shown


def _metadata_row(video: _Video, website: str, sex: str, age: str) -> list[str]:
    """One row of `utils/video_metadata.csv`; a note has a line break and letters of code page 1252."""
    name, licence = _SOURCES[video.source]
    note = "synthetic clip \u2013 the operator\u2019s note,\nsecond line at 37\u00b0" if video.place % 7 == 1 else ""
    case = f"{video.word}_case{video.place}" if video.place % 3 else ""
    return [
        video.id, f"clip {video.place}.{video.kind}", video.kind, f"data\\video\\{name}", name,
        f"https://example.org/{video.place}.{video.kind}", str(video.values["probe"]), _WORDS[video.word], website,
        "1.4", "Nov_2020", str(video.values["type"]), case, str(video.place % 3 or ""), sex, age, note, "", "",
        licence, "",
    ]  # fmt: skip


def _write_tables(root: Path, videos: list[_Video]) -> None:
    """Write the tables of `labels/` and `utils/`, with the line ends and encodings of the repository."""
    metadata, four, three, luss = [_METADATA.split(",")], [], [], []
    properties: list[list[object]] = [["filename", "framerate", "width", "height", "frame_count", "duration_secs"]]
    cropping = [_CROPPING.split(",")]
    clinical: list[list[str | None]] = [[*_CLINICAL.split(",")]]
    for video in videos:
        values, word = video.values, _WORDS[video.word]
        name = _SOURCES[video.source][0]
        website = "Consolidation" if video.word == "pneumonia" else ""
        probe, kind, sex = str(values["probe"]), str(values["type"]), str(values["sex"] or "")
        age = "" if values["age"] is None else f"{values['age']:.0f}"
        metadata.append(_metadata_row(video, website, sex, age))
        patient = str(values["patient"])
        four.append([video.id, video.luss, name, probe, word, website, kind, patient, str(video.place % 3 or "")])
        if video.word != "other":
            three.append([video.id, video.luss, name, probe, word, website, kind])
        luss.append([video.id, video.luss, video.kind, name, probe, word, kind])
        seconds = video.frames / video.fps
        if video.id != _WITHDRAWN:
            row = (float(video.fps), float(video.width), float(video.height), float(video.frames), seconds)
            properties.append([f"{video.id}.{video.kind}", *row])
        box = values["crop_box"]
        cropping.append([
            f"{video.id}.{video.kind}", name, probe, word, str(video.width), str(video.height), str(video.frames),
            str(video.fps), f"{seconds:.2f}", *[""] * 10, str(tuple(box)) if isinstance(box, list) else "",
            f"{video.id}_prc.avi", "64", "64", "1.4", "Nov_2020", "", "",
        ])  # fmt: skip
        if video.word != "other":
            told = ["yes" if (video.place + k) % 4 == 0 else None for k in range(13)]
            clinical.append([
                video.id, video.luss or None, video.kind, name, probe, word, website or None, kind, patient, None,
                sex or None, age or None, *told,
            ])  # fmt: skip
    blank = [[""] * len(metadata[0])]
    write_bytes(root / "utils/video_metadata.csv", csv_text([*metadata, *blank]).encode("cp1252"))
    head = ["id", "LUSS", "source", "probe", "class", "class_on_website", "type"]
    for name, rows in (
        ("labels/COVIDx-US1.4_4class.csv", [[*head, "patient", "case_no"], *four]),
        ("labels/COVIDx-US1.4_3class.csv", [head, *three]),
        ("utils/LUSS_metadata.csv", [["id", "LUSS", "filetype", "source", "probe", "class", "type"], *luss]),
    ):
        write_bytes(root / name, csv_text(rows).replace("\n", "\r\n").encode("cp1252"))
    write_csv(root / "utils/video_files_properties.csv", properties)
    write_csv(root / "utils/video_cropping_metadata.csv", cropping)
    write_xlsx(root / "labels/CovidxUS1.5_metadata.xlsx", clinical)
