"""What the builder and the files of questions share: the maker of a build, and the pictures of a record."""

from climb_hf.errors import OptionError
from climb_hf.qa.questions import QuestionMaker
from climb_hf.source import Options, Record, Source

__all__ = ["is_plain_file", "maker_of"]

_DICOM = (".dcm", ".dicom", ".dic")


def maker_of(source: Source, options: Options) -> QuestionMaker:
    """Return what makes the questions of a build.

    Args:
        source (`Source`): the source.
        options (`Options`): its checked options, `qa` on.

    Returns:
        `QuestionMaker`.

    Raises:
        OptionError: the source has no questions, or an option does not go with them.
    """
    if options.bit_depth != 8:
        raise OptionError(
            f"{source.name}: questions have 8-bit pictures; leave out `window='raw'` and `bit_depth=16`."
        )
    return QuestionMaker(
        source,
        source.label_scheme(options.labels, options.extra),
        seed=options.qa_seed,
        paraphrase=options.qa_paraphrase,  # type: ignore[arg-type] # the maker checks it
        order=options.qa_order,  # type: ignore[arg-type] # the maker checks it
    )


def is_plain_file(source: Source, record: Record) -> bool:
    """Whether the picture of a record is its first file as it stands, so that it need not be opened.

    Args:
        source (`Source`): the source.
        record (`Record`): a record of its index.

    Returns:
        `bool`: `False` for DICOM, videos, volumes and pictures that the source cuts out or composes.
    """
    if source.family != "image" or type(source).read is not Source.read or not record.files:
        return False
    return not record.files[0].lower().endswith(_DICOM)
