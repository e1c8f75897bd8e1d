import pyarrow.parquet as pq
from hypothesis import given, settings
from odd_values import PARAMS, RESULTS
from recording_helpers import (
    END,
    accumulate,
    created,
    csv_rows,
    ended,
    json_rows,
    launched,
    reported,
    write_journal,
)

from tuner.flatten import flatten
from tuner.integrations.tensorboard import TBXLoggerCallback
from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.json import JsonLoggerCallback
from tuner.recording.recorder import Recorder
from tuner.tables import to_frame, to_table


@settings(max_examples=60, deadline=None)
@given(results=RESULTS, config=PARAMS)
def test_whatever_is_reported_or_chosen_all_files_have_it(tmp_path_factory, results, config):
    folder = tmp_path_factory.mktemp("experiment")
    kept = results[:-1]  # the last one is superseded, so that files are read and cut
    facts = [created("a", config), launched("a")]
    facts[0].evaluated_params.update(config)
    for result in results:
        fact = reported("a", 1)
        fact.result.update(result)
        facts.append(fact)
    facts += [ended("a", 1, "PENDING", "lost"), launched("a", 2, num_results=len(kept))]
    write_journal(folder, [*facts, ended("a", 2), END])

    recorder = Recorder(
        str(folder), [CSVLoggerCallback(), JsonLoggerCallback(), TBXLoggerCallback()]
    )
    recorder.resume()
    recorder.finish()

    assert recorder.messages == []
    assert pq.read_table(folder / "results.parquet").num_rows == len(kept)
    trial = folder / "train_a"
    if results:
        rows = json_rows(trial)
        assert len(rows) == len(csv_rows(trial)) == len(kept)
        flat = [flatten(row) for row in rows]
        assert len(to_frame(flat)) == to_table(flat).num_rows == len(kept)
        accumulate(trial)
