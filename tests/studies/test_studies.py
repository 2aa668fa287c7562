"""The table of studies: every name starts its command; what is none is refused in a line."""

import pytest

from benchmarks.studies.__main__ import STUDIES, main


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_its_options(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"python -m benchmarks.studies {name}" in capsys.readouterr().out


def test_help_lists_the_studies(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in STUDIES)


@pytest.mark.parametrize(("words", "said"), [([], "no study given"), (["x"], "'x' is no study")])
def test_what_is_no_study_is_refused(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}; choose one of figures, ")
    assert error.count("\n") == 1
