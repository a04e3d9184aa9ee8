"""Where the raw data of every source is: one table, from the publishers' own pages.

A source has one or several ways (`climb_hf.access.way.Way`); the first is the default, the others are chosen by name
(`--via`). Sizes are what the publisher or its users state.
"""

from collections.abc import Mapping

from climb_hf.access.by_hand import Archive, ByHand
from climb_hf.access.files import RemoteFile
from climb_hf.access.github import GitHub, GitHubFiles
from climb_hf.access.https import Https, HttpTable, HttpTree
from climb_hf.access.hub import Hub
from climb_hf.access.kaggle import Kaggle
from climb_hf.access.medmnist import MEDMNIST
from climb_hf.access.physionet import PhysioNet
from climb_hf.access.records import Dataverse, Figshare, Zenodo
from climb_hf.access.tcia import Tcia
from climb_hf.access.way import Way

__all__ = ["ROUTES"]

GB = 1_000_000_000
_CHALLENGE = ("challenge-2021", "1.0.3")
_BENCHMD = (
    "https://raw.githubusercontent.com/rajpurkarlab/BenchMD/2d1fe92290c65b685ad524b2f3c42306c704e212/src/datasets/ecg/"
)
_ISIC = "https://isic-challenge-data.s3.amazonaws.com/"
_MENDELEY = "https://data.mendeley.com/public-files/datasets/zr7vgbcyr2/files/{}/file_downloaded"
_ABIDE = "https://s3.amazonaws.com/fcp-indi/data/Projects/ABIDE_Initiative/"
_ATLAS = (
    "*-tpms.tsv", "*-fpkms.tsv", "*-raw-counts.tsv", "*-normalized-expressions.tsv", "*-log-fold-changes.tsv",
    "*.condensed-sdrf.tsv", "*-configuration.xml", "*.idf.txt")  # fmt: skip


def _file(
    base: str, name: str, *, size: int | None = None, checksum: str = "", unpack: bool = False, into: str = ""
) -> RemoteFile:
    return RemoteFile(name, base + name, size, checksum, unpack, into)


def _split(name: str, size: int, sha256: str) -> Way:
    """BenchMD's published split list, for `split_by="paper"` and `labels="benchmd"`."""
    return Way("split", (Https((_file(_BENCHMD, name, size=size, checksum=f"sha256:{sha256}"),)),))


def _by_hand(*archives: Archive, size: int | None = None) -> Way:
    return Way("hand", (ByHand(archives),), size)


def _kaggle(name: str, size: int | None = None, *, into: str = "", then: tuple[str, ...] = ()) -> Way:
    return Way("kaggle", (Kaggle(name, into=into),), size, then)


_PTBXL = (
    Way("physionet", (PhysioNet("ptb-xl", "1.0.3"),), 3 * GB),
    _split("ptbxl_splits.csv", 1_737_930, "e48f07e91d6b2616707483bfff3863d4c3bd02866274ccf935d8363269713ba9"),
)
_MIMIC_CXR = (
    PhysioNet("mimic-cxr-jpg", "2.1.0", credentialed=True),
    PhysioNet("mimic-cxr", "2.1.0", only=("mimic-cxr-reports.zip",), credentialed=True),
)
_PAD = Way(
    "mendeley",
    (
        Https(
            (
                RemoteFile(
                    "metadata.csv", _MENDELEY.format("fa850265-57da-48f0-ba3e-998b3e44b1f6"), 316_209,
                    "sha256:14d145235cedb022548257acb0d84dcd949e2c916f65d2baa7c38ed5339e9527",
                ),
                RemoteFile(
                    "imgs_part_1.zip", _MENDELEY.format("1cc2f71f-20a2-412d-b746-a9b9bc20c966"), 1_245_184_680,
                    "sha256:0ab44f60938bf57445e12f518a8878954cc734e6b0aec6d01194e2d26b4b2dca", True, "images",
                ),
                RemoteFile(
                    "imgs_part_2.zip", _MENDELEY.format("559a60ed-5504-475d-996c-6a8bc253b5e7"), 1_126_646_990,
                    "sha256:e2d9a3cbd58e823f5ae33163c48643e7d1b54ae3f9e145f01f8e9f16a363a60b", True, "images",
                ),
                RemoteFile(
                    "imgs_part_3.zip", _MENDELEY.format("34dcdf8e-e5f1-4b35-aa0b-5135051ff852"), 1_220_565_093,
                    "sha256:ecc4ef10143a43e1d01cb736773148607a78b530417eb76f2c38ad24bf5d0d2c", True, "images",
                ),
            )
        ),
    ),
)  # fmt: skip
_HAM = (
    Way(
        "dataverse",
        (
            Dataverse("10.7910/DVN/DBW86T", only=("HAM10000_images_part_*", "HAM10000_metadata*")),
            Dataverse("10.7910/DVN/DBW86T", only=("HAM10000_segmentations_lesion_tschandl.zip",)),
        ),
    ),
    Way(
        "isic",
        (
            Https(
                (
                    _file(f"{_ISIC}2018/", "ISIC2018_Task3_Training_Input.zip", unpack=True),
                    _file(f"{_ISIC}2018/", "ISIC2018_Task3_Training_GroundTruth.zip", unpack=True),
                    _file(f"{_ISIC}2018/", "ISIC2018_Task3_Training_LesionGroupings.csv"),
                )
            ),
        ),
    ),
    _kaggle("kmader/skin-cancer-mnist-ham10000", 5 * GB),
)
_LC25000 = (
    _kaggle("andrewmvd/lung-and-colon-cancer-histopathological-images", 1_850_000_000),
    _by_hand(Archive("LC25000.zip")),
)
_PIECE = 734_003_200
_MESSIDOR = (
    Archive("IMAGES.zip.001", _PIECE, "sha256:f5ee401078ab2a857744d30571155829e6f79aa321aa2900aa4e1d825082d5d3"),
    Archive("IMAGES.zip.002", _PIECE, "sha256:54d8ba72d07e7842e7abf3304b50d4aa4b5afc48fc47baf2158d6ce700ab5c17"),
    Archive("IMAGES.zip.003", _PIECE, "sha256:b4ae5052a557edb33184ac92176906745a28fdb573a347fcd662e123820ee030"),
    Archive("IMAGES.zip.004", 253_175_547, "sha256:7bc91ae9a9cda42c1fda22c9fb65ccd32f176292975bd77c330d63fa15e23eac"),
    Archive("IMAGES.zip", 2_455_185_147, "sha256:bf665275db889e1f6d68641fae1bc074a62ec1a5083637c902dc309cd95f99e9"),
    Archive("messidor-2.csv", 38_423),
)

#: The ways to the raw data by source, the default first.
ROUTES: Mapping[str, tuple[Way, ...]] = {
    "abcd": (_by_hand(),),
    "abide": (
        Way(
            "pcp",
            (
                HttpTable(
                    RemoteFile(
                        "ABIDE_pcp/Phenotypic_V1_0b_preprocessed1.csv",
                        f"{_ABIDE}Phenotypic_V1_0b_preprocessed1.csv", 449_443,
                        "sha256:009f01a89697113e5375ded4fbcff4c85e89a4daa6d13e63c21ae5d57dda0865",
                    ),
                    "FILE_ID",
                    f"{_ABIDE}Outputs/cpac/filt_noglobal/rois_cc200/{{}}_rois_cc200.1D",
                    "ABIDE_pcp/cpac/filt_noglobal/{}_rois_cc200.1D",
                    absent=("no_filename",),
                ),
            ),
        ),
    ),
    "aptos2019": (
        Way(
            "kaggle",
            (
                Kaggle(
                    competition="aptos2019-blindness-detection",
                    checksum="sha256:18036845ab76b68d305d6e2dbbaaaf5cd23926be740e1297a8972ac1c6360976",
                ),
            ),
            10_215_289_875,
        ),
    ),
    "bach": (Way("zenodo", (Zenodo("3632035", only=("ICIAR2018_BACH_Challenge.zip",)),)),),
    "bcss": (_by_hand(),),
    "brain_mri": (_kaggle("navoneel/brain-mri-images-for-brain-tumor-detection", 15_000_000),),
    "brain_tumor": (
        Way(
            "github",
            (GitHub("SartajBhuvaji/Brain-Tumor-Classification-DataSet", "3ea9f4eae54c67e5bddbf6f7a73582967a5f5f79"),),
            93_079_343,
        ),
        _kaggle("sartajbhuvaji/brain-tumor-classification-mri", 90_000_000),
    ),
    "busi": (_kaggle("aryashah2k/breast-ultrasound-images-dataset", 250_000_000),),
    "cbis_ddsm": (
        Way(
            "tcia",
            (
                Tcia(
                    "CBIS-DDSM",
                    "https://www.cancerimagingarchive.net/wp-content/uploads/CBIS-DDSM-All-doiJNLP-zzWs5zfZ.tcia",
                ),
            ),
            163_600_000_000,
            then=(
                "Download the four case description tables (mass and calc, train and test) from "
                "https://www.cancerimagingarchive.net/collection/cbis-ddsm/ and put them into the same folder: "
                "`climb download cbis_ddsm --from TABLE.csv --to DIR`, once for all four.",
            ),
        ),
        _kaggle("awsaf49/cbis-ddsm-breast-cancer-image-dataset", 6 * GB),
    ),
    "chapman_shaoxing": (
        Way("physionet", (PhysioNet("ecg-arrhythmia", "1.0.0"),), 5_100_000_000),
        Way("challenge", (PhysioNet(*_CHALLENGE, "training/chapman_shaoxing"),)),
        _kaggle("erarayamorenzomuten/chapmanshaoxing-12lead-ecg-database"),
        _split(
            "ChapmanShaoxing_splits.csv", 957_465, "b3ec97578d4f780c7f01c61383194a8780734b286523c8411e2c685795406be9"
        ),
    ),
    "chexpert": (_by_hand(),),
    "cholec80": (
        _by_hand(Archive("cholec80.tar.gz", checksum="md5:aee27edbb4454d399e8dc8195d128833"), size=85_200_000_000),
    ),
    "cmmd": (
        Way(
            "tcia",
            (Tcia("CMMD"),),
            22_900_000_000,
            then=(
                "Download `CMMD_clinicaldata_revision.xlsx` from "
                "https://www.cancerimagingarchive.net/collection/cmmd/ and put it into the same folder: "
                "`climb download cmmd --from CMMD_clinicaldata_revision.xlsx --to DIR`.",
            ),
        ),
    ),
    "coronahack": (_kaggle("praveengovi/coronahack-chest-xraydataset", 1_300_000_000),),
    "covid19_cxr": (_kaggle("darshan1504/covid19-detection-xray-dataset"),),
    "covid_blues": (
        Way("github", (GitHub("NinaWie/COVID-BLUES", "1857a6fba9b8d00614f133fe8ffb7bc1f1a14f78"),), 75_000_000),
    ),
    "covid_us": (_by_hand(),),
    "cpsc": (
        Way("physionet", (PhysioNet(*_CHALLENGE, "training/cpsc_2018"),), 1_300_000_000),
        _kaggle("bjoernjostein/china-physiological-signal-challenge-in-2018"),
        _split("CPSC_splits.csv", 538_384, "e008e2ba52280c568d986fa34e4a46c751c633cb67afb73e367ce890015440b1"),
    ),
    "deepeyenet": (_by_hand(Archive("DeepEyeNet.zip")),),
    "echonet_dynamic": (_by_hand(Archive("EchoNet-Dynamic.zip"), size=7 * GB),),
    "expression_atlas": (
        Way(
            "ftp",
            (
                HttpTree(
                    "http://ftp.ebi.ac.uk/pub/databases/microarray/data/atlas/experiments/", _ATLAS,
                    into="experiments", depth=1,
                ),
            ),
        ),
    ),
    "geo": (
        Way(
            "ftp",
            (
                HttpTree(
                    "https://ftp.ncbi.nlm.nih.gov/geo/datasets/", ("GDS*.soft.gz",), ("*_full*",), into="datasets",
                    depth=3,
                ),
            ),
            20 * GB,
        ),
    ),
    "georgia": (
        Way("physionet", (PhysioNet(*_CHALLENGE, "training/georgia"),), 1_200_000_000),
        _kaggle("bjoernjostein/georgia-12lead-ecg-challenge-database"),
        _split("Ga_splits.csv", 811_585, "6e47ca14de188d0a5086e2759f8019d5560a529516c39f1ad3183722c3ec306a"),
    ),
    "ham10000": _HAM,
    "hemorrhage": (
        _kaggle("vbookshelf/computed-tomography-ct-images"),
        Way("physionet", (PhysioNet("ct-ich", "1.0.0"),)),
    ),
    "hugadb": (
        Way(
            "dropbox",
            (
                Https(
                    (
                        RemoteFile(
                            "HuGaDB v2.zip", "https://www.dropbox.com/s/406z5oqjlr6fcy9/HuGaDB%20v2.zip?dl=1",
                            unpack=True,
                        ),
                    )
                ),
            ),
        ),
    ),
    "iiic": (_by_hand(size=34 * GB),),
    "inspect": (_by_hand(),),
    "isic2020": (
        Way(
            "isic",
            (
                Https(
                    (
                        _file(f"{_ISIC}2020/", "ISIC_2020_Training_GroundTruth_v2.csv"),
                        _file(f"{_ISIC}2020/", "ISIC_2020_Training_Duplicates.csv"),
                        _file(f"{_ISIC}2020/", "ISIC_2020_Training_JPEG.zip", unpack=True),
                    )
                ),
            ),
            25_760_000_000,
        ),
    ),
    "jichi": (Way("figshare", (Figshare("4879853"),), 10 * GB),),
    "kits23": (
        Way(
            "github",
            (
                GitHub("neheller/kits23"),
                Hub(
                    "neheller/KiTS-Challenge-Imaging",
                    only=("images/case_*.nii.gz",),
                    rename=(r"images/(case_\d+)\.nii\.gz", r"dataset/\1/imaging.nii.gz"),
                ),
            ),
            36 * GB,
        ),
    ),
    "lc25000": _LC25000,
    "lc25000_colon": _LC25000,
    "lc25000_lung": _LC25000,
    "lndb": (
        Way(
            "zenodo",
            (Zenodo("8348419"),),
            149 * GB,
            then=("Unpack the `.rar` archives in the folder with `unrar x` (libarchive cannot read them).",),
        ),
    ),
    "messidor2": (
        _by_hand(*_MESSIDOR, size=5 * GB),
        _kaggle("google-brain/messidor2-dr-grades", 7_531, then=("The pictures come by hand: `--via hand`.",)),
    ),
    "mimic_cxr": (Way("physionet", _MIMIC_CXR, 570_300_000_000),),
    "mimic_iv": (
        Way(
            "physionet",
            (
                PhysioNet("mimiciv", "3.1", into="mimiciv/3.1", credentialed=True),
                PhysioNet("mimic-iv-ecg", "1.0", into="mimic-iv-ecg/1.0"),
                PhysioNet("mimic-cxr-jpg", "2.1.0", into="mimic-cxr-jpg/2.1.0", credentialed=True),
                PhysioNet("mimic-iv-note", "2.2", into="mimic-iv-note/2.2", credentialed=True),
            ),
            672 * GB,
        ),
        Way("demo", (PhysioNet("mimic-iv-demo", "2.2", into="mimic-iv-demo/2.2"),)),
    ),
    "nct_crc_he": (
        Way("zenodo", (Zenodo("1214456", only=("NCT-CRC-HE-100K.zip", "CRC-VAL-HE-7K.zip")),), 25 * GB),
    ),
    "pad_ufes_20": (_PAD,),
    "pad_ufes_20_6class": (_PAD,),
    "pcam": (Way("zenodo", (Zenodo("2546921"),), 8 * GB),),
    "ppi": (
        Way("dgl", (Https((_file("https://data.dgl.ai/dataset/", "ppi.zip", unpack=True),)),), 14_000_000),
        Way("snap", (Https((_file("http://snap.stanford.edu/graphsage/", "ppi.zip", unpack=True),)),), 112_000_000),
    ),
    "ppmi": (_by_hand(),),
    "proteins": (
        Way(
            "tudataset",
            (Https((_file("https://www.chrsmrrs.com/graphkerneldatasets/", "PROTEINS.zip", unpack=True),)),),
            2_800_000,
        ),
    ),
    "ptbxl": _PTBXL,
    "ptbxl_finegrained": _PTBXL,
    "quilt1m": (_by_hand(size=36 * GB),),
    "rspect": (
        Way("kaggle", (Kaggle(competition="rsna-str-pulmonary-embolism-detection"),), 900 * GB),
        Way(
            "aws",
            (
                Https(
                    (
                        _file(
                            "https://pulmonary-embolism-detection.s3.us-west-2.amazonaws.com/", "rsna-ped-dataset.zip",
                            unpack=True,
                        ),
                    )
                ),
            ),
            534 * GB,
        ),
    ),
    "sicapv2": (_by_hand(Archive("SICAPv2.zip")),),
    "skincancer": _HAM,
    "tuab": (_by_hand(size=58 * GB),),
    "tuev": (_by_hand(size=19 * GB),),
    "vindr_cxr": (Way("physionet", (PhysioNet("vindr-cxr", "1.0.0", credentialed=True),), 200 * GB),),
    "vindr_mammo": (Way("physionet", (PhysioNet("vindr-mammo", "1.0.0", credentialed=True),), 340 * GB),),
    "vital": (
        Way(
            "hub",
            (
                Hub("mao1207/BioMed-VITAL-instructions", only=("BioMed-VITAL-instructions-210K.json",)),
                GitHubFiles(
                    "mao1207/BioMed-VITAL",
                    ((
                        "data/PMC_image_urls.jsonl",
                        "2604441ec3d1f6324d21846cfd44f92eab29454beed1da42a98d943b41731e44", 128_785_989,
                    ),),
                ),
            ),
            592_000_000,
            then=(
                "Figures: for each line of `data/PMC_image_urls.jsonl` download `pmc_tar_url`, extract "
                "`image_file_path` and save it as `images/<pair_id>.jpg` (over 1 TB if the archives are kept).",
            ),
        ),
    ),
    **MEDMNIST,
}  # fmt: skip
