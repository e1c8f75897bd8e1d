"""The experiment: trials, events, the state machine, the journal."""
