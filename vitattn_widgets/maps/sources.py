"""What a map can be computed from: plain attention, or one of its refinements. Names, texts and properties only."""

from __future__ import annotations

from dataclasses import dataclass

from .aggregate import AGGREGATIONS, possible_aggregations

FUSIONS = ("mean", "max")
"""How rollout fuses a layer's heads into one matrix; mean / std would not be attention."""

SPANS = ("layer", "first to layer", "late layers")
"""The layers that a map is computed from: its own, all up to its own, or the last third up to its own."""


@dataclass(frozen=True)
class Source:
    """A source of maps: its texts, and what it needs.

    Attributes:
        name: value of `MapSettings.source`.
        title: its name in menus.
        words: what the map's values are, in a few words.
        sentence: what the map shows, for a person, with the fields ``{query}`` and ``{target}`` (the class).
        reference: its publication.
        aggregations: the possible aggregations; empty if there are no heads to aggregate.
        no_head: why no single head can be chosen; empty if one can.
        no_class: why it does not depend on the class; empty if it does.
        no_query: why it does not depend on the query; empty if it does.
        norms: whether it needs `AttentionCapture.value_norms`.
        signed: whether its values are contributions to the class's logit, below zero where they speak against it; these
            need `AttentionCapture.contributions`.
        span: the layers that its maps are computed from, one of `SPANS`.
    """

    name: str
    title: str
    words: str
    sentence: str
    reference: str
    aggregations: tuple[str, ...] = AGGREGATIONS
    no_head: str = ""
    no_class: str = ""
    no_query: str = ""
    norms: bool = False
    signed: bool = False
    span: str = "layer"

    @property
    def plain(self) -> bool:
        """Whether it is the paper's own: plain attention, of which each head's map sums to 1."""
        return self.name == "attention"

    @property
    def fuses_heads(self) -> bool:
        """Whether the aggregation fuses each layer's heads into one matrix, before any map is computed."""
        return bool(self.no_head and self.aggregations)

    def possible(self, heads: int) -> tuple[str, ...]:
        """The aggregations of this source in a layer with this many heads."""
        return tuple(name for name in possible_aggregations(heads) if name in self.aggregations)

    @property
    def no_aggregation(self) -> str:
        """Why no aggregation can be chosen; empty if one can."""
        return "" if self.aggregations else "the heads are already one"


_ALL_QUERIES = "contributions are summed over all queries"

_ALL = (
    Source(
        name="attention",
        title="attention",
        words="attention",
        sentence="where the {query} looked",
        reference="Calderaro et al. 2023, eq. 3",
        no_class="plain attention does not depend on the class",
    ),
    Source(
        name="norm",
        title="attention x value norm",
        words="attention times the length of the projected values",
        sentence="where the {query} looked, weighted by the length of what it read there",
        reference="Kobayashi et al. 2020",
        no_class="attention and value norms do not depend on the class",
        norms=True,
    ),
    Source(
        name="rollout",
        title="rollout",
        words="attention rollout",
        sentence="where the {query} looked, followed through all layers up to this one",
        reference="Abnar and Zuidema 2020",
        aggregations=FUSIONS,
        span="first to layer",
        no_head="rollout fuses all heads of every layer",
        no_class="rollout multiplies attention, which does not depend on the class",
    ),
    Source(
        name="gradient",
        title="gradient x attention",
        words="positive part of gradient times attention",
        sentence="what the {query} used here for “{target}”",
        reference="the layer's term of Chefer et al. 2021",
    ),
    Source(
        name="gradient_late",
        title="gradient x attention of the late layers",
        words="positive part of gradient times attention",
        sentence="what the {query} used for “{target}”",
        reference="summed terms of Chefer et al. 2021",
        aggregations=(),
        span="late layers",
        no_head="the heads of several layers are averaged and summed",
    ),
    Source(
        name="relevance",
        title="relevance",
        words="relevance",
        sentence="what counted for “{target}”, followed through all layers up to this one",
        reference="Chefer et al. 2021",
        aggregations=(),
        span="first to layer",
        no_head="relevance averages the positive parts of all heads of every layer",
    ),
    Source(
        name="contribution",
        title="contribution",
        words="what each token that enters the layer adds to the logit",
        sentence="what each patch adds to “{target}” (red) or takes from it (blue), as the layer finds it",
        reference="Ali et al. 2022",
        aggregations=(),
        no_head="tokens are divided into heads only inside a layer",
        no_query=_ALL_QUERIES,
        signed=True,
    ),
    Source(
        name="contribution_heads",
        title="contribution through the layer's attention",
        words="what each token adds to the logit through the layer's attention",
        sentence="what each patch adds to “{target}” (red) or takes from it (blue) through this attention",
        reference="Ali et al. 2022",
        aggregations=("mean",),
        no_query=_ALL_QUERIES,
        signed=True,
    ),
    Source(
        name="contribution_sum",
        title="contributions, summed",
        words="contributions to the logit of the tokens that enter the layer, through the attention of the late layers "
        "and through that of all layers, in equal parts",
        sentence="what each patch added to “{target}” (red) or took from it (blue)",
        reference="after Ali et al. 2022",
        aggregations=(),
        span="first to layer",
        no_head="the heads of several layers are summed",
        no_query=_ALL_QUERIES,
        signed=True,
    ),
)

CATALOGUE: dict[str, Source] = {source.name: source for source in _ALL}
"""The sources by name; the first is the paper's."""

SOURCES = tuple(CATALOGUE)
"""The names of the sources, the values of `MapSettings.source`."""
