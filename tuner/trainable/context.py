"""What a trial can ask about itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from tuner.placement import PlacementGroupFactory


@dataclass(frozen=True, slots=True)
class TuneContext:
    """The running trial; every answer is None (or 0, 1) outside of a trial."""

    experiment_name: str | None = None
    trial_id: str | None = None
    trial_name: str | None = None
    trial_dir: str | None = None
    trial_resources: PlacementGroupFactory | None = None
    attempt: int = field(default=0)

    def get_experiment_name(self) -> str | None:
        """Name of the experiment."""
        return self.experiment_name

    def get_trial_id(self) -> str | None:
        """Id of the trial."""
        return self.trial_id

    def get_trial_name(self) -> str | None:
        """Name of the trial."""
        return self.trial_name

    def get_trial_dir(self) -> str | None:
        """Folder of the trial."""
        return self.trial_dir

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        """Resources given to the trial."""
        return self.trial_resources

    def get_world_size(self) -> int:
        """Number of processes that train this trial: one."""
        return 1

    def get_world_rank(self) -> int:
        """Rank of this process among them."""
        return 0

    def get_local_rank(self) -> int:
        """Rank of this process among those on its machine."""
        return 0

    def get_local_world_size(self) -> int:
        """Number of them on this machine."""
        return 1

    def get_node_rank(self) -> int:
        """Rank of this machine among those that train this trial."""
        return 0
