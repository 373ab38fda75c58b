import pytest

from kerasft import FineTuner
from kerasft.cli import demo


@pytest.mark.slow
def test_from_data_to_an_answer_twice(tmp_path, monkeypatch, capfd, tiny_bert, reviews):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "TRAIN", [{**row, "text": f"{row['text']} {n}"} for n in range(4) for row in reviews])
    monkeypatch.setattr(demo, "TEST", reviews)
    monkeypatch.setattr(demo, "FineTuner", lambda **given: FineTuner(**given | {"backbone": tiny_bert}))
    for folder in ("saved_models/demo", "saved_models/demo-2"):
        demo.main("saved_models/demo")
        said = capfd.readouterr().out
        assert (tmp_path / folder / "report.html").exists()
        assert (tmp_path / folder / "export" / "1" / "saved_model.pb").exists()
        assert f"more in {folder}/report.html" in said
        answers = [line for line in said.splitlines() if line.endswith(demo.SENTENCES)]
        assert [line.split()[0] in ("positive", "negative") for line in answers] == [True, True]
        assert said.count("\ntook 0:") == 6
        assert "\ntensorboard --logdir saved_models\ndocker run " in said


def test_an_export_that_gives_no_answer_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="gives no answer: (.|\n)*SavedModel file does not exist"):
        demo.ask(str(tmp_path), ["text"])


def test_clock():
    assert [demo._clock(seconds) for seconds in (0.4, 59.9, 61, 600)] == ["0:00", "0:59", "1:01", "10:00"]
