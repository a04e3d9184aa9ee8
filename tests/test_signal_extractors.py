"""Signal feature extractors: values against SciPy and NumPy, channels by name, masks, files, refusals."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.signal
import torch
from datasets import Dataset
from transformers import AutoFeatureExtractor

import climb_hf.schema
from climb_hf.errors import OptionError, SchemaError
from climb_hf.processing import EcgFeatureExtractor, EegFeatureExtractor, ImuFeatureExtractor
from climb_hf.processing.ecg_extractor import ECG_JEPA_LEADS, derive_leads
from climb_hf.processing.eeg_extractor import EEG_DERIVATIONS
from climb_hf.processing.imu_extractor import IMU_CHANNELS
from climb_hf.readers.ecg import ECG_LEADS
from climb_hf.readers.wfdb import read_record

NAN = np.nan


def noise(steps, channels=12, seed=0, batch=None):
    shape = (steps, channels) if batch is None else (batch, steps, channels)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def example(signal, rate=500.0, **columns):
    return {"id": "r7", "source": "ptbxl", "signal": signal, "sampling_rate": rate, **columns}


def plain(**fields):
    """An ECG extractor that only turns (time, channels) round."""
    return EcgFeatureExtractor(**{"sampling_rate": 100.0, "length": None, **fields})


def made(extractor, raw, *args, **options):
    return extractor(raw, *args, return_tensors="np", **options)["signal"]


# ---- values of the steps ----


def test_shape_dtype_and_layout():
    signal = noise(50)
    batch = plain()(signal, 100)
    assert (batch["signal"].dtype, batch["channel_mask"].dtype) == (torch.float32, torch.bool)
    assert batch["signal"].is_contiguous()
    np.testing.assert_array_equal(batch["signal"][0].numpy(), signal.T)
    assert batch["channel_mask"].tolist() == [[True] * 12]
    assert set(plain(return_channel_mask=False)(signal, 100)) == {"signal"}


@pytest.mark.parametrize(("rate", "ratio"), [(500.0, (1, 2)), (1000.0, (1, 4)), (100.0, (5, 2)), (257.0, (250, 257))])
def test_polyphase_equals_scipy(rate, ratio):
    signal = noise(int(rate * 4))
    expected = scipy.signal.resample_poly(signal.astype(np.float64), *ratio, axis=0, padtype="line").T
    np.testing.assert_array_equal(made(EcgFeatureExtractor(length=1000), signal, rate)[0], expected.astype(np.float32))


def test_fft_equals_scipy():
    signal = noise(5000)
    expected = scipy.signal.resample(signal.astype(np.float64), 2500, axis=0).T[[0, 1, 6, 7, 8, 9, 10, 11]]
    found = made(EcgFeatureExtractor.preset("ecg_jepa"), signal, 500)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_bandpass_equals_scipy():
    signal = noise(2500)
    sections = scipy.signal.butter(3, [0.67, 40], btype="bandpass", fs=250, output="sos")
    expected = scipy.signal.sosfiltfilt(sections, signal.T.astype(np.float64))
    found = made(EcgFeatureExtractor(bandpass=(0.67, 40), filter_order=3), signal, 250)[0]
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_quantile_equals_numpy_after_resampling():
    signal = noise(1250, 16) * 40
    resampled = scipy.signal.resample(signal.T.astype(np.float64), 1000, axis=-1)
    expected = resampled / (np.quantile(np.abs(resampled), 0.95, axis=-1, keepdims=True) + 1e-8)
    found = made(EegFeatureExtractor.preset("biot", length=1000), signal, 250)[0]
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)
    for steps in (1, 2, 21, 999):  # 21: the quantile is a sample
        short = noise(steps, 16, seed=steps)
        expected = short / (np.quantile(np.abs(short.astype(np.float64)), 0.95, axis=0) + 1e-8)
        np.testing.assert_allclose(made(EegFeatureExtractor(length=steps), short, 200)[0], expected.T, rtol=1e-6)


def test_zscore_and_range_by_hand():
    signal = noise(300) * 3 + 5
    signal[:, 4] = 2.5  # flat
    exact = signal.astype(np.float64)
    expected = (exact - exact.mean(axis=0)) / (exact.std(axis=0) + 1e-8)
    np.testing.assert_allclose(made(plain(normalization="zscore"), signal, 100)[0], expected.T, rtol=1e-5, atol=1e-6)
    assert not made(plain(normalization="zscore"), signal, 100)[0, 4].any()
    scaled = made(plain(normalization="range"), signal, 100)[0]
    np.testing.assert_allclose(scaled, signal.T / (signal.max() - signal.min()), rtol=1e-6)
    flat = np.full((20, 12), 3.0, np.float32)
    np.testing.assert_array_equal(made(plain(normalization="range"), flat, 100)[0], flat.T)
    signal[:, 0] = NAN  # a masked channel is 0, and its zeros are no part of the range
    scaled = made(plain(normalization="range"), signal, 100)[0]
    rest = signal[:, 1:]
    np.testing.assert_allclose(scaled[1:], rest.T / (rest.max() - rest.min()), rtol=1e-6)
    assert not scaled[0].any()


def test_crop_and_padding():
    signal = np.arange(60, dtype=np.float32).reshape(5, 12) + 1
    steps = {
        ("start", 3): [1, 13, 25],
        ("center", 3): [13, 25, 37],
        ("random", 3): [13, 25, 37],  # without seeds: the centre
        ("start", 7): [1, 13, 25, 37, 49, 0, 0],
    }
    for (crop, length), expected in steps.items():
        assert made(plain(crop=crop, length=length), signal, 100)[0, 0].tolist() == expected
    left = plain(length=7, padding_side="left", padding_value=-1.0, return_attention_mask=True)(signal, 100)
    assert left["signal"][0, 0].tolist() == [-1, -1, 1, 13, 25, 37, 49]
    assert left["attention_mask"].int().tolist() == [[0, 0, 1, 1, 1, 1, 1]]


def test_padding_does_not_change_the_scale():
    signal = noise(100) + 4
    short = made(plain(normalization="zscore"), signal, 100)
    padded = made(plain(normalization="zscore", length=150), signal, 100)
    np.testing.assert_array_equal(padded[..., :100], short)
    assert not padded[..., 100:].any()


def test_random_crops_depend_on_their_seed_alone():
    extractor = plain(crop="random", length=10)
    signals, seeds = noise(200, batch=6), list(range(6))
    batch = made(extractor, signals, 100, seeds=seeds)
    turned = made(extractor, signals[::-1], 100, seeds=seeds[::-1])
    np.testing.assert_array_equal(batch, turned[::-1])
    starts = [int(np.flatnonzero(signal[:, 0] == row[0, 0])[0]) for signal, row in zip(signals, batch, strict=True)]
    assert len(set(starts)) > 3
    assert all(0 <= start <= 190 for start in starts)
    with pytest.raises(OptionError, match="`seeds` holds 2 seeds for 6 signals"):
        extractor(signals, 100, seeds=[1, 2])


# ---- one, many, and every form of input ----


@pytest.mark.parametrize(
    "extractor",
    [
        EcgFeatureExtractor.preset("ecg_jepa"),
        EcgFeatureExtractor(bandpass=(0.5, 40.0), normalization="zscore"),
        EcgFeatureExtractor(normalization="quantile95", crop="center"),
        EcgFeatureExtractor.preset("ecg_transformer"),
        EcgFeatureExtractor(sampling_rate=None, length=1000),
    ],
)
def test_a_batch_equals_its_rows_one_by_one_to_the_last_bit(extractor):
    rows = [
        example(noise(steps, seed=seed), rate)
        for seed, (steps, rate) in enumerate([(5000, 500.0), (2500, 500.0), (5000, 500.0), (1000, 100.0)] * 3)
    ]
    rows[2]["signal"][:, 1] = NAN
    rows[4]["signal"][10:20, 3] = NAN
    rows[5]["signal"][2000:] = NAN
    batch = extractor(rows)
    for position, row in enumerate(rows):
        alone = extractor(row)
        assert torch.equal(alone["signal"][0], batch["signal"][position])
        assert torch.equal(alone["channel_mask"][0], batch["channel_mask"][position])


def test_every_form_of_input_gives_the_same():
    signals = noise(30, batch=2)
    expected = made(plain(), signals, 100)
    names = list(climb_hf.get_source("ptbxl").concepts)
    features = climb_hf.schema.features("signal", names, channels=12)
    columns = {name: [None] * 2 for name in features} | {
        "id": ["a", "b"], "source": ["ptbxl"] * 2, "signal": list(signals), "sampling_rate": [100.0] * 2
    }  # fmt: skip
    dataset = Dataset.from_dict(columns, features=features)
    forms = [
        list(dataset), dataset[:2], dataset.with_format("numpy")[:2], dataset.with_format("torch")[:2],
        list(dataset.with_format("torch")), [example(signal, 100.0) for signal in signals],
    ]  # fmt: skip
    for form in forms:
        np.testing.assert_array_equal(made(plain(), form), expected)
    for form in (list(signals), torch.from_numpy(signals), signals.tolist(), signals.astype(np.float64)):
        np.testing.assert_array_equal(made(plain(), form, [100, 100.0]), expected)
    np.testing.assert_array_equal(made(plain(), dataset[1]), expected[1:])
    np.testing.assert_array_equal(made(plain(), dataset.with_format("numpy")[1]), expected[1:])


def test_ragged_batches():
    rows = [example(noise(steps, seed=steps), 100.0) for steps in (30, 50)]
    with pytest.raises(SchemaError, match="between 30 and 50 samples"):
        plain()(rows)
    batch = plain(return_attention_mask=True)(rows)
    assert batch["signal"].shape == (2, 12, 50)
    assert batch["attention_mask"].sum(dim=1).tolist() == [30, 50]
    np.testing.assert_array_equal(batch["signal"][0, :, :30].numpy(), rows[0]["signal"].T)
    ragged = Dataset.from_dict({"signal": [row["signal"].tolist() for row in rows], "sampling_rate": [100.0] * 2})
    assert torch.equal(plain(return_attention_mask=True)(ragged[:])["signal"], batch["signal"])


def test_units():
    signal = noise(20)
    np.testing.assert_allclose(made(plain(), signal * 1000, 100, unit="µV"), made(plain(), signal, 100), rtol=1e-6)
    counts = np.full((20, 12), 250, np.int16)
    assert made(plain(), counts, 100, unit="uV")[0, 0, 0] == 0.25
    with pytest.raises(SchemaError, match=r"whole numbers \(int16\).*or `unit=`"):
        plain()(counts, 100)
    with pytest.raises(OptionError, match="`unit` must be one of"):
        plain()(signal, 100, unit="kV")


# ---- NaN, masks, usability ----


def test_nan_samples_become_zero_and_nan_channels_are_masked():
    signal = noise(40)
    signal[5:9, 2], signal[:, 7] = NAN, NAN
    batch = plain()(signal, 100)
    expected = np.nan_to_num(signal, nan=0.0).T
    np.testing.assert_array_equal(batch["signal"][0].numpy(), expected)
    assert batch["channel_mask"][0].tolist() == [column != 7 for column in range(12)]
    resampled = EcgFeatureExtractor()(signal, 100)
    assert torch.isfinite(resampled["signal"]).all()
    assert not resampled["signal"][0, 7].any()


def test_an_end_that_was_not_recorded_is_padding():
    signal = noise(40) + 3
    ended = np.concatenate([signal, np.full((20, 12), NAN, np.float32)])
    for extractor in (plain(length=60, normalization="zscore"), plain(length=60, bandpass=(1, 20), filter_order=1)):
        np.testing.assert_array_equal(made(extractor, ended, 100), made(extractor, signal, 100))


def test_is_usable():
    extractor, signal = EcgFeatureExtractor(), noise(100)
    zeros = signal.copy()
    zeros[:15] = 0
    almost = zeros.copy()
    almost[14, 3] = 0.1
    cases = [
        (signal, True),
        (zeros, False),
        (almost, True),
        (np.full((9, 12), NAN), False),
        (np.zeros((0, 12)), False),
    ]
    for values, expected in cases:
        assert extractor.is_usable(values) is expected
        assert extractor.is_usable(example(values.tolist())) is expected
    assert EcgFeatureExtractor(drop_zero_start=0).is_usable(zeros)
    assert EcgFeatureExtractor(drop_zero_start=16).is_usable(zeros)


# ---- channels by name ----


def test_leads_by_name_are_independent_of_their_order():
    signal, order = noise(5000), np.random.default_rng(3).permutation(12)
    names = [ECG_LEADS[column].lower() if column % 2 else f" {ECG_LEADS[column]}" for column in order]
    for preset in EcgFeatureExtractor.presets:
        extractor = EcgFeatureExtractor.preset(preset)
        found = made(extractor, signal[:, order], 500, channel_names=names)
        np.testing.assert_array_equal(found, made(extractor, signal, 500))


def test_ecg_jepa_takes_its_eight_leads():
    signal = noise(2500)
    found = made(EcgFeatureExtractor.preset("ecg_jepa"), signal, 250)[0]
    assert ECG_JEPA_LEADS == ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    np.testing.assert_array_equal(found, signal.T[[0, 1, 6, 7, 8, 9, 10, 11]])


def test_derived_leads_are_exact():
    signal = noise(1000, 8, seed=5)
    one, two = signal[:, 0].astype(np.float64), signal[:, 1].astype(np.float64)
    found = derive_leads(signal, ECG_JEPA_LEADS)
    expected = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    for lead, values in expected.items():
        np.testing.assert_array_equal(found[:, ECG_LEADS.index(lead)], values.astype(np.float32))
    np.testing.assert_array_equal(found[:, [0, 1, 6, 7, 8, 9, 10, 11]], signal)
    batch = EcgFeatureExtractor()(np.tile(signal, (3, 1))[:2500], 250, channel_names=ECG_JEPA_LEADS)
    np.testing.assert_array_equal(batch["signal"][0, :, :1000].numpy(), found.T)
    assert batch["channel_mask"].all()


def test_any_two_limb_leads_give_the_other_four():
    full = derive_leads(noise(200, 2), ["I", "II"], ECG_LEADS[:6]).astype(np.float64)
    for first in range(6):
        for second in range(first + 1, 6):
            pair = [ECG_LEADS[second], ECG_LEADS[first]]
            given = np.stack([full[:, second], full[:, first]], axis=1).astype(np.float32)
            np.testing.assert_allclose(derive_leads(given, pair, ECG_LEADS[:6]), full, atol=2e-6)
    with pytest.raises(SchemaError, match=r"the leads \['V1'\] cannot be made"):
        derive_leads(noise(5, 2), ["I", "II"], ["I", "V1"])
    with pytest.raises(SchemaError, match=r"must be \(time, 2\)"):
        derive_leads(noise(5, 3), ["I", "II"])


def test_missing_leads_are_masked_or_refused():
    signal = noise(2500, 3)
    batch = EcgFeatureExtractor()(signal, 250, channel_names=["V2", "II", "V1"])
    present = [lead in ("II", "V1", "V2") for lead in ECG_LEADS]
    assert batch["channel_mask"][0].tolist() == present
    np.testing.assert_array_equal(batch["signal"][0, 7].numpy(), signal[:, 0])
    assert not batch["signal"][0, ~torch.tensor(present)].any()
    with pytest.raises(SchemaError, match="channels I, III, aVR, aVL, aVF, V3, V4, V5, V6 cannot be had"):
        EcgFeatureExtractor(missing_channels="error")(signal, 250, channel_names=["V2", "II", "V1"])


def test_eeg_derivations_from_electrodes_in_any_order():
    electrodes = sorted({part for name in EEG_DERIVATIONS for part in name.split("-")})
    old = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
    values = noise(2000, len(electrodes) + 3, seed=2) * 20
    column = {name: values[:, position].astype(np.float64) for position, name in enumerate(electrodes)}
    expected = np.stack([column[a] - column[b] for a, b in (name.split("-") for name in EEG_DERIVATIONS)])
    extractor = EegFeatureExtractor(normalization="none")
    for style in ("EEG {}-REF", "{}-LE", "{}"):
        names = [style.format(old.get(name, name)) for name in electrodes]
        names += ["ECG EKG-REF", "PHOTIC-REF", "PHOTIC-REF"]
        order = np.random.default_rng(len(style)).permutation(len(names))
        found = made(extractor, values[:, order], 200, channel_names=[names[position] for position in order])[0]
        np.testing.assert_array_equal(found, expected.astype(np.float32))
    bipolar = expected.astype(np.float32).T
    order = np.random.default_rng(9).permutation(16)
    given = bipolar[:, order] * np.where(np.arange(16) == 4, -1, 1)
    names = [EEG_DERIVATIONS[position] for position in order]
    names[4] = "-".join(reversed(names[4].split("-")))  # the other way round
    np.testing.assert_array_equal(made(extractor, given, 200, channel_names=names)[0], bipolar.T)


def test_eeg_refuses_what_cannot_be_derived():
    extractor, names = EegFeatureExtractor(), ["EEG FP1-REF", "EEG F7-LE", *EEG_DERIVATIONS[1:]]
    with pytest.raises(SchemaError, match="the channels FP1-F7 cannot be had"):  # two references
        extractor(noise(2000, 17), 200, channel_names=names)
    batch = EegFeatureExtractor.preset("biot_18")(noise(2000, 16), 200)
    assert batch["channel_mask"].sum().item() == 16
    assert not batch["signal"][0, 16:].any()


def test_imu_channels():
    assert len(IMU_CHANNELS) == 38
    assert IMU_CHANNELS[:7] == ("acc_rf_x", "acc_rf_y", "acc_rf_z", "gyro_rf_x", "gyro_rf_y", "gyro_rf_z", "acc_rs_x")
    signal = noise(100, 38)
    extractor = ImuFeatureExtractor(channels=["gyro_lt_z", "EMG_r"], normalization="none")
    np.testing.assert_array_equal(made(extractor, signal, 58.82)[0], signal.T[[35, 36]])
    rate = float(np.float32(58.82))  # as the column holds it
    np.testing.assert_array_equal(
        made(ImuFeatureExtractor(sampling_rate=58.82), signal, rate), made(ImuFeatureExtractor(), signal, rate)
    )


# ---- files ----


@pytest.mark.parametrize(
    "extractor",
    [
        EcgFeatureExtractor.preset("ecg_jepa", bandpass=(0.5, 40), crop="random"),
        EegFeatureExtractor.preset("biot_18"),
        ImuFeatureExtractor(length=64, padding_side="left"),
    ],
)
def test_saved_and_loaded_is_the_same(tmp_path, extractor):
    extractor.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert stored["feature_extractor_type"] == type(extractor).__name__
    for loaded in (type(extractor).from_pretrained(tmp_path), AutoFeatureExtractor.from_pretrained(tmp_path)):
        assert type(loaded) is type(extractor)
        assert loaded.to_dict() == extractor.to_dict()
    assert pickle.loads(pickle.dumps(extractor)).to_dict() == extractor.to_dict()
    changed = AutoFeatureExtractor.from_pretrained(tmp_path, channels=extractor.channels[:2])
    assert (changed.feature_size, changed.channels) == (2, extractor.channels[:2])


def test_auto_feature_extractor_in_a_fresh_process(tmp_path):
    EcgFeatureExtractor.preset("ecg_jepa").save_pretrained(tmp_path)
    code = (
        "import climb_hf, transformers, numpy; "
        f"e = transformers.AutoFeatureExtractor.from_pretrained({str(tmp_path)!r}); "
        "print(e(numpy.zeros((5000, 12), 'float32'), 500)['signal'].shape)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "torch.Size([1, 8, 2500])"


def test_registered_for_the_configurations_of_models():
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING

    from climb_hf.models import EcgJepaConfig

    assert FEATURE_EXTRACTOR_MAPPING[EcgJepaConfig] is EcgFeatureExtractor


# ---- refusals ----


@pytest.mark.parametrize(
    ("raw", "options", "message"),
    [
        (noise(50), {}, "sampling rate is not known, and none is assumed. Pass `sampling_rate="),
        (noise(50), {"sampling_rate": 0}, "must be a number of Hz above 0"),
        (noise(50), {"sampling_rate": float("nan")}, "must be a number of Hz above 0"),
        (noise(50, 8), {"sampling_rate": 100}, "has 8 channels .*expected 12 .*`channel_names="),
        (noise(50).T, {"sampling_rate": 100}, "axes look exchanged"),
        (noise(50, 1), {"sampling_rate": 100}, "has 1 channels"),
        (noise(50)[:, 0], {"sampling_rate": 100}, r"Give a single channel as \(time, 1\)"),
        (noise(50), {"sampling_rate": 100, "channel_names": ["I"] * 12}, "stand more than once"),
        (noise(50), {"sampling_rate": 100, "channel_names": [*ECG_LEADS[:11], "V7"]}, r"unknown .*\['V7'\]"),
        (noise(50, 2), {"sampling_rate": 100, "channel_names": ECG_LEADS}, "has 2 channels"),
        (np.full((50, 12), NAN), {"sampling_rate": 100}, "signal 0 of the batch is NaN throughout"),
        (np.where(np.arange(12) == 3, np.inf, noise(50)), {"sampling_rate": 100}, "infinite values"),
        (noise(50).astype(np.float64) * 1e300, {"sampling_rate": 100}, "too large for float32"),
        (noise(0), {"sampling_rate": 100}, "has no samples"),
        (example(noise(0)), {}, "record `r7` of `ptbxl` has no samples"),
        (example(noise(50), None), {}, "record `r7` of `ptbxl`: the sampling rate is not known"),
        (example(noise(50), 100), {"sampling_rate": 250}, "is 100 Hz, but 250 Hz was passed"),
        ({"ecg": noise(50)}, {"sampling_rate": 100}, r"needs the key `signal`, found \['ecg'\]"),
        ([], {"sampling_rate": 100}, "no signal was given"),
        ([noise(50), noise(50)], {"sampling_rate": [100]}, "holds 1 rates for 2 signals"),
        ([[1.0, 2.0], [3.0]], {"sampling_rate": 100}, "unequal length"),
        ([example(noise(50)), noise(50)], {}, r"but \[1\] of it are no examples"),
        (np.full((50, 12), "x"), {"sampling_rate": 100}, "must hold real numbers"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(raw, options, message):
    with pytest.raises(SchemaError, match=message):
        plain()(raw, **options)


def test_lengths_that_do_not_fit_are_refused():
    with pytest.raises(SchemaError, match="has 50 samples at 100 Hz, expected at least 60"):
        plain(min_length=60)(noise(50), 100)
    eeg = EegFeatureExtractor.preset("biot")
    for steps in (1000, 1998, 2002, 4000):
        with pytest.raises(SchemaError, match=f"has {steps} samples at 200 Hz, expected 2000"):
            eeg(noise(steps, 16), 200)
    assert eeg(noise(2561, 16), 256)["signal"].shape == (1, 16, 2000)  # rounding of the resampling
    with pytest.raises(SchemaError, match="too short for a band-pass"):
        plain(bandpass=(1, 20))(noise(10), 100)
    with pytest.raises(OptionError, match="within a factor of 1,000"):
        EcgFeatureExtractor()(noise(50), 1e6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lead": 3}, r"unknown fields \['lead'\]"),
        ({"normalization": "minmax"}, "`normalization` must be one of"),
        ({"resample_method": "linear"}, "`resample_method` must be one of"),
        ({"length": 0}, "`length` must be a whole number of at least 1"),
        ({"length": 10, "min_length": 11}, "must not exceed `length`"),
        ({"sampling_rate": -1}, "`sampling_rate` must be above 0 Hz"),
        ({"bandpass": (40, 0.5)}, "`bandpass` must be"),
        ({"bandpass": (0.5, 125)}, "half the sampling rate"),
        ({"channels": ["I", "V9"]}, r"`channels` holds unknown names \['V9'\]"),
        ({"padding_value": NAN}, "`padding_value` must be a finite number"),
        ({"return_channel_mask": "no"}, "`return_channel_mask` must be one of"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(OptionError, match=message):
        EcgFeatureExtractor(**fields)
    with pytest.raises(OptionError, match="has no preset 'jepa'; it has ecg_jepa"):
        EcgFeatureExtractor.preset("jepa", **fields)


# ---- real records ----


def test_real_records(real_dir):
    folder = real_dir / "ecg_cinc2021"
    records = {
        name: read_record(folder / name, channels=ECG_LEADS).signal for name in ("E07500", "HR06000", "JS20004")
    }
    rows = [{"id": name, "signal": signal, "sampling_rate": 500.0} for name, signal in records.items()]
    batch = EcgFeatureExtractor.preset("ecg_jepa")(rows)
    assert batch["signal"].shape == (3, 8, 2500)
    assert batch["channel_mask"].all()  # the leads of JS20004 that are zero throughout were recorded as zero
    expected = scipy.signal.resample(records["HR06000"][:, 11].astype(np.float64), 2500)
    np.testing.assert_allclose(batch["signal"][1, 7].numpy(), expected, rtol=1e-6, atol=1e-7)
    flat = [lead for lead, row in zip(ECG_JEPA_LEADS, batch["signal"][2], strict=True) if not row.any()]
    assert flat == ["V2", "V4", "V6"]
    for signal in records.values():  # the publishers' four derived leads, rounded to 1 or 5 µV
        made_leads = derive_leads(signal[:, :2], ["I", "II"], ECG_LEADS[:6])
        assert np.abs(made_leads - signal[:, :6]).max() < 0.0061
    assert all(EcgFeatureExtractor().is_usable(row) for row in rows)
