"""Jobs of a preset that draw initial weights and that train."""

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class InitialiseJob:
    """One job that draws initial weights.

    Attributes
    ----------
    name : str
        Name of its rule.
    dataset, architecture : str
    initialisations : tuple of str
        All initialisations of this architecture on this dataset that have the same source models.
    """

    name: str
    dataset: str
    architecture: str
    initialisations: tuple[str, ...]


@dataclass(frozen=True)
class TrainJob:
    """One job that trains some seeds of some initialisations, one run after another.

    Attributes
    ----------
    name : str
        Name of its rule; `dataset`, `architecture` and the only initialisation are wildcards if each job trains one initialisation.
    dataset, architecture : str
    initialisations : tuple of str
    number : int
        Index of the group of seeds.
    seeds : tuple of int
    whole, part : tuple of bool
        For each run, whether its trained weights are needed, so that it is trained even if it is published; and whether its kernels
        are needed, which a published run may provide.
    """

    name: str
    dataset: str
    architecture: str
    initialisations: tuple[str, ...]
    number: int
    seeds: tuple[int, ...]
    whole: tuple[bool, ...]
    part: tuple[bool, ...]

    @property
    def runs(self) -> list[tuple[str, int]]:
        """(initialisation, seed) of each run, in the order in which they are trained."""
        return list(product(self.initialisations, self.seeds))

    @property
    def folders(self) -> list[str]:
        """Folder of each run."""
        return [f"<results>/runs/{self.dataset}/{self.architecture}/{one}/seed{seed}" for one, seed in self.runs]

    @property
    def weights(self) -> list[str]:
        """Trained weights that the job always writes; a run without them may be adopted."""
        return self._files("weights", self.whole)

    @property
    def kernels(self) -> list[str]:
        """Trained kernels that the job always writes."""
        return self._files("kernels", self.part)

    def _files(self, name: str, needed: tuple[bool, ...]) -> list[str]:
        return [f"{folder}/{name}.safetensors" for folder, sure in zip(self.folders, needed, strict=True) if sure]
